"""A real nginx on the loopback."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .proxy_server import ProxyServer

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


class NginxServer(ProxyServer):
    """An nginx: `http` is the content of its http block, which must listen on `port`."""

    def __init__(self, folder: Path, port: int, http: str) -> None:
        config = folder / "nginx.conf"
        config.write_text(AROUND.format(folder=folder, http=http))
        words = ["nginx", "-c", str(config), "-p", str(folder)]
        super().__init__(port, words, folder / "stderr.log")


def check_nginx_config(config: str, folder: Path) -> str:
    """Return what nginx says of a whole configuration that it takes; assert that it does."""
    file = folder / "nginx.conf"
    file.write_text(config)
    done = subprocess.run(
        ["nginx", "-t", "-c", file, "-p", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
