"""The settings of addresses and of the way to them.

It holds the group "Address". Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    ADDRESS,
    HOST,
    NETWORK,
    PORT,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True)
class AddressSettings:
    """Where the service listens, and under which names it is reached."""

    group: ClassVar[str] = "Address"

    host: str = setting(
        "127.0.0.1", text_format("ADDRESS", "an address"), "the address to listen on"
    )
    port: int = setting(3000, PORT, "the port to listen on; 0 picks one")
    admin_port: tuple[str, int] | None = setting(
        None,
        ADDRESS,
        "the port for /metrics; it is on 127.0.0.1, or as in 0.0.0.0:9000",
    )
    allow_host: tuple[str, ...] = setting(
        (), HOST, "another host that the service answers; repeatable"
    )
    trusted_proxy: tuple[str, ...] = setting(
        (), NETWORK, "proxies that are believed what they say of clients; repeatable"
    )
