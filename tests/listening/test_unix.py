"""The Unix socket: whose file it is, and who may use it."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from chatsvc.listening.addresses import CannotListen
from chatsvc.listening.unix import UnixSocket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chatsvc.sock"


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777, 0o000])
def test_the_file_has_the_permissions_that_were_asked_for(
    mode: int, path: Path
) -> None:
    before = os.umask(0o022)
    try:
        unix = UnixSocket(str(path), mode)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    unix.remove()
    unix.socket.close()
    assert not path.exists()


async def test_it_serves(path: Path) -> None:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[None] = loop.create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(None)
            transport.close()

    unix = UnixSocket(str(path), 0o600)
    servers = await unix.serve(Protocol)
    reader, writer = await asyncio.open_unix_connection(str(path))
    await asyncio.wait_for(made, 10)
    assert await reader.read() == b""
    writer.close()
    for server in servers:
        server.close()
    # Of several workers the first to end must not take the file of all with it.
    assert path.exists()
    unix.remove()
    assert not path.exists()


def test_the_file_of_a_process_that_is_gone_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
        gone.listen()
    assert path.exists()
    unix = UnixSocket(str(path), 0o660)
    unix.remove()
    unix.socket.close()


def test_the_file_of_a_process_that_listens_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        with pytest.raises(CannotListen, match=f"unix:{path}: Address already in use"):
            UnixSocket(str(path), 0o660)
        assert path.is_socket()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_not_even_where_its_queue_is_full(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen(0)
        with ExitStack() as stack:
            for _ in range(8):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect_ex(str(path))
            with pytest.raises(CannotListen, match="already in use"):
                UnixSocket(str(path), 0o660)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "datagrams"])
def test_what_is_no_socket_of_this_kind_stays(kind: str, path: Path) -> None:
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        other.bind(str(path))
    with other, pytest.raises(CannotListen, match="can't listen on unix:"):
        UnixSocket(str(path), 0o660)
    assert os.path.lexists(path)


@pytest.mark.parametrize("name", ["x" * 200, "missing/x"])
def test_a_path_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="can't listen on unix:"):
        UnixSocket(str(tmp_path / name), 0o660)


def test_the_file_of_another_process_is_not_removed(path: Path) -> None:
    first = UnixSocket(str(path), 0o660)
    path.unlink()
    second = UnixSocket(str(path), 0o660)
    first.remove()
    assert path.is_socket()
    second.remove()
    assert not path.exists()
    path.write_text("a file that came later")
    second.remove()
    assert path.exists()
    first.socket.close()
    second.socket.close()
