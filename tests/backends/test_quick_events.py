"""The quick splitter gives what the exact parser gives, however a stream is cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.quick_events import STRAY, QuickEvents
from chatsvc.eventstream import Comment, EventStreamError, EventStreamParser

LIMIT = 40

lines = st.sampled_from(
    [b"data: {1}", b"data: x", b"data:y", b"data", b": c", b"event: e", b"id: 1", b"x: y"]
    + [b"", b"", b"", b"{stray}", b" data: z", "data: 你".encode(), b"data: \xff", b"data: " + b"l" * 50]
)  # fmt: skip
ends = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
streams = st.lists(
    st.one_of(st.just(b"data: {1}\n\n"), st.tuples(lines, ends).map(b"".join))
)


def exactly(body: bytes) -> list[tuple[bytes, str]]:
    parser = EventStreamParser(limit=LIMIT)
    found = []
    try:
        for item in [*parser.feed(body), *parser.end()]:
            if not isinstance(item, Comment):
                found.append((item.data.encode(), item.event))
    except EventStreamError:
        return []
    return found


@given(streams, st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_what_is_quick_is_exact(parts: list[bytes], cuts: list[int], bom: bool) -> None:
    body = (b"\xef\xbb\xbf" if bom else b"") + b"".join(parts)
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    for cut in ([body], [body[a:b] for a, b in itertools.pairwise(edges)]):
        events = QuickEvents(LIMIT)
        items = [item for part in cut for item in events.feed(part)] + events.end()
        found = [
            (data.decode("utf-8", "replace").encode(), event)
            for data, event in items
            if event != STRAY
        ]
        if not events.too_long:
            assert found == exactly(body)
        else:
            assert not exactly(body)


def test_a_bare_line_stands_between_the_events() -> None:
    events = QuickEvents(LIMIT)
    body = b'data: a\n\n{"x"}\n\ndata: b\n{"y"}\n\n'
    expected = [(b"a", "message"), (b'{"x"}', STRAY), (b'{"y"}', STRAY)]
    assert sorted(events.feed(body)) == sorted([*expected, (b"b", "message")])


def test_what_is_too_long_is_the_end() -> None:
    events = QuickEvents(LIMIT)
    events.feed(b"data: a\n\ndata: " + b"x" * 50)
    assert events.too_long
    assert events.feed(b"data: b\n\n") == []
