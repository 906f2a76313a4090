"""What the proxies in front of the service say of a client, where they are trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiohttp import web

from chatsvc.host_names import Address, address_of
from chatsvc.settings import BadSetting, flag

FORWARDED_PROTO = "X-Forwarded-Proto"
"""The header in which a proxy says by which scheme it was asked; each on the way may add its own."""

TLS_SCHEMES = {"https", "wss"}
"""The schemes that stand for TLS. Some proxies write `wss` for a WebSocket."""


class TrustedProxies:
    """The proxies whose headers about a client are believed: those of some networks.

    `networks` are in CIDR notation. Raises `BadSetting` for one that is malformed. The other end of
    a Unix socket has no address, so it is not among them.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            self._networks = tuple(map(ipaddress.ip_network, networks))
        except ValueError as error:
            raise BadSetting(f"{flag('trusted_proxy')}: {error}") from None

    def trusts(self, address: Address) -> bool:
        """Return whether an address is that of a trusted proxy."""
        return any(address in network for network in self._networks)

    def came_by_tls(self, request: web.Request) -> bool:
        """Return whether a client's request came by TLS, to this service or to a trusted proxy.

        Where several proxies say how they were asked, it is enough that one was asked by TLS.
        """
        if request.secure:
            return True
        if not self._networks:
            return False
        peer = request.get_extra_info("peername")
        if not isinstance(peer, tuple) or not self.trusts(address_of(peer[0])):
            return False
        said = ",".join(request.headers.getall(FORWARDED_PROTO, ())).lower()
        return not TLS_SCHEMES.isdisjoint(map(str.strip, said.split(",")))


PROXIES = web.AppKey("proxies", TrustedProxies)
"""The key of the application's trusted proxies."""
