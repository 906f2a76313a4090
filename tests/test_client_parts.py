"""`chatsvc ask` reads all parts of a reply: its reasoning, its cursor, why it ended, and old nodes."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from chatsvc.app import create_app
from chatsvc.cli import main
from chatsvc.client.ask import ask
from chatsvc.client.events import EventInterpreter, FrameInterpreter
from chatsvc.client.reading import Backoff, Outcome, Reading
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    Problem,
    Refused,
    Signal,
    TextReceived,
    UnitsReceived,
)
from chatsvc.client.terminal import write_dim
from chatsvc.client.wire import service_url
from chatsvc.eventstream import Event
from chatsvc.model import Data, Finish, Piece, Reasoning, ToolCall
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from tests.scripted_service import CuttingProxy, running
from tests.service.parts import Pieces

QUICK = Backoff(first=0.001, longest=0.002)
BY_PARTS = ["sse", "ndjson", "websocket", "poll"]
SCRIPT = (
    Reasoning("Let me\nthink 你"),
    "Hé",
    Data("x", {"n": 1}),
    "llo ",
    Reasoning("again\n"),
    ToolCall("1", "f", "{}"),
    "👨‍👩‍👧!",
)
TEXT = "Héllo 👨‍👩‍👧!"
THOUGHTS = "Let me\nthink 你\nagain\n"


async def asked(
    url: object, transport: str, *, thinking: bool = False
) -> tuple[int, str]:
    text: list[str] = []
    root = service_url(str(url))
    status = await ask(
        root, "hi", transport, text.append, thinking=thinking, backoff=QUICK
    )
    return status, "".join(text)


@asynccontextmanager
async def serving(*script: Piece | BaseException) -> AsyncIterator[URL]:
    app = create_app(Settings(), backend=Pieces(*script))
    async with running(app) as url:
        yield url


@pytest.mark.parametrize("transport", ["auto", *BY_PARTS])
async def test_reasoning_goes_to_stderr_if_it_is_asked_for(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(*SCRIPT) as url:
        assert await asked(url, transport, thinking=True) == (0, TEXT)
        assert capsys.readouterr().err == THOUGHTS
        assert await asked(url, transport) == (0, TEXT)
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("transport", BY_PARTS)
@pytest.mark.sampled
async def test_cut_anywhere_both_are_exact(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(*SCRIPT) as url:
        proxy = CuttingProxy(url, [])
        async with proxy.running() as through:
            assert await asked(through, transport, thinking=True) == (0, TEXT)
            assert capsys.readouterr().err == THOUGHTS
            length = max(proxy.lengths)
            head = 400 if transport != "websocket" else 120
            for cut in [*range(0, head, 100), *range(head, length + 1, 13)]:
                proxy.cuts[:] = [cut, cut]
                assert await asked(through, transport, thinking=True) == (0, TEXT)
                assert capsys.readouterr().err == THOUGHTS, cut


@pytest.mark.parametrize("transport", [*BY_PARTS, "text"])
@pytest.mark.parametrize(
    ("reason", "status", "said"),
    [
        ("length", 1, "limit"),
        ("content_filter", 1, "filter"),
        ("stop", 0, ""),
        ("tool_calls", 0, ""),
    ],
)
async def test_a_reply_that_was_cut_is_said_and_is_no_success(
    transport: str,
    reason: str,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving("abc", Finish(reason)) as url:
        assert await asked(url, transport) == (status, "abc")
    error = capsys.readouterr().err
    if status:
        assert error.startswith("chatsvc ask: the reply is cut")
        assert said in error and error.count("\n") == 1
    else:
        assert error == ""


@pytest.mark.parametrize("transport", BY_PARTS)
async def test_a_failure_is_said_in_its_own_words(
    transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(Reasoning("hm"), "a", BackendFailed("It broke.")) as url:
        assert await asked(url, transport) == (1, "a")
    assert "It broke." in capsys.readouterr().err


def test_bare_text_carries_no_reasoning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "--thinking", "--transport", "text", "hi"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--thinking" in line


# ---------------------------------------------------------------------- old nodes


@asynccontextmanager
async def rolling(to: URL, cut: int, every: int = 2) -> AsyncIterator[URL]:
    """Serve what `to` does, but each of `every` as a node that knows no parts; bodies are cut."""
    count = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        query = dict(request.query)
        if count % every == 0:
            query.pop("view", None)
            if query.get("after", "").startswith("@"):
                return web.json_response(
                    {"type": "/problems/bad-cursor", "title": "Bad", "detail": ""},
                    status=400,
                    content_type="application/problem+json",
                )
        names = ("Accept", "Idempotency-Key", "Content-Type")
        headers = {n: request.headers[n] for n in names if n in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                to.joinpath(request.path[1:]).with_query(query),
                headers=headers,
                data=await request.read() or None,
            ) as answer,
        ):
            kind = answer.headers["Content-Type"]
            response = web.StreamResponse(
                status=answer.status, headers={"Content-Type": kind}
            )
            for name in ("X-Reply-Id", "Retry-After"):
                if name in answer.headers:
                    response.headers[name] = answer.headers[name]
            body = await answer.read()
            await response.prepare(request)
            if kind != "application/json" and count < 40 and cut:
                await response.write(body[: cut * (1 + count // 3)])
                assert request.transport is not None
                request.transport.abort()
            else:
                await response.write(body)
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with running(app) as url:
        yield url


@pytest.mark.parametrize("transport", ["sse", "ndjson", "poll"])
@pytest.mark.parametrize("cut", [90, 150, 260])
async def test_old_and_new_nodes_in_turn_give_the_text_once(
    transport: str, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(*SCRIPT) as url, rolling(url, cut) as through:
        assert await asked(through, transport, thinking=True) == (0, TEXT)
    # Reasoning that an old node has read past is not shown; none is shown twice.
    said = capsys.readouterr().err
    assert said.count("Let me") <= 1 and said.count("again") <= 1


@pytest.mark.parametrize("transport", ["sse", "ndjson", "poll"])
@pytest.mark.parametrize(("reason", "status"), [("length", 1), ("stop", 0)])
async def test_an_old_node_is_asked_whether_the_reply_was_cut(
    transport: str, reason: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving("abc", Finish(reason)) as url, rolling(url, 0, 1) as through:
        assert await asked(through, transport) == (status, "abc")
    assert ("the reply is cut" in capsys.readouterr().err) == bool(status)


# ---------------------------------------------------------------------- the state machine


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (Ended("done", None, "length"), "length"),
        (Ended("done"), ""),
        (Broken("it broke"), ""),
        (Refused(Problem(410, "Expired", ""), None), ""),
        (Refused(Problem(503, "Busy", ""), 1.0), ""),
    ],
)
def test_a_reply_is_done_whatever_a_poll_says_of_how(last: Signal, reason: str) -> None:
    reading = Reading(["sse"], parts=True)
    assert reading.next() is not None
    reading.take(Attached("r" * 22))
    assert reading.take(TextReceived(1, "a")) == "a"
    reading.take(Ended("done"))
    step = reading.next()
    assert step is not None and (step.transport, step.after) == ("poll", 1)
    reading.take(last)
    assert reading.outcome == Outcome("done", "", reason)
    assert reading.next() is None


def test_a_refused_offset_is_asked_for_by_position_and_only_then() -> None:
    reading = Reading(["sse"], parts=True, backoff=QUICK)
    reading.next()
    reading.take(Attached("r"))
    reading.take(UnitsReceived(1, 1, "reasoning", ""))
    assert reading.take(UnitsReceived(4, 1, "reasoning", "abc")) == "abc"
    assert reading.take(UnitsReceived(6, 0, "text", "de")) == "de"
    step = reading.next()
    assert step is not None and (step.after, step.offset) == (2, 6)
    bad = Refused(Problem(400, "Bad", "", "bad-cursor"))
    reading.take(bad)
    step = reading.next()
    assert step is not None and (step.after, step.offset) == (2, None)
    # By the position what stands there may come again.
    assert reading.take(UnitsReceived(5, 0, "text", "d")) == ""
    assert reading.take(UnitsReceived(7, 0, "text", "ef")) == "f"
    assert reading.take(TextReceived(4, "g")) == "g"
    step = reading.next()
    assert step is not None and (step.after, step.offset) == (4, None)
    reading.take(bad)
    assert reading.outcome == Outcome("failed", "Bad")


def test_a_gap_is_asked_for_again() -> None:
    reading = Reading(["sse"], parts=True, backoff=QUICK)
    reading.next()
    assert reading.take(UnitsReceived(3, 0, "text", "ab")) == ""
    step = reading.next()
    assert step is not None and step.offset == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.text(min_size=1, max_size=3)), max_size=6),
    st.data(),
)
def test_however_it_is_cut_and_repeated_each_unit_is_taken_once(
    parts: list[tuple[int, str]], data: st.DataObject
) -> None:
    units = [(part, character) for part, text in parts for character in text]
    reading = Reading(["sse"], parts=True, backoff=Backoff(attempts=1000))
    got: list[tuple[int, str]] = []
    while len(got) < len(units):
        step = reading.next()
        assert step is not None and step.offset == len(got)
        at = data.draw(
            st.integers(0, step.offset)
        )  # what the client has may come again
        while at < len(units) and not data.draw(st.booleans()):
            part, text = units[at]
            at += 1
            while at < len(units) and units[at][0] == part and len(text) < 3:
                text += units[at][1]
                at += 1
            got += [(part, c) for c in reading.take(UnitsReceived(at, part, "", text))]
    assert got == units
    assert reading.position == sum(part == 0 for part, _ in units)


# ---------------------------------------------------------------------- events


def signals_of(*events: tuple[str, str]) -> list[Signal]:
    interpreter = EventInterpreter()
    found: list[Signal] = []
    for place, data in events:
        found += interpreter.signals(Event(data, "message", f"R:{place}"))
    return [signal for signal in found if not isinstance(signal, Attached)]


def test_events_of_parts() -> None:
    assert signals_of(
        ("@3", '{"type":"part","part":1,"kind":"reasoning","resumed":true}'),
        ("@5", '{"type":"delta","part":1,"text":"ab"}'),
        ("@6", '{"type":"close","part":1}'),
        ("@7", '{"type":"delta","part":0,"text":"c"}'),
        ("@8", '{"type":"novelty","part":0}'),
        ("end", '{"type":"end","state":"done","finish_reason":"length"}'),
        ("end", "[DONE]"),
    ) == [
        UnitsReceived(5, 1, "reasoning", "ab"),
        UnitsReceived(6, 1, "reasoning", ""),
        UnitsReceived(7, 0, "text", "c"),
        UnitsReceived(8, 0, "text", ""),
        Ended("done", None, "length"),
    ]


@given(st.text(max_size=6), st.text(max_size=20) | st.just('{"type":"delta","part":1'))
def test_what_can_not_be_read_raises_nothing(place: str, data: str) -> None:
    for cursor in (place, f"@{place}", "@1", "end"):
        signals_of((cursor, data), ("end", "[DONE]"))


@pytest.mark.parametrize(
    "data",
    ["[]", "{}", "x", '{"type":"delta","part":1}', '{"type":"delta","part":1,"text":2}']
    + ['{"type":"close"}', '{"type":"close","part":"1"}'],
)
def test_what_is_no_event_of_parts_is_left_for_another_transport(data: str) -> None:
    (signal,) = signals_of(("@1", data))
    assert isinstance(signal, Broken) and signal.switch


def test_frames_have_objects_as_data() -> None:
    frame = '{"id":"R:@1","data":{"type":"close","part":1}}'
    assert FrameInterpreter().signals(frame)[1:] == [UnitsReceived(1, 1, "", "")]


# ---------------------------------------------------------------------- the terminal


class Screen(io.TextIOWrapper):
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def written(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def test_dim_on_a_terminal_and_plain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for terminal, shown in [(True, "\x1b[2mhm\\x1b[0m\x1b[22m"), (False, "hm\x1b[0m")]:
        screen = Screen(terminal)
        write_dim(screen, "hm\x1b[0m")
        assert screen.written == shown
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(True)
    write_dim(screen, "hm")
    assert screen.written == "hm"


async def test_on_one_terminal_thoughts_and_answer_have_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen(True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    async with serving(*SCRIPT) as url:
        root = service_url(str(url))

        def write(text: str) -> None:
            screen.flush()
            screen.buffer.write(text.encode())

        await ask(root, "hi", "sse", write, thinking=True)
    assert screen.written == ("Let me\nthink 你\nHéllo \nagain\n👨‍👩‍👧!\n")


async def test_ctrl_c_in_a_thought_ends_its_line() -> None:
    go = asyncio.Event()
    app = create_app(Settings(), backend=Pieces(Reasoning("hm"), go, "x"))
    async with running(app) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatsvc", "ask", "--thinking"),
            *("--url", str(url), "hi"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        assert await process.stderr.readexactly(2) == b"hm"
        process.send_signal(2)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, out, err) == (130, b"", b"\n")
