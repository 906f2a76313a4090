"""The event-stream parser against WHATWG HTML 9.2.5 and 9.2.6: raw bytes in, events out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.eventstream import (
    LONGEST_RETRY_MS,
    Comment,
    Event,
    EventStreamError,
    EventStreamParser,
)

Items = list[Event | Comment]


def parse(chunks: list[bytes], limit: int = 1 << 20) -> tuple[Items, str, int | None]:
    parser = EventStreamParser(limit=limit)
    items = [item for chunk in chunks for item in parser.feed(chunk)]
    return items, parser.last_event_id, parser.retry


def chunkings(stream: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, with empty chunks, and cut in two and in three anywhere."""
    size = len(stream)
    single = [stream[i : i + 1] for i in range(size)]
    cuts = [[stream], single, [part for byte in single for part in (b"", byte)]]
    cuts += [[stream[:i], stream[i:]] for i in range(1, size)]
    if size <= 60:
        cuts += [
            [stream[:i], stream[i:j], stream[j:]]
            for i in range(1, size)
            for j in range(i + 1, size)
        ]
    return cuts


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\n", [Event("a")], id="one event"),
        pytest.param(
            b"data: YHOO\ndata: +2\ndata: 10\n\n",
            [Event("YHOO\n+2\n10")],
            id="example of the standard: data lines are joined",
        ),
        pytest.param(
            b": test stream\n\ndata: first event\nid: 1\n\n"
            b"data:second event\nid\n\ndata:  third event\n\n",
            [
                Comment(" test stream"),
                Event("first event", id="1"),
                Event("second event"),
                Event(" third event"),
            ],
            id="example of the standard: comment, id, id without a value, one space",
        ),
        pytest.param(
            b"data\n\ndata\ndata\n\ndata:\n",
            [Event(""), Event("\n")],
            id="example of the standard: empty data dispatches, the unfinished not",
        ),
        pytest.param(
            b"data:test\n\ndata: test\n\n",
            [Event("test"), Event("test")],
            id="example of the standard: the space after the colon is ignored",
        ),
        pytest.param(b"data: a\r\n\r\n", [Event("a")], id="CRLF ends a line"),
        pytest.param(b"data: a\r\r", [Event("a")], id="CR ends a line"),
        pytest.param(
            b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n",
            [Event("a\nb\nc"), Event("d")],
            id="line ends mixed",
        ),
        pytest.param(b"\n\r\r\n\n", [], id="blank lines alone dispatch nothing"),
        pytest.param(
            "data: a\u2028b\u0085c\vd\fe\n\n".encode(),
            [Event("a\u2028b\u0085c\vd\fe")],
            id="nothing else ends a line",
        ),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [Event("a")], id="BOM stripped"),
        pytest.param(
            b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
            [Event("b")],
            id="only one BOM stripped",
        ),
        pytest.param(
            b"data: a\n\n\xef\xbb\xbfdata: b\n\n",
            [Event("a")],
            id="BOM only stripped at the start",
        ),
        pytest.param(b"\xef\xbbdata: a\n\n", [], id="half a BOM is no BOM"),
        pytest.param(
            "id: 好:1\nevent: 事\ndata: 👨‍👩‍👧 é\n\n".encode(),
            [Event("👨‍👩‍👧 é", "事", "好:1")],
            id="UTF-8",
        ),
        pytest.param(
            b"data: \xff|\xf0\x9f\x98|\xed\xa0\x80|\xc0\xaf|\xe4\xbd\n\n",
            [
                Event(
                    "\ufffd|\ufffd|\ufffd\ufffd\ufffd|\ufffd\ufffd|\ufffd",
                )
            ],
            id="what is not UTF-8 becomes U+FFFD, one for each maximal part",
        ),
        pytest.param(
            b"event: x\n\ndata: a\n\n",
            [Event("a")],
            id="a blank line resets the type even without data",
        ),
        pytest.param(
            b"event: x\nevent: y\ndata: a\n\nevent: z\nevent\ndata: b\n\n",
            [Event("a", "y"), Event("b")],
            id="the last type counts, an empty one is message",
        ),
        pytest.param(
            b"id: 1\n\ndata: a\n\ndata: b\nid: 2\n\ndata: c\n\n",
            [Event("a", id="1"), Event("b", id="2"), Event("c", id="2")],
            id="the id stays until the next",
        ),
        pytest.param(
            b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
            [Event("a", id="1"), Event("b", id="1")],
            id="an id with a NULL is ignored",
        ),
        pytest.param(b"data: a\0b\n\n", [Event("a\0b")], id="data may have a NULL"),
        pytest.param(
            b"Data: a\n data: b\ndata : c\ndatas: d\nfoo\nfoo: bar\ndata: e\n\n",
            [Event("e")],
            id="names are exact, other fields are ignored",
        ),
        pytest.param(b"data: a: b:\n\n", [Event("a: b:")], id="further colons"),
        pytest.param(
            b":\n:t=1\n: :x\n", [Comment(""), Comment("t=1"), Comment(" :x")], id=":"
        ),
        pytest.param(
            b"data: a\n: between\ndata: b\n\n",
            [Comment(" between"), Event("a\nb")],
            id="a comment in an event",
        ),
        pytest.param(b"data: a\n", [], id="no blank line, no event"),
        pytest.param(b"data: a", [], id="no line end, no event"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_stream_at_every_chunking(stream: bytes, expected: Items) -> None:
    for chunks in chunkings(stream):
        assert parse(chunks)[0] == expected, chunks


@pytest.mark.parametrize(
    ("stream", "retry"),
    [
        (b"retry: 3000\n", 3000),
        (b"retry:007\n", 7),
        (b"retry: 0\n", 0),
        (b"retry: 1\nretry: 2\n\n", 2),
        (b"retry: 1\nretry: 2.5\nretry: -1\nretry:  3\nretry: 1e3\nretry\n", 1),
        ("retry: 1\nretry: ٣\nretry: ²\n".encode(), 1),
        (b"retry: 5", None),
    ],
)
def test_retry_takes_ascii_digits_only(stream: bytes, retry: int | None) -> None:
    for chunks in chunkings(stream):
        assert parse(chunks)[2] == retry


@pytest.mark.parametrize(
    ("digits", "retry"),
    [
        (b"0" * 5000 + b"7", 7),
        (b"1" + b"0" * 18, LONGEST_RETRY_MS),
        (b"9" * 18, LONGEST_RETRY_MS - 1),
        (b"9" * 5000, LONGEST_RETRY_MS),
        (b"088888888888888888888888880", LONGEST_RETRY_MS),
    ],
)
def test_retry_is_for_ever_at_most(digits: bytes, retry: int) -> None:
    assert parse([b"retry: " + digits + b"\n"])[2] == retry


def test_an_id_without_data_sets_the_last_event_id() -> None:
    for chunks in chunkings(b"id: 7\n\nid: 8\n"):
        assert parse(chunks) == ([], "7", None)


def test_an_event_is_given_at_its_blank_lines_first_byte() -> None:
    parser = EventStreamParser()
    assert list(parser.feed(b"data: a\r\n")) == []
    assert list(parser.feed(b"\r")) == [Event("a")]
    assert list(parser.feed(b"\ndata: b\n")) == []
    assert list(parser.feed(b"\n")) == [Event("b")]


@pytest.mark.parametrize(
    ("stream", "before"),
    [
        (b"data: a\n\ndata: 123456\n\n", [Event("a")]),
        (b"data: a\n\n:12345678901", [Event("a")]),
        (b"data:1\n\ndata:12345\ndata:12345\n\n", [Event("1")]),
        (b"data:1\n\n" + b"data\n" * 20, [Event("1")]),
    ],
)
def test_the_limit_holds_at_every_chunking(stream: bytes, before: Items) -> None:
    for chunks in chunkings(stream):
        parser = EventStreamParser(limit=10)
        items: Items = []
        with pytest.raises(EventStreamError, match="longer than 10 bytes"):
            for chunk in chunks:
                for item in parser.feed(chunk):
                    items.append(item)
        assert items == before


def test_what_is_as_long_as_the_limit_passes() -> None:
    stream = b"\xef\xbb\xbfdata: 1234\n\ndata:12345\ndata:1234\n\n:123456789\n"
    for chunks in chunkings(stream):
        assert parse(chunks, limit=10)[0] == [
            Event("1234"),
            Event("12345\n1234"),
            Comment("123456789"),
        ]


def reference(stream: bytes) -> tuple[Items, str, int | None]:
    """The standard's words, one after the other, on the whole text."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    *lines, _ = text.split("\n")
    items: Items = []
    data = kind = id_buffer = last_id = ""
    retry = None
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data != "":
                items.append(Event(data[:-1], kind or "message", last_id))
            data = kind = ""
        elif line.startswith(":"):
            items.append(Comment(line[1:]))
        else:
            field, value = line.split(":", 1) if ":" in line else (line, "")
            value = value.removeprefix(" ")
            if field == "event":
                kind = value
            elif field == "data":
                data += value + "\n"
            elif field == "id" and "\0" not in value:
                id_buffer = value
            elif field == "retry" and value and set(value) <= set("0123456789"):
                retry = min(int(value), LONGEST_RETRY_MS)
    return items, last_id, retry


pieces = st.sampled_from(
    [b"data", b"id", b"event", b"retry", b":", b": ", b" ", b"\n", b"\r", b"\r\n"]
    + [
        b"\xef\xbb\xbf",
        b"\0",
        b"12",
        b"\xff",
        "好".encode(),
        "👨‍👩‍👧".encode(),
        b"[DONE]",
    ]
)
streams = st.lists(pieces | st.binary(max_size=4), max_size=30).map(b"".join)


@given(streams, st.lists(st.integers(0, 200), max_size=8))
def test_agrees_with_the_reference(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(edges)]
    expected = reference(stream)
    assert parse(chunks) == expected
    assert parse([stream[i : i + 1] for i in range(len(stream))]) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_any_text_comes_through_one_event_a_character(text: str) -> None:
    stream = "".join(
        "".join(f"data: {line}\n" for line in character.split("\n")) + "\n"
        for character in text
    ).encode()
    items, _, _ = parse([stream[i : i + 3] for i in range(0, len(stream), 3)])
    assert "".join(item.data for item in items if isinstance(item, Event)) == text
