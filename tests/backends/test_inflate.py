"""Compressed answers are read as others are, in any pieces; what is no such thing is a failure."""

import gzip
import importlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.inflate import INPUT_STEP_BYTES, OUTPUT_STEP_BYTES, inflater
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed
from tests.backends.asking import asked, route
from tests.scripted_upstream import DONE, HANG, Upstream, chunk, head

pytestmark = pytest.mark.usefixtures("route")

__all__ = ["route"]


def packed(wbits: int) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        packer = zlib.compressobj(wbits=wbits)
        return packer.compress(data) + packer.flush()

    return pack


def brotli(data: bytes) -> bytes:
    module: Any = pytest.importorskip("brotli")
    result: bytes = module.compress(data)
    return result


def zstd(data: bytes) -> bytes:
    try:
        module: Any = importlib.import_module("compression.zstd")
    except ImportError:
        module = pytest.importorskip("backports.zstd")
    result: bytes = module.compress(data)
    return result


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "GZIP": (" GZip ", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", packed(zlib.MAX_WBITS)),
    "deflate without a wrapper": ("deflate", packed(-zlib.MAX_WBITS)),
    "br": ("br", brotli),
    "zstd": ("zstd", zstd),
}
STREAM = chunk("你好") + chunk("a" * 30_000) + chunk(None, finish_reason="stop") + DONE


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("length", [1, 7, 1024, 1 << 20])
async def test_a_packed_answer(name: str, length: int) -> None:
    coding, pack = PACKERS[name]
    data = pack(STREAM)
    pieces = [data[i : i + length] for i in range(0, len(data), length)]
    upstream = Upstream([head(more=f"Content-Encoding: {coding}\r\n"), *pieces])
    assert await asked(upstream) == ("你好" + "a" * 30_000, Finish("stop"), "")


async def test_each_event_is_read_when_it_is_flushed() -> None:
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(STREAM) + packer.flush(zlib.Z_SYNC_FLUSH), HANG]
    upstream = Upstream([head(more="Content-Encoding: gzip\r\n"), *parts])
    assert (await asked(upstream))[1] == Finish("stop")


@pytest.mark.parametrize("coding", ["", "identity", "utf-8", "none"])
async def test_an_answer_that_is_not_packed(coding: str) -> None:
    upstream = Upstream([head(more=f"Content-Encoding: {coding}\r\n"), STREAM])
    assert (await asked(upstream))[1] == Finish("stop")


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", STREAM),
        ("deflate", b"\xff" * 100),
        ("br", b"\xff" * 100),
        ("zstd", b"\xff" * 100),
        ("gzip, gzip", gzip.compress(gzip.compress(STREAM))),
        ("gzip", gzip.compress(chunk("a")) + b"garbage"),
    ],
)
async def test_what_can_not_be_unpacked(coding: str, data: bytes) -> None:
    upstream = Upstream([head(more=f"Content-Encoding: {coding}\r\n"), data, HANG])
    _, finish, detail = await asked(upstream)
    assert (finish, detail) == (None, "The model's server sent what can't be read.")


async def test_a_packed_answer_that_is_cut() -> None:
    data = gzip.compress(b"".join(chunk(str(i) * 99) for i in range(999)))
    upstream = Upstream([head(more="Content-Encoding: gzip\r\n"), data[:-2000]])
    text, finish, detail = await asked(upstream)
    assert text.startswith("0000")
    assert (finish, detail) == (None, "The model's server broke off.")


async def test_a_packed_refusal() -> None:
    coding = "Content-Encoding: gzip\r\n"
    upstream = Upstream([head("400 X", more=coding), gzip.compress(b'{"error": "no"}')])
    assert (await asked(upstream))[2] == "The model's server refused with 400: no"
    upstream = Upstream([head("400 X", more=coding), b'{"error": "no"}'])
    assert (await asked(upstream))[2] == "The model's server refused with 400."


@given(
    st.lists(st.binary(max_size=50).map(lambda data: data * 100), max_size=4),
    st.integers(1, 5000),
    st.sampled_from(["gzip", "deflate"]),
)
def test_any_data_in_any_pieces(members: list[bytes], length: int, name: str) -> None:
    """Members follow one another; a step takes and gives no more than it may."""
    coding, pack = PACKERS[name]
    data = b"".join(map(pack, members))
    unpacker = inflater(coding)
    assert unpacker is not None
    result = b""
    for begin in range(0, len(data), length):
        for piece in unpacker.feed(data[begin : begin + length]):
            assert len(piece) <= OUTPUT_STEP_BYTES
            result += piece
    assert result == b"".join(members)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_garbage_ends(data: bytes, coding: str) -> None:
    unpacker = inflater(coding)
    assert unpacker is not None
    try:
        for _ in unpacker.feed(data):
            pass
    except BackendFailed:
        pass


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_comes_in_steps(name: str) -> None:
    coding, pack = PACKERS[name]
    data = pack(bytes(4 << 20))
    unpacker = inflater(coding)
    assert unpacker is not None
    sizes = [len(piece) for piece in unpacker.feed(data)]
    assert sum(sizes) == 4 << 20
    assert max(sizes) <= (32 * 1024 if name == "br" else OUTPUT_STEP_BYTES)
    assert len(sizes) >= len(data) / INPUT_STEP_BYTES
