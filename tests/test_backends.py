"""The backends `echo` and `package.module:function`, and how one is chosen."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatsvc
from chatsvc.backends import check_backend_name, make_backend
from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.function import FunctionBackend, load_function
from chatsvc.graphemes import Splitter
from chatsvc.model import (
    Context,
    Data,
    Extra,
    File,
    Finish,
    Message,
    Piece,
    Prompt,
    PromptInContext,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
    Usage,
)
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings

messages = st.builds(
    Message, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=8)
)
contents = st.lists(
    st.sampled_from(["\r\n", "\r", "\n", "a", "好", "👨‍👩‍👧", " "]), max_size=10
).map("".join)


async def text_of(stream: AsyncGenerator[Piece, None]) -> str:
    async with aclosing(stream) as pieces:
        return "".join([piece async for piece in pieces if isinstance(piece, str)])


def logged(text: str) -> str:
    """Return what a reply's log has of a backend's text."""
    splitter = Splitter()
    return splitter.feed(text) + splitter.close()


# ------------------------------------------------------------------ echo


@given(st.lists(messages, max_size=5))
async def test_echo_gives_the_last_message_of_the_user(turns: list[Message]) -> None:
    said = [m.content for m in turns if m.role == "user"]
    text = await text_of(EchoBackend().stream(Prompt(tuple(turns))))
    assert logged(text) == (logged(said[-1]) if said else "")


@given(contents, st.integers(0, 40))
async def test_echo_carries_on_behind_what_is_written(content: str, at: int) -> None:
    whole = logged(content)
    written = whole[:at]
    prompt = Prompt((Message("user", content),), written=written)
    assert written + logged(await text_of(EchoBackend().stream(prompt))) == whole


# ------------------------------------------------------------------ functions


async def answer(turns: list[dict[str, str]]) -> AsyncIterator[str]:
    for turn in turns:
        yield f"{turn['role']}: {turn['content']}\n"


class Answers:
    """A function may be any callable, and what it returns any async iterator."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)

    async def __call__(self, turns: list[dict[str, str]]) -> AsyncIterator[str]:
        return self

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


async def test_a_function_is_given_the_conversation() -> None:
    prompt = Prompt((Message("system", "s"), Message("user", "你好")))
    text = await text_of(FunctionBackend(answer).stream(prompt))
    assert text == "system: s\nuser: 你好\n"


async def test_any_callable_that_gives_an_async_iterator_will_do() -> None:
    backend = FunctionBackend(Answers("a", "b"))
    assert await text_of(backend.stream(Prompt(()))) == "ab"
    assert backend.name == "function"
    assert FunctionBackend(answer).name == "answer"


async def test_what_a_function_holds_open_is_closed_with_the_stream() -> None:
    closed: list[bool] = []

    async def endless(turns: Any) -> AsyncIterator[str]:
        try:
            while True:
                yield "a"
        finally:
            closed.append(True)

    stream = FunctionBackend(endless).stream(Prompt(()))
    assert await anext(stream) == "a"
    assert not closed
    await stream.aclose()
    assert closed == [True]


async def test_what_gives_an_iterator_of_its_own_is_closed_with_the_stream() -> None:
    closed: list[str] = []

    class Upstream:
        """As the streams of many clients: an iterable, with a close of its own."""

        async def __aiter__(self) -> AsyncIterator[str]:
            try:
                while True:
                    yield "a"
            finally:
                closed.append("iterator")

        async def aclose(self) -> None:
            closed.append("upstream")

    stream = FunctionBackend(lambda turns: Upstream()).stream(Prompt(()))
    assert await anext(stream) == "a"
    await stream.aclose()
    assert closed == ["iterator", "upstream"]


@pytest.mark.parametrize(
    ("gives", "why"),
    [
        (lambda turns: "text", "async iterator"),
        (lambda turns: iter("ab"), "async iterator"),
        (lambda turns: None, "async iterator"),
        (lambda turns: Answers(5), "yield str, not int"),  # type: ignore[arg-type]
    ],
)
async def test_a_function_that_gives_no_text_says_what_it_must_give(
    gives: Any, why: str
) -> None:
    with pytest.raises(BackendFailed, match=why) as failed:
        await text_of(FunctionBackend(gives, "my:function").stream(Prompt(())))
    assert "my:function" in str(failed.value)


PIECES: list[Piece] = [
    Reasoning("hm"),
    Reasoning(signature="s"),
    "a",
    ToolCall("c", "f", "{"),
    ToolCall("c", arguments="}"),
    ToolResult("c", {"n": 1}),
    Source("https://example.org/", "t"),
    File("image/png", "data:,x"),
    Data("d", [1]),
    Extra({"e": 1}),
    Usage({"n": 1}),
    Finish("tool_calls"),
]


async def test_a_function_may_yield_every_piece() -> None:
    async def answers(turns: Any) -> AsyncIterator[Piece]:
        for piece in PIECES:
            yield piece

    stream = FunctionBackend(answers).stream(Prompt(()))
    assert [piece async for piece in stream] == PIECES
    assert {type(piece).__name__ for piece in PIECES} - {"str"} <= set(chatsvc.__all__)


@pytest.mark.parametrize(
    ("piece", "why"),
    [
        (ToolCall("c", "f", {"n": 1}), "ToolCall.arguments as str, not dict"),  # type: ignore[arg-type]
        (ToolCall(None, "f"), "ToolCall.id as str, not NoneType"),  # type: ignore[arg-type]
        (Reasoning(b"hm"), "Reasoning.text as str, not bytes"),  # type: ignore[arg-type]
        (b"a", "yield str, not bytes"),
        (ToolCall, "yield str, not StructMeta"),
        ({"type": "text"}, "yield str, not dict"),
    ],
)
async def test_what_is_no_piece_is_said(piece: Any, why: str) -> None:
    async def answers(turns: Any) -> AsyncIterator[Any]:
        yield piece

    with pytest.raises(BackendFailed, match=why):
        await anext(FunctionBackend(answers).stream(Prompt(())))


CONTEXT = Context(user="ann", reply="r", chat="c", options={"seed": 1}, headers={"A": "b"})  # fmt: skip


def as_second(messages: Any, context: Any) -> Any:
    return Answers(repr(context))


def by_another_name(messages: Any, /, asked: Any) -> Any:
    return Answers(repr(asked))


def with_a_default(messages: Any, context: Any = None) -> Any:
    return Answers(repr(context))


def by_name(messages: Any, *, model: str = "m", context: Any = None) -> Any:
    return Answers(repr(context))


class Bound:
    def answer(self, messages: Any, context: Any) -> Any:
        return Answers(repr(context))

    __call__ = answer


@pytest.mark.parametrize(
    "function",
    [
        *(as_second, by_another_name, with_a_default, by_name),
        *(Bound().answer, Bound(), partial(by_name, model="x")),
    ],
)
async def test_a_function_that_takes_the_context_gets_it(function: Any) -> None:
    prompt = PromptInContext((), options={"seed": 1}, context=CONTEXT)
    assert await text_of(FunctionBackend(function).stream(prompt)) == repr(CONTEXT)


def with_an_option(messages: Any, model: str = "m") -> Any:
    return Answers(model)


def with_any(*messages: Any, **context: Any) -> Any:
    return Answers(f"{len(messages)}{context}")


@pytest.mark.parametrize(
    ("function", "text"),
    [(with_an_option, "m"), (with_any, "1{}"), (lambda context: Answers("a"), "a")],
)
async def test_a_function_that_does_not_take_the_context_works_as_before(
    function: Any, text: str
) -> None:
    prompt = PromptInContext((), context=CONTEXT)
    assert await text_of(FunctionBackend(function).stream(prompt)) == text


async def test_without_a_request_the_context_has_the_options_alone() -> None:
    prompt = Prompt((), options={"seed": 1})
    text = await text_of(FunctionBackend(as_second).stream(prompt))
    assert text == repr(Context(options={"seed": 1}))


# ------------------------------------------------------------------ loading


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on the import path, with a package of modules good and bad."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_package").mkdir()
    (tmp_path / "users_package" / "__init__.py").write_text("")
    (tmp_path / "users_package" / "good.py").write_text(
        "async def answer(messages):\n    yield 'hello'\n\nnumber = 5\n"
    )
    (tmp_path / "users_package" / "broken.py").write_text("1 / 0\n")
    (tmp_path / "users_package" / "unclear.py").write_text("def (\n")
    (tmp_path / "users_package" / "needy.py").write_text("import not_there_at_all\n")
    (tmp_path / "users_package" / "leaving.py").write_text("raise SystemExit(3)\n")
    return tmp_path


async def test_a_function_is_loaded_by_its_path(module: Path) -> None:
    settings = Settings(backend="users_package.good:answer")
    backend = make_backend(settings)
    assert backend.name == "users_package.good:answer"
    assert (backend.pace, backend.resumes) == (0.0, False)
    assert await text_of(backend.stream(Prompt(()))) == "hello"


async def test_a_function_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console script has it not on its path. It comes before what is installed."""
    answer = "async def answer(m):\n    yield 'a'\n"
    (tmp_path / "standing_here.py").write_text(answer)
    (tmp_path / "colorsys.py").write_text(answer)
    elsewhere = [p for p in sys.path if p and Path(p) != Path.cwd()]
    monkeypatch.setattr(sys, "path", list(elsewhere))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("standing_here", "colorsys"):
        backend = load_function(f"{name}:answer")
        assert await text_of(backend.stream(Prompt(()))) == "a"
        assert sys.path == [str(tmp_path), *elsewhere]
    monkeypatch.delitem(sys.modules, "colorsys")
    sys.path.pop(0)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValueError, match="no module 'not_there_at_all'"):
        load_function("not_there_at_all:answer")
    assert sys.path == elsewhere


async def test_a_function_is_found_in_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    named.mkdir()
    (named / "living_there.py").write_text("async def answer(m):\n    yield 'b'\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    settings = Settings(backend="living_there:answer", app_dir="named")
    assert await text_of(make_backend(settings).stream(Prompt(()))) == "b"
    assert sys.path[0] == str(named)
    with pytest.raises(ValueError, match=f"neither in {named} .--app-dir"):
        load_function("not_there_at_all:answer", "named")
    with pytest.raises(ValueError, match=rf"no function 'x' .it is {named}/living_th"):
        load_function("living_there:x", "named")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("not_there_at_all:answer", "there is no module 'not_there_at_all'"),
        ("users_package.missing:answer", "there is no module 'users_package.missing'"),
        ("users_package.good.x:answer", "there is no module 'users_package.good.x'"),
        ("users_package.good:other", "has no function 'other'"),
        ("users_package.good:number", "has no function 'number'"),
        ("users_package.broken:answer", "failed: ZeroDivisionError: division by zero"),
        ("users_package.unclear:answer", "failed: SyntaxError"),
        ("users_package.needy:answer", "failed: No module named 'not_there_at_all'"),
        ("users_package.leaving:answer", "failed: SystemExit: 3"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_one_line(
    module: Path, path: str, why: str
) -> None:
    with pytest.raises(ValueError) as failed:
        load_function(path)
    assert why in str(failed.value)
    assert "\n" not in str(failed.value)


def test_the_name_of_a_backend_chooses_it() -> None:
    assert isinstance(make_backend(Settings()), EchoBackend)


@pytest.mark.parametrize("text", ["echo", "openai", "local", "answers:answer", "a.b:c"])
def test_names_that_a_backend_can_have(text: str) -> None:
    assert check_backend_name(text) == text


@pytest.mark.parametrize("text", ["", "nobody", "a:", ":b", "a b:c", "a:b:c", "a.:b"])
def test_any_other_name_is_refused_in_one_line(text: str) -> None:
    for refuse in (
        check_backend_name,
        lambda text: make_backend(Settings(backend=text)),
    ):
        with pytest.raises(ValueError) as refused:
            refuse(text)
        assert str(refused.value) == (
            f"takes echo, openai, local or package.module:function, not {text!r}"
        )
