"""The settings of addresses and of the way to them.

It holds the group "Address".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    ADDRESS,
    HOST,
    MODE,
    NETWORK,
    PATH,
    PORT,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class AddressSettings:
    """Where the service listens, and under which names it is reached."""

    group: ClassVar[str] = "Address"

    host: tuple[str, ...] = setting(
        (),
        text_format("HOST", "an address"),
        "an address; :: is all, IPv4 too; repeatable",
        shown="127.0.0.1",
        takes_empty=True,
    )
    port: int = setting(3000, PORT, "the port of these addresses; 0 picks a free one")
    uds: str = setting(
        "", PATH, "a Unix socket to listen on; without --host there alone"
    )
    uds_mode: int = setting(0o660, MODE, "the permissions of its file")
    ssl_certfile: str = setting(
        "", PATH, "serve https with the certificates in this PEM file"
    )
    ssl_keyfile: str = setting(
        "", PATH, "the file of the private key, if the other doesn't hold it"
    )
    admin_port: tuple[str, int] | None = setting(
        None, ADDRESS, "the port for /metrics, on 127.0.0.1 or HOST"
    )
    allow_host: tuple[str, ...] = setting(
        (), HOST, "another host that the service answers; repeatable"
    )
    trusted_proxy: tuple[str, ...] = setting(
        (), NETWORK, "proxies that are believed what they say of clients; repeatable"
    )

    def __post_init__(self) -> None:
        """Take a text for the only one of the addresses: `Settings(host="::1")`."""
        if isinstance(self.host, str):
            object.__setattr__(self, "host", (self.host,))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses to listen on; none where `uds` alone says where, "" for all there are."""
        return self.host or (() if self.uds else ("127.0.0.1",))
