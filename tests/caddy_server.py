"""A real Caddy on the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path


class CaddyServer:
    """A Caddy with the Caddyfile `content`, which must listen on `port` of the loopback."""

    def __init__(self, folder: Path, port: int, content: str) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._folder = folder
        self._port = port
        self._config = folder / "Caddyfile"
        # Its API would listen on a fixed port.
        self._config.write_text(f"{{\n\tadmin off\n}}\n{content}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start Caddy and wait until it listens. Raises `RuntimeError` when it does not."""
        program = shutil.which("caddy") or "caddy"
        words = [
            program,
            "run",
            "--config",
            str(self._config),
            "--adapter",
            "caddyfile",
        ]
        home = str(self._folder)
        environment = {**os.environ, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
        log = self._folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                words, stdout=out, stderr=out, env=environment
            )
        deadline = time.monotonic() + 20
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise RuntimeError(f"Caddy does not start: {log.read_text()}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """Stop Caddy and wait until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
