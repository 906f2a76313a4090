"""All places together: what is printed, and how long a handshake may take."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from chatsvc.listening import places as places_module
from chatsvc.listening.addresses import (
    ACCEPTED_PER_TURN,
    bind_addresses,
    listen_for_admin,
)
from chatsvc.listening.certificates import Certificates
from chatsvc.listening.places import Places, listening_on
from chatsvc.listening.unix import UnixSocket

from .pems import Pems


def test_the_lines_name_all_places_in_their_order(tmp_path: Path) -> None:
    pems, path = Pems(tmp_path), tmp_path / "s"
    sockets = bind_addresses(["127.0.0.1", "::1"], 0)
    port = sockets[0].getsockname()[1]
    admin = listen_for_admin(("127.0.0.1", 0))
    assert admin is not None
    unix = UnixSocket(str(path), 0o600)
    certificates = Certificates(str(pems.chain), str(pems.key))
    try:
        assert Places(sockets, unix, certificates, admin).lines() == [
            f"chatsvc is running on https://127.0.0.1:{port}",
            f"and on https://[::1]:{port}",
            f"and on unix:{path}",
            f"its metrics are on http://127.0.0.1:{admin.getsockname()[1]}/metrics",
        ]
        assert Places(sockets[1:], None, None, None).lines() == [
            f"chatsvc is running on http://[::1]:{port}"
        ]
        assert Places([], unix, None, None).lines() == [
            f"chatsvc is running on unix:{path}"
        ]
    finally:
        for each in (*sockets, admin, unix.socket):
            each.close()


async def test_a_handshake_that_never_comes_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "HEAD_S", 0.05)
    pems = Pems(tmp_path)
    sockets = bind_addresses(["127.0.0.1"], 0)
    certificates = Certificates(str(pems.chain), str(pems.key))
    places = Places(sockets, None, certificates, None)
    async with listening_on(places, asyncio.Protocol, None) as found:
        host, port = found.addresses()[0].name
        reader, writer = await asyncio.open_connection(host, port)
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


@pytest.mark.parametrize("is_unix", [False, True])
def test_a_turn_of_the_loop_accepts_several_of_a_crowd(
    is_unix: bool, tmp_path: Path
) -> None:
    uvloop = pytest.importorskip("uvloop")
    crowd, path = 5 * ACCEPTED_PER_TURN, tmp_path / "s"
    turn, accepted_in = 0, list[int]()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted_in.append(turn)
            transport.close()

    async def accept_all() -> None:
        nonlocal turn
        unix = UnixSocket(str(path), 0o600) if is_unix else None
        sockets = [] if is_unix else bind_addresses(["127.0.0.1"], 0)
        address = str(path) if is_unix else sockets[0].getsockname()
        with ExitStack() as stack:
            places = Places(sockets, unix, None, None)
            async with listening_on(places, Accepted, None):
                for _ in range(crowd):
                    kind = socket.AF_UNIX if is_unix else socket.AF_INET
                    client = stack.enter_context(socket.socket(kind))
                    client.connect(address)  # it waits in the queue
                async with asyncio.timeout(10):
                    while len(accepted_in) < crowd:
                        turn += 1
                        await asyncio.sleep(0)
            await asyncio.sleep(0)
            late = stack.enter_context(socket.socket(kind))
            with pytest.raises(ConnectionRefusedError):
                late.connect(address)

    uvloop.run(accept_all())
    assert max(Counter(accepted_in).values()) == ACCEPTED_PER_TURN
