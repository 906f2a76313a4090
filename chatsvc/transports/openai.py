"""OpenAI's chat completions, as their clients send and read them (PROTOCOL.md section 5)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from chatsvc.model import End, Message, Prompt
from chatsvc.problems import BackendFailed, Draining, InvalidRequest
from chatsvc.replies import Reply
from chatsvc.requests import ChatRequest, decode, prompt
from chatsvc.transports.response import Encoder
from chatsvc.transports.sse import DONE, json_event, json_line
from chatsvc.transports.writing import Encodings

NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""Told where the backend counted nothing: clients that asked wait for the object, and a guess would be charged."""

TOOLS = ("tools", "functions", "parallel_tool_calls", "tool_choice", "function_call")
"""Never passed on: a reply is text, so what the model would call could not be told."""


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Turn(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class _Known(msgspec.Struct):
    """The members of a request that mean something here; all others are the backend's."""

    messages: list[_Turn]
    model: str = ""
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: int | None = 1


class Completion(msgspec.Struct):
    """What was asked: `usage` whether a stream is to end with what was used."""

    prompt: Prompt
    stream: bool
    usage: bool


_members = msgspec.json.Decoder(dict[str, Any])


def parse_completion(body: bytes, max_message: int) -> Completion:
    """Read a request; `max_message` is in bytes of UTF-8.

    Raises `BadJson`, `BadText`, `TooLarge`, `InvalidRequest` also for what a reply can't be: several choices, or a
    call of a tool that the model must make.
    """
    members = decode(_members, body)
    try:
        known = msgspec.convert(members, _Known)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}.") from None
    if known.n not in (None, 1):
        raise InvalidRequest("n must be 1: a request has one reply here.")
    for name in ("tool_choice", "function_call"):
        if members.get(name) not in (None, "none", "auto"):
            raise InvalidRequest(f"{name} must be auto or none: a reply is text here.")
    turns = [
        Message(turn.role, _text(turn.content, f"messages[{index}].content"))
        for index, turn in enumerate(known.messages)
    ]
    options = {
        name: value
        for name, value in members.items()
        if name not in _Known.__struct_fields__ and name not in TOOLS
    }
    asked = prompt(ChatRequest(messages=turns), max_message)
    usage = known.stream_options is not None and known.stream_options.include_usage
    return Completion(
        msgspec.structs.replace(asked, options=options),
        stream=bool(known.stream),
        usage=bool(usage),
    )


def _text(content: str | list[_Part] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for index, part in enumerate(content):
        if part.type != "text" or part.text is None:
            raise InvalidRequest(
                f"{place}[{index}] must be a part of type text, not {part.type}."
            )
    return "".join(part.text or "" for part in content)


def error_object(problem: dict[str, Any]) -> dict[str, Any]:
    """A problem (its members, PROTOCOL.md section 6) as OpenAI tells of errors."""
    status = problem.get("status", 500)
    kinds = {401: "authentication_error", 403: "permission_error"}
    kinds[429] = "rate_limit_error"
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": problem.get("detail") or problem.get("title"),
            "type": kinds.get(status, kind),
            "param": None,
            "code": str(problem.get("type", "")).rpartition("/")[2] or None,
        }
    }


def completion(reply: Reply, model: str) -> dict[str, Any]:
    """The answer without a stream, for a reply that has ended and did not fail."""
    end = reply.end or End("done", "stop")
    message = {
        "role": "assistant",
        "content": reply.log.text(0),
        "refusal": None,
    }
    return {
        **_identity(reply, model, "chat.completion"),
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": _finish_reason(end),
            }
        ],
        "usage": end.usage or NO_USAGE,
    }


def _identity(reply: Reply, model: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _finish_reason(end: End) -> str:
    """[OpenAI] knows no reply that was stopped from outside; to its clients the model came to its stop."""
    return end.finish_reason if end.state == "done" else "stop"


class _Strings(Encodings):
    def encode(self, character: str) -> bytes:
        return json_line(character)


_strings = _Strings()


class Chunks(Encoder):
    """Encodes a reply's characters as chunks, one each; with `usage`, every chunk has the member, and one is it."""

    __slots__ = ("_head", "_identity", "_tail", "_usage")

    def __init__(
        self, reply: Reply, model: str, *, usage: bool = False, chunked: bool = True
    ) -> None:
        self._identity = _identity(reply, model, "chat.completion.chunk")
        self._usage = usage
        super().__init__(chunked=chunked)
        # The content comes between the two; there is but one way to cut there.
        whole = self._chunk({"content": "\0"})
        head, _, tail = whole.partition(msgspec.json.encode("\0"))
        self._head, self._tail = head, tail

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        members: dict[str, Any] = {**self._identity, "choices": [choice]}
        if self._usage:
            members["usage"] = None
        return json_event(members)

    def first(self) -> bytes:
        """What stands before the first character: who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def plain(self, position: int, run: Sequence[str]) -> bytes:
        """The chunks of a run of characters."""
        head, tail = self._head, self._tail
        return b"".join([head + _strings[c] + tail for c in run])

    def end(self, end: End) -> bytes:
        """Why it ended, or what went wrong; what it used if that was asked; `[DONE]`."""
        if end.state == "failed":
            problem = end.problem or BackendFailed().as_dict()
            return json_event(error_object(problem)) + DONE
        data = self._chunk({}, _finish_reason(end))
        if self._usage:
            usage = end.usage or NO_USAGE
            data += json_event({**self._identity, "choices": [], "usage": usage})
        return data + DONE

    def sent_away(self) -> bytes:
        """[OpenAI] knows no resuming, and its clients take a body without an end for a whole one: this is an error."""
        return json_event(error_object(Draining().as_dict())) + DONE
