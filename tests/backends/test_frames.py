"""The quick way of chunks that are alike gives what the exact one gives."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatsvc.backends.chunk_values import decode
from chatsvc.backends.chunks import ChunkReader
from chatsvc.backends.frames import UNUSED_FRAMES, Frames
from chatsvc.model import Piece
from tests.backends.test_chunk_pieces import chunks, delta, encode, event, fed, merged

HEAD = b'{"id":"1","choices":[{"index":0,"delta":{"content":'
TAIL = b'},"finish_reason":null}],"model":"m"}'


def framed(text: bytes = b'"a"', head: bytes = HEAD, tail: bytes = TAIL) -> Frames:
    frames = Frames()
    data = head + text + tail
    frames.note(data, decode(data))
    return frames


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (b'"b"', "b"),
        (b'""', ""),
        ('"你 \\n\\"\\ud83d\\ude00"'.encode(), '你 \n"😀'),
        (b"null", None),
        (b"5", None),
        (b'"b"\n', None),
        (b'\n"b"', None),
        (b'"', None),
        (b'"b","role":"x"', None),
        (b'"b","content":"c"', None),
        (b'"b', None),
        (b'"\n"', None),
        (b'"\xff"', None),
        (b'["b"]', None),
    ],
)
def test_what_stands_in_a_frame(literal: bytes, text: str | None) -> None:
    assert framed().text_of(HEAD + literal + TAIL) == text
    assert framed().event_text(b"data: " + HEAD + literal + TAIL + b"\n\n") == text
    assert framed(b'"x\\ty"').text_of(HEAD + literal + TAIL) == text


def test_what_is_around_it_must_be_the_same() -> None:
    frames = framed()
    assert frames.text_of(HEAD + b'"b"' + TAIL.replace(b"null", b'"stop"')) is None
    assert frames.text_of(HEAD.replace(b"1", b"2") + b'"b"' + TAIL) is None
    assert frames.text_of(HEAD[:-1] + TAIL) is None
    assert frames.text_of(b"") is None
    assert Frames().text_of(HEAD + b'"b"' + TAIL) is None


def test_what_is_around_the_event_of_a_frame() -> None:
    whole = b"data: " + HEAD + b'"b"' + TAIL + b"\n\n"
    frames = framed()
    assert frames.event_text(whole) == "b"
    for other in (whole[:-1], whole + b"\n", whole[1:], whole[6:], b" " + whole, b""):
        assert frames.event_text(other) is None
    frames.note(b"{}", decode(b"{}"))
    assert frames.event_text(whole) is None
    assert Frames().event_text(whole) is None


@pytest.mark.parametrize(
    "tail",
    [
        TAIL.replace(b"null", b'"stop"'),
        b',"reasoning":"hm"' + TAIL,
        b',"refusal":"no"' + TAIL,
        b',"tool_calls":[{}]' + TAIL,
        b'},"text":"a"' + TAIL[1:],
        b'},"message":{"content":"a"}' + TAIL[1:],
        b'},"error":"no"' + TAIL[1:],
        b"}},{" + TAIL[2:],
        b'},"logprobs":{"content":"b"}' + TAIL[1:],
    ],
)
def test_a_chunk_with_more_than_a_text_makes_no_frame(tail: bytes) -> None:
    try:
        frames = framed(tail=tail)
    except msgspec.DecodeError:  # it is none that is decoded the quick way
        return
    assert frames.text_of(HEAD + b'"b"' + tail) is None


def test_a_chunk_in_several_lines_makes_no_frame() -> None:
    """Then no chunk that fits a frame has a line end in it."""
    head = HEAD.replace(b",", b",\n")
    assert framed(head=head).text_of(head + b'"b"' + TAIL) is None


def test_without_a_frame_no_bytes_fit() -> None:
    frames = framed()
    frames.note(b"{}", decode(b"{}"))
    for first in (b"\0", b"{"):
        garbage = first + b"x" * (len(HEAD) - 1) + b'"b"' + TAIL
        assert frames.text_of(garbage) is None


def test_reasoning() -> None:
    for name in (b'"reasoning": ', b'"content":null,"reasoning_content":'):
        head = HEAD.replace(b'"content":', name)
        frames = framed(head=head)
        assert (frames.text_of(head + b'"b"' + TAIL), frames.reasoning) == ("b", True)
    assert not framed().reasoning


def test_padding_of_random_length() -> None:
    def padded(text: bytes, padding: bytes) -> bytes:
        return HEAD + text + TAIL[:-1] + b',"obfuscation":"' + padding + b'"}'

    frames = Frames()
    frames.note(padded(b'"a"', b"xyz"), decode(padded(b'"a"', b"xyz")))
    for padding in (b"", b"x", b"0123456789"):
        assert frames.text_of(padded(b'"b"', padding)) == "b"
        assert frames.event_text(b"data: %b\n\n" % padded(b'"b"', padding)) is None
    assert frames.text_of(padded(b'"b"', b'","model":"x')) is None
    assert frames.text_of(HEAD + b'"b"' + TAIL) == "b"


def test_frames_that_are_never_used_are_made_no_more() -> None:
    frames = Frames()
    for number in range(UNUSED_FRAMES + 2):
        head = HEAD.replace(b"1", b"%d" % number)
        frames.note(head + b'"a"' + TAIL, decode(head + b'"a"' + TAIL))
    assert frames.text_of(head + b'"b"' + TAIL) is None


words = st.text(st.characters(exclude_categories=()), max_size=4)
alike = st.one_of(
    st.builds(lambda text: delta({"content": text}), words | st.none()),
    st.builds(lambda text: delta({"reasoning": text}), words),
    st.builds(lambda text, pad: event({"choices": [{"delta": {"content": text}}], "obfuscation": pad}), words, words),
    chunks.map(event),
    st.just(delta({}, finish_reason="stop")),
)  # fmt: skip


class _NoFrames(Frames):
    def note(self, *_: Any) -> None:
        pass


@given(st.lists(alike, max_size=8))
@example([delta({"reasoning": text}) for text in "abc"])
@example([delta({"content": text}) for text in ("a", "b\r", "\nc", "d")])
@example([delta({"content": text}) for text in ("a", "b", "", "c")])
def test_frames_change_nothing(script: list[bytes]) -> None:
    def outcome(reader: ChunkReader) -> object:
        pieces: list[Piece] = []
        for each in script:
            if reader.failure is None:
                pieces += fed(reader, each)
        assert "" not in pieces
        failure = reader.failure
        done = reader.finish, reader.progress > 0, failure and failure.detail
        places = reader._answer.places
        at = places.length, places.ends_open, places.position(places.length, 0)
        return merged([*pieces, *reader.rest()]), done, at

    exact = ChunkReader()
    exact._frames = _NoFrames()
    assert outcome(ChunkReader()) == outcome(exact)


def test_encoding() -> None:
    assert json.loads(encode({"a": "\ud83d"})) == {"a": "?"}
