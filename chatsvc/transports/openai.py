"""OpenAI's chat completions, as their clients read them (PROTOCOL.md section 5).

It holds the codec of chunks, whole completions and error objects. `chatsvc.requests.openai` has
what those clients send.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from chatsvc.model import End
from chatsvc.problems import BackendFailed, Draining
from chatsvc.replies import Reply
from chatsvc.transports.codec import Codec
from chatsvc.transports.json_line import json_line
from chatsvc.transports.sse import DONE, json_event

NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""The usage object where the backend counted nothing: clients expect one, and nothing is estimated.
"""

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def error_object(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem (its members, PROTOCOL.md section 6) as OpenAI's error object."""
    status = problem.get("status", 500)
    default = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": problem.get("detail") or problem.get("title"),
            "type": _ERROR_TYPES.get(status, default),
            "param": None,
            "code": str(problem.get("type", "")).rpartition("/")[2] or None,
        }
    }


def completion(reply: Reply, model: str) -> dict[str, Any]:
    """Return the `chat.completion` object of a reply that ended and did not fail."""
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
    """Return the `finish_reason`.

    OpenAI has none for a reply that was stopped from outside: `stop` is the nearest.
    """
    return end.finish_reason if end.state == "done" else "stop"


def _chunk(
    identity: dict[str, Any],
    delta: dict[str, str],
    *,
    finish_reason: str | None = None,
    usage: bool,
) -> bytes:
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": None,
        "finish_reason": finish_reason,
    }
    members: dict[str, Any] = {**identity, "choices": [choice]}
    if usage:
        members["usage"] = None
    return json_event(members)


# The content stands between the stream's own members and those that are the same in all chunks.
# No other member is a lone NUL, so a chunk that has it as its content can be cut in two there.
_CONTENT = {"content": "\0"}
_CUT = msgspec.json.encode("\0")
_REST = _chunk({}, _CONTENT, usage=False).partition(_CUT)[2]
_REST_WITH_USAGE = _chunk({}, _CONTENT, usage=True).partition(_CUT)[2]


def _content(character: str) -> bytes:
    return json_line(character) + _REST


def _content_with_usage(character: str) -> bytes:
    return json_line(character) + _REST_WITH_USAGE


class Chunks(Codec):
    """The codec of a completion's chunks, one for each character.

    With `usage` (`stream_options.include_usage`) every chunk has a member `usage`, which is null in
    all but the last one.
    """

    __slots__ = ("_identity", "_usage")
    transport = "openai"

    def __init__(self, reply: Reply, model: str, *, usage: bool = False) -> None:
        self._identity = _identity(reply, model, "chat.completion.chunk")
        self._usage = usage
        super().__init__(
            _content_with_usage if usage else _content,
            prefix=self._chunk(_CONTENT).partition(_CUT)[0],
            probe_times_us=(),
        )

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        return _chunk(
            self._identity, delta, finish_reason=finish_reason, usage=self._usage
        )

    def first(self) -> list[bytes]:
        """Return the chunk with the role."""
        return [self._chunk({"role": "assistant", "content": ""})]

    def end(self, end: End) -> list[bytes]:
        """Return the finish reason and, if asked for, the usage; or an error; then `[DONE]`."""
        if end.state == "failed":
            problem = end.problem or BackendFailed().as_dict()
            return [json_event(error_object(problem)), DONE]
        events = [self._chunk({}, _finish_reason(end))]
        if self._usage:
            usage = end.usage or NO_USAGE
            events.append(json_event({**self._identity, "choices": [], "usage": usage}))
        return [*events, DONE]

    def sent_away(self) -> list[bytes]:
        """Return an error, then `[DONE]`.

        OpenAI's clients can't resume, and take a body that just ends for a whole one.
        """
        return [json_event(error_object(Draining().as_dict())), DONE]
