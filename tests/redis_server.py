"""A real redis-server on a free port of the loopback, with its append-only file, to be paused, killed and restarted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from .loopback import free_port


class RedisServer:
    """One server; `options` are words of its configuration, as on its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.options = options
        self.configuration: tuple[str, ...] = ()  # a file, and what goes with it
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return self.database(0)

    def database(self, number: int) -> str:
        """The address of one of its databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
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
        """Send a signal: SIGSTOP and SIGCONT pause it."""
        if self._process is not None:
            os.kill(self._process.pid, sign)

    def stop(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(sign)
            self._process.wait()
            self._process = None
