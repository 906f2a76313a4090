"""The views of text alone: what is beside the text changes nothing (PROTOCOL.md section 1)."""

from __future__ import annotations

import asyncio
import json
from itertools import groupby
from typing import NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chatsvc.model import Piece
from chatsvc.problems import BackendFailed
from tests.parts_script import only_text, scripts, written

from .parts import JSON, NDJSON, Pieces
from .running import Chat, characters, events, inside, without_comments

BODY = json.dumps({"message": "hi"}).encode()
SSE, TEXT = "Accept: text/event-stream", "Accept: text/plain"


class Views(NamedTuple):
    """All that the views of text say of one reply, without its id."""

    bodies: dict[str, bytes]
    frames: list[str]
    bare: list[str]


async def views_of(chat: Chat, after: int) -> Views:
    """What each view says of a reply: as it comes, and again from its start and a position."""
    bodies: dict[str, bytes] = {}
    answer = await chat.raw("POST /api/chat", SSE, body=BODY)
    reply = answer.reply.encode()
    bodies["live"] = without_comments(answer.body)
    for name, query, accept in [
        ("sse", "", SSE),
        ("sse behind", f"?after={after}", SSE),
        ("sse without ids", "?ids=0", SSE),
        ("text", "", TEXT),
        ("lines", "", NDJSON),
        ("snapshot", f"?after={after}", JSON),
    ]:
        answer = await chat.raw(f"GET /api/chat/{answer.reply}{query}", accept)
        assert answer.status == 200
        bodies[name] = without_comments(answer.body) + f"{answer.complete}".encode()
    bodies["live"] = bodies["live"].replace(reply, b"R")
    frames: list[str] = []
    bare: list[str] = []
    url = chat.url + "/ws/chat"
    async with chat.session.ws_connect(url, protocols=["chatsvc.v1"]) as socket:
        await socket.send_json({"read": answer.reply, "after": 0})
        while not frames or '"[DONE]"' not in frames[-1] or ":end" not in frames[-1]:
            frame = await socket.receive_str(timeout=10)
            frames.append(frame.replace(answer.reply, "R"))
    async with chat.session.ws_connect(url) as socket:
        await socket.send_json({"message": "hi"})
        while not bare or bare[-1] != "[DONE]":
            message = await socket.receive(timeout=10)
            if not isinstance(message.data, str):
                bare.append(f"closed {message.data} {message.extra}")
                break
            bare.append(message.data)
    return Views({k: v.replace(reply, b"R") for k, v in bodies.items()}, frames, bare)


def runs_of(script: list[Piece]) -> list[str]:
    """The answer's text as other parts' units cut it."""
    groups = groupby(written(script), lambda each: isinstance(each, str) and bool(each))
    runs = ("".join(map(str, group)) for is_text, group in groups if is_text)
    return [run for run in runs if run]


# Each example runs two services: to look for a smaller one that fails would take minutes.
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    script=scripts,
    pace=st.sampled_from([0, 0.001]),
    failure=st.sampled_from([None, BackendFailed("It broke.")]),
    chance=st.integers(0, 1000),
)
def test_text_positions_end_and_bytes_are_those_of_the_text_alone(
    script: list[Piece], pace: float, failure: BackendFailed | None, chance: int
) -> None:
    """Only a character that another part's unit cuts in two comes as two."""
    text = only_text(script)
    after = chance % (len(text) + 1)
    runs = runs_of(script)
    assert "".join(runs) == text
    last = [failure] if failure is not None else []

    async def views(pieces: list[Piece]) -> Views:
        async with inside(backend=Pieces(*pieces, *last, pace=pace)) as chat:
            return await views_of(chat, after)

    got = asyncio.run(views(script))
    alone = asyncio.run(views([each for each in script if isinstance(each, str)]))
    for name in ("text", "snapshot"):
        assert got.bodies[name] == alone.bodies[name]
    cut = [each for run in runs for each in characters(run)]
    whole = characters(text)
    if cut == whole:
        assert got == alone
        return
    ends = len(alone.frames) - len(whole)
    assert got.frames[-ends:] == alone.frames[-ends:]
    assert got.bare == [*cut, *alone.bare[len(whole) :]]
    positions = [sum(map(len, cut[: n + 1])) for n in range(len(cut))]
    frames = [json.loads(frame) for frame in got.frames[:-ends]]
    assert frames == [
        {"id": f"R:{position}", "data": character}
        for position, character in zip(positions, cut, strict=True)
    ]
    assert got.bodies["lines"].decode().split("\n")[:-1] == got.frames
    whole_events, cut_events = events("R", text), b""
    for run, begin in zip(runs, [sum(map(len, runs[:n])) for n in range(len(runs))]):
        cut_events += (
            events("R", "x" * begin + run, begin) if begin else events("R", run)
        )
    end = alone.bodies["sse"].removeprefix(whole_events)
    assert got.bodies["sse"] == cut_events + end
    assert got.bodies["live"] + b"True" == got.bodies["sse"]
    lines = [line for line in cut_events.split(b"\n") if not line.startswith(b"id: ")]
    assert got.bodies["sse without ids"].startswith(b"\n".join(lines))
