"""A real proxy server on the loopback: how one is started, and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

START_TIMEOUT_S = 20.0


class ProxyServer:
    """The proxy that the command line `words` runs, which must listen on `port`.

    What it says before it listens is in `log`. `environment` has more variables for it.
    """

    def __init__(
        self,
        port: int,
        words: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._port = port
        self._words = words
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens. Raises `RuntimeError` when it does not."""
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._words, stdout=out, stderr=out, env=self._environment
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                said = self._log.read_text()
                raise RuntimeError(f"{self._words[0]} does not start: {said}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
