"""Scripted proxies: each does to a connection one thing that real proxies do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

from tests.loopback import listening

Pipe = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def pass_on(upstream: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Pass on the bytes as they come."""
    while data := await upstream.read(65536):
        client.write(data)
        await client.drain()


async def hold_back(
    upstream: asyncio.StreamReader, client: asyncio.StreamWriter
) -> None:
    """Pass on nothing, not even the head, before the answer is complete."""
    client.write(await upstream.read())
    await client.drain()


async def swallow(upstream: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Never pass on anything."""
    while await upstream.read(65536):
        pass
    await asyncio.Event().wait()  # nor an end, before the proxy's own


async def refuse(upstream: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Answer as a proxy that does not know upgrades."""
    client.write(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    await client.drain()


async def drop(upstream: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Close without an answer."""


def head_only() -> Pipe:
    """Return a pipe that passes the head on and holds the body back until it is complete."""

    async def pipe(
        upstream: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        client.write(await upstream.readuntil(b"\r\n\r\n"))
        client.write(await upstream.read())
        await client.drain()

    return pipe


def cut(after: int, when: asyncio.Event | None = None) -> Pipe:
    """Return a pipe that breaks off after *after* bytes of the body, but not before *when* is set."""

    async def pipe(
        upstream: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        client.write(await upstream.readuntil(b"\r\n\r\n"))
        left = after
        while left and (data := await upstream.read(left)):
            left -= len(data)
            client.write(data)
            await client.drain()
        if when is not None:
            await when.wait()

    return pipe


def stall(after: int) -> Pipe:
    """Return a pipe that passes on *after* bytes of the body, then nothing, and stays open."""

    async def pipe(
        upstream: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        await cut(after)(upstream, client)
        await swallow(upstream, client)

    return pipe


def lump(size: int) -> Pipe:
    """Return a pipe that passes the body on in lumps of *size* bytes, as a buffer does."""

    async def pipe(
        upstream: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        client.write(await upstream.readuntil(b"\r\n\r\n"))
        try:
            while True:
                client.write(await upstream.readexactly(size))
                await client.drain()
        except asyncio.IncompleteReadError as rest:
            client.write(rest.partial)
            await client.drain()

    return pipe


async def strip(upstream: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Drop the headers that begin with `X-`."""
    head = await upstream.readuntil(b"\r\n\r\n")
    lines = [x for x in head.split(b"\r\n") if not x.lower().startswith(b"x-")]
    client.write(b"\r\n".join(lines))
    await pass_on(upstream, client)


class Proxy:
    """A proxy before a service, with one connection a request.

    `choose` takes the head of each request and returns the pipe for its answer; `heads`
    are the heads that came. Where there are several services, `port_of` takes the head as
    well, and returns the port of the service that answers.
    """

    def __init__(
        self,
        upstream_port: int,
        choose: Callable[[bytes], Pipe],
        port_of: Callable[[bytes], int] | None = None,
    ) -> None:
        self._port_of = port_of or (lambda head: upstream_port)
        self._choose = choose
        self.heads: list[bytes] = []
        self._stack = AsyncExitStack()
        self.port = 0

    async def __aenter__(self) -> Self:
        self.port = await self._stack.enter_async_context(listening(self._serve))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """The address at which the proxy listens."""
        return f"http://127.0.0.1:{self.port}/"

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            upgrade = b"\r\nupgrade: websocket" in head.lower()
            up_reader, up_writer = await asyncio.open_connection(
                "127.0.0.1", self._port_of(head)
            )
            lines = head[:-4].split(b"\r\n")
            # The service checks that the page is its own: the port must be the proxy's.
            lines = [x for x in lines if not x.lower().startswith(b"connection:")]
            # Browsers would send further requests on the connection of an upgrade that is refused.
            lines.append(
                b"Connection: Upgrade, close" if upgrade else b"Connection: close"
            )
            up_writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
            feeding = asyncio.create_task(self._feed(reader, up_writer))
            try:
                await self._choose(head)(up_reader, writer)
            finally:
                feeding.cancel()
                up_writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _feed(
        reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(65536):
                upstream.write(data)
                await upstream.drain()
        except ConnectionError:
            pass
        upstream.close()
