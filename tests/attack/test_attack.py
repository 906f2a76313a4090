"""All attacks at once beside innocents; and tests of the instrument: does it notice who won?"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from ..scripted_service import running
from . import trial
from .__main__ import table
from .attacks import ATTACKS
from .innocents import Innocents
from .model import PACED, SCRIPT, Model
from .texts import CLUSTERS, HOSTILE, MARKDOWN, gzip_bomb, hostile, innocent
from .trial import RUNNING, Measured, Result, Setup, late, run, two_cores

MOST_TRIES = 2
"""How often a trial is run in which only times are too long: another program may have had a core.

A node that is held is held each time.
"""


async def _held_off(seconds: float, alone_s: float) -> None:
    for _ in range(MOST_TRIES):
        setup = Setup(
            seconds=seconds, alone_s=alone_s, cores=two_cores(), judged=RUNNING
        )
        result = await run(setup)
        if result.faults or not result.late:
            break
    said = [
        *result.failures,
        table(result),
        json.dumps(result.seen),
        result.log[-3000:],
    ]
    assert not result.failures, "\n".join(said)
    assert result.beside["replies"] >= setup.chats
    assert set(result.seen) == set(ATTACKS)


@pytest.mark.thorough
async def test_innocents_hardly_notice_all_attacks_at_once() -> None:
    await _held_off(seconds=60, alone_s=10)


# --------------------------------------------------------------------- the instrument


@pytest.mark.thorough
async def test_a_node_that_is_held_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = trial._sample

    async def hold(pid: int, samples: list[tuple[float, float]]) -> None:
        await asyncio.sleep(0.5)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.6)
        os.kill(pid, signal.SIGCONT)
        await sample(pid, samples)

    monkeypatch.setattr(trial, "_sample", hold)
    setup = Setup(seconds=2, alone_s=1, attacks=("slow-heads",), chats=4, length=10)
    result = await run(setup)
    assert any("gap max" in why for why in result.late), result.late
    assert not result.faults
    assert result.seen["slow-heads"]["begun"] == ATTACKS["slow-heads"].at_once


def _measured(**longest: float) -> Measured:
    times = {name: {"p99": most, "max": most} for name, most in longest.items()}
    return {"times": times, "stalls": {"p99": 1.0, "max": 10.0}}


def test_a_time_is_late_beside_the_same_time_alone() -> None:
    alone = _measured(gap=100, first=100)
    assert not late(alone, _measured(gap=200, first=200))
    assert len(late(alone, _measured(gap=205, first=200))) == 1  # the p99
    assert len(late(alone, _measured(gap=211, first=500))) == 4
    assert late(alone, _measured(gap=1)) == ["no first at all"]
    quick = _measured(gap=1, first=1, rendered=1)
    assert not late(quick, _measured(gap=60, first=150, rendered=250))


def test_a_trial_is_won_by_what_is_late_and_by_what_is_wrong() -> None:
    assert Result(late=["gap"], faults=["1 lost"]).failures == ["1 lost", "gap"]


async def test_a_node_has_time_to_put_everything_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = trial._State(running=0, readers=0, descriptors=14)
    busy = [replace(before, readers=1), replace(before, descriptors=15)]
    states = [*busy, replace(before, descriptors=13)]

    async def state(pid: int, port: int) -> trial._State:
        return states.pop(0) if len(states) > 1 else states[0]

    monkeypatch.setattr(trial, "_state", state)
    assert (await trial._settled(0, 0, before)).descriptors == 13
    states = busy[:1]
    monkeypatch.setattr(trial, "REST_S", 0.3)
    left = await trial._settled(0, 0, before)
    assert before.exceeded_by(left) == ["1 readers afterwards, 0 before"]


Change = Callable[[list[tuple[str, str]]], list[tuple[str, str]]]

FAULTS: dict[str, tuple[Change, str | None]] = {
    "whole": (lambda events: events, None),
    "lost": (lambda events: events[:3] + events[4:], "Torn"),
    "doubled": (lambda events: [*events[:3], events[2], *events[3:]], "Torn"),
    "joined": (
        lambda events: [(events[1][0], events[0][1] + events[1][1]), *events[2:]],
        "Torn",
    ),
    "no end": (lambda events: events[:-1], "no end"),
    "goes on": (lambda events: [*events, ("9", "x")], "behind the end"),
    "failed": (lambda events: [*events[:3], ("failed", "x")], "Torn"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_innocent_notices(fault: str) -> None:
    change, why = FAULTS[fault]
    characters = innocent(12, random.Random(3))
    events, position = [], 0
    for character in characters:
        position += len(character)
        events.append((str(position), character))
    events.append(("end", "[DONE]"))

    async def changed() -> AsyncIterator[tuple[str, str]]:
        for event in change(events):
            yield event

    innocents = Innocents(0, 0.0, len(characters), {}, 0.05)
    if why is None:
        await innocents._whole(changed(), characters)
        return
    with pytest.raises(Exception, match=None if why == "Torn" else why) as caught:
        await innocents._whole(changed(), characters)
    assert type(caught.value).__name__ == "Torn"


async def test_innocents_count_replies_that_are_refused() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=503)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", refuse)
    async with running(app) as url:
        assert url.port is not None
        deadline = asyncio.get_running_loop().time() + 0.3
        innocents = Innocents(url.port, deadline, 5, {}, 0.01)
        report = await innocents.run(chats=2)
    assert not report.replies
    assert any("status 503" in why for why in report.lost)
    assert any("WSServerHandshakeError" in why for why in report.lost)
    assert any(why.startswith("new: ") for why in report.lost)


@asynccontextmanager
async def _asked(content: str) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Ask a model's server for an answer; yield a function that gives the rest of it so far."""
    async with Model(0.001, list).running() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps({"messages": [{"content": content}]}).encode()
        head = f"POST / HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        writer.write(head + body)
        try:
            yield lambda: asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("content", "events"),
    [(PACED + "abc", 5), ("abc", 3), (SCRIPT + "flags", 3), (SCRIPT + "what", 3)],
)
async def test_the_model_answers_what_it_is_asked(content: str, events: int) -> None:
    async with _asked(content) as rest:
        answer = await rest()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"data: [DONE]\n\n")
    assert answer.count(b"data: ") == events


def test_a_bomb_unpacks_to_what_it_says() -> None:
    bomb = gzip_bomb(b"abc", b"z", 2 << 20)
    assert len(bomb) < 10_000
    text = zlib.decompressobj(31).decompress(bomb)
    assert text == b"z" + b"abc" * ((len(text) - 1) // 3)
    assert 2_000_000 < len(text) <= 2 << 20


def test_texts_are_as_long_as_they_may_be() -> None:
    for kind in HOSTILE:
        assert 31_900 < len(hostile(kind).encode()) <= 32_000
    assert all(5_000 < len(text) <= 8_100 for text in MARKDOWN.values())
    assert len(set(CLUSTERS)) == len(CLUSTERS)
