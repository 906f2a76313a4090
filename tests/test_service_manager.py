"""What the service tells systemd, over the socket that systemd names (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsvc.service_manager import ServiceManager
from tests.redis_server import RedisServer


class Manager:
    """A service manager: the socket where it takes notifications."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        path = str(folder / "notify")
        self.address = f"@{path}" if abstract else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{path}" if abstract else path)
        self._socket.settimeout(30)

    def told(self) -> str:
        """The next notification."""
        return self._socket.recv(4096).decode()

    def told_beside_beats(self) -> str:
        """The next one that is no sign of life."""
        while (told := self.told()) == "WATCHDOG=1":
            pass
        return told

    def has_been_told_nothing(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def manager(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Manager]:
    manager = Manager(tmp_path, abstract=request.param)
    yield manager
    manager.close()


def test_the_states(manager: Manager) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": manager.address})
    service.ready()
    assert manager.told() == "READY=1"
    before = time.monotonic_ns() // 1000
    service.reloading()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.told())
    assert found is not None
    assert before <= int(found[1]) <= time.monotonic_ns() // 1000
    service.stopping()
    assert manager.told() == "STOPPING=1"
    service.beat()
    assert manager.has_been_told_nothing()


def test_programs_that_are_started_do_not_get_the_variables() -> None:
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    environment = {**dict.fromkeys(names, "1"), "PATH": "/bin"}
    ServiceManager(environment)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("variables", "beat_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getppid())}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_when_a_sign_of_life_is_wanted(
    variables: dict[str, str], beat_s: float | None
) -> None:
    named = ServiceManager({"NOTIFY_SOCKET": "/run/notify", **variables})
    assert named.beat_s == beat_s
    assert ServiceManager(variables).beat_s is None


def test_signs_of_life_are_no_more_than_are_wanted(manager: Manager) -> None:
    service = ServiceManager(
        {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "86400000000"}
    )
    for _ in range(3):
        service.beat()
    assert manager.told() == "WATCHDOG=1"
    assert manager.has_been_told_nothing()


async def test_signs_of_life_go_on(manager: Manager) -> None:
    service = ServiceManager(
        {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000"}
    )
    beating = asyncio.create_task(service.keep_beating())
    for _ in range(3):
        assert await asyncio.to_thread(manager.told) == "WATCHDOG=1"
    beating.cancel()
    # Without a watchdog nothing is waited for.
    await ServiceManager({}).keep_beating()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_other_addresses_are_none(address: str) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}).ready()


def test_a_manager_that_is_gone_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready()
    assert "can't be reached" in caplog.text


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_tells_it_all(
    workers: int, tmp_path: Path, redis_server: RedisServer
) -> None:
    manager = Manager(tmp_path)
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nname = "ann"\nsha256 = "{"0" * 64}"\n')
    words = ["--port", "0", "--api-keys-file", str(keys), "--workers", str(workers)]
    if workers > 1:
        words += ["--store", redis_server.database(15)]
    service = subprocess.Popen(
        [sys.executable, "-m", "chatsvc", *words],
        env={
            **os.environ,
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": "1000000",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with service:
        assert service.stdout is not None
        try:
            assert manager.told_beside_beats() == "READY=1"
            # It is said once, and by the main process, when the address is out.
            assert service.stdout.readline().startswith("chatsvc is running on ")
            assert manager.told() == "WATCHDOG=1"
            for content in (keys.read_text(), "a mistake"):
                keys.write_text(content)
                service.send_signal(signal.SIGHUP)
                assert manager.told_beside_beats().startswith("RELOADING=1\n")
                assert manager.told_beside_beats() == "READY=1"
            service.send_signal(signal.SIGTERM)
            assert manager.told_beside_beats() == "STOPPING=1"
            assert service.wait(30) == 0
        finally:
            service.kill()
            manager.close()
