"""The meaning of a reply's events, whatever carries them (PROTOCOL.md sections 3 and 4). Pure.

Server-sent events, WebSocket frames and lines of NDJSON say the same in the same members: `id`,
`event` and `data`. Events whose `id` has an offset (`@`) are of the parts view, others of the text.
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
    UnitsReceived,
)
from chatsvc.eventstream import Event


class EventInterpreter:
    """The interpreter of one connection's server-sent events: events in, signals out.

    It keeps the reply's id, the kinds of its parts, and what the event before `[DONE]` says of the
    end.
    """

    def __init__(self) -> None:
        self._reply = ""
        self._kinds = {0: "text"}  # of each part that has begun, by its number
        self._end = Ended("done")

    def signals(self, event: Event) -> list[Signal]:
        """Return the signals of one event, in order. A `LastSignal` is the last of them."""
        reply, _, position = event.id.rpartition(":")
        found: list[Signal] = []
        if reply and reply != self._reply:
            self._reply = reply
            found.append(Attached(reply))
        if event.event in ("stopped", "failed"):
            problem = parse_problem(_json(event.data), 0, "")
            self._end = Ended(event.event, problem)
        elif event.event != "message":
            pass  # A later version of the protocol may have other events.
        elif event.data == "[DONE]":
            found.append(self._end)
        elif position.startswith("@"):
            found += self._part_signals(position[1:], _json(event.data))
        elif position == "end":
            self._end = parse_end(_json(event.data))
        elif position.isascii() and position.isdigit():
            found.append(TextReceived(int(position[:18]), event.data))
        else:
            found.append(Broken("an event came without its position", switch=True))
        return found

    def _part_signals(self, offset: str, data: object) -> list[Signal]:
        """Return the signals of an event of the parts view."""
        members = data if isinstance(data, dict) else {}
        part, text = members.get("part"), ""
        broken: list[Signal] = [Broken("an event can't be read", switch=True)]
        if not (offset.isascii() and offset.isdigit()) or not isinstance(part, int):
            return broken
        match members.get("type"):
            case "part":
                self._kinds[part] = str(members.get("kind"))
                if members.get("resumed") is True:
                    return []
            case "delta":
                text = members.get("text") or ""
                if not isinstance(text, str) or not text:
                    return broken
            case _:
                pass  # It is one unit: the close of a part, or a mark of a later version.
        kind = self._kinds.get(part, "")
        return [UnitsReceived(int(offset[:18]), part, kind, text)]


class FrameInterpreter:
    """The interpreter of one connection's JSON frames: those of a WebSocket, or NDJSON lines."""

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


_ENDED = {"stopped": "the reply was stopped", "failed": "the reply failed"}


def parse_end(members: object) -> Ended:
    """Return the end that `members` describe: a snapshot, or the data of an `end` event.

    They have `state`, `finish_reason`, and perhaps `problem`.
    """
    if not isinstance(members, dict):
        return Ended("done")
    state = str(members.get("state"))
    reason = str(members.get("finish_reason") or "")
    problem = members.get("problem")
    if isinstance(problem, dict):
        return Ended(state, parse_problem(problem, 0, ""), reason)
    if state == "done" or not reason:
        return Ended(state, None, reason)
    title = _ENDED.get(state, f"the reply {state}")
    return Ended(state, Problem(0, title, reason), reason)


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
