"""A real nginx on the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

AROUND = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {http}
}}
"""


class NginxServer:
    """An nginx: `http` is the content of its http block, which must listen on `port`."""

    def __init__(self, folder: Path, port: int, http: str) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._folder = folder
        self._port = port
        self._config = folder / "nginx.conf"
        self._config.write_text(AROUND.format(folder=folder, http=http))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start nginx and wait until it listens. Raises `RuntimeError` when it does not."""
        program = shutil.which("nginx") or "nginx"
        words = [program, "-c", str(self._config), "-p", str(self._folder)]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                log = self._folder / "error.log"
                said = log.read_text() if log.exists() else ""
                raise RuntimeError(f"nginx does not start: {said}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """Stop nginx and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
