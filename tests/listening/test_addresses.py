"""The TCP addresses that hosts stand for, and the sockets that are bound to them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from chatsvc.listening import addresses
from chatsvc.listening.addresses import (
    CannotListen,
    address_of,
    bind_addresses,
    bind_worker,
    find_addresses,
    listen_for_admin,
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def found(*hosts: str) -> list[list[str]]:
    """The hosts of the addresses that are found, by the host that they stand for."""
    return [[a.name[0] for a in group] for group in find_addresses(hosts, 80)]


@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        (["127.0.0.1"], [["127.0.0.1"]]),
        (["::1"], [["::1"]]),
        ([""], [["0.0.0.0", "::"]]),
        (["::"], [["::", "0.0.0.0"]]),
        (["0::0"], [["::", "0.0.0.0"]]),
        (["0.0.0.0"], [["0.0.0.0"]]),
        (["::", "0.0.0.0"], [["::"], ["0.0.0.0"]]),
        # What is asked for by name is not widened.
        (["::", "127.0.0.1"], [["::"], ["127.0.0.1"]]),
        (["::", "::1"], [["::", "0.0.0.0"]]),
        (["0.0.0.0", "127.0.0.1", "::1"], [["0.0.0.0"], ["::1"]]),
        (["127.0.0.1", "127.0.0.1"], [["127.0.0.1"]]),
        (["", "127.0.0.1", "::"], [["0.0.0.0", "::"]]),
        (["127.0.0.1", "::1", "127.0.0.2"], [["127.0.0.1"], ["::1"], ["127.0.0.2"]]),
        ([], []),
    ],
)
def test_hosts_stand_for_addresses(hosts: list[str], wanted: list[list[str]]) -> None:
    assert found(*hosts) == wanted


def test_a_name_stands_for_all_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        ipv6 = (socket.AF_INET6, 1, 6, "", ("::1", 80, 0, 0))
        return [ipv6, (socket.AF_INET, 1, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert found("both.example") == [["::1", "127.0.0.1"]]


@pytest.mark.parametrize("host", ["a..b", "no-such-name.invalid", "x" * 300, "::g"])
def test_a_host_that_has_no_address(host: str) -> None:
    with pytest.raises(CannotListen, match="can't listen on "):
        find_addresses([host], 80)


def test_all_addresses_have_the_port_that_was_picked(stack: ExitStack) -> None:
    bound = bind_addresses(["127.0.0.1", "::1", "127.0.0.2"], 0)
    for each in bound:
        stack.enter_context(each)
    ports = {address_of(each).name[1] for each in bound}
    assert len(bound) == 3
    assert len(ports) == 1
    assert 0 not in ports


def test_a_port_that_is_taken_on_another_address_is_not_picked(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = stack.enter_context(socket.create_server(("127.0.0.2", 0)))
    port = taken.getsockname()[1]
    bind, picked = addresses._bind, [port]

    def pick(address: addresses.Address, shared: bool) -> socket.socket:
        if address.name[:2] == ("127.0.0.1", 0) and picked:
            address = address.at(picked.pop())
        return bind(address, shared)

    monkeypatch.setattr(addresses, "_bind", pick)
    bound = bind_addresses(["127.0.0.1", "127.0.0.2"], 0)
    for each in bound:
        stack.enter_context(each)
    assert not picked
    assert len({address_of(each).name[1] for each in bound} - {port}) == 1


def test_a_port_that_was_named_is_not_exchanged(stack: ExitStack) -> None:
    taken = stack.enter_context(socket.create_server(("127.0.0.2", 0)))
    port = taken.getsockname()[1]
    with pytest.raises(CannotListen, match=rf"127\.0\.0\.2:{port}: Address already"):
        bind_addresses(["127.0.0.1", "127.0.0.2"], port)
    # Those that were bound before have been given back.
    stack.enter_context(socket.create_server(("127.0.0.1", port)))


@pytest.mark.parametrize("reason", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_all_addresses_are_those_of_ipv4(
    reason: int, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = addresses._bound

    def without(address: addresses.Address, *, reuse_port: bool) -> socket.socket:
        if address.family == socket.AF_INET6:
            raise OSError(reason, "there is no IPv6")
        return bind(address, reuse_port=reuse_port)

    monkeypatch.setattr(addresses, "_bound", without)
    for host in ("", "::"):
        [only] = bind_addresses([host], 0)
        stack.enter_context(only)
        assert address_of(only).name[0] == "0.0.0.0"
    with pytest.raises(CannotListen, match=r"\[::1\]:\d+: there is no IPv6"):
        bind_addresses(["127.0.0.1", "::1"], 0)


def test_a_socket_of_ipv6_takes_no_ipv4(stack: ExitStack) -> None:
    for host in ("", "::"):
        for each in bind_addresses([host], 0):
            stack.enter_context(each)
            if each.family == socket.AF_INET6:
                assert each.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_workers_share_a_port_that_another_service_does_not_get(
    stack: ExitStack,
) -> None:
    reserved = bind_addresses(["127.0.0.1", "::1"], 0, shared=True)
    for each in reserved:
        stack.enter_context(each)
    for each in reserved * 2:
        worker = stack.enter_context(bind_worker(address_of(each)))
        worker.listen()
        assert worker.getsockname() == each.getsockname()
    port = reserved[0].getsockname()[1]
    for shared in (False, True):
        with pytest.raises(CannotListen, match="already in use"):
            bind_addresses(["::1"], port, shared=shared)


def test_the_admin_port_listens_at_once() -> None:
    admin = listen_for_admin(("127.0.0.1", 0))
    assert admin is not None
    with admin, closing(socket.create_connection(admin.getsockname())):
        pass
    assert listen_for_admin(None) is None


@pytest.mark.parametrize(
    ("host", "others"),
    [("::", ["127.0.0.1", "::1"]), ("0.0.0.0", ["127.0.0.1"]), ("::1", ["::1"])],
)
def test_all_addresses_of_the_admin_port_are_of_both_families(
    host: str, others: list[str]
) -> None:
    admin = listen_for_admin((host, 0))
    assert admin is not None
    with admin:
        assert address_of(admin).name[0] == host
        for other in others:
            socket.create_connection((other, admin.getsockname()[1])).close()


@pytest.mark.parametrize(
    ("host", "place"), [("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:")]
)
def test_a_place_is_written_as_in_a_url(host: str, place: str) -> None:
    [bound] = bind_addresses([host], 0)
    with bound:
        assert address_of(bound).place.startswith(place)
