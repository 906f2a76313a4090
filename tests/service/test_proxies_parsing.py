"""What proxies write into `X-Forwarded-For` and `Forwarded`, read from the right (RFC 7239)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.host_names import Address, address_of
from chatsvc.web.forwarded import (
    MAX_ELEMENT_CHARACTERS,
    MAX_HOPS,
    forwarded,
    x_forwarded_for,
)

Hops = Callable[[str], Iterator[Address | None]]

ADDRESSES = st.ip_addresses()
CHARACTERS = st.sampled_from('for=",;\\ \t[]:.1aF_-unkow\x00\x7fé\udcff\x85')
RUBBISH = st.text(CHARACTERS, max_size=60) | st.text(max_size=30)
"""What a client may send: parts of the grammar in any order, or anything."""


def texts(hops: Hops, header: str) -> list[str | None]:
    """Return what is yielded, with addresses as texts."""
    return [None if hop is None else str(hop) for hop in hops(header)]


def quoted(text: str) -> str:
    """Return a quoted string [RFC 9110, 5.6.4]."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@st.composite
def nodes(draw: st.DrawFn, address: Address) -> str:
    """Write an address as a proxy may: with a port or without, IPv6 in brackets."""
    port = draw(st.sampled_from(["", ":80", ":65535", ":_port"]))
    if isinstance(address, IPv6Address):
        return f"[{address}]{port}"
    return f"{address}{port}"


@st.composite
def elements(draw: st.DrawFn, address: Address) -> str:
    """Write an element of `Forwarded` for an address, with other pairs around it."""
    name = draw(st.sampled_from(["for", "For", "FOR"]))
    pairs = [f"{name}={quoted(draw(nodes(address)))}"]
    if isinstance(address, IPv4Address) and draw(st.booleans()):
        pairs = [f"{name}={address}"]
    # The client chooses the host that a proxy passes on in its element.
    host = draw(st.text(CHARACTERS, max_size=40))
    others = ["proto=https", "by=203.0.113.43", f"host={quoted(host)}", "x=_a", ""]
    pairs += draw(st.lists(st.sampled_from(others), unique=True))
    return draw(st.sampled_from([";", "; ", " ;"])).join(draw(st.permutations(pairs)))


@st.composite
def lists(draw: st.DrawFn, addresses: list[Address]) -> str:
    """Write the elements of `X-Forwarded-For` for addresses."""
    bare = [
        str(each) if draw(st.booleans()) else draw(nodes(each)) for each in addresses
    ]
    return draw(st.sampled_from([",", ", ", " ,\t"])).join(bare)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        (" , ,", []),
        ("192.0.2.1", ["192.0.2.1"]),
        ("192.0.2.1, 198.51.100.2", ["198.51.100.2", "192.0.2.1"]),
        ("192.0.2.1:4711,", ["192.0.2.1"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("[2001:DB8:0::1]:443", ["2001:db8::1"]),
        ("[2001:db8::1]", ["2001:db8::1"]),
        ("::ffff:192.0.2.1, [::ffff:c000:202]:1", ["192.0.2.2", "192.0.2.1"]),
        ("fe80::1%eth0", ["fe80::1"]),
        ("unknown, 192.0.2.1", ["192.0.2.1", None]),
        ("192.0.2.01", [None]),
        ("192.0.2.1 192.0.2.2", [None]),
        ("1", [None]),
        ("[192.0.2.1", [None]),
        ("\udcff\x00", [None]),
    ],
)
def test_x_forwarded_for(header: str, expected: list[str | None]) -> None:
    assert texts(x_forwarded_for, header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        (", ,\t", []),
        # [RFC 7239, 4] and [7.1] have these.
        ('for="_gazonk"', [None]),
        ('For="[2001:db8:cafe::17]:4711"', ["2001:db8:cafe::17"]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        ("for=192.0.2.43, for=198.51.100.17", ["198.51.100.17", "192.0.2.43"]),
        (
            'for=192.0.2.43, for="[2001:db8:cafe::17]"',
            ["2001:db8:cafe::17", "192.0.2.43"],
        ),
        ("for=192.0.2.43, for=unknown", [None, "192.0.2.43"]),
        ('for="192.0.2.43:47011";by=_a', ["192.0.2.43"]),
        ('for="192.0.2.43:_port"', ["192.0.2.43"]),
        ('for="\\192.0.2.4\\3"', ["192.0.2.43"]),
        # No address in an element.
        ("for=192.0.2.1, proto=https", [None, "192.0.2.1"]),
        ("for=192.0.2.1, for=", [None]),
        ('for=192.0.2.1, for=""', [None, "192.0.2.1"]),
        ("for=192.0.2.1;for=192.0.2.2", [None]),
        ("for=192.0.2.1, rubbish", [None]),
        ("for = 192.0.2.1", [None]),
        # What has to be quoted, and often is not.
        ("for=192.0.2.1:80", ["192.0.2.1"]),
        ("for=[2001:db8::1]:80;proto=http", ["2001:db8::1"]),
        ("for=2001:db8::1", ["2001:db8::1"]),
        # Commas within quoted strings.
        ('for=192.0.2.1;host="a, for=192.0.2.9"', ["192.0.2.1"]),
        (r'for=192.0.2.1;host="a, for=\"192.0.2.9\""', ["192.0.2.1"]),
        # A client's open quote before what a proxy appends.
        ('for="192.0.2.9, for=192.0.2.1', ["192.0.2.1", None]),
        ('for="192.0.2.9, for="192.0.2.1"', ["192.0.2.1", None]),
        ('for="192.0.2.9\\, for="192.0.2.1:1"', ["192.0.2.1", None]),
        ('host=", for="192.0.2.1"', ["192.0.2.1", None]),
    ],
)
def test_forwarded(header: str, expected: list[str | None]) -> None:
    assert texts(forwarded, header) == expected


@pytest.mark.parametrize("hops", [x_forwarded_for, forwarded])
@given(header=RUBBISH)
def test_nothing_that_a_client_sends_raises(hops: Hops, header: str) -> None:
    assert len(list(hops(header))) <= MAX_HOPS


@given(st.data(), st.lists(ADDRESSES, min_size=1, max_size=5), RUBBISH)
def test_what_stands_left_in_a_list_changes_nothing(
    data: st.DataObject, addresses: list[Address], left: str
) -> None:
    header = data.draw(lists(addresses))
    expected = [address_of(str(each)) for each in reversed(addresses)]
    assert list(x_forwarded_for(header)) == expected
    assert list(x_forwarded_for(f"{left},{header}"))[: len(expected)] == expected


@given(st.data(), st.lists(ADDRESSES, min_size=1, max_size=4), RUBBISH)
def test_what_stands_left_in_forwarded_changes_nothing(
    data: st.DataObject, addresses: list[Address], left: str
) -> None:
    separator = data.draw(st.sampled_from([",", ", ", " ,\t"]))
    header = separator.join(data.draw(elements(each)) for each in addresses)
    expected = [address_of(str(each)) for each in reversed(addresses)]
    assert list(forwarded(header)) == expected
    assert list(forwarded(f"{left},{header}"))[: len(expected)] == expected


@pytest.mark.parametrize("hops", [x_forwarded_for, forwarded])
def test_only_so_many_elements_are_read(hops: Hops) -> None:
    name = "for=" if hops is forwarded else ""
    assert len(list(hops(f"{name}192.0.2.1," * 1000))) <= MAX_HOPS


def test_an_element_has_only_so_many_characters() -> None:
    host = "a" * MAX_ELEMENT_CHARACTERS
    assert texts(forwarded, f"for=192.0.2.1;host={host}, for=192.0.2.2") == [
        "192.0.2.2",
        None,
    ]
