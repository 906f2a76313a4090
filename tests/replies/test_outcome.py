"""Whatever a backend says of its end, the reply ends, and the end can be encoded."""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.echo import EchoBackend
from chatsvc.model import End, Finish
from chatsvc.problem import Problem
from chatsvc.problems import BackendFailed, BadRequest
from chatsvc.replies.outcome import (
    DEEPEST_USAGE,
    LONGEST_DETAIL,
    LONGEST_REASON,
    MOST_USAGE,
    READ_AS_STOP,
    end_of_failure,
    end_of_finish,
    end_of_overrun,
)
from chatsvc.tracebacks import without_tracebacks

from .serving import asking, read_all, serving

ECHO = EchoBackend()


class Word(str):
    """A str of another class, which msgspec does not encode."""


class Count(enum.IntEnum):
    ONE = 1


wild_text = st.text(st.characters(exclude_categories=()))
"""Texts with lone surrogates."""

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(2**60, 2**70),
        st.floats(),
        wild_text,
        wild_text.map(Word),
        st.binary(),
        st.just(Count.ONE),
        st.just(object()),
        st.sampled_from([int, ..., 1j, {1}]),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.one_of(wild_text, st.integers(), st.none()), inner),
    ),
    max_leaves=12,
)


def check_encodable(end: End) -> None:
    """Check that every encoder takes an end, and that nothing is lost when it is read again."""
    encoded = msgspec.json.encode(end)
    assert msgspec.json.decode(encoded, type=End) == end
    assert json.loads(json.dumps(msgspec.to_builtins(end), allow_nan=False))
    assert len(encoded) < 16 * MOST_USAGE


async def end_of(*script: Any) -> End:
    """Return the end of a reply whose backend yields a script's items and raises its exceptions."""

    async def answer(messages: Any) -> AsyncIterator[Any]:
        for item in script:
            if isinstance(item, BaseException):
                raise item
            yield item

    async with serving(answer) as replies:
        reply = await replies.start(asking())
        await read_all(reply)
        assert reply.end is not None
        return reply.end


@given(anything, anything)
def test_a_reply_ends_whatever_its_backend_finishes_with(
    reason: Any, usage: Any
) -> None:
    end = asyncio.run(end_of("a", Finish(reason, usage)))
    check_encodable(end)
    assert end.state == "done"
    assert end.finish_reason == reason or end.finish_reason == "stop"
    assert end.finish_reason not in READ_AS_STOP
    assert len(end.finish_reason) <= LONGEST_REASON


@given(st.one_of(wild_text, anything))
def test_a_reply_ends_whatever_its_backend_raises(words: Any) -> None:
    for error in (BackendFailed(words), ValueError(words), Problem(words)):
        end = asyncio.run(end_of("a", error))
        check_encodable(end)
        assert end.state == "failed"


@given(st.dictionaries(wild_text, anything, max_size=3))
def test_a_reply_ends_whatever_an_applications_problem_says(
    details: dict[str, Any],
) -> None:
    class Own(Problem):
        def as_dict(self) -> dict[str, Any]:
            return {**super().as_dict(), **details}

    end = end_of_failure(Own(), ECHO)
    check_encodable(end)
    assert end.problem is not None
    assert end.problem.keys() == {"type", "title", "status", "detail"}


@pytest.mark.parametrize("reason", ["busy", "refused", "misconfigured", "broken", 5])
def test_a_failure_of_a_backend_says_its_reason(reason: Any) -> None:
    problem = end_of_failure(BackendFailed("no", reason=reason), ECHO).problem
    assert problem is not None
    assert problem["reason"] == (reason if reason != 5 else "broken")
    assert end_of_failure(ValueError("no"), ECHO).problem["reason"] == "broken"  # type: ignore[index]


def test_each_failed_reply_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    failure = BackendFailed(
        "It is busy.", reason="busy", words="5 in line", answer_status=503
    )
    failure.host, failure.attempts = "gpu-7:8000", 3
    end_of_failure(failure, ECHO, "abcdefghij", 1.23456)
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert vars(record)["data"] == {
        "reply": "abcdef",
        "backend": "echo",
        "seconds": 1.235,
        "reason": "busy",
        "host": "gpu-7:8000",
        "status": 503,
        "attempts": 3,
        "detail": "It is busy.",
        "words": "5 in line",
    }


def test_an_exception_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        raise ValueError("secret")
    except ValueError as error:
        end = end_of_failure(error, ECHO)
    assert "secret" not in str(end)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "test_outcome.py" in caplog.text and "ValueError: secret" in caplog.text


def test_an_overrun_is_logged_alike(caplog: pytest.LogCaptureFixture) -> None:
    end = end_of_overrun(5.0, ECHO, "abcdefghij", 5.0)
    check_encodable(end)
    [record] = caplog.records
    assert vars(record)["data"]["reason"] == "broken"


def test_a_reason_that_nobody_knows_is_passed_on_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert end_of_finish(Finish("eos_found")).finish_reason == "eos_found"
    assert "'eos_found'" in caplog.text
    for reason in ("tool_calls", "stopped", "error", "", "x" * 101, "a\nb"):
        assert end_of_finish(Finish(reason)).finish_reason == "stop"


def test_usage_that_can_be_encoded_stays_as_it_is() -> None:
    usage = {"total_tokens": 3, "cost": 0.5, "details": {"a": [1, None, True, "x"]}}
    assert end_of_finish(Finish("length", usage)) == End("done", "length", usage=usage)
    assert end_of_finish(Finish("stop", {})).usage == {}


def test_what_json_cannot_hold_is_left_out() -> None:
    usage: dict[Any, Any] = {
        "a": float("nan"),
        "b": [1, b"", float("inf"), 2],
        "c": {"\ud800": "\udfff\ud83d\ude00"},
        "d": 2**64,
        "e": 10**5000,
        5: 5,
    }
    expected = {"b": [1, 2], "c": {"\ufffd": "\ufffd😀"}}
    assert end_of_finish(Finish("stop", usage)).usage == expected


@pytest.mark.parametrize("usage", ["words", [1], 5, b""])
def test_usage_that_is_no_object_is_none(usage: Any) -> None:
    assert end_of_finish(Finish("stop", usage)).usage is None


def test_usage_is_as_deep_and_as_large_as_it_may_be() -> None:
    endless: dict[str, Any] = {"a": 1}
    endless["b"] = endless
    depth, inner = 0, end_of_finish(Finish("stop", endless)).usage
    while inner is not None:
        depth, inner = depth + 1, inner.get("b")
    assert depth == DEEPEST_USAGE
    many = end_of_finish(Finish("stop", {str(n): n for n in range(10**5)})).usage
    assert many is not None
    assert 1000 < len(many) < MOST_USAGE
    long = end_of_finish(Finish("stop", {"a": "x" * 10**6, "b": 1})).usage
    assert long == {}


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (BackendFailed("x\ud800"), 502, "x\ufffd"),
        (BackendFailed("x" * 10**6), 502, "x" * LONGEST_DETAIL),
        (BackendFailed(5), 502, "The backend failed."),  # type: ignore[arg-type]
        (BadRequest("no", status=200), 502, "no"),
        (BadRequest("no", status=422), 422, "no"),
        (ValueError("secret"), 502, "The backend echo failed."),
    ],
)
def test_a_failure_has_the_four_members_of_a_problem(
    error: Exception, status: int, detail: str
) -> None:
    end = end_of_failure(error, ECHO)
    assert (end.state, end.finish_reason) == ("failed", "error")
    assert end.problem is not None
    assert (end.problem["status"], end.problem["detail"]) == (status, detail)


def test_tracebacks_are_dropped_from_all_that_led_to_an_error() -> None:
    errors: list[Exception] = []
    try:
        try:
            try:
                raise ValueError
            except ValueError as error:
                errors.append(error)
                raise ExceptionGroup("many", [error]) from error
        except ExceptionGroup as error:
            errors.append(error)
            raise BackendFailed from error
    except BackendFailed as error:
        errors.append(error)
        without_tracebacks(error)
    assert [error.__traceback__ for error in errors] == [None, None, None]
