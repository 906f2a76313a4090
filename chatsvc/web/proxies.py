"""What the proxies in front of the service say of a client, where they are trusted.

They say by which scheme they were asked, from which address, below which path (PROTOCOL.md section
2), and perhaps by which user.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from aiohttp import hdrs, web
from multidict import CIMultiDict

from chatsvc.host_names import UNIX, Address, address_of, normal_network
from chatsvc.problems import BadRequest, Unauthorized
from chatsvc.settings import BadSetting, flag
from chatsvc.web.app_keys import CLIENT
from chatsvc.web.forwarded import forwarded, x_forwarded_for

logger = logging.getLogger("chatsvc.web")

FORWARDED_PROTO = "X-Forwarded-Proto"
"""The header in which a proxy says by which scheme it was asked; each on the way may add its own."""

FORWARDED_FOR = hdrs.X_FORWARDED_FOR
"""The header in which each proxy on the way adds the address that it was asked from."""

FORWARDED_PREFIX = "X-Forwarded-Prefix"
"""The header in which a proxy says which beginning of the path it has taken away."""

TLS_SCHEMES = {"https", "wss"}
"""The schemes that stand for TLS. Some proxies write `wss` for a WebSocket."""

MAX_USER_CHARACTERS = 256
"""The characters that a user's name from a proxy may have: an address of mail has at most 254."""

KNOWN_PEERS = 256
"""The other ends of connections whose trust is remembered: to parse an address takes 2 µs."""

# It becomes the path of a cookie, in which a semicolon would begin another attribute.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_.~-]+)*/?", re.ASCII)
_HARMFUL_CATEGORIES = {"Cc", "Zl", "Zp"}  # control characters, and ends of lines


class _Peer(NamedTuple):
    """The other end of a connection; `address` is empty for a Unix socket."""

    address: str
    trusted: bool


class TrustedProxies:
    """The proxies whose headers about a client are believed: those of some networks.

    `networks` are in CIDR notation; `unix` stands for the other end of every Unix socket, which has
    no address. `user_header` is the header in which the proxies name the user that a request is
    from; empty if they name none.

    Raises `BadSetting` for a network that is malformed, and for a `user_header` without networks.
    """

    def __init__(self, networks: Iterable[str], user_header: str = "") -> None:
        networks = set(networks)
        self._unix = UNIX in networks
        try:
            self._networks = tuple(
                ipaddress.ip_network(normal_network(text)) for text in networks - {UNIX}
            )
        except ValueError as error:
            raise BadSetting(f"{flag('trusted_proxy')}: {error}") from None
        if user_header and not networks:
            raise BadSetting(
                f"{flag('user_header')} needs a {flag('trusted_proxy')}: from nobody else a user's "
                "name is believed"
            )
        self.user_header = user_header
        self._none = not networks
        self._telling = tuple(
            filter(None, (FORWARDED_FOR, hdrs.FORWARDED, user_header))
        )
        self._warned: set[str] = set()
        self._peer = lru_cache(KNOWN_PEERS)(self._peer_at)

    def trusts(self, address: Address) -> bool:
        """Return whether an address is that of a trusted proxy."""
        return any(address in network for network in self._networks)

    def _peer_at(self, remote: str | None) -> _Peer:
        """Return the other end of a connection by its address, or the name of its Unix socket."""
        try:
            address = address_of(remote or "")
        except ValueError:
            return _Peer("", self._unix and remote is not None)
        return _Peer(str(address), self.trusts(address))

    def is_trusted(self, remote: str | None) -> bool:
        """Return whether the other end of a connection, as `request.remote` has it, is a proxy."""
        return not self._none and self._peer(remote).trusted

    def sent(self, request: web.BaseRequest) -> bool:
        """Return whether a trusted proxy has sent a request."""
        return self.is_trusted(request.remote)

    def came_by_tls(self, request: web.Request) -> bool:
        """Return whether a client's request came by TLS, to this service or to a trusted proxy.

        Where several proxies say how they were asked, it is enough that one was asked by TLS.
        """
        if request.secure:
            return True
        if not self.sent(request):
            return False
        said = ",".join(request.headers.getall(FORWARDED_PROTO, ())).lower()
        return not TLS_SCHEMES.isdisjoint(map(str.strip, said.split(",")))

    def path_prefix(self, request: web.BaseRequest) -> str:
        """Return the beginning of the path that trusted proxies have taken away, as `/chat`.

        Where several have taken something away, each has added a line or an element, the outermost
        first. "" where none has, and where what they say is no path.
        """
        if FORWARDED_PREFIX not in request.headers or not self.sent(request):
            return ""
        said = ",".join(request.headers.getall(FORWARDED_PREFIX)).split(",")
        parts = [part.strip() for part in said]
        if not all(map(_PREFIX.fullmatch, parts)):
            return ""
        return "".join(part.rstrip("/") for part in parts)

    def client_address(self, request: web.BaseRequest) -> str:
        """Return the IP address of the client that a request is from; "" if it is not known.

        That is the other end of the connection, unless a trusted proxy is there. Then it is the
        last address in `X-Forwarded-For` or `Forwarded` that is not a trusted proxy's itself, or
        the first of all if they all are. Where a proxy names no address, it is that proxy's own:
        what stands before has perhaps been written by the client. An IPv4 address within an IPv6
        one is that IPv4 address.

        A proxy writes one of both headers, and most pass the other on as the client has sent it.
        Which one that is can't be seen, so where both are there and differ, neither is believed:
        the address is that of the proxy, which all who forge such a header then share.

        It is found out once for each request. The first request with such headers from an address
        that is not trusted is a warning in the log, and so is the first where both differ.
        """
        try:
            return request[CLIENT]
        except KeyError:
            return self.name_client(request)

    def name_client(self, request: web.BaseRequest) -> str:
        """Return what `client_address` returns for a request that it was not called for."""
        found = request[CLIENT] = self._client_address(request)
        return found

    def _client_address(self, request: web.BaseRequest) -> str:
        peer, headers = self._peer(request.remote), request.headers
        if not peer.trusted:
            for name in self._telling:
                if name in headers:
                    self._warn_of_stranger(name, peer)
            return peer.address
        clients = {
            self._client_of(hops(",".join(headers.getall(name))), peer)
            for name, hops in (
                (FORWARDED_FOR, x_forwarded_for),
                (hdrs.FORWARDED, forwarded),
            )
            if any(value.strip(" \t,;") for value in headers.getall(name, ()))
        }
        if len(clients) > 1:
            self._warn_once(
                "two headers",
                f"{FORWARDED_FOR} and {hdrs.FORWARDED} name different clients, so neither is "
                "believed: the proxy must remove the one that it doesn't write",
            )
            return peer.address
        return clients.pop() if clients else peer.address

    def _client_of(self, hops: Iterator[Address | None], peer: _Peer) -> str:
        """Return the client's address by those that a trusted proxy names, the nearest first."""
        client = peer.address
        for address in hops:
            if address is None:
                break
            client = str(address)
            if not self.trusts(address):
                break
        return client

    def _warn_of_stranger(self, header: str, peer: _Peer) -> None:
        place = peer.address or UNIX
        self._warn_once(
            "stranger",
            f"a request with {header} came from {place}, which is not trusted: if that is your "
            f"proxy, {flag('trusted_proxy')} {place} lets the service know its clients apart",
        )

    def _warn_once(self, kind: str, words: str) -> None:
        """Log a warning, the first time for its kind: clients could fill the log with it."""
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning(words)

    def user_of(self, request: web.Request) -> str:
        """Return the name of the user that a trusted proxy says a request is from.

        Raises `Unauthorized` when no trusted proxy has sent the request, or it names nobody, and
        `BadRequest` for a name that is none: several lines, which may be the client's and the
        proxy's, and what is not UTF-8, longer than `MAX_USER_CHARACTERS` or has control characters.
        """
        if not self.sent(request):
            raise Unauthorized(
                "This service knows its users from a proxy, and the request has not come from there."
            )
        header = self.user_header
        values = request.headers.getall(header, [])
        if not any(map(str.strip, values)):
            raise Unauthorized(f"The proxy has named no user in {header}.")
        if len(values) > 1:
            raise BadRequest(f"{header} must be one line.")
        try:
            name = values[0].encode("utf-8", "surrogateescape").decode().strip()
        except UnicodeError:
            raise BadRequest(f"{header} must be UTF-8.") from None
        if len(name) > MAX_USER_CHARACTERS:
            raise BadRequest(f"{header} may have {MAX_USER_CHARACTERS} characters.")
        if not _HARMFUL_CATEGORIES.isdisjoint(map(unicodedata.category, name)):
            raise BadRequest(f"{header} may have no control characters.")
        return name

    def hides(self, header: str, request: web.BaseRequest) -> bool:
        """Return whether a header of a request is hidden: it names a user, and no proxy sent it."""
        return (
            bool(self.user_header)
            and header.lower() == self.user_header.lower()
            and not self.sent(request)
        )

    def without_hidden(self, request: web.Request) -> web.Request:
        """Return a request without the header that it hides; the same one where there is none.

        Another one has a state of its own: it takes over that of `request`.
        """
        header = self.user_header
        if header not in request.headers or not self.hides(header, request):
            return request
        kept = CIMultiDict(
            # aiohttp encodes them again, as strict UTF-8.
            (name, value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            for name, value in request.headers.items()
            if not self.hides(name, request)
        )
        return request.clone(headers=kept)


PROXIES = web.AppKey("proxies", TrustedProxies)
"""The key of the application's trusted proxies."""
