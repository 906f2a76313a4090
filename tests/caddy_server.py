"""A real Caddy on the loopback."""

from __future__ import annotations

from pathlib import Path

from .proxy_server import ProxyServer


class CaddyServer(ProxyServer):
    """A Caddy with the Caddyfile `content`, which must listen on `port` of the loopback."""

    def __init__(self, folder: Path, port: int, content: str) -> None:
        config = folder / "Caddyfile"
        # Its API would listen on a fixed port.
        config.write_text(f"{{\n\tadmin off\n}}\n{content}")
        words = ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
        homes = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
        super().__init__(port, words, folder / "log", homes)
