"""The parts of a reply as chunks of the AI SDK's UI message stream (PROTOCOL.md section 5).

Invariants:

- No chunk has a type or a member that `ai` 5.0 doesn't know: its schemas are strict, and throw.
- A delta comes only between the start and the end of its block of text, reasoning or input.
- A call is given to the page (`tool-input-available`) with the end of the reply, so that the page runs
  a tool only if it has the whole reply; or with its result, marked as executed already.
- A step ends where all of its calls have results and something else begins: that is how the page
  sends it back, as a message with calls, their results, and what followed them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from chatsvc.model import End
from chatsvc.problems import BackendFailed
from chatsvc.replies import PartItem
from chatsvc.replies.calls import CALL_TYPE, CUSTOM
from chatsvc.transports.json_line import json_line
from chatsvc.transports.sse import DONE, json_event
from chatsvc.transports.ui_calls import METADATA, Call, input_event
from chatsvc.units import ANSWER, Close, Mark, PartText

_FINISH_REASONS = {"content_filter": "content-filter", "tool_calls": "tool-calls"}

_PREFIX = b'data: {"type":"text-delta","id":"%d","delta":'


def delta_prefix(number: int) -> bytes:
    """Return what stands before the text in a text delta of the block with a number (from 0)."""
    return _PREFIX % number


def delta_rest(text: str) -> bytes:
    """Return the text of a text delta, and what stands behind it."""
    return json_line(text) + b"}\n\n"


class UIParts:
    """The parts of one reply as the chunks of one message, and what has been said of them so far.

    `block` is the number of the block of text that is open, or is next, from 0.

    `calls` are the ids of the calls that the message had before, for which the reply may have
    results. The page knows the ids in `taken` for other calls: a call that has one of them, or of
    `calls`, gets another id. A result whose call is not known has no place in the stream.
    """

    __slots__ = (
        "_calls",
        "_earlier",
        "_empty",
        "_known",
        "_open",
        "_results",
        "_unanswered",
        "_writing",
        "block",
    )

    def __init__(
        self, calls: Collection[str] = (), taken: Collection[str] = ()
    ) -> None:
        self.block = 0
        self._earlier = frozenset(calls)
        self._known = self._earlier | frozenset(taken)
        self._empty = True  # whether nothing has come that the page shows
        self._writing = False  # whether a block of text is open
        self._open: dict[int, Call | None] = {}  # by part; None for reasoning
        self._calls: dict[str, Call] = {}  # by the id in the log
        self._results = False  # whether a result has come in this step
        # How many calls have none: to look through all for each part would take quadratic time.
        self._unanswered = 0

    def events(self, items: Sequence[PartItem]) -> list[bytes]:
        """Return the events of some marks and texts, in order."""
        out: list[bytes] = []
        for item in items:
            unit = item.unit
            if isinstance(unit, Mark):
                self._mark(out, unit)
            elif isinstance(unit, Close):
                self._close(out, unit)
            elif unit.part == ANSWER:
                out += self.text(unit.text)
            else:
                self._delta(out, unit)
        self._empty = self._empty and not out
        return out

    def text(self, text: str) -> list[bytes]:
        """Return the events of a piece of the answer's text."""
        out: list[bytes] = []
        if not self._writing:
            self._step(out)
            self._begin_text(out)
        out.append(delta_prefix(self.block) + delta_rest(text))
        return out

    def end(self, end: End) -> list[bytes]:
        """Return the ends of what is open, how the message ended, then `[DONE]`.

        What the page is to run is given to it here, if the reply has come to its own end.
        """
        out: list[bytes] = []
        if self._empty:  # as a reply without text: one block of it
            self._begin_text(out)
        self._end_text(out)
        for part, open_call in self._open.items():
            if open_call is None:
                out.append(json_event({"type": "reasoning-end", "id": str(part)}))
        if end.state == "done":
            for call in self._calls.values():
                if not call.answered:
                    out.append(input_event(call))
        reason = _FINISH_REASONS.get(end.finish_reason, end.finish_reason)
        metadata: dict[str, Any] = {"finishReason": reason}
        if end.usage is not None:
            metadata["usage"] = end.usage
        chunks: list[dict[str, Any]] = [
            {"type": "message-metadata", "messageMetadata": metadata}
        ]
        if end.state == "done":
            chunks += [{"type": "finish-step"}, {"type": "finish"}]
        elif end.state == "stopped":
            chunks.append({"type": "abort"})
        else:
            problem = end.problem or BackendFailed().as_dict()
            chunks.append({"type": "error", "errorText": problem["detail"]})
        return [*out, *map(json_event, chunks), DONE]

    # ------------------------------------------------------------------ marks and texts

    def _mark(self, out: list[bytes], mark: Mark) -> None:
        part, members = mark.part, mark.members
        match mark.kind:
            case "reasoning":
                self._end_text(out)
                self._step(out)
                out.append(json_event({"type": "reasoning-start", "id": str(part)}))
                self._open[part] = None
                if mark.whole:
                    self._close(out, Close(part, members))
            case "tool_call":
                self._end_text(out)
                self._step(out)
                self._begin_call(out, part, members)
            case "tool_result":
                self._result(out, members)
            case "source":
                chunk = {
                    "type": "source-url",
                    "sourceId": str(part),
                    "url": members["url"],
                }
                out.append(_event(chunk, members, "title", metadata=("start", "end")))
            case "file":
                # What stands before a picture and what stands behind it are two texts.
                self._end_text(out)
                chunk = {"type": "file", "url": members["url"]}
                chunk["mediaType"] = members["media_type"]
                out.append(_event(chunk, members, metadata=("name",)))
            case "data":
                chunk = {"type": f"data-{members['name']}", "data": members["value"]}
                out.append(_event(chunk, members, "id"))

    def _delta(self, out: list[bytes], unit: PartText) -> None:
        if unit.part not in self._open:
            return
        call = self._open[unit.part]
        if call is None:
            chunk = {
                "type": "reasoning-delta",
                "id": str(unit.part),
                "delta": unit.text,
            }
        else:
            call.arguments.append(unit.text)
            chunk = {"type": "tool-input-delta", "toolCallId": call.id}
            chunk["inputTextDelta"] = unit.text
        out.append(json_event(chunk))

    def _close(self, out: list[bytes], close: Close) -> None:
        if close.part not in self._open:
            return
        call = self._open.pop(close.part)
        if call is None:
            chunk = {"type": "reasoning-end", "id": str(close.part)}
            out.append(_event(chunk, close.members, metadata=("signature",)))
        else:
            call.closed = True
            call.marks.append(close.members)

    # ------------------------------------------------------------------ calls

    def _begin_call(self, out: list[bytes], part: int, members: dict[str, Any]) -> None:
        known = members["id"]
        plain = members.get(CALL_TYPE) == CUSTOM
        call = Call(self._free(known), members, plain=plain)
        self._open[part] = self._calls[known] = call
        self._unanswered += 1
        chunk = {
            "type": "tool-input-start",
            "toolCallId": call.id,
            "toolName": call.name,
        }
        out.append(json_event(chunk))

    def _free(self, id: str) -> str:
        """Return an id for a call: its own, or one made of it if the page has another call of it."""
        free, number = id, 1
        while free in self._known:
            number += 1
            free = f"{id}-{number}"
        return free

    def _result(self, out: list[bytes], members: dict[str, Any]) -> None:
        call = self._calls.get(members["id"])
        if call is not None:
            if not call.answered:
                out.append(input_event(call, executed=True))
                call.answered = True
                self._unanswered -= 1
        elif members["id"] not in self._earlier:
            return
        self._end_text(out)
        self._results = True
        result, failed = members["result"], members.get("error")
        chunk = {
            "type": "tool-output-error" if failed else "tool-output-available",
            "toolCallId": members["id"] if call is None else call.id,
        }
        if not failed:
            chunk["output"] = result
        elif isinstance(result, str):
            chunk["errorText"] = result
        else:
            chunk["errorText"] = json_line(result).decode()
        if call is not None:
            chunk["providerExecuted"] = True
        out.append(json_event(chunk))

    # ------------------------------------------------------------------ steps and blocks of text

    def _step(self, out: list[bytes]) -> None:
        """Begin another step if all calls of this one have their results, and there are any."""
        if self._results and not self._unanswered:
            out += [
                json_event({"type": "finish-step"}),
                json_event({"type": "start-step"}),
            ]
            self._results = False

    def _begin_text(self, out: list[bytes]) -> None:
        self._empty, self._writing = False, True
        out.append(json_event({"type": "text-start", "id": str(self.block)}))

    def _end_text(self, out: list[bytes]) -> None:
        if self._writing:
            out.append(json_event({"type": "text-end", "id": str(self.block)}))
            self.block += 1
            self._writing = False


def _event(
    chunk: dict[str, Any],
    members: dict[str, Any],
    *names: str,
    metadata: Sequence[str] = (),
) -> bytes:
    """Return the event of a chunk, with some of a part's members where the part has them.

    Those of `metadata` stand in `providerMetadata`.
    """
    chunk |= {name: members[name] for name in names if name in members}
    if kept := {name: members[name] for name in metadata if name in members}:
        chunk["providerMetadata"] = {METADATA: kept}
    return json_event(chunk)
