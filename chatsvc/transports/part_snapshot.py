"""All parts of a reply as JSON, whole or in long polls: `?view=parts` (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from chatsvc.model import End
from chatsvc.problems import Draining
from chatsvc.replies import PartItem, Reply, units_at_once
from chatsvc.replies.calls import joined_members
from chatsvc.requests.values import View
from chatsvc.transports.part_frames import PartFrames
from chatsvc.transports.snapshot import (
    ended_response,
    json_response,
    until_end,
    wait_for_news,
)
from chatsvc.units import ANSWER, Mark, PartText, Unit


class PartsSnapshot(msgspec.Struct):
    """A reply's state and its units between the offsets `after` and `next` (`@` and units).

    `events` are frames of `chatsvc.v2`. `problem` is the problem object (RFC 9457) of a reply that
    failed, and `usage` OpenAI's usage object; the JSON has only what there is.
    """

    reply: str
    state: str
    finish_reason: str | None
    after: str
    next: str
    events: list[msgspec.Raw]
    problem: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    usage: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def parts_snapshot(reply: Reply, shown_id: str, after: int) -> PartsSnapshot:
    """Return what is out behind the offset `after`, or as much of it as goes out at once.

    It calls the reply `shown_id`: by its id, or by the token of a share link. The state is final
    only when nothing is left behind `next`.
    """
    log = reply.log
    marks = log.side.open_at(after) if log.side is not None else []
    items = [PartItem(after, mark, resumed=True) for mark in marks]
    units = units_at_once(log, after, reply.released_offset_now())
    items += [PartItem(offset, unit) for offset, unit in units]
    reached = units[-1][0] if units else after
    end = reply.end if reached >= log.offset else None
    codec = PartFrames(shown_id, View())
    events = codec.events(items)
    if end is not None:
        events.append(codec.end_event(end))
    found = PartsSnapshot(
        reply=shown_id,
        state=end.state if end is not None else "running",
        finish_reason=end.finish_reason if end is not None else None,
        after=f"@{after}",
        next=f"@{reached}",
        events=list(map(msgspec.Raw, events)),
    )
    if end is not None:
        found.problem = end.problem or msgspec.UNSET
        found.usage = end.usage or msgspec.UNSET
    return found


def _is_news(items: list[PartItem]) -> bool:
    """Return whether there is a unit: the marks of parts that were open are none."""
    return any(not item.resumed for item in items)


async def parts_poll_response(
    reply: Reply, shown_id: str, after: int, wait: float, *, started: bool = False
) -> web.Response:
    """Return a snapshot as soon as there is news, else after `wait` seconds.

    `shown_id` is what it calls the reply. News is a unit behind the offset `after`, or the end of
    the reply. Raises `Draining` when this node sends its readers away before there is news; but not
    if this request has `started` the reply, because then its id is news.
    """
    sent_away = False
    with reply.reading():
        if wait and reply.released_offset_now() <= after and reply.end is None:
            async with aclosing(reply.parts(after)) as parts:
                sent_away = await wait_for_news(parts, wait, _is_news)
        found = parts_snapshot(reply, shown_id, after)
    no_news = found.next == found.after and found.state == "running"
    if sent_away and not started and no_news:
        # A snapshot without news would make the client ask this node again at once.
        raise Draining(retry_after=1)
    return json_response(shown_id, found)


async def whole_parts_response(reply: Reply) -> web.Response:
    """Return all parts of the reply, once it has ended.

    For a reply that failed it is the problem, mostly a 502, with the same members in it. Raises
    `Draining` when this node sends its readers away before.
    """
    end = await until_end(reply)
    whole, offset = WholeParts(), 0
    while units := units_at_once(reply.log, offset, reply.log.offset):
        whole.add([unit for _, unit in units])
        offset = units[-1][0]
        await asyncio.sleep(0)  # a reply of many parts takes some tenths of a second
    return ended_response(reply, end, whole.body(reply.id, end))


class WholeParts:
    """The parts of a whole reply, of which all units are added in their order.

    A part has its kind, the members of its marks, and its text if it may have any; a part that the
    end left open has `open`. Part 0, the answer, is there if it has text. Of the parts of kind
    `data` that have the same name and id only the last is there.
    """

    def __init__(self) -> None:
        self._parts: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, list[str]] = {}
        self._unclosed: set[int] = set()
        # The number of the last part by its name and id.
        self._latest: dict[tuple[object, object], int] = {}

    def add(self, units: Iterable[Unit]) -> None:
        """Add the units that follow."""
        for unit in units:
            number = unit.part
            if isinstance(unit, PartText):
                self._texts.setdefault(number, []).append(unit.text)
            elif isinstance(unit, Mark):
                self._begin(number, unit)
            elif number in self._parts:
                part = self._parts[number]
                kept = {"part": number, "kind": part["kind"]}
                mores = (each.get("more") for each in (part, unit.members))
                objects = [more for more in mores if isinstance(more, dict)]
                if len(objects) == 2:
                    kept["more"] = joined_members(objects)
                part |= unit.members | kept
                self._unclosed.discard(number)

    def _begin(self, number: int, mark: Mark) -> None:
        head = {"part": number, "kind": mark.kind}
        self._parts[number] = head | mark.members | head
        if not mark.whole:
            self._texts[number] = []
            self._unclosed.add(number)
        elif mark.kind == "data" and "id" in mark.members:
            key = mark.members.get("name"), mark.members["id"]
            self._parts.pop(self._latest.get(key, ANSWER), None)
            self._latest[key] = number

    def body(self, reply_id: str, end: End) -> dict[str, Any]:
        """Return the members of the reply, which has this end: its parts stand there by number."""
        parts = self._parts
        if ANSWER in self._texts:
            parts[ANSWER] = {"part": ANSWER, "kind": "text"}
        for number, pieces in self._texts.items():
            if number in parts:
                parts[number]["text"] = "".join(pieces)
        for number in self._unclosed:
            parts[number]["open"] = True
        body: dict[str, Any] = {
            "reply": reply_id,
            "state": end.state,
            "finish_reason": end.finish_reason,
            "parts": [parts[number] for number in sorted(parts)],
        }
        if end.usage is not None:
            body["usage"] = end.usage
        if end.problem is not None:
            body["problem"] = end.problem
        return body
