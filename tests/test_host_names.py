"""Names of hosts in one form: whatever is written, equal hosts are equal and others are not."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.host_names import address_of, host_of, normal_host, normal_network

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
PORTS = st.just("") | st.integers(0, 65535).map(lambda port: f":{port}") | st.just(":")


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("chat.example", "chat.example"),
        ("CHAT.Example.:443", "chat.example"),
        ("127.0.0.1:3000", "127.0.0.1"),
        ("[::1]:3000", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("my_service:80", "my_service"),
        ("xn--rss932g.example", "xn--rss932g.example"),
    ],
)
def test_a_host_of_a_request(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "authority",
    ["", ":80", ".", "a b", "a..b", ".a", "[", "[]", "[::1", "::1]", "[127.0.0.1]"]
    + ["a:b", "a:1:2", "u@a", "a/b", "a,b", "聊天.example", "\udcff", "a\x00", "a\n"]
    + ["x" * 64, "a." * 200 + "a", "127.0.0.1 ", "[::1]x", "*", "a:-1", "a:١"],
)
def test_what_is_no_host_is_refused(authority: str) -> None:
    with pytest.raises(ValueError):
        host_of(authority)


@given(NAMES, PORTS, st.sampled_from(["", "."]), st.data())
def test_a_name_is_the_same_whatever_its_case_port_and_last_dot(
    name: str, port: str, dot: str, data: st.DataObject
) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    written = "".join(c.upper() if up else c for c, up in zip(name, upper, strict=True))
    try:
        address = str(ipaddress.ip_address(name))
    except ValueError:
        address = name
    assert host_of(written + dot * (address == name) + port) == address


@given(st.ip_addresses(), PORTS)
def test_an_address_is_the_same_however_it_is_written(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: str
) -> None:
    forms = {str(address), address.exploded, str(address).upper()}
    for form in forms:
        authority = f"[{form}]{port}" if ":" in form else f"{form}{port}"
        assert host_of(authority) == normal_host(form) == str(address_of(form))
        assert address_of(host_of(authority)) == address_of(str(address))


@given(st.text(max_size=40))
def test_any_text_is_a_host_in_its_final_form_or_refused(text: str) -> None:
    for read in (host_of, normal_host):
        try:
            host = read(text)
        except ValueError:
            continue
        assert normal_host(host) == host
        assert host.isascii() and host == host.lower()


@given(st.ip_addresses(v=4))
def test_an_ipv4_connection_to_an_ipv6_socket_has_an_ipv4_address(
    address: ipaddress.IPv4Address,
) -> None:
    assert address_of(f"::ffff:{address}") == address


def test_a_network() -> None:
    assert normal_network("10.0.0.0/8") == "10.0.0.0/8"
    assert normal_network("::1") == "::1/128"
    with pytest.raises(ValueError):
        normal_network("10.0.0.1/8")
