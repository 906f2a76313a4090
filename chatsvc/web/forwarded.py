"""The addresses that proxies have written into `X-Forwarded-For` and `Forwarded` (RFC 7239).

Each proxy on the way appends the address that it was asked from, so the last address is the one
that the nearest proxy has written, and the first may be anything: the client sends what it likes.
Both headers are therefore read from the right.

Invariants:

- Nothing raises, whatever a header holds, and nothing takes longer than linear time.
- What stands further left changes nothing about an address that is yielded: an open quote, which
  the client sends, does not swallow what a proxy appends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatsvc.host_names import Address, address_of

MAX_HOPS = 16
"""The elements of a header that are read. No request passes that many proxies."""

MAX_ELEMENT_CHARACTERS = 512
"""The characters that an element of `Forwarded` may have: a proxy writes fewer than 200."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
# [RFC 7239, 4] `:` and brackets have to be quoted. Many configurations forget that, and what they
# write can't be mistaken.
_PAIR = re.compile(
    rf"[ \t]*(?:({_TOKEN}+)=(?:((?:{_TOKEN}|[:\[\]])+)|{_QUOTED})[ \t]*)?(;|\Z)"
)
_ESCAPED = re.compile(r"\\(.)")
# A port may be obfuscated [RFC 7239, 6.2].
_WITH_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9A-Za-z._-]+)?")


def x_forwarded_for(header: str) -> Iterator[Address | None]:
    """Yield the addresses in a value of `X-Forwarded-For`, from the last to the first.

    None stands for an element that is no address. Empty elements are left out [RFC 9110, 5.6.1]. An
    address may have a port, and an IPv6 address may stand in brackets.
    """
    for text in reversed(header.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        if node := text.strip(" \t"):
            yield _address_of_node(node)


def forwarded(header: str) -> Iterator[Address | None]:
    """Yield the addresses behind `for=` in a value of `Forwarded`, from the last to the first.

    None stands for an element that names no address: it has no `for`, says `unknown`, or has an
    obfuscated identifier, which need not be the same for the next request [RFC 7239, 6.3]. Before
    what is malformed nothing can be told from what it may belong to: None is yielded, and no more.
    """
    end = len(header)
    for _ in range(MAX_HOPS):
        if end <= 0:
            return
        found = _last_element(header, end)
        if found is None:
            yield None
            return
        pairs, end = found
        if pairs:
            yield _address_of_node(pairs.get("for", ""))


def _last_element(header: str, end: int) -> tuple[dict[str, str], int] | None:
    """Return the pairs of the last element before `end`, and where the comma before it is.

    Return None if that element is malformed. The element begins behind the first comma from the
    right that leaves it well-formed. A quoted string holds no such comma, because a quote within it
    stands behind a backslash, and so no value that ends in a quote can begin there.
    """
    comma = end
    for _ in range(MAX_HOPS):
        comma = header.rfind(",", 0, comma)
        if end - comma > MAX_ELEMENT_CHARACTERS:
            return None
        pairs = _pairs(header, comma + 1, end)
        if pairs is not None:
            return pairs, comma
        if comma < 0:
            return None
    return None


def _pairs(header: str, start: int, end: int) -> dict[str, str] | None:
    """Return the values of the element from `start` to `end`, by their names in lower case.

    Return None if it is malformed, or has a name twice [RFC 7239, 4].
    """
    pairs: dict[str, str] = {}
    while (found := _PAIR.match(header, start, end)) is not None:
        name, plain, quoted, semicolon = found.groups()
        if name is not None:
            if (name := name.lower()) in pairs:
                return None
            pairs[name] = _ESCAPED.sub(r"\1", quoted) if plain is None else plain
        if not semicolon:
            return pairs
        start = found.end()
    return None


def _address_of_node(node: str) -> Address | None:
    """Return the address of a node, which may have a port [RFC 7239, 6]; None if it names none."""
    found = _WITH_PORT.fullmatch(node)
    # An IPv6 address without brackets matches nothing, and has no port.
    host = node if found is None else found[1] or found[2] or ""
    try:
        return address_of(host)
    except ValueError:
        return None
