"""The files for nginx and Caddy are taken by both, and the README's nginx is the kit's."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chatsvc.deploy.kinds import deploy
from chatsvc.settings import BadSetting
from tests.conftest import require
from tests.nginx_server import AROUND, check_nginx_config
from tests.readme import blocks

FLAGS: list[dict[str, Any]] = [
    {},
    {"port": "9000", "prefix": "/chat/"},
    {
        "uds": "/run/chatsvc/s.sock",
        "allow_host": ("chat.example", ".wide.example", "*"),
    },
    {"node": ("10.0.0.1:3000", "[fd00::1]:3000", "unix:/run/a.sock")},
    {"listen": "127.0.0.1:8080", "ssl_certfile": "c.pem", "allow_host": ("::1",)},
    {"listen": "[::1]:8080", "host": ("::",), "max_files": "100MiB"},
]


@pytest.mark.sampled
@pytest.mark.parametrize("flags", FLAGS)
def test_nginx_takes_it(flags: dict[str, Any], tmp_path: Path) -> None:
    require("nginx")
    http = deploy("nginx", flags)
    # Where it can't listen here, that is no fault of the file.
    http = re.sub(r"listen 80;", "listen 127.0.0.1:18080;", http)
    said = check_nginx_config(AROUND.format(folder=tmp_path, http=http), tmp_path)
    assert "[warn]" not in said.replace('the "user" directive', "")


@pytest.mark.sampled
@pytest.mark.parametrize("flags", FLAGS)
def test_caddy_takes_it(flags: dict[str, Any], tmp_path: Path) -> None:
    require("caddy")
    text = deploy("caddy", flags)
    file = tmp_path / "Caddyfile"
    file.write_text(text)
    home = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    for words in (
        ["validate", "--config", str(file), "--adapter", "caddyfile"],
        ["fmt", str(file)],
    ):
        done = subprocess.run(
            ["caddy", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **home},
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == text


def test_the_readmes_nginx_is_what_is_printed() -> None:
    [shown] = blocks("nginx", "upstream chatsvc")
    printed = deploy("nginx", {"node": ("10.0.0.1:3000", "10.0.0.2:3000")})
    assert printed.partition("\n\n")[0].startswith("# nginx before chatsvc.")
    assert re.sub(r"^#.*\n", "", printed, flags=re.MULTILINE) == shown


def test_what_follows_from_the_flags() -> None:
    below = deploy("nginx", {"prefix": "/chat/", "allow_host": ("chat.example",)})
    assert "location /chat/ {\n        proxy_pass http://chatsvc/;" in below
    assert "X-Forwarded-Prefix /chat;" in below
    assert "server_name chat.example;" in below
    assert "client_max_body_size 5m;" in below
    assert "client_max_body_size 101m;" in deploy("nginx", {"max_files": "100MiB"})
    assert "proxy_pass https://chatsvc;" in deploy("nginx", {"ssl_certfile": "c"})
    assert "server [::1]:3000 " in deploy("nginx", {"host": ("::",)})
    socket = {"uds": "/run/s.sock"}
    assert "server unix:/run/s.sock " in deploy("nginx", socket)
    assert "to unix//run/s.sock\n" in deploy("caddy", socket)
    names = {"allow_host": ("chat.example", ".wide.example")}
    assert "\nchat.example, wide.example, *.wide.example {\n" in deploy("caddy", names)
    plain = deploy("caddy", {**names, "listen": "127.0.0.1:8080"})
    assert "\nhttp://chat.example:8080, " in plain
    assert "\n\tbind 127.0.0.1\n" in plain


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
@pytest.mark.parametrize(
    "flags",
    [
        {"uds": "/run/a b/s.sock"},
        {"uds": "/run/a;b/s.sock"},
        {"host": ("fe80::1%eth0",)},
        {"host": ("[::1]",)},
        {"host": ("a b",)},
    ],
)
def test_a_node_that_no_proxy_takes_is_refused(
    kind: str, flags: dict[str, Any]
) -> None:
    with pytest.raises(BadSetting, match="^--node, which is by --(uds|host), takes "):
        deploy(kind, flags)
    assert "10.0.0.1:3000" in deploy(kind, {**flags, "node": ("10.0.0.1:3000",)})
