"""What is seen of an operator's function at the start: what is wrong with it, and what would be right."""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
)
from functools import partial, wraps
from typing import Any, Protocol, TypeVar

import pytest

from chatsvc.app import create_app
from chatsvc.backends.function import FunctionBackend
from chatsvc.backends.function_signature import RIGHT, RIGHT_PIECES, fault_of
from chatsvc.model import Context, Piece, Prompt, Reasoning, ToolCall
from chatsvc.problems import BackendFailed

Item = TypeVar("Item")


async def right(messages: Any) -> AsyncGenerator[Piece, None]:
    yield "a"


async def right_with_context(
    messages: list[dict[str, Any]], context: Context
) -> AsyncIterator[str | Reasoning]:
    yield "a"


async def unannotated(messages):  # type: ignore[no-untyped-def]
    yield "a"


async def sloppy(messages: Any) -> str:  # type: ignore[misc]
    """It works: only what it says of itself is wrong."""
    yield "a"


async def gives_one(messages: Any) -> AsyncIterator[Any]:
    return right(messages)


def gives_one_later(messages: Any) -> Awaitable[AsyncIterator[str]]:
    return gives_one(messages)


def gives_any_of(messages: Any) -> AsyncIterable[Item]:
    raise NotImplementedError


def gives_one_of_two(messages: Any) -> AsyncIterator[str] | None:
    return None


async def yields_perhaps_none(messages: Any) -> AsyncIterator[str | None]:
    yield None


def gives_what_is_not_known(messages: Any) -> NotKnown:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError


class Iterable(Protocol):
    def __aiter__(self) -> AsyncIterator[str]: ...


def gives_a_protocol(messages: Any) -> Iterable:
    return right(messages)  # type: ignore[return-value]


def with_retries(function: Callable[..., Any]) -> Callable[..., Any]:
    """What it says of itself is what the function says that it wraps."""

    @wraps(function)
    async def retried(*given: Any, **named: Any) -> AsyncIterator[str]:
        yield await function(*given, model="m", **named)

    return retried


@with_retries
async def asks(messages: Any, model: str) -> str:
    return "a"


@with_retries
async def takes_a_model_too(messages: Any, context: Any, model: str) -> str:
    return "a"


class Answers:
    def __init__(self, messages: Any) -> None:
        self.messages = messages

    async def __aiter__(self) -> AsyncIterator[str]:
        yield "a"

    async def __call__(self, messages: Any) -> AsyncIterator[str]:
        yield "a"

    async def method(self, messages: Any, context: Any) -> AsyncIterator[str]:
        yield "a"


@pytest.mark.parametrize(
    "function",
    [
        *(right, right_with_context, unannotated, sloppy),
        *(gives_one, gives_one_later, gives_any_of, gives_one_of_two),
        *(yields_perhaps_none, gives_what_is_not_known, gives_a_protocol),
        *(asks, takes_a_model_too, partial(asks, model="x")),
        *(Answers, Answers(0), Answers(0).method, partial(right_with_context)),
        lambda messages: right(messages),
        lambda *given, **named: right(given),
        sorted,  # its parameters are not known
    ],
)
def test_what_may_be_right_is_taken(function: Any) -> None:
    assert fault_of(function) == ""


async def no_messages() -> AsyncIterator[str]:
    yield "a"


async def too_many(messages: Any, context: Any, model: str) -> AsyncIterator[str]:
    yield "a"


async def named_only(messages: Any, *, model: str) -> AsyncIterator[str]:
    yield "a"


def not_async(messages: Any) -> Iterator[str]:
    yield "a"


async def one_text(messages: Any) -> str:
    return "a"


async def nothing(messages: Any) -> None:
    pass


def a_list(messages: Any) -> list[str]:
    return ["a"]


def one_text_later(messages: Any) -> Coroutine[Any, Any, str]:
    return one_text(messages)


async def yields_bytes(messages: Any) -> AsyncIterator[bytes]:
    yield b"a"


async def yields_objects(messages: Any) -> AsyncGenerator[dict[str, Any], None]:
    yield {}


async def yields_neither(messages: Any) -> AsyncIterator[bytes | int]:
    yield 5


class NoBackend:
    async def stream(self, prompt: Prompt) -> AsyncIterator[str]:
        yield "a"


class CalledWithout:
    async def __call__(self) -> AsyncIterator[str]:
        yield "a"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (no_messages, f"no_messages takes () -> 'AsyncIterator[str]': {RIGHT}"),
        (too_many, "takes (messages: 'Any', context: 'Any', model: 'str')"),
        (named_only, "takes (messages: 'Any', *, model: 'str')"),
        (not_async, f"is a generator function that is not asynchronous: {RIGHT}"),
        (partial(not_async), "that is not asynchronous"),
        (one_text, f"gives str, and must give an async iterator: {RIGHT}"),
        (nothing, "gives NoneType, and must give an async iterator"),
        (a_list, "gives list[str], and must give an async iterator"),
        (one_text_later, "gives str, and must give an async iterator"),
        (yields_bytes, f"yield_bytes yields bytes: {RIGHT_PIECES}"),
        (yields_objects, "yields dict[str, typing.Any]"),
        (yields_neither, "yields bytes | int"),
        (NoBackend, "takes ()"),
        (CalledWithout(), "takes () -> 'AsyncIterator[str]'"),
    ],
)
def test_what_is_certainly_wrong_is_said_with_what_would_be_right(
    function: Any, why: str
) -> None:
    for refuse in (FunctionBackend, lambda function: create_app(backend=function)):
        with pytest.raises(ValueError) as refused:
            refuse(function)
        assert why.replace("yield_bytes", "yields_bytes") in str(refused.value)
        assert "\n" not in str(refused.value)


async def no_yield(messages):  # type: ignore[no-untyped-def]
    return "a"


@pytest.mark.parametrize(
    ("function", "warned"),
    [(no_yield, True), (right, False), (unannotated, False), (gives_one, False)],
)
def test_a_coroutine_function_that_says_nothing_of_itself_is_in_the_log(
    caplog: pytest.LogCaptureFixture, function: Any, warned: bool
) -> None:
    FunctionBackend(function, "my:function")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == (
        [
            (
                logging.WARNING,
                "my:function has no `yield`: unless it returns an async iterator, "
                + RIGHT,
            )
        ]
        if warned
        else []
    )


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_yield, f"it gave str: {RIGHT}"),
        (lambda messages: ["a"], f"it gave list: {RIGHT}"),
        (lambda messages: None, f"it gave NoneType: {RIGHT}"),
        (yields_perhaps_none, f"it yielded NoneType: {RIGHT_PIECES}"),
    ],
)
async def test_what_only_shows_in_a_reply_has_words_for_the_log(
    function: Any, words: str
) -> None:
    with pytest.raises(BackendFailed) as failed:
        await anext(FunctionBackend(function).stream(Prompt(())))
    assert failed.value.words == words
    assert len(words) <= 500


def test_all_pieces_are_named() -> None:
    assert RIGHT_PIECES.startswith("yield str, Reasoning, ToolCall, ")
    assert RIGHT_PIECES.endswith(" Usage or Finish")
    assert ToolCall.__name__ in RIGHT_PIECES
