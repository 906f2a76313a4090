"""OpenAI's chat completions, as their clients read them (PROTOCOL.md section 5).

It holds the codec of chunks and error objects. `chatsvc.transports.completion` has whole
completions, and `chatsvc.requests.openai` what those clients send.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from chatsvc.model import FRAGMENTS, End
from chatsvc.problems import BackendFailed, Draining
from chatsvc.replies import PartItem, Reply
from chatsvc.transports.codec import MixedCodec
from chatsvc.transports.deltas import Deltas, Draft, ToolOffer
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


def finish_reason(end: End, *, calls_functions: bool) -> str:
    """Return the `finish_reason` of a reply that did not fail.

    OpenAI has none for a reply that was stopped from outside: `stop` is the nearest. Calls have an
    older name where the request `calls_functions` (see `Deltas`).
    """
    if end.state != "done":
        return "stop"
    if calls_functions and end.finish_reason == "tool_calls":
        return "function_call"
    return end.finish_reason


STICKY = ("model", "system_fingerprint", "service_tier", "provider")
"""The members of a chunk that hold for all of a completion, and so are in each chunk from then on:
OpenAI's Python client takes some from the first chunk and some from the last one."""

_CHUNK = (
    b'data: {"id":"%b","object":"chat.completion.chunk","created":%d,%b,"choices":['
)
_CHOICE = b'{"index":0,"delta":%b%b,"finish_reason":%b}'
_END = b"]%b}\n\n"
_NO_USAGE_YET = b',"usage":null'

# The choice of a chunk with text, before and behind the text.
_BEFORE, _BEHIND = (_CHOICE % (b'{"%b":\0}', b"", b"null")).split(b"\0")
_REST = _BEHIND + _END % b""
_REST_WITHOUT_USAGE_YET = _BEHIND + _END % _NO_USAGE_YET


def _content(text: str) -> bytes:
    return json_line(text) + _REST


def _content_without_usage_yet(text: str) -> bytes:
    return json_line(text) + _REST_WITHOUT_USAGE_YET


class Chunks(MixedCodec):
    """The codec of a completion's chunks, one for all that is out of one part.

    A chunk has the members that OpenAI requires, and those that the model's server had there, and no
    others, because it is sent with each token. With `usage` (`stream_options.include_usage`) every
    chunk has a member `usage`, which is null in all but the last one. `model` is the model's name as
    long as the model's server has named none, and `offer` what the request says of tools.

    The first chunk has the role. It waits for the first unit, so that it has what the model's server
    says of all chunks.
    """

    __slots__ = (
        "_begin",
        "_begun",
        "_deltas",
        "_first",
        "_head",
        "_sticky",
        "_text_name",
        "_usage",
    )
    transport = "openai"
    joins = True

    def __init__(
        self,
        reply: Reply,
        model: str,
        *,
        usage: bool = False,
        offer: ToolOffer | None = None,
    ) -> None:
        self._head = completion_id().encode(), int(time.time())
        self._sticky: dict[str, Any] = {"model": model}
        self._begun = False
        self._first = Draft({})  # what waits for the first chunk
        self._usage = usage
        self._deltas = Deltas(reply.log, offer or ToolOffer())
        super().__init__(
            _content_without_usage_yet if usage else _content, probe_times_us=()
        )
        self._make_prefix()

    def events(self, position: int, run: Sequence[str]) -> list[bytes]:
        """See `Codec.events`."""
        event = self.prefix + self.tail("".join(run))
        return [event] if self._begun else [self._begin_with(""), event]

    @property
    def holds(self) -> bool:
        """See `MixedCodec.holds`."""
        return self._deltas.waiting

    def part_events(self, items: Sequence[PartItem]) -> list[bytes]:
        """See `MixedCodec.part_events`."""
        return self._chunks(self._deltas.feed(items))

    def end(self, end: End) -> list[bytes]:
        """Return the finish reason and, if asked for, the usage; or an error; then `[DONE]`."""
        if end.state == "failed":
            problem = end.problem or BackendFailed().as_dict()
            return [json_event(error_object(problem)), DONE]
        events = self._chunks(self._deltas.end())
        if not self._begun:
            events.append(self._begin_with(""))
        reason = finish_reason(end, calls_functions=self._deltas.calls_functions)
        events.append(self._chunk(Draft({}), json_line(reason)))
        if self._usage:
            usage = b',"usage":' + json_line(end.usage or NO_USAGE)
            events.append(self._begin + _END % usage)
        return [*events, DONE]

    def sent_away(self) -> list[bytes]:
        """Return an error, then `[DONE]`.

        OpenAI's clients can't resume, and take a body that just ends for a whole one.
        """
        return [json_event(error_object(Draining().as_dict())), DONE]

    # ------------------------------------------------------------------ chunks

    def _chunks(self, drafts: list[Draft]) -> list[bytes]:
        """Return the chunks of some drafts, and before the first of a stream that with the role."""
        events: list[bytes] = []
        for draft in drafts:
            self._take_sticky(draft.chunk)
            if not self._begun:
                self._take_states(draft)
            if not (draft.delta or draft.choice or draft.chunk):
                continue
            if not self._begun:
                events.append(
                    self._begin_with("" if "content" in draft.delta else None)
                )
            events.append(self._chunk(draft))
        if self._deltas.text_name != self._text_name:
            self._make_prefix()
        return events

    def _begin_with(self, content: str | None) -> bytes:
        """Return the first chunk: that with the role, and all that is known to hold by then."""
        self._begun = True
        first, self._first = self._first, Draft({})
        first.delta = {"role": "assistant", "content": content}
        return self._chunk(first)

    def _take_states(self, draft: Draft) -> None:
        """Move what a draft says of all of the answer to the first chunk.

        OpenAI's Python client keeps most members of the first chunk and its choice, and of no other.
        """
        first = self._first
        first.chunk |= draft.chunk
        first.choice |= {n: v for n, v in draft.choice.items() if n not in FRAGMENTS}
        draft.choice = {n: v for n, v in draft.choice.items() if n in FRAGMENTS}
        draft.chunk = {}

    def _take_sticky(self, members: dict[str, Any]) -> None:
        """Move the members that are in each chunk from a chunk's own."""
        found = [name for name in STICKY if name in members]
        if found:
            self._sticky |= {name: members.pop(name) for name in found}
            self._make_prefix()

    def _make_prefix(self) -> None:
        self._begin = _CHUNK % (*self._head, json_line(self._sticky)[1:-1])
        self._text_name = self._deltas.text_name
        self.prefix = self._begin + _BEFORE % self._text_name.encode()

    def _chunk(self, draft: Draft, finish_reason: bytes = b"null") -> bytes:
        more = b"," + json_line(draft.choice)[1:-1] if draft.choice else b""
        last = _NO_USAGE_YET if self._usage else b""
        if draft.chunk:
            last += b"," + json_line(draft.chunk)[1:-1]
        choice = _CHOICE % (json_line(draft.delta), more, finish_reason)
        return self._begin + choice + _END % last
