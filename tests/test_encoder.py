"""The cached path of a single character gives the same bytes as the plain one, for every codec in every framing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.model import End
from chatsvc.requests.values import SUBPROTOCOL, View
from chatsvc.transports.codec import CACHED_CHARACTERS, Codec, Encodings
from chatsvc.transports.encoder import make_encoder
from chatsvc.transports.framing import (
    BARE,
    CHUNKED,
    TABLE_BYTES,
    WEBSOCKET,
    Framing,
)
from chatsvc.transports.table import CODECS
from chatsvc.transports.ui import UIChunks

REPLY = "r" * 22


def in_text(codec: Codec) -> Codec:
    """A codec that has begun its block of text."""
    codec.events(0, ["x"])
    return codec


MAKERS: dict[str, Callable[[], Codec]] = {
    **{name or "bare": partial(make, REPLY, View()) for name, make in CODECS.items()},
    "without ids": lambda: CODECS["text/event-stream"](REPLY, View(ids=False)),
    "ui": lambda: in_text(UIChunks(REPLY)),
}
FRAMINGS = {"bare": BARE, "chunked": CHUNKED, "websocket": WEBSOCKET}

marks = st.integers(0, 2 * TABLE_BYTES).map(lambda count: "a" + "\u0301" * count)
characters = st.characters(codec="utf-8") | st.sampled_from("\n\u2028👍") | marks


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(position=st.integers(0, 10**6), run=st.lists(characters, min_size=2, max_size=5))
def test_a_character_alone_is_encoded_as_in_a_run(
    make: Callable[[], Codec], framing: Framing, position: int, run: list[str]
) -> None:
    codec = make()
    encoder = make_encoder(codec, framing)
    for character in run:
        expected = framing.wrap(codec.events(position, [character]))
        assert encoder.encode(position, [character]) == expected
        assert encoder.encode(position, [character]) == expected
        position += len(character)
    assert encoder.encode(position, run) == framing.wrap(codec.events(position, run))


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(position=st.integers(0, 10**6), run=st.text("ab\n你", min_size=1, max_size=5))
def test_a_run_in_one_text_is_encoded_as_its_characters(
    make: Callable[[], Codec], framing: Framing, position: int, run: str
) -> None:
    whole, single = make_encoder(make(), framing), make_encoder(make(), framing)
    for _ in range(2):  # the first run of a stream goes another way
        assert whole.encode(position, run) == single.encode(position, [*run])
        position += len(run)


@pytest.mark.parametrize("size", [1, TABLE_BYTES - 3, TABLE_BYTES - 2, TABLE_BYTES])
def test_a_chunk_tells_its_size(size: int) -> None:
    """RFC 9112 section 7.1."""
    assert CHUNKED.wrap([b"x" * size]) == b"%x\r\n%b\r\n" % (size, b"x" * size)


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536])
def test_a_websocket_frame_tells_its_size_in_1_2_or_8_bytes(size: int) -> None:
    """RFC 6455 section 5.2."""
    frame = WEBSOCKET.wrap([b"x" * size])
    head = frame.removesuffix(b"x" * size)
    if size < 126:
        assert head == bytes([0x81, size])
    else:
        count = 2 if size < 65536 else 8
        assert head == bytes([0x81, 126 if count == 2 else 127]) + size.to_bytes(
            count, "big"
        )


def test_events_share_a_chunk_and_have_a_frame_each() -> None:
    events = [b"ab", b"", b"c"]
    assert BARE.wrap(events) == b"abc"
    assert CHUNKED.wrap(events) == b"3\r\nabc\r\n"
    assert WEBSOCKET.wrap(events) == b"\x81\x02ab\x81\x00\x81\x01c"


def test_no_bytes_are_no_chunk() -> None:
    """A chunk without bytes would end the body (RFC 9112 section 7.1)."""
    assert CHUNKED.wrap([]) == CHUNKED.wrap([b""]) == b""


@pytest.mark.parametrize("run", ["a", "ab"])
def test_a_key_is_echoed_once_on_the_first_event(run: str) -> None:
    encoder = make_encoder(CODECS[SUBPROTOCOL](REPLY, View(key="k")), BARE)
    first = encoder.encode(0, run).decode()
    assert json.loads(first[: first.index("}") + 1])["key"] == "k"
    assert (first + encoder.encode(len(run), "c").decode()).count('"key"') == 1


@pytest.mark.parametrize("state", ["done", "stopped", "failed"])
def test_a_key_is_echoed_on_the_first_event_of_an_end(state: str) -> None:
    codec = CODECS[SUBPROTOCOL](REPLY, View(key="k"))
    first, *rest = codec.end(End(state, "stop")) or []
    assert json.loads(first)["key"] == "k"
    assert all("key" not in json.loads(event) for event in rest)


def test_a_cache_is_bounded() -> None:
    cache = Encodings(str.encode)
    for number in range(CACHED_CHARACTERS + 1):
        assert cache[chr(0x4E00 + number)] == chr(0x4E00 + number).encode()
    assert len(cache) == 1
    assert cache["a" * 1000] == b"a" * 1000
    assert len(cache) == 1
