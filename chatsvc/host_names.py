"""Names and addresses of hosts in the one form in which they are compared.

The sources of these texts are the header `Host` (RFC 9110 section 7.2), sockets and settings. A
name is in lower case, without the dot of the root at its end, and international labels are in
their ASCII form (RFC 5890). An address is as `ipaddress` writes it, without brackets and without a
zone; an IPv4 address within an IPv6 one (RFC 4291 section 2.5.5.2) is that IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

MAX_NAME_CHARACTERS = 255
"""The characters that a host's name may have (RFC 1035 section 2.3.4)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
"""An IP address of either version."""

UNIX = "unix"
"""The word among networks for the other ends of Unix sockets, which have no address."""

CLIENT_PREFIX_BITS = 64
"""The bits of an IPv6 address that one client's addresses have in common.

A network of that size is the least that a provider gives to a customer (RFC 6177, RFC 7934): who
has one has 2^64 addresses.
"""

KNOWN_CLIENTS = 1024
"""The clients whose networks are remembered: to find that of an IPv6 address takes 20 µs."""

# Underscores stand in the names of containers and services.
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?")


def address_of(text: str) -> Address:
    """Return the IP address that a text is, without its zone. Raises `ValueError` when it is none.

    The address is IPv4 where an IPv6 socket has accepted an IPv4 connection.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def is_loopback_host(host: str) -> bool:
    """Return whether a host is the machine itself, by its name or address in the form of this module.

    Clients resolve `localhost` and the names below it to the loopback interface by themselves
    (RFC 6761 section 6.3).
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return address_of(host).is_loopback
    except ValueError:
        return False


@lru_cache(KNOWN_CLIENTS)
def client_network(address: str) -> str:
    """Return all addresses of the client that has `address`, in CIDR notation if they are several.

    They are one IPv4 address, or the network of an IPv6 address with `CLIENT_PREFIX_BITS`. What is
    no address is returned unchanged.
    """
    if ":" not in address:
        return address
    try:
        parsed = address_of(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed), CLIENT_PREFIX_BITS), strict=False))


def normal_host(text: str) -> str:
    """Return a host's name or address in the form of this module. Raises `ValueError`.

    An IPv6 address may stand in brackets, as URLs have it.
    """
    if len(text) > MAX_NAME_CHARACTERS:
        raise ValueError("the name is too long")
    if text.startswith("[") and text.endswith("]"):
        return str(address_of(str(ipaddress.IPv6Address(text[1:-1]))))
    try:
        return str(address_of(text))
    except ValueError:
        name = text.removesuffix(".").encode("idna").decode().lower()
    if not _NAME.fullmatch(name):
        raise ValueError("this is no name of a host")
    return name


def host_of(authority: str) -> str:
    """Return the host that the value of a `Host` header names, without its port.

    Raises `ValueError` when the value is malformed or names none.
    """
    matched = _WITH_PORT.fullmatch(authority)
    if matched is None or not authority.isascii():
        raise ValueError("this is no host with or without a port")
    return normal_host(matched[1])


def normal_network(text: str) -> str:
    """Return an IP network in CIDR notation (RFC 4632), also of a single address.

    A network of IPv4 addresses within IPv6 ones is that IPv4 network, as `address_of` has them.
    Raises `ValueError` when `text` is no network, or has bits set behind its prefix.
    """
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return f"{mapped}/{network.prefixlen - 96}"
    return str(network)
