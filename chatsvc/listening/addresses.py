"""The TCP addresses that the service listens on.

Invariants:

- A socket of IPv6 takes IPv6 alone, whatever the system's default is: all addresses of both
  families are two sockets. Only that of the admin port is one for both.
- All addresses have the same port, also where the system has picked it.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from chatsvc.setting_formats import without_password

BACKLOG = 4096
"""The connections that may wait to be accepted: all clients reconnect at once after a restart."""

ACCEPTED_PER_TURN = 4
"""The connections of one socket that are accepted in one turn of the event loop, under uvloop.

By itself uvloop accepts one, and between two turns the streams that run take up to 3 ms when they are
behind: a crowd of new streams would get a fifth of the processor. With four both get about half.
"""

PORT_ATTEMPTS = 20
"""How often a port is picked until it is free on all addresses."""

ANY_IPV4 = "0.0.0.0"
"""The address that stands for all addresses of IPv4."""

ANY_IPV6 = "::"
"""The address that stands for all addresses of IPv6."""

_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""The errors of an address that the machine doesn't have, as where IPv6 is switched off."""


class CannotListen(OSError):
    """The error of a place that the service can't listen on; `cause` is why it can't."""

    def __init__(self, place: str, cause: OSError | UnicodeError) -> None:
        reason = getattr(cause, "strerror", None) or cause
        super().__init__(f"can't listen on {without_password(place)}: {reason}")
        self.cause = cause


class Address(NamedTuple):
    """An address of a TCP socket: what `socket.bind` takes, and its family."""

    family: socket.AddressFamily
    name: tuple[Any, ...]

    @property
    def place(self) -> str:
        """Its host and port, as they stand in a URL: `[::1]:3000`."""
        return place_of(*self.name[:2])

    def at(self, port: int) -> Address:
        """Return the address with another port."""
        return Address(self.family, (self.name[0], port, *self.name[2:]))


def place_of(host: str, port: int) -> str:
    """Return a host and a port as they stand in a URL: `[::1]:3000`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(bound: socket.socket) -> Address:
    """Return the address that a socket is bound to."""
    return Address(bound.family, bound.getsockname())


def find_addresses(hosts: Iterable[str], port: int) -> list[list[Address]]:
    """Return the addresses that each of `hosts` stands for; no address comes twice.

    "" stands for all addresses of the machine, and so does `::`, unless another of the hosts is of
    IPv4: then it is all of IPv6. A name stands for all that it has. What an address for all of a
    family covers is left out.

    Raises `CannotListen` for a host that is no address and has none.
    """
    found = [_lookup(host, port) for host in hosts]
    any_ipv4 = Address(socket.AF_INET, (ANY_IPV4, port))
    if not any(each.family == socket.AF_INET for group in found for each in group):
        for group in found:
            if any(_is_wildcard(each) for each in group):
                group.append(any_ipv4)
                break
    covered = {each.family for group in found for each in group if _is_wildcard(each)}
    seen: set[Address] = set()
    kept: list[list[Address]] = []
    for group in found:
        kept.append([])
        for each in group:
            if each not in seen and (each.family not in covered or _is_wildcard(each)):
                seen.add(each)
                kept[-1].append(each)
    return [group for group in kept if group]


def _lookup(host: str, port: int) -> list[Address]:
    if not host:
        # In this order, the first line of the command names an address that all clients have.
        return [*_lookup(ANY_IPV4, port), *_lookup(ANY_IPV6, port)]
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise CannotListen(place_of(host, port), error) from None
    return [Address(family, name) for family, *_, name in found]


def _is_wildcard(address: Address) -> bool:
    with suppress(ValueError):  # a zone may be none that Python knows
        return ipaddress.ip_address(address.name[0]).is_unspecified
    return False


def bind_addresses(
    hosts: Sequence[str], port: int, *, shared: bool = False
) -> list[socket.socket]:
    """Return a socket for each address of `hosts`, bound to the same port and not yet listening.

    With `shared`, workers can bind more sockets to these addresses (`bind_worker`). An address that
    the machine doesn't have is left out where its host stands for another one as well.

    Raises `CannotListen`.
    """
    groups = find_addresses(hosts, port)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        try:
            return _bind_all(groups, port, shared)
        except CannotListen as error:
            taken = getattr(error.cause, "errno", None) == errno.EADDRINUSE
            if port or not taken or attempt == PORT_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_all(
    groups: list[list[Address]], port: int, shared: bool
) -> list[socket.socket]:
    bound: list[socket.socket] = []
    try:
        for group in groups:
            before = len(bound)
            for number, address in enumerate(group, 1):
                try:
                    bound.append(_bind(address.at(port), shared))
                except CannotListen as error:
                    absent = getattr(error.cause, "errno", None) in _ABSENT
                    is_last = number == len(group)
                    if not absent or (is_last and len(bound) == before):
                        raise
                    continue
                port = bound[-1].getsockname()[1]
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


def accepting(
    listening: socket.socket, loop: asyncio.AbstractEventLoop
) -> list[socket.socket]:
    """Return a socket as often as it is to be accepted from in one turn of the event loop.

    They are the socket itself and, for uvloop, which accepts one connection of each, copies that
    share its queue. asyncio's own loops accept all that wait. Raises `OSError`.
    """
    found = [listening]
    if type(loop).__module__.startswith("uvloop"):
        found += [listening.dup() for _ in range(1, ACCEPTED_PER_TURN)]
    return found


def _bind(address: Address, shared: bool) -> socket.socket:
    try:
        if shared:
            # SO_REUSEPORT would let this service share the port with another one that sets it as
            # well. A first bind without it fails when there is one.
            _bound(address, reuse_port=False).close()
        return _bound(address, reuse_port=shared)
    except OSError as error:
        raise CannotListen(address.place, error) from None


def bind_worker(address: Address) -> socket.socket:
    """Return one more socket for an address that `bind_addresses` has bound with `shared`.

    Raises `CannotListen`.
    """
    try:
        return _bound(address, reuse_port=True)
    except OSError as error:
        raise CannotListen(address.place, error) from None


def _bound(address: Address, *, reuse_port: bool, both: bool = False) -> socket.socket:
    """Return a socket that is bound; with `both`, one of IPv6 takes IPv4 as well."""
    bound = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        bound.bind(address.name)
    except BaseException:
        bound.close()
        raise
    return bound


def listen_for_admin(address: tuple[str, int] | None) -> socket.socket | None:
    """Return a socket that listens on the admin port at `address`, a host and a port.

    Return None when there is none. At `::` it takes IPv4, too.

    Raises `CannotListen`.
    """
    if address is None:
        return None
    first = _lookup(*address)[0]
    try:
        listening = _bound(first, reuse_port=False, both=_is_wildcard(first))
        try:
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise CannotListen(first.place, error) from None
    return listening
