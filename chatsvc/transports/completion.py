"""A whole `chat.completion`: the deltas of a reply, added up (PROTOCOL.md section 5). Pure."""

from __future__ import annotations

import time
from typing import Any

from chatsvc.model import FRAGMENTS, End
from chatsvc.replies import PartItem, Reply
from chatsvc.replies.calls import CONSTANTS
from chatsvc.transports.deltas import Deltas
from chatsvc.transports.openai import NO_USAGE, completion_id, finish_reason


def completion(reply: Reply, model: str) -> dict[str, Any]:
    """Return the `chat.completion` object of a reply that ended and did not fail.

    `model` is the model's name where the model's server named none.
    """
    end, log = reply.end or End("done", "stop"), reply.log
    items = [PartItem(offset, unit) for offset, unit in log.units(0, log.offset)]
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None}
    body: dict[str, Any] = {
        "id": completion_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
    }
    contents: list[Any] = []
    calls: dict[int, dict[str, Any]] = {}
    deltas = Deltas(log, reply.record.prompt.options)
    for draft in deltas.feed(items) + deltas.end():
        for call in draft.delta.pop("tool_calls", ()):
            add(calls.setdefault(call.pop("index"), {}), call)
        if isinstance(draft.delta.get("content"), list):
            contents += draft.delta.pop("content")
        add(message, draft.delta)
        fragments = {n: v for n, v in draft.choice.items() if n in FRAGMENTS}
        choice |= {n: v for n, v in draft.choice.items() if n not in FRAGMENTS}
        add(choice, fragments)
        body |= draft.chunk
    if calls:
        message["tool_calls"] = [*calls.values()]
    if contents:
        text = {"type": "text", "text": message["content"] or ""}
        message["content"] = [text, *contents]
    elif not any(value for name, value in message.items() if name != "role"):
        message["content"] = ""
    choice["finish_reason"] = finish_reason(end, calls_functions=deltas.calls_functions)
    body["usage"] = end.usage or NO_USAGE
    return body


def add(whole: dict[str, Any], members: dict[str, Any]) -> None:
    """Add the members of a delta to what those before it have added up to.

    Texts and lists are continued, objects member by member; anything else takes the place of what
    was there.
    """
    for name, value in members.items():
        before = whole.get(name)
        if isinstance(value, str) and isinstance(before, str):
            whole[name] = value if name in CONSTANTS else before + value
        elif isinstance(value, list) and isinstance(before, list):
            whole[name] = before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            joined = dict(before)
            add(joined, value)
            whole[name] = joined
        elif value is not None or name not in whole:
            whole[name] = value
