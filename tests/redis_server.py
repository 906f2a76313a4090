"""A real redis-server on a free port of the loopback, which tests can pause, kill and restart."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .loopback import held_port


class RedisServer:
    """One redis-server; `options` are more words of its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = held_port(self)
        self.options = options
        self.configuration: tuple[
            str, ...
        ] = ()  # a configuration file, and options that need it
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return self.database(0)

    @property
    def admin_url(self) -> str:
        """The URL of database 0 for the user who may do everything."""
        return f"redis://127.0.0.1:{self.port}/0"

    def database(self, number: int) -> str:
        """Return the URL of one of the databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def allow(self, command: str) -> None:
        """Run a `redis-cli …` command line of a shell on this server, as its administrator."""
        shell = command.replace("redis-cli ", f"redis-cli -p {self.port} ")
        done = subprocess.run(
            ["bash", "-euc", shell], capture_output=True, check=True, text=True
        )
        if done.stdout.strip() != "OK":
            raise RuntimeError(done.stdout)

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `RuntimeError` when it does not."""
        words = [
            "redis-server",
            *self.configuration,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
        ]
        words += ["--dir", str(self.folder), "--save", "", *self.options]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server does not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def send(self, sign: signal.Signals) -> None:
        """Send the server a signal. SIGSTOP pauses it, and SIGCONT lets it go on."""
        if self._process is not None:
            os.kill(self._process.pid, sign)

    def stop(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End the server, by default as a crash would, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(sign)
            self._process.wait()
            self._process = None


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a redis-server while the context lasts; the arguments are those of `RedisServer`."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
