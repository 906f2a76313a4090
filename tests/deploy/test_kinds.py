"""What holds for every kind of file: it is made from the flags alone, and has no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsvc.cli import main
from chatsvc.deploy.kinds import MAKERS, deploy
from chatsvc.deploy.options import KINDS
from chatsvc.settings import BadSetting, Settings, variable

SECRET = "s3cret-that-nobody-sees"


def test_each_kind_has_a_maker_and_a_line_of_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(MAKERS) == list(KINDS)
    assert main(["deploy", "--help"]) == 0
    shown = capsys.readouterr().out
    for kind, use in KINDS.items():
        [line] = [each for each in shown.splitlines() if each.split()[:1] == [kind]]
        assert line.endswith(use)


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_printed(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store_file = tmp_path / "store"
    store_file.write_text(f"redis://chatsvc:{SECRET}@redis.example/0")
    for name in ("OPENAI_API_KEY", variable("api_keys"), variable("system")):
        monkeypatch.setenv(name, SECRET)
    for flags in (
        {"store": f"redis://chatsvc:{SECRET}@redis.example/0"},
        {"store": f"redis://redis.example/0?password={SECRET}"},
        {"store_file": str(store_file)},
        {
            "backend": "openai",
            "openai_url": f"https://user:{SECRET}@models.example/v1",
        },
    ):
        assert SECRET not in deploy(kind, flags)


@pytest.mark.parametrize("kind", ["systemd", "compose", "dockerfile"])
def test_what_is_left_out_is_named(kind: str) -> None:
    printed = deploy(kind, {"store": f"redis://u:{SECRET}@redis.example/0"})
    assert f"{variable('store')}=…" in printed
    assert "--store" not in printed
    assert variable("store") not in deploy(kind, {"store": "redis://redis.example/0"})


@pytest.mark.parametrize("kind", KINDS)
def test_variables_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = deploy(kind, {})
    monkeypatch.setenv(variable("port"), "9999")
    monkeypatch.setenv(variable("drain"), "not a number")
    assert deploy(kind, {}) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing"], "KIND takes systemd, compose, "),
        (["systemd", "--port", "x"], "--port takes a port"),
        (["nginx", "--node", "10.0.0.1"], "--node takes the address of a node"),
        (["nginx", "--node", "unix:/a b"], "--node takes the address of a node"),
        (["nginx", "--prefix", "/a/../b"], "--prefix takes a path"),
        (["nginx", "--prefix", "/a;b"], "--prefix takes a path"),
        (["nginx", "--listen", "0"], "--listen takes a port"),
        (["caddy", "--listen", "a b:80"], "--listen takes a port"),
        (["alerts", "--job", 'a"b'], "--job takes the name of a job"),
        (["nginx", "--port", "0"], "--port 0 is another port at each start"),
        (["systemd", "--store", "mysql://x"], "--store takes memory or "),
        (["systemd", "--backend", "no such"], "--backend takes echo, "),
        (["compose", "--ssl-certfile", "x.pem"], "--ssl-certfile is not for compose"),
    ],
)
def test_what_is_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"chatsvc deploy: {reason}")
    assert printed.err.count("\n") == 1


def test_a_kind_that_is_none() -> None:
    with pytest.raises(BadSetting, match="KIND takes"):
        deploy("nothing", {})


def test_every_flag_of_serve_is_taken_and_kept() -> None:
    flags = {
        "port": "9000",
        "allow_host": ("chat.example", ".example"),
        "open": "yes",
        "system": 'say "100 %" of $HOME\\n',
        "max_memory": "512MiB",
    }
    assert Settings.__dataclass_fields__.keys() >= flags.keys()
    line = next(
        each
        for each in deploy("systemd", flags).splitlines()
        if each.startswith("ExecStart=")
    )
    assert "--port 9000" in line
    assert "--allow-host chat.example --allow-host .example" in line
    assert "--open" in line
    assert '--system "say \\"100 %%\\" of $$HOME\\\\n"' in line


def test_the_command_prints_it(tmp_path: Path) -> None:
    """As it is typed, from an empty folder."""
    done = subprocess.run(
        [Path(sys.executable).parent / "chatsvc", "deploy", "nginx", "--port", "9000"],
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert "server 127.0.0.1:9000 max_fails=0;" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "flags",
    [
        {"api_keys_file": "/etc/a\nEVIL=1"},
        {"uds": "/run/a\u2028b"},
        {"program": "/opt/a\rb"},
        {"system": "\udc85"},
        {"allow_origin": ("https://a\udcff",)},
    ],
)
def test_what_no_file_can_hold_is_refused(kind: str, flags: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="^--[a-z-]+ takes "):
        deploy(kind, flags)


def test_the_current_folder_may_be_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = run_in(gone, "systemd", before=gone.rmdir)
    assert done.returncode == 2
    assert done.stderr == (
        b"chatsvc deploy: the current folder is gone: start it in another one\n"
    )


@pytest.mark.sampled
@pytest.mark.parametrize("kind", KINDS)
def test_files_are_utf_8_on_any_terminal(kind: str, tmp_path: Path) -> None:
    done = run_in(tmp_path, kind, "--system", "你", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert done.stdout.decode() == deploy(
        kind, {"system": "你", "program": str(COMMAND)}, tmp_path
    )


COMMAND = Path(sys.executable).parent / "chatsvc"


def run_in(
    folder: Path,
    *words: str,
    before: Callable[[], None] = lambda: None,
    **variables: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run `chatsvc deploy` in a folder, to which `before` has happened."""
    return subprocess.run(
        [COMMAND, "deploy", *words],
        cwd=folder,
        preexec_fn=before,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
    )
