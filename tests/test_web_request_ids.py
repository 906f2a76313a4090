"""What a request is called: by its client, by its trace, or by the service (W3C Trace Context)."""

from __future__ import annotations

import re

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from chatsvc.web.request_ids import new_request_id, request_id, trace_id

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NEW = re.compile("[0-9a-f]{16}")


def named(*headers: tuple[str, str]) -> str:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers))
    name = request_id(request)
    assert request_id(request) == name
    return name


@pytest.mark.parametrize("name", ["a", "f-47ac10b", "x" * 128, 'a="b"\\', "~!"])
def test_a_clients_name_is_taken(name: str) -> None:
    assert named(("X-Request-Id", name)) == name
    assert (
        named(("x-request-id", name), ("traceparent", f"00-{TRACE}-{PARENT}-01"))
        == name
    )


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "a b", "a\tb", "é", "a\x7f", "a\x85b", "a\u2028"]
)
def test_a_name_that_is_not_one_word_of_ascii_is_not_taken(name: str) -> None:
    assert NEW.fullmatch(named(("X-Request-Id", name)))
    assert (
        named(("X-Request-Id", name), ("traceparent", f"00-{TRACE}-{PARENT}-00"))
        == TRACE
    )


def test_two_names_are_none() -> None:
    assert NEW.fullmatch(named(("X-Request-Id", "a"), ("X-Request-Id", "b")))
    parent = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    assert NEW.fullmatch(named(parent, parent))


def test_new_names_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000
    assert named() != named()


@pytest.mark.parametrize(
    ("parent", "trace"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"00-{TRACE}-{PARENT}-ff", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", TRACE),
        (f"cc-{TRACE}-{PARENT}-01", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}-1", ""),
        (f"00-{TRACE}-{PARENT}", ""),
        (f"00-{TRACE}-{PARENT}-01\n", ""),
        (f" 00-{TRACE}-{PARENT}-01", ""),
        (f"cc-{TRACE}-{PARENT}-01.more", ""),
        ("", ""),
    ],
)
def test_a_trace_is_taken_as_the_standard_has_it(parent: str, trace: str) -> None:
    assert trace_id(parent) == trace


@given(st.text())
def test_nothing_else_is_a_trace(text: str) -> None:
    assert trace_id(text) == ""
