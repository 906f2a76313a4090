"""The servers as processes: each is started for one run and ended after it, whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .machine import Cores


class Failed(Exception):
    """A run without a result; the message is the reason."""


@dataclass(frozen=True)
class Server:
    """A server that can be measured: its command, and how the load generator is to ask it.

    In the words of the command, `{port}`, `{pace}` (milliseconds) and `{seconds}` (the same pace in
    seconds) are replaced by their values.
    """

    name: str
    command: tuple[str, ...]
    path: str | None = None
    options: tuple[str, ...] = ()  # more options for the load generator
    needs: str | None = None  # the part of the kit that it needs
    node: str | None = None  # the Node that runs it
    environment: dict[str, str] = field(default_factory=dict)

    def named(self, name: str, *flags: str) -> "Server":
        """Return the same server under another name, with more flags."""
        return replace(self, name=name, command=(*self.command, *flags))

    def filled(self, **values: str) -> "Server":
        """Return the same server with more values in its command, `{name}` by `name`."""
        words = []
        for word in self.command:
            for name, value in values.items():
                word = word.replace(f"{{{name}}}", value)
            words.append(word)
        return replace(self, command=tuple(words))

    def at(self, path: str, *options: str) -> "Server":
        """Return the same server asked at another path, with these options instead of its own."""
        return replace(self, path=path, options=options)

    def with_options(self, *options: str) -> "Server":
        """Return the same server with more options for the load generator."""
        return replace(self, options=(*self.options, *options))


def family(leader: int) -> list[int]:
    """Return the ids of the living processes of a session: its leader and their descendants."""
    pids = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            stat = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            state, _parent, _group, session = stat[:4]
            if int(session) == leader and state not in "ZX":
                pids.append(int(entry.name))
    return pids


def _end(leader: subprocess.Popen[bytes]) -> None:
    for sign in signal.SIGTERM, signal.SIGKILL:
        for pid in family(leader.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        deadline = time.monotonic() + 5
        while family(leader.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    leader.wait()  # Last: until it is reaped, no other process can get its id.


def resident_kib(pids: Iterable[int]) -> int:
    """Return the resident memory of processes in KiB; a shared page counts for each of them."""
    page, total = os.sysconf("SC_PAGE_SIZE") // 1024, 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
    return total


def free_port() -> int:
    """Return a port of the loopback on which nothing listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def _is_open(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 1),
    ):
        return True
    return False


def wait_for_listeners(port: int, count: int) -> None:
    """Wait until so many sockets listen on a port: one for each worker that shares it.

    Raises `Failed` when they don't within 30 seconds.
    """
    deadline = time.monotonic() + 30
    while (found := listeners(port)) < count:
        if time.monotonic() > deadline:
            raise Failed(f"{found} of {count} workers listen")
        time.sleep(0.05)


def listeners(port: int) -> int:
    """Return how many sockets listen on a port of IPv4."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    listen = "0A"  # as the kernel numbers the states
    return sum(f[1].endswith(f":{port:04X}") and f[3] == listen for f in lines[1:])


def _fill(word: str, port: int, pace_ms: int) -> str:
    for name, value in {
        "{port}": str(port),
        "{pace}": str(pace_ms),
        "{seconds}": f"{pace_ms / 1000:g}",
    }.items():
        word = word.replace(name, value)
    return word


@contextlib.contextmanager
def started(
    server: Server, pace_ms: int, cores: Cores, limit_s: int, core: int | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Run a server until the block ends; yield its port and its process ids.

    The server also ends after `limit_s` seconds, for the case that this process is killed. Raises
    `Failed` when the server does not listen within 30 seconds.
    """
    port = free_port()
    command = [_fill(word, port, pace_ms) for word in server.command]
    placed = cores.place(cores.server if core is None else core, *command)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["timeout", "-k", "5", str(limit_s), *placed],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **server.environment},
        )
        try:
            deadline = time.monotonic() + 30
            while not _is_open(port) and time.monotonic() < deadline:
                if not family(process.pid):
                    break
                time.sleep(0.05)
            time.sleep(0.3)  # Some servers start their workers after they listen.
            pids = family(process.pid)
            if not pids or not _is_open(port):
                log.seek(0)
                said = log.read().decode(errors="replace").strip()[-600:]
                raise Failed(f"did not listen: {said}")
            yield port, pids
        finally:
            _end(process)
