"""The steps that a page's message had before a reply, as chunks of a UI message stream.

A page that is loaded anew in the middle of a reply gets the whole message from its start. Of a message
with which the reply goes on, the earlier steps are what the page itself sent with the request.

Invariants:

- Nothing here makes a page run a tool: the calls have been run, or are the backend's to run.
- No chunk has a type or a member that `ai` 5.0 doesn't know (see `ui_parts`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.requests.ui_messages import Part, tool_name
from chatsvc.transports.sse import json_event


def earlier_steps(parts: list[Part]) -> list[bytes]:
    """Return the events that make a message of these parts, without its start.

    What a part lacks, or has in another type than a page's message may, leaves it out.
    """
    chunks: list[dict[str, Any]] = []
    in_step = False
    for number, part in enumerate(parts):
        if part["type"] == "step-start":
            if in_step:
                chunks.append({"type": "finish-step"})
            chunks.append({"type": "start-step"})
            in_step = True
        else:
            chunks += _chunks(part, f"earlier-{number}")
    if in_step:
        chunks.append({"type": "finish-step"})
    return [json_event(chunk) for chunk in chunks]


def _chunks(part: Part, id: str) -> list[dict[str, Any]]:
    kind = part["type"]
    if tool_name(part) is not None:
        return _call(part)
    if kind.startswith("data-"):
        return [{"type": kind, "data": part.get("data"), **_texts(part, "id")}]
    if kind in ("text", "reasoning"):
        if not isinstance(part.get("text"), str):
            return []
        return [
            {"type": f"{kind}-start", "id": id, **_metadata(part)},
            {"type": f"{kind}-delta", "id": id, "delta": part["text"]},
            {"type": f"{kind}-end", "id": id},
        ]
    needed, others = _WHOLE.get(kind, ((), ()))
    chunk = _texts(part, *needed)
    if not needed or len(chunk) < len(needed):
        return []
    return [{"type": kind, **chunk, **_texts(part, *others), **_metadata(part)}]


_WHOLE = {
    "file": (("url", "mediaType"), ()),
    "source-url": (("sourceId", "url"), ("title",)),
    "source-document": (("sourceId", "mediaType", "title"), ("filename",)),
}
"""The members of parts that are whole in one chunk: those that must be there, and the others."""


def _call(part: Part) -> list[dict[str, Any]]:
    """Return the chunks of a call: its input, and its result if it has one."""
    id, name, state = part.get("toolCallId"), tool_name(part), part.get("state")
    if not isinstance(id, str) or not name:
        return []
    dynamic: dict[str, Any] = (
        {"dynamic": True} if part["type"] == "dynamic-tool" else {}
    )
    executed: dict[str, Any] = {}
    if part.get("providerExecuted") is True:
        executed["providerExecuted"] = True
    given = part.get("input")
    chunks: list[dict[str, Any]] = [
        {
            "type": "tool-input-start",
            "toolCallId": id,
            "toolName": name,
            **executed,
            **dynamic,
        }
    ]
    if given is not None:
        text = msgspec.json.encode(given).decode()
        chunks.append(
            {"type": "tool-input-delta", "toolCallId": id, "inputTextDelta": text}
        )
    metadata = _metadata(part, "callProviderMetadata")
    if metadata and given is not None:
        # Only this chunk can carry it. A page runs no tool whose call says that it has been run.
        chunks.append(
            {
                "type": "tool-input-available",
                "toolCallId": id,
                "toolName": name,
                "input": given,
                "providerExecuted": True,
                **dynamic,
                **metadata,
            }
        )
    result: dict[str, Any] = {"toolCallId": id, **executed, **dynamic}
    if state == "output-available":
        output = part.get("output")
        chunks.append({"type": "tool-output-available", **result, "output": output})
    elif state == "output-error":
        error = part.get("errorText")
        text = error if isinstance(error, str) else ""
        chunks.append({"type": "tool-output-error", **result, "errorText": text})
    return chunks


def _texts(part: Part, *names: str) -> dict[str, Any]:
    """Return those of some members of a part that are strings."""
    return {name: part[name] for name in names if isinstance(part.get(name), str)}


def _metadata(part: Part, member: str = "providerMetadata") -> dict[str, Any]:
    """Return the member `providerMetadata` of a chunk, if a part has it as the schemas want it."""
    found = part.get(member)
    if not isinstance(found, dict) or not all(
        isinstance(v, dict) for v in found.values()
    ):
        return {}
    return {"providerMetadata": found}
