"""No model's server holds the event loop, whatever it sends and however it is packed."""

import asyncio
import gzip
import itertools
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from functools import cache

import pytest

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.problems import BackendFailed
from tests.backends.asking import PROMPT, asked, route
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head
from tests.stalls import FACTOR, FLOOR_S, without_stall

pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("route")]

__all__ = ["route"]

TOO_MUCH = "The model's server sent more than can be kept."
UNREADABLE = "The model's server sent what can't be read."
SILENT = "The model's server fell silent."
IN_TIME = "The model's server did not answer in time."
BROKE = "The model's server broke off."
LATE = "The model's server can't be reached."

STOP = chunk(None, finish_reason="stop")

NOTHING = {
    "comments": b":\n",
    "blank lines": b"\n",
    "fields": b"a\n",
    "ids": b"id\n\n",
    "a line without end": b"x",
    "events of no words": b"data:{}\n\n",
    "choices of no words": b'data:{"choices":[{}]}\n\n',
    "usages": b'data:{"usage":{"a":1}}\n\n',
    "an event without end": b"data\n",
    "a completion without end": b'{"a":[' + b"[]," * 100,
}
"""Bytes that may be repeated for ever and never bring a word."""


def zlib_of(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib_of(data, 31),
    "deflate": lambda data: zlib_of(data, 15),
    "deflate without a wrapper": lambda data: zlib_of(data, -15),
}


@cache
def bomb(nothing: str, packer: str) -> bytes:
    """Return 64 MiB of `NOTHING`, packed."""
    data = NOTHING[nothing]
    return PACKERS[packer](data * ((64 << 20) // len(data)))


def parts_of(data: bytes) -> list[Part]:
    return [data[i : i + 65536] for i in range(0, len(data), 65536)]


@pytest.mark.parametrize("nothing", NOTHING)
async def test_a_flood_of_nothing(nothing: str) -> None:
    data = NOTHING[nothing]
    flood = itertools.repeat(data * (65536 // len(data)))
    upstream = Upstream(itertools.chain([head(), chunk("a")], flood))
    text, finish, detail = await without_stall(asked(upstream))
    assert (text, finish, detail) == ("a", None, TOO_MUCH)


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("nothing", ["comments", "fields", "a completion without end"])
async def test_a_bomb_of_nothing(nothing: str, packer: str) -> None:
    coding = f"Content-Encoding: {packer.split()[0]}\r\n"
    upstream = Upstream([head(more=coding), *parts_of(bomb(nothing, packer)), HANG])
    _, finish, detail = await without_stall(asked(upstream))
    assert (finish, detail) == (None, TOO_MUCH)


def bits(value: int, count: int) -> str:
    return "".join(str(value >> i & 1) for i in range(count))


def empty_blocks(count: int) -> bytes:
    """Return raw deflate: blocks without content, each with Huffman tables of its own."""
    # The lengths of the codes of the code's lengths, in the order of RFC 1951 section 3.2.7: those
    # of 18 (many zeros) and 1 have one bit.
    lengths = {18: 1, 1: 1}
    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]
    block = "0" + bits(2, 2) + bits(0, 5) + bits(0, 5) + bits(len(order) - 4, 4)
    block += "".join(bits(lengths.get(symbol, 0), 3) for symbol in order)
    # 256 literals have no code, the end of the block and one distance have one bit each.
    block += "1" + bits(138 - 11, 7) + "1" + bits(118 - 11, 7) + "00" + "0"
    stream = block * count
    return int(stream[::-1], 2).to_bytes((len(stream) + 7) // 8, "little")


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        pytest.param("deflate", b"\0\0\0\xff\xff" * 200_000, id="stored blocks"),
        pytest.param("deflate", empty_blocks(100_000), id="blocks with tables"),
        pytest.param("gzip", gzip.compress(b"") * 50_000, id="members"),
    ],
)
async def test_what_unpacks_to_nothing(coding: str, packed: bytes) -> None:
    encoding = f"Content-Encoding: {coding}\r\n"
    upstream = Upstream([head(more=encoding), *parts_of(packed), HANG])
    _, _, detail = await without_stall(asked(upstream, timeout=0.5))
    assert detail == SILENT


KINDS = ["[],", "{},", "0,", '{"":0},', '"",', "[" * 90 + "]" * 90 + ",", '"\\n",']


@pytest.mark.parametrize("item", KINDS)
async def test_one_event_of_many_values(item: str) -> None:
    values = item * ((1 << 20) // len(item) - 20)
    event = f'data: {{"choices":[],"a":[{values}0]}}\n\n'.encode()
    upstream = Upstream([head(), chunk("a"), *parts_of(event), HANG])
    text, finish, detail = await without_stall(asked(upstream))
    assert (text, finish, detail) == ("a", None, TOO_MUCH)


@pytest.mark.parametrize("item", KINDS)
async def test_a_completion_of_many_values(item: str) -> None:
    values = item * ((1 << 20) // len(item) - 20)
    whole = f'{{"choices":[],"a":[{values}0]}}'.encode()
    upstream = Upstream([head(kind="application/json"), *parts_of(whole)])
    _, finish, detail = await without_stall(asked(upstream))
    assert (finish, detail) == (None, TOO_MUCH)


@pytest.mark.parametrize("text", ["a", "好", "\n", '"', "😀", "\\", '\\"', "a,b:[{"])
async def test_a_long_text_is_no_flood(text: str) -> None:
    content = text * (50_000 // len(text))
    whole = chunk(content).removeprefix(b"data: ")[:-4] + b"]}"
    for script in (
        [head(), *parts_of(chunk(content)), STOP, DONE],
        [head(), *parts_of(chunk(content)[:-4] + b"]}\n\n"), STOP, DONE],
        [head(kind="application/json"), *parts_of(whole.replace(b"delta", b"message"))],
    ):
        got, _, detail = await without_stall(asked(Upstream(script)))
        assert got == content
        assert detail in ("", BROKE)


def chunked(parts: Iterable[bytes]) -> Iterable[bytes]:
    return (b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("script", "details"),
    [
        pytest.param(
            itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000),
            {IN_TIME},
            id="interim responses",
        ),
        pytest.param(
            [head()[:-2], *[b"a: b\r\n" * 10_000] * 10, HANG], {LATE}, id="fields"
        ),
        pytest.param(
            [head()[:-2], *[b"a" * 65536] * 16, HANG], {LATE}, id="a field's name"
        ),
        pytest.param(
            [head()[:-2], b"a: ", *[b"b" * 65536] * 16, HANG], {LATE}, id="a field"
        ),
        pytest.param(
            [
                head(more=("Set-Cookie: " + "a=b; " * 1600 + "\r\n") * 120),
                STOP,
                DONE,
            ],
            {""},
            id="cookies",
        ),
        pytest.param(
            [head(more=CHUNKED), *[b"1\r\n:\r\n" * 10_000] * 20, HANG],
            {SILENT},
            id="chunks of one byte",
        ),
        pytest.param(
            [head(more=CHUNKED), *[b"0" * 65536] * 16, HANG],
            {BROKE, LATE, SILENT},
            id="a chunk's size",
        ),
        pytest.param(
            [head(more=CHUNKED), b"1;", *[b"x" * 65536] * 64, HANG],
            {BROKE, SILENT},
            id="a chunk's extension",
        ),
        pytest.param(
            [head(more=CHUNKED), b"0\r\n", *[b"a: b\r\n" * 10_000] * 10, HANG],
            {BROKE, LATE},
            id="trailers",
        ),
    ],
)
async def test_http(script: Iterable[Part], details: set[str]) -> None:
    _, _, detail = await without_stall(asked(Upstream(script), timeout=0.5))
    assert detail in details


@pytest.mark.parametrize("packer", PACKERS)
async def test_a_refusal_that_is_a_bomb(packer: str) -> None:
    coding = f"Content-Encoding: {packer.split()[0]}\r\n"
    upstream = Upstream(
        [head("400 X", more=coding), *parts_of(bomb("comments", packer)), HANG]
    )
    _, _, detail = await without_stall(asked(upstream))
    assert detail.startswith("The model's server refused with 400: : : :")
    assert len(detail) < 600


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 65536, id="lists"),
        pytest.param(b'{"error":' * 7000, id="objects"),
        pytest.param(b'{"error":' * 300 + b'"x"' + b"}" * 300, id="300 levels"),
        pytest.param(b'{"error":' * 900 + b'"x"' + b"}" * 900, id="900 levels"),
        pytest.param(b"[" * 900 + b'"x"' + b"]" * 900, id="900 lists"),
        pytest.param(b"[" + b"[]," * 20_000 + b"0]", id="many lists"),
        pytest.param(b'{"error":"' + b" x" * 30_000 + b'"}', id="many words"),
    ],
)
@pytest.mark.parametrize("status", ["400 X", "200 OK"])
async def test_an_error_of_any_shape(status: str, body: bytes) -> None:
    if status == "200 OK":
        script = [head(), b"event: error\ndata: " + body + b"\n\n", HANG]
    else:
        script = [head(status, "application/json"), body]
    _, finish, detail = await without_stall(asked(Upstream(script)))
    assert finish is None
    assert detail and len(detail) < 600


async def longest_gap(backend: OpenAIBackend) -> float:
    """Return the longest gap between two pieces, in seconds of processor time of this thread."""
    longest, before = 0.0, time.thread_time()
    async with aclosing(backend.stream(PROMPT)) as pieces:
        async for _ in pieces:
            now = time.thread_time()
            longest, before = max(longest, now - before), now
    return longest


async def test_what_another_reader_notices() -> None:
    """A stream with a piece every 10 ms, alone and beside two servers that flood the service."""
    paced: list[Part] = [chunk("a"), 0.01]
    innocent = Upstream([head(), *paced * 60, STOP, DONE])
    flood = itertools.repeat(NOTHING["comments"] * 32768)
    bombs = Upstream(
        itertools.chain([head()], flood),
        [head(more="Content-Encoding: gzip\r\n"), *parts_of(bomb("fields", "gzip"))],
    )
    async with innocent.running() as url, bombs.running() as hostile_url:
        backend, hostile = OpenAIBackend(url), OpenAIBackend(hostile_url)
        alone = await longest_gap(backend)

        async def attack() -> None:
            while True:
                with suppress(BackendFailed):
                    async for _ in hostile.stream(PROMPT):
                        pass

        attacks = [asyncio.create_task(attack()) for _ in range(2)]
        beside = await without_stall(longest_gap(backend))
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
        await backend.close()
        await hostile.close()
    assert beside <= max(FLOOR_S, FACTOR * alone)
