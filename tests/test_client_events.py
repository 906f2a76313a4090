"""The meaning of events and frames (PROTOCOL.md sections 3 and 4)."""

import json

import pytest

from chatsvc.client.events import EventInterpreter, FrameInterpreter, parse_problem
from chatsvc.client.signals import (
    Attached,
    Broken,
    Ended,
    Problem,
    Refused,
    Signal,
    TextReceived,
)
from chatsvc.eventstream import Event

FAILED = {
    "type": "/problems/backend-failed",
    "title": "The backend failed",
    "status": 502,
    "detail": "It broke off.",
}
PROBLEM = Problem(502, "The backend failed", "It broke off.", "backend-failed")

Members = dict[str, object]
REPLIES: list[tuple[list[Members], list[Signal]]] = [
    (
        [{"id": "R:1", "data": "你"}, {"id": "R:end", "data": "[DONE]"}],
        [Attached("R"), TextReceived(1, "你"), Ended("done")],
    ),
    (
        [
            {"event": "failed", "id": "R:end", "data": FAILED},
            {"id": "R:end", "data": "[DONE]"},
        ],
        [Attached("R"), Ended("failed", PROBLEM)],
    ),
    (
        [{"event": "later", "id": "R:1", "data": "?"}, {"id": "R:2", "data": "\n"}],
        [Attached("R"), TextReceived(2, "\n")],
    ),
    ([{"data": "a"}], [Broken("an event came without its position", switch=True)]),
]


@pytest.mark.parametrize(("frames", "signals"), REPLIES)
def test_a_frame_and_an_event_say_the_same(
    frames: list[Members], signals: list[Signal]
) -> None:
    lines, events = FrameInterpreter(), EventInterpreter()
    by_frame: list[Signal] = []
    by_event: list[Signal] = []
    for frame in frames:
        by_frame += lines.signals(json.dumps(frame).encode())
        data = frame["data"]
        by_event += events.signals(
            Event(
                data if isinstance(data, str) else json.dumps(data),
                str(frame.get("event", "message")),
                str(frame.get("id", "")),
            )
        )
    assert by_frame == by_event == signals


@pytest.mark.parametrize(
    "frame", ["", "[]", '"R:1"', b'{"id": "R:1', b"\xff", "[" * 9999]
)
def test_a_frame_that_is_no_object_is_broken(frame: str | bytes) -> None:
    (signal,) = FrameInterpreter().signals(frame)
    assert isinstance(signal, Broken) and signal.switch


@pytest.mark.parametrize(("status", "again"), [(503, 0.0), (429, 0.0), (404, None)])
def test_a_failure_without_a_position_is_the_requests(
    status: int, again: float | None
) -> None:
    frame = {"event": "failed", "id": None, "data": {"title": "No", "status": status}}
    (signal,) = FrameInterpreter().signals(json.dumps(frame))
    assert signal == Refused(Problem(status, "No"), again)


def test_what_is_no_problem_is_what_the_response_says() -> None:
    assert parse_problem("<html>", 502, "Bad Gateway") == Problem(
        502, "the server answered 502 Bad Gateway"
    )
    assert parse_problem({}, 500, "Oops") == Problem(500, "Oops")
