"""The unit is one that systemd takes, and what it forbids the service works without."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from chatsvc.deploy.kinds import deploy
from chatsvc.settings import BadSetting
from tests.conftest import require

MOST_EXPOSED = 25
"""Tenths of the exposure from 0 to 100 tenths that `systemd-analyze security` may find; 1.4 is found."""

FLAGS: list[dict[str, Any]] = [
    {},
    {"port": "9000", "store": "redis://127.0.0.1/0", "drain": "30"},
    {"port": "80", "host": ("::",), "open": "yes", "max_memory": "1GiB"},
    {"uds": "/run/chatsvc/chatsvc.sock", "system": 'a "b" $c 100%'},
    {"api_keys_file": "keys.toml", "store_file": "store", "workers": "4"},
    {"backend": "local", "model": "model.gguf", "max_memory": "1GiB"},
    {"backend": "answers:answer", "admin_port": "9001"},
    {"ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"},
    {"uds": "/run/chat/a b/$c 100%.sock", "store_file": "/etc/a b $c 100%"},
    {"backend": "a:b", "app_dir": "a b $c 100%", "api_keys_file": "/etc/a 'b'"},
]


FORBID = """
import ctypes, os, sys
library = ctypes.CDLL(None)
library.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if library.prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE: no memory that is written becomes code
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A program that runs another one as under `NoNewPrivileges` and `MemoryDenyWriteExecute`."""

SERVE = ["-m", "chatsvc", "--port", "0", "--pace", "0"]


def unit(flags: dict[str, Any], folder: Path = Path("/srv/chat")) -> str:
    return deploy("systemd", flags, folder)


def settings_of(text: str) -> dict[str, str]:
    """The lines of [Service] by their names; of several with one name, the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser["Service"])


@pytest.mark.sampled
@pytest.mark.parametrize("flags", FLAGS)
def test_systemd_takes_the_unit(flags: dict[str, Any], tmp_path: Path) -> None:
    require("systemd-analyze")
    if "app_dir" in flags:
        flags = {**flags, "app_dir": str(tmp_path / flags["app_dir"])}
        Path(flags["app_dir"]).mkdir()
    file = tmp_path / "chatsvc.service"
    file.write_text(unit(flags, tmp_path))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file],
        capture_output=True,
        text=True,
        check=False,
    )
    # It also reads the units of the machine, of which it may say what it likes.
    own = [line for line in done.stderr.splitlines() if "chatsvc" in line]
    assert own == []
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--no-pager",
            "--offline=yes",
            f"--threshold={MOST_EXPOSED if not foreign(flags) else 35}",
            file,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def foreign(flags: dict[str, Any]) -> bool:
    return flags.get("backend", "echo") not in ("echo", "openai")


def test_what_follows_from_the_flags() -> None:
    plain = settings_of(unit({}))
    assert plain["Type"] == "notify"
    assert int(plain["TimeoutStopSec"]) > 10
    assert "ExecReload" not in plain
    assert "MemoryMax" not in plain
    assert plain["KillMode"] == "mixed"
    given = settings_of(
        unit({"drain": "100", "max_memory": "1GiB", "api_keys_file": "k", "port": "80"})
    )
    assert int(given["TimeoutStopSec"]) > 100
    assert given["MemoryMax"] == str(2 * 1024**3)
    assert given["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert given["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert "--api-keys-file /srv/chat/k" in given["ExecStart"]
    many = settings_of(unit({"max_readers": "100000", "max_replies": "50000"}))
    assert int(many["LimitNOFILE"]) == 1_048_576
    assert int(plain["LimitNOFILE"]) == 32_768
    secret = settings_of(unit({"store_file": "/etc/store"}))
    assert secret["LoadCredential"] == "store:/etc/store"
    assert secret["ExecStart"].endswith("--store-file %d/store")
    socket = settings_of(unit({"uds": "/run/chat/s.sock"}))
    assert socket["RuntimeDirectory"] == "chat"
    elsewhere = settings_of(unit({"uds": "/srv/chat/s.sock"}))
    assert elsewhere["ReadWritePaths"] == "/srv/chat"


def test_paths_are_written_as_each_line_reads_them(tmp_path: Path) -> None:
    odd = "a b $c 100%"
    folder = tmp_path / odd
    folder.mkdir()
    percents = str(folder).replace("%", "%%")
    lines = settings_of(
        unit(
            {
                "backend": "a:b",
                "app_dir": str(folder),
                "store_file": f"/etc/{odd}",
                "uds": f"/run/{odd}/s.sock",
                "program": f"/opt/{odd}/chatsvc",
            }
        )
    )
    # These two are all of their line, and know no quotes.
    assert lines["WorkingDirectory"] == percents
    assert lines["LoadCredential"] == "store:/etc/a b $c 100%%"
    # These are lists, and only the arguments of a command have variables.
    assert lines["RuntimeDirectory"] == '"a b $c 100%%"'
    program, words = lines["ExecStart"].split(" serve ")
    assert program == '"/opt/a b $c 100%%/chatsvc"'
    assert '--uds "/run/a b $$c 100%%/s.sock"' in words


def test_a_program_beside_is_named_from_the_root() -> None:
    for program, written in (
        ("bin/chatsvc", "/srv/chat/bin/chatsvc"),
        ("./chatsvc", "/srv/chat/chatsvc"),
        ("chatsvc", "chatsvc"),  # systemd looks for that
    ):
        line = settings_of(unit({"program": program}))["ExecStart"]
        assert line == f"{written} serve"


@pytest.mark.parametrize(
    ("socket", "name", "folder"),
    [
        ("/run/chat/deep/s.sock", "RuntimeDirectory", "chat/deep"),
        ("/var/run/chat/s.sock", "RuntimeDirectory", "chat"),
        ("/run/user/1000/s.sock", "ReadWritePaths", "/run/user/1000"),
        ("/home/ann/s.sock", "ReadWritePaths", "/home/ann"),
    ],
)
def test_the_folder_of_a_socket_is_there(socket: str, name: str, folder: str) -> None:
    text = unit({"uds": socket, "program": "/opt/chatsvc"})
    lines = settings_of(text)
    assert lines[name] == folder
    is_of_user = folder.startswith(("/run/user", "/home"))
    assert lines["ProtectHome"] == ("read-only" if is_of_user else "yes")
    assert (f"chown chatsvc {folder}\n" in text) is is_of_user


@pytest.mark.parametrize("folder", ["/run", "/var/run", "/tmp", "/var/tmp/a", ""])
def test_a_socket_that_nobody_would_see_is_refused(folder: str) -> None:
    with pytest.raises(BadSetting, match=r"^--uds .* /run/chatsvc/chatsvc\.sock$"):
        unit({"uds": f"{folder}/s.sock"})


def test_a_model_and_code_of_ones_own_may_compile_and_use_a_gpu() -> None:
    for backend in ("local", "answers:answer"):
        lines = settings_of(unit({"backend": backend, "max_memory": "1GiB"}))
        assert lines["MemoryDenyWriteExecute"] == lines["PrivateDevices"] == "no"
        assert ("MemoryMax" in lines) is (backend != "local")
    for backend in ("echo", "openai"):
        lines = settings_of(unit({"backend": backend}))
        assert lines["MemoryDenyWriteExecute"] == lines["PrivateDevices"] == "yes"


def test_what_lies_in_a_home_is_not_hidden() -> None:
    assert settings_of(unit({"program": "/opt/c/chatsvc"}))["ProtectHome"] == "yes"
    for flags in (
        {"program": "/home/ann/c/chatsvc"},
        {"program": "/opt/c/chatsvc", "model": "/root/m.gguf", "backend": "local"},
    ):
        assert settings_of(unit(flags))["ProtectHome"] == "read-only"


def test_the_service_works_without_memory_that_is_written_and_run(
    tmp_path: Path,
) -> None:
    """As under `MemoryDenyWriteExecute` and `NoNewPrivileges`: the stream, the page and the renderer."""
    service = subprocess.Popen(
        [sys.executable, "-c", FORBID, sys.executable, *SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    )
    with service:
        assert service.stdout is not None
        line = service.stdout.readline()
        if not line and service.wait(10) == 77:
            pytest.skip("this kernel has no PR_SET_MDWE")
        url = line.split()[-1]
        try:
            request = Request(
                f"{url}/api/chat",
                b'{"message": "**bold** `code`"}',
                {"Content-Type": "application/json"},
            )
            with urlopen(request, timeout=20) as answer:
                reply = answer.headers["X-Reply-Id"]
                assert answer.read().endswith(b"data: [DONE]\n\n")
            html = Request(f"{url}/api/chat/{reply}", headers={"Accept": "text/html"})
            with urlopen(html, timeout=30) as answer:
                assert "<strong>bold</strong>" in answer.read().decode()
        finally:
            service.terminate()
    assert service.returncode == 0


def test_the_program_is_the_one_that_prints_the_unit() -> None:
    program = re.findall(r"ExecStart=(\S+)", unit({}))[0]
    assert shutil.which(program) == program
