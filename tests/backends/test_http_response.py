"""A response's bytes become status, fields and content, however they are cut, within limits."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.http_response import (
    FRAMING_LIMIT_BYTES,
    MOST_FIELDS,
    HttpResponse,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nRetry-After: 9\r\n\r\n"


def fed(data: bytes, cuts: list[int] | None = None) -> tuple[HttpResponse, bytes]:
    """Return the response that `data` is, cut at `cuts`, and its content."""
    response, content = HttpResponse(), b""
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts or [])})
    for begin, end in itertools.pairwise(edges):
        response.feed(data[begin:end])
        content += response.content
        response.content = b""
        if response.broken:
            break
    response.close()
    return response, content


SHAPES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "extensions": CHUNKED + b"2;a=b\r\nhe\r\n3;x\r\nllo\r\n0;y\r\n\r\n",
    "spaces behind a chunk's size": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n",
    "interim responses": INTERIM * 3 + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
}


@given(st.sampled_from(sorted(SHAPES)), st.lists(st.integers(0, 400), max_size=20))
def test_any_shape_at_any_cuts(shape: str, cuts: list[int]) -> None:
    response, content = fed(SHAPES[shape], cuts)
    assert content == b"hello"
    assert (response.status, response.complete, response.reusable) == (200, True, True)
    assert not (response.broken or response.ends_with_connection)
    assert "retry-after" not in response.fields  # of an interim response


def test_what_ends_with_the_connection() -> None:
    response, content = fed(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello")
    assert content == b"hello"
    assert response.ends_with_connection
    assert not (response.complete or response.reusable)


def test_fields_are_found_by_lower_case_names_and_no_others_kept() -> None:
    head = b"HTTP/1.1 429 X\r\nRETRY-after: 7\r\nSet-Cookie: a\r\nContent-Length: 0\r\n\r\n"
    response, _ = fed(head)
    assert response.status == 429
    assert response.fields == {"retry-after": "7", "content-length": "0"}


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            False,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            True,
        ),
    ],
)
def test_whether_the_connection_may_be_used_again(head: bytes, reusable: bool) -> None:
    assert fed(head)[0].reusable is reusable


def test_a_response_to_no_request_spoils_the_connection() -> None:
    whole = SHAPES["length"]
    response, content = fed(whole + whole)
    assert content == b"hello"
    assert response.complete
    assert not response.reusable


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "an upgrade": b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "no chunk's size": CHUNKED + b"zz\r\n",
    "fields": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MOST_FIELDS + 2),
    "trailers": CHUNKED + b"0\r\n" + b"a: b\r\n" * (MOST_FIELDS + 2),
    "a field": b"HTTP/1.1 200 OK\r\na: " + b"b" * (FRAMING_LIMIT_BYTES + 9000),
    "a field's name": b"HTTP/1.1 200 OK\r\n" + b"b" * (FRAMING_LIMIT_BYTES + 9000),
    "a chunk's extension": CHUNKED + b"1;" + b"x" * (FRAMING_LIMIT_BYTES + 9000),
    "a chunk's size": CHUNKED + b"0" * (FRAMING_LIMIT_BYTES + 9000),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("length", [1, 4096])
def test_what_is_broken(name: str, length: int) -> None:
    data = BROKEN[name]
    assert fed(data, list(range(0, len(data), length)))[0].broken


def test_the_limits_are_those_of_one_head() -> None:
    """Interim responses are limited in time: each may have as many fields as the last."""
    many = b"HTTP/1.1 102 X\r\n" + b"a: b\r\n" * MOST_FIELDS + b"\r\n"
    response, content = fed(many * 5 + SHAPES["length"])
    assert (content, response.broken) == (b"hello", False)
