"""Names of hosts that lead where a test wants, for browsers: a SOCKS5 proxy of the loopback.

A browser leaves the resolution of names to such a proxy (RFC 1928), and passes bytes through it as
they are, those of WebSockets and TLS too. So a page can have any name, and its name can lead
elsewhere a moment later, as that of a page that rebinds it.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Self

from tests.loopback import listening

CONNECT = 1
BY_NAME = 3
ADDRESS_BYTES = {1: 4, 4: 16}
"""The bytes of an address, by its type in a request: IPv4 and IPv6."""

Place = tuple[str, int]
"""A host and a port."""


class Names:
    """A proxy that leads connections to places of the loopback.

    `places` has the place to which each name and port lead. Of what is not in it, `localhost` and
    names below `.example` lead to that port of 127.0.0.1, loopback addresses to themselves, and all
    others nowhere: browsers also connect to their makers.
    """

    def __init__(self) -> None:
        self.places: dict[Place, Place] = {}
        self.port = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.port = await self._stack.enter_async_context(listening(self._serve))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """The address of the proxy, as browsers take it."""
        return f"socks5://127.0.0.1:{self.port}"

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(b"\x05\x00")  # no authentication
            _, command, _, kind = await reader.readexactly(4)
            length = ADDRESS_BYTES.get(kind) or (await reader.readexactly(1))[0]
            address = await reader.readexactly(length)
            name = address.decode() if kind == BY_NAME else ".".join(map(str, address))
            asked = name, int.from_bytes(await reader.readexactly(2))
            assert command == CONNECT
            there = self.places.get(asked)
            if there is None and name.endswith((".example", "localhost")):
                there = "127.0.0.1", asked[1]
            elif there is None and name.startswith("127."):
                there = asked
            if there is not None:
                up_reader, up_writer = await asyncio.open_connection(*there)
                writer.write(b"\x05\x00\x00\x01" + bytes(6))
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pipe(reader, up_writer))
                    both.create_task(_pipe(up_reader, writer))
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
