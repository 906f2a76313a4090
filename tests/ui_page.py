"""A page of the AI SDK in Python: it takes the chunks of a UI message stream as strictly as `ai` 5.0.89 does."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

_MEMBERS: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    **{
        f"{kind}-start": ({"id": str}, {"providerMetadata": dict})
        for kind in ("text", "reasoning")
    },
    **{
        f"{kind}-delta": ({"id": str, "delta": str}, {})
        for kind in ("text", "reasoning")
    },
    **{
        f"{kind}-end": ({"id": str}, {"providerMetadata": dict})
        for kind in ("text", "reasoning")
    },
    "error": ({"errorText": str}, {}),
    "tool-input-start": (
        {"toolCallId": str, "toolName": str},
        {"providerExecuted": bool, "dynamic": bool},
    ),
    "tool-input-delta": ({"toolCallId": str, "inputTextDelta": str}, {}),
    "tool-input-available": (
        {"toolCallId": str, "toolName": str, "input": object},
        {"providerExecuted": bool, "providerMetadata": dict, "dynamic": bool},
    ),
    "tool-input-error": (
        {"toolCallId": str, "toolName": str, "input": object, "errorText": str},
        {"providerExecuted": bool, "providerMetadata": dict, "dynamic": bool},
    ),
    "tool-output-available": (
        {"toolCallId": str, "output": object},
        {"providerExecuted": bool, "dynamic": bool},
    ),
    "tool-output-error": (
        {"toolCallId": str, "errorText": str},
        {"providerExecuted": bool, "dynamic": bool},
    ),
    "source-url": (
        {"sourceId": str, "url": str},
        {"title": str, "providerMetadata": dict},
    ),
    "source-document": (
        {"sourceId": str, "mediaType": str, "title": str},
        {"filename": str, "providerMetadata": dict},
    ),
    "file": ({"url": str, "mediaType": str}, {"providerMetadata": dict}),
    "start": ({"messageId": str}, {}),
    "message-metadata": ({"messageMetadata": dict}, {}),
    **{kind: ({}, {}) for kind in ("start-step", "finish-step", "finish", "abort")},
}
"""The members of each type of chunk: those that it must have, and the others."""


def chunks_of(events: bytes) -> list[dict[str, Any]]:
    """The chunks of some events, each of which has one line of data; without `[DONE]`."""
    *found, rest = events.decode().split("\n\n")
    assert rest == ""
    lines = [event.removeprefix("data: ") for event in found]
    assert all(len(line.splitlines()) == 1 for line in lines)
    return [json.loads(line) for line in lines if line != "[DONE]"]


def check(chunk: dict[str, Any]) -> None:
    """Fail for a chunk that the strict schemas refuse."""
    members = dict(chunk)
    kind = members.pop("type")
    if kind.startswith("data-"):
        members.pop("data")
        assert members.keys() <= {"id"} and isinstance(members.get("id", ""), str)
        return
    needed, others = _MEMBERS[kind]
    assert needed.keys() <= members.keys() <= needed.keys() | others.keys(), chunk
    for name, value in members.items():
        assert isinstance(value, {**needed, **others}[name]), chunk
    for value in members.get("providerMetadata", {}).values():
        assert isinstance(value, dict)


class Page:
    """A page and its one message. `ran` has the calls that it was to run, `ended` the types of the last chunks."""

    def __init__(self, parts: list[dict[str, Any]] | None = None) -> None:
        self.parts = deepcopy(parts or [])
        self.id = ""
        self.ran: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.ended: list[str] = []
        self._open: dict[tuple[str, str], dict[str, Any]] = {}
        self._inputs: dict[str, str] = {}

    def take(self, events: bytes) -> None:
        """Apply some events."""
        for chunk in chunks_of(events):
            check(chunk)
            assert not self.ended or self.ended == ["finish-step"], chunk
            self._apply(chunk)

    def _apply(self, chunk: dict[str, Any]) -> None:
        kind = chunk["type"]
        if kind.startswith("tool-"):
            self._tool(kind, chunk)
        elif kind.startswith("data-"):
            same = [
                p
                for p in self.parts
                if "id" in chunk and (p["type"], p.get("id")) == (kind, chunk["id"])
            ]
            if same:
                same[0]["data"] = chunk["data"]
            else:
                self.parts.append(dict(chunk))
        elif kind.endswith("-start") and kind != "start":
            base = kind.removesuffix("-start")
            assert (base, chunk["id"]) not in self._open
            part = {"type": base, "text": "", **_metadata(chunk)}
            self._open[base, chunk["id"]] = part
            self.parts.append(part)
        elif kind.endswith("-delta"):
            self._open[kind.removesuffix("-delta"), chunk["id"]]["text"] += chunk[
                "delta"
            ]
        elif kind.endswith("-end"):
            self._open.pop((kind.removesuffix("-end"), chunk["id"])).update(
                _metadata(chunk)
            )
        elif kind == "start":
            assert not self.id
            self.id = chunk["messageId"]
        elif kind == "start-step":
            self.ended = []
            self.parts.append({"type": "step-start"})
        elif kind == "message-metadata":
            self.metadata |= chunk["messageMetadata"]
        elif kind in ("finish-step", "finish", "abort", "error"):
            assert not self._open, "a block was left open"
            self.ended.append(kind)
        else:
            self.parts.append(dict(chunk))

    def _tool(self, kind: str, chunk: dict[str, Any]) -> None:
        id = chunk["toolCallId"]
        known = [part for part in self.parts if part.get("toolCallId") == id]
        if kind == "tool-input-start":
            assert not known, "the page shows this call already"
            dynamic = chunk.get("dynamic", False)
            self.parts.append(
                {"type": "dynamic-tool", "toolName": chunk["toolName"]}
                if dynamic
                else {"type": f"tool-{chunk['toolName']}"}
            )
            self.parts[-1] |= {"toolCallId": id, "state": "input-streaming"}
            self._inputs[id] = ""
            return
        (part,) = known
        assert (
            chunk.get("dynamic", False) == (part["type"] == "dynamic-tool")
            or kind == "tool-input-delta"
        )
        if kind == "tool-input-delta":
            self._inputs[id] += chunk["inputTextDelta"]
            # What the SDK makes of a part of the text is not what counts here.
            try:
                part["input"] = json.loads(self._inputs[id])
            except (ValueError, RecursionError):
                part.pop("input", None)
            return
        part["state"] = {"tool-input-error": "output-error"}.get(
            kind, kind.removeprefix("tool-")
        )
        if chunk.get("providerExecuted"):
            part["providerExecuted"] = True
        if kind == "tool-input-available":
            part["input"] = chunk["input"]
            if not chunk.get("providerExecuted"):
                self.ran.append(id)
        elif kind == "tool-input-error":
            part.pop("input", None)
            part["rawInput"] = chunk["input"]
        if kind.startswith("tool-input") and "providerMetadata" in chunk:
            part["callProviderMetadata"] = chunk["providerMetadata"]
        part |= {name: chunk[name] for name in ("output", "errorText") if name in chunk}
        if kind == "tool-output-available":
            part.pop("errorText", None)
        if kind == "tool-output-error":
            part.pop("output", None)


def _metadata(chunk: dict[str, Any]) -> dict[str, Any]:
    return {name: chunk[name] for name in ("providerMetadata",) if name in chunk}


def texts(page: Page, kind: str = "text") -> str:
    """All text of the parts of a kind."""
    return "".join(part["text"] for part in page.parts if part["type"] == kind)
