"""The turns of a scripted model, as OpenAI's own server sends them: whole or in chunks, as it is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from .scripted_upstream import DONE, Part, head

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}
"""What each turn has used, with its details."""

Turn = Callable[[dict[str, Any]], Iterable[Part]]
"""A function that makes the answer to a request."""


def called(
    id: str, name: str, arguments: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """Return a call of a tool, as a message has it."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": id, "type": "function", "function": function, **more}


def turn(content: str | None = None, *calls: dict[str, Any], finish: str = "", **members: Any) -> Turn:  # fmt: skip
    """Return a turn that says `content`, calls tools, and has further members of a message.

    Texts come in words, arguments in pieces of eight characters.
    """
    message = {"role": "assistant", "content": content, "refusal": None, **members}
    if calls:
        message["tool_calls"] = list(calls)
    reason = finish or ("tool_calls" if calls else "stop")

    def answer(request: dict[str, Any]) -> Iterable[Part]:
        common = {
            "id": "chatcmpl-abc",
            "created": 1790000000,
            "model": "real-2026-01-01",
            "service_tier": "default",
            "system_fingerprint": "fp_1",
        }
        if not request.get("stream"):
            choice = {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": reason,
            }
            body = {
                **common,
                "object": "chat.completion",
                "choices": [choice],
                "usage": USAGE,
            }
            yield head(kind="application/json")
            yield json.dumps(body).encode()
            return
        common["object"] = "chat.completion.chunk"
        options = request.get("stream_options") or {}
        asked = bool(options.get("include_usage"))
        usage: dict[str, Any] = {"usage": None} if asked else {}

        def event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {
                "index": 0,
                "delta": delta,
                "logprobs": None,
                "finish_reason": finish_reason,
            }
            body = {**common, "choices": [choice], **usage}
            return b"data: " + json.dumps(body).encode() + b"\n\n"

        yield head()
        empty = None if content is None else ""
        yield event({"role": "assistant", "content": empty, "refusal": None})
        for delta in _deltas(message):
            yield event(delta)
        yield event({}, reason)
        if asked:
            body = {**common, "choices": [], "usage": USAGE}
            yield b"data: " + json.dumps(body).encode() + b"\n\n"
        yield DONE

    return answer


def _deltas(message: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for name in ("reasoning_content", "content", "refusal"):
        for word in re.findall(r"\S+\s*|\s+", message.get(name) or ""):
            yield {name: word}
    for index, call in enumerate(message.get("tool_calls", ())):
        kind, text = (
            ("custom", "input") if "custom" in call else ("function", "arguments")
        )
        tool = call[kind]
        yield {"tool_calls": [{"index": index, **call, kind: {**tool, text: ""}}]}
        for piece in re.findall(r"(?s).{1,8}", tool[text]):
            yield {"tool_calls": [{"index": index, kind: {text: piece}}]}
    said = (
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "tool_calls",
    )
    if others := {name: value for name, value in message.items() if name not in said}:
        yield others
