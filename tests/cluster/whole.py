"""A reply as it stands at last: as its script says it, and as a node gives it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from chatsvc.client.ndjson import MEDIA_TYPE
from chatsvc.model import Finish, Piece
from chatsvc.units import Close, Mark
from tests.parts_script import single_units, written

from .nodes import Node


@dataclass
class Whole:
    """A reply as it stands at last: its units, as (part, kind, code point or members), and its end."""

    units: list[tuple[int, str, Any]]
    end: dict[str, Any]

    @property
    def text(self) -> str:
        """The answer's."""
        return "".join(what for part, _, what in self.units if not part)

    def seen(self) -> list[tuple[int, str, str]]:
        """The units without the members of marks, as a reader notes them."""
        kinds = {0: "text"}
        found = []
        for part, kind, what in self.units:
            if kind not in ("text", "close"):
                kinds[part] = kind
            found.append((part, kinds[part], what if isinstance(what, str) else ""))
        return found


def expected(script: list[Piece]) -> Whole:
    """The whole reply that a node makes of a script which isn't disturbed."""
    units: list[tuple[int, str, Any]] = []
    for name, unit in single_units(written(script)):
        if isinstance(unit, str):
            units.append((int(name), "text", unit))
        elif isinstance(unit, Mark):
            units.append((unit.part, unit.kind, unit.members))
        else:
            assert isinstance(unit, Close)
            units.append((unit.part, "close", unit.members))
    finish = script[-1]
    reason = finish.reason if isinstance(finish, Finish) else "stop"
    end = {"type": "end", "state": "done", "finish_reason": reason}
    return Whole(units, end)


async def whole(node: Node, reply: str) -> Whole:
    """A reply that has ended, read at once from its start; its offsets have no gaps."""
    units: list[tuple[int, str, Any]] = []
    async with (
        aiohttp.ClientSession(read_bufsize=1 << 24) as session,
        session.get(
            node.url / "api/chat" / reply % {"view": "parts", "after": "@0"},
            headers={"Accept": MEDIA_TYPE},
        ) as answer,
    ):
        assert answer.status == 200
        *frames, end, done = [json.loads(line) async for line in answer.content]
    assert done["data"] == "[DONE]"
    for frame in frames:
        data = frame["data"]
        part, kind = data.pop("part"), data.pop("type")
        if kind == "delta":
            units += [(part, "text", each) for each in data["text"]]
        else:
            units.append((part, data.pop("kind", "close"), data))
        assert frame["id"] == f"{reply}:@{len(units)}"
    return Whole(units, end["data"])
