"""OpenAI's chat completions, as their clients read them (PROTOCOL.md section 5).

It holds the codec of chunks, whole completions and error objects. `chatsvc.requests.openai` has
what those clients send.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

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


def completion_id() -> str:
    """Return a new id for a completion: `chatcmpl-` and 12 random URL-safe characters.

    It is short, because each chunk has it. It is not the reply's id, which is a capability and
    stands in `X-Reply-Id`: clients write the ids of completions to logs.
    """
    return f"chatcmpl-{secrets.token_urlsafe(9)}"


def completion(reply: Reply, model: str) -> dict[str, Any]:
    """Return the `chat.completion` object of a reply that ended and did not fail."""
    end = reply.end or End("done", "stop")
    message = {
        "role": "assistant",
        "content": reply.log.text(0),
        "refusal": None,
    }
    return {
        "id": completion_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
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


def _finish_reason(end: End) -> str:
    """Return the `finish_reason`.

    OpenAI has none for a reply that was stopped from outside: `stop` is the nearest.
    """
    return end.finish_reason if end.state == "done" else "stop"


_CHUNK = b'data: {"id":"%b","object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
_CHOICE = b'{"index":0,"delta":%b,"finish_reason":%b}'
_END = b"]}\n\n"
_END_WITHOUT_USAGE_YET = b'],"usage":null}\n\n'

# The choice of a chunk with text, before and behind the text.
_BEFORE, _BEHIND = (_CHOICE % (b'{"content":\0}', b"null")).split(b"\0")
_REST = _BEHIND + _END
_REST_WITHOUT_USAGE_YET = _BEHIND + _END_WITHOUT_USAGE_YET


def _content(text: str) -> bytes:
    return json_line(text) + _REST


def _content_without_usage_yet(text: str) -> bytes:
    return json_line(text) + _REST_WITHOUT_USAGE_YET


class Chunks(Codec):
    """The codec of a completion's chunks, one for all that is out.

    A chunk has the members that OpenAI requires and no others, because it is sent with each token.
    With `usage` (`stream_options.include_usage`) every chunk has a member `usage`, which is null in
    all but the last one.
    """

    __slots__ = ("_begin", "_usage")
    transport = "openai"
    joins = True

    def __init__(self, model: str, *, usage: bool = False) -> None:
        name = completion_id().encode()
        self._begin = _CHUNK % (name, time.time(), json_line(model))
        self._usage = usage
        super().__init__(
            _content_without_usage_yet if usage else _content,
            prefix=self._begin + _BEFORE,
            probe_times_us=(),
        )

    def _chunk(self, delta: bytes, finish_reason: bytes = b"null") -> bytes:
        end = _END_WITHOUT_USAGE_YET if self._usage else _END
        return self._begin + _CHOICE % (delta, finish_reason) + end

    def first(self) -> list[bytes]:
        """Return the chunk with the role."""
        return [self._chunk(b'{"role":"assistant","content":""}')]

    def end(self, end: End) -> list[bytes]:
        """Return the finish reason and, if asked for, the usage; or an error; then `[DONE]`."""
        if end.state == "failed":
            problem = end.problem or BackendFailed().as_dict()
            return [json_event(error_object(problem)), DONE]
        events = [self._chunk(b"{}", json_line(_finish_reason(end)))]
        if self._usage:
            usage = json_line(end.usage or NO_USAGE)
            events.append(self._begin + b'],"usage":%b}\n\n' % usage)
        return [*events, DONE]

    def sent_away(self) -> list[bytes]:
        """Return an error, then `[DONE]`.

        OpenAI's clients can't resume, and take a body that just ends for a whole one.
        """
        return [json_event(error_object(Draining().as_dict())), DONE]
