"""A model's server that answers the innocents at their pace, and the attackers with its attacks.

What it answers depends on the last message alone:

- `model: NAME` plays the script NAME of `SCRIPTS`;
- `paced: TEXT` streams TEXT, one character of `innocents` each pace;
- `ready: TEXT`, and any other text, comes at once.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import cache

from ..loopback import listening
from ..scripted_upstream import DONE, HANG, Part, chunk, head
from .texts import DEEP, DIGITS, HOSTILE, REPLY_BYTES, gzip_bomb, hostile

PACED = "paced: "
"""How a message begins that is answered at the pace."""
SCRIPT = "model: "
"""How a message begins that names a script."""

FINISH = chunk("", finish_reason="stop")
_HEAD = head(more="Connection: close\r\n")
_GZIP = head(more="Connection: close\r\nContent-Encoding: gzip\r\n")


def _whole(text: str) -> Callable[[], Iterable[Part]]:
    return lambda: [_HEAD, chunk(text), FINISH, DONE]


def _pieces(text: str, size: int) -> Callable[[], Iterable[Part]]:
    def script() -> Iterable[Part]:
        yield _HEAD
        for at in range(0, len(text), size):
            yield chunk(text[at : at + size])
        yield from (FINISH, DONE)

    return script


_bomb = cache(gzip_bomb)


def _packed(unit: bytes, begin: bytes = b"") -> Callable[[], Iterable[Part]]:
    return lambda: [_GZIP, _bomb(unit, begin), HANG]


def _endless(
    *parts: Part, first: tuple[Part, ...] = ()
) -> Callable[[], Iterable[Part]]:
    return lambda: itertools.chain([_HEAD, *first], itertools.cycle(parts))


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


_SURROGATE = b'"\\ud800 \\udfff"'

SCRIPTS: dict[str, Callable[[], Iterable[Part]]] = {
    **{kind: _whole(hostile(kind, REPLY_BYTES)) for kind in HOSTILE},
    **{f"{k}-pieces": _pieces(hostile(k, REPLY_BYTES), 999) for k in HOSTILE},
    "flags-dribble": _pieces(hostile("flags", 20_000), 3),
    "comments": _packed(b":\n\n"),
    "long-comment": _packed(b"x", b":"),
    "fields": _packed(b"id: 1\n"),
    "blank-lines": _packed(b"\n"),
    "long-line": _packed(b"a", b"data: "),
    "events": _packed(b"data: {}\n\n"),
    "empty-texts": _packed(chunk("")),
    "big-head": lambda: [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, HANG],
    "keepalives": _endless(b": k\n\n", 0.02, first=(chunk("ok"), FINISH)),
    "after-done": _endless(b": k\n\n", 0.02, first=(chunk("ok"), FINISH, DONE)),
    "only-comments": _endless(b": k\n\n", 0.02),
    "endless": _endless(chunk("word " * 200), 0.005),
    "deep": lambda: [_HEAD, _event(DEEP), FINISH, DONE],
    "digits": lambda: [_HEAD, _event(b'{"choices":[{"index":' + DIGITS + b"}]}"), DONE],
    "error": lambda: [_HEAD, _event(b'{"error":{"message":%s}}' % _SURROGATE)],
    "usage": lambda: [
        *(_HEAD, chunk("ok"), FINISH),
        *(_event(b'{"choices":[],"usage":{"total_tokens":%s}}' % _SURROGATE), DONE),
    ],
    "refusal": lambda: [
        head("500 No", "application/json", "Content-Encoding: gzip\r\n"),
        _bomb(b" "),
        HANG,
    ],
    "hangs": lambda: [HANG],
}
"""What a hostile model sends, by the name that a message asks for."""


class Model:
    """The server; `pace_s` are the seconds between two characters of a paced answer.

    The characters of a paced answer are those that `cut` returns for its text.
    """

    def __init__(self, pace_s: float, cut: Callable[[str], list[str]]) -> None:
        self.pace_s = pace_s
        self._cut = cut

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen until the block ends; yield the port."""
        for script in SCRIPTS.values():  # Compressed now, and not while chats run.
            if "_packed" in script.__qualname__:
                script()
        async with listening(self._serve) as port:
            yield port

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
            length = raw.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            asked = json.loads(await reader.readexactly(int(length)))
            content = asked["messages"][-1]["content"]
            if content.startswith(PACED):
                await self._paced(content.removeprefix(PACED), writer)
            else:
                await self._play(content, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _paced(self, text: str, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        writer.write(_HEAD)
        begun = loop.time()
        for count, character in enumerate(self._cut(text)):
            await asyncio.sleep(begun + count * self.pace_s - loop.time())
            writer.write(chunk(character))
            await writer.drain()
        writer.write(FINISH + DONE)
        await writer.drain()

    async def _play(
        self, content: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name = content.removeprefix(SCRIPT)
        script = (
            SCRIPTS[name] if name in SCRIPTS and name != content else _whole(content)
        )
        for part in script():
            if part is HANG:
                await reader.read()
                return
            if isinstance(part, float):
                await asyncio.sleep(part)
                continue
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
