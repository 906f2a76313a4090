"""The meaning of a reply's events, whatever carries them (PROTOCOL.md sections 3 and 4). Pure.

Server-sent events, frames of `chatsvc.v1` and lines of NDJSON say the same in the same members:
`id`, `event` and `data`.
"""

import json

from chatsvc.client.retryable import RETRIED_STATUSES
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


class EventInterpreter:
    """The interpreter of one connection's server-sent events: events in, signals out.

    It keeps the reply's id, and the `stopped` or `failed` event that precedes `[DONE]`.
    """

    def __init__(self) -> None:
        self._reply = ""
        self._state = "done"
        self._problem: Problem | None = None

    def signals(self, event: Event) -> list[Signal]:
        """Return the signals of one event, in order. A `LastSignal` is the last of them."""
        reply, _, position = event.id.rpartition(":")
        found: list[Signal] = []
        if reply and reply != self._reply:
            self._reply = reply
            found.append(Attached(reply))
        if event.event in ("stopped", "failed"):
            self._state = event.event
            self._problem = parse_problem(_json(event.data), 0, "")
        elif event.event != "message":
            pass  # A later version of the protocol may have other events.
        elif event.data == "[DONE]":
            found.append(Ended(self._state, self._problem))
        elif position.isascii() and position.isdigit():
            found.append(TextReceived(int(position[:18]), event.data))
        else:
            found.append(Broken("an event came without its position", switch=True))
        return found


class FrameInterpreter:
    """The interpreter of one connection's JSON frames: frames of `chatsvc.v1` or NDJSON lines."""

    def __init__(self) -> None:
        self._events = EventInterpreter()

    def signals(self, frame: str | bytes) -> list[Signal]:
        """Return the signals of one frame, in order. A `LastSignal` is the last of them."""
        members = _json(frame)
        if not isinstance(members, dict):
            return [Broken("a frame came that is no JSON object", switch=True)]
        data, cursor = members.get("data"), str(members.get("id") or "")
        kind = str(members.get("event") or "message")
        if kind == "failed" and ":" not in cursor:
            # Without a position the request has failed, not a reply: no `[DONE]` will follow.
            problem = parse_problem(data, 0, "")
            retried = problem.status in RETRIED_STATUSES
            return [Refused(problem, 0.0 if retried else None)]
        text = data if isinstance(data, str) else json.dumps(data)
        return self._events.signals(Event(text, kind, cursor))


def parse_problem(body: object, status: int, title: str) -> Problem:
    """Return the problem that `body`, a value decoded from JSON, describes (RFC 9457).

    `status` and `title` are those of the HTTP response; they stand in for what `body` lacks.
    """
    if not isinstance(body, dict):
        return Problem(status, f"the server answered {status} {title}".rstrip())
    kind = body.get("type")
    return Problem(
        body["status"] if isinstance(body.get("status"), int) else status,
        str(body.get("title") or title or "the server refused"),
        str(body.get("detail") or ""),
        kind.rpartition("/")[2] if isinstance(kind, str) else "",
    )


def _json(text: str | bytes) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value
