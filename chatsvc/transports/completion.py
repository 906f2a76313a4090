"""A whole `chat.completion`: the deltas of a reply, added up (PROTOCOL.md section 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from chatsvc.model import FRAGMENTS, End
from chatsvc.replies import PartItem, Reply, units_at_once
from chatsvc.replies.calls import joined_members
from chatsvc.transports.deltas import Deltas, Draft, ToolOffer
from chatsvc.transports.openai import NO_USAGE, completion_id, finish_reason


async def completion(reply: Reply, model: str, offer: ToolOffer) -> dict[str, Any]:
    """Return the `chat.completion` object of a reply that ended and did not fail.

    `model` is the model's name where the model's server named none, and `offer` what the request
    says of tools. The event loop gets its turns meanwhile, for a reply of many parts takes some
    tenths of a second.
    """
    whole, log, offset = WholeCompletion(reply, model, offer), reply.log, 0
    while units := units_at_once(log, offset, log.offset):
        whole.add(PartItem(*found) for found in units)
        offset = units[-1][0]
        await asyncio.sleep(0)
    return whole.body()


class WholeCompletion:
    """The `chat.completion` object of a reply, of which all units are added in their order."""

    def __init__(self, reply: Reply, model: str, offer: ToolOffer) -> None:
        self._end = reply.end or End("done", "stop")
        self._deltas = Deltas(reply.log, offer)
        self._members: dict[str, Any] = {"model": model}
        self._states: dict[str, Any] = {"logprobs": None}  # of the choice
        self._fragments: list[dict[str, Any]] = []  # of the choice
        self._message: list[dict[str, Any]] = [
            {"role": "assistant", "content": None, "refusal": None}
        ]
        self._contents: list[Any] = []
        self._calls: dict[int, list[dict[str, Any]]] = {}  # by index

    def add(self, items: Iterable[PartItem]) -> None:
        """Add the units that follow."""
        self._add(self._deltas.feed(items))

    def _add(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            delta = draft.delta
            for call in delta.pop("tool_calls", ()):
                self._calls.setdefault(call.pop("index"), []).append(call)
            if isinstance(delta.get("content"), list):
                self._contents += delta.pop("content")
            if delta:
                self._message.append(delta)
            for name, value in draft.choice.items():
                if name in FRAGMENTS:
                    self._fragments.append({name: value})
                else:
                    self._states[name] = value
            self._members |= draft.chunk

    def body(self) -> dict[str, Any]:
        """Return the object, once all units are added."""
        deltas, end = self._deltas, self._end
        self._add(deltas.end())
        message = joined_members(self._message)
        if self._calls:
            message["tool_calls"] = [*map(joined_members, self._calls.values())]
        if self._contents:
            text = {"type": "text", "text": message["content"] or ""}
            message["content"] = [text, *self._contents]
        elif not any(value for name, value in message.items() if name != "role"):
            message["content"] = ""
        reason = finish_reason(end, calls_functions=deltas.calls_functions)
        choice = {"index": 0, "message": message, **self._states}
        choice |= joined_members(self._fragments) | {"finish_reason": reason}
        return {
            "id": completion_id(),
            "object": "chat.completion",
            "created": int(time.time()),
            **self._members,
            "choices": [choice],
            "usage": end.usage or NO_USAGE,
        }
