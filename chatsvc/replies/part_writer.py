"""What a backend yields, as the units of a reply: its answer's text and its side parts, in order.

Pure: pieces in, units out (PROTOCOL.md section 1). `LogWriter` writes them to the log.

Invariants:

- Parts are numbered from 1 in the order in which they begin. A part that has text begins with a
  `Mark`, then come `PartText`, and a `Close` if it ends before the reply does.
- Before a side unit stands all text of the answer that came before it, in whole characters, so that
  the next character begins anew.
- A lone half of a surrogate pair, and an answer's last `\\r`, are no units yet: they wait for what
  follows in their own part, and say nothing before. They become U+FFFD and `\\n` when the part ends.
- What a piece adds is nothing if the piece is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import structs

from chatsvc.graphemes import Splitter, is_open_end, join_surrogates
from chatsvc.model import (
    Data,
    Extra,
    File,
    Finish,
    Reasoning,
    SidePiece,
    Source,
    ToolCall,
    ToolResult,
    Usage,
)
from chatsvc.problems import BackendFailed
from chatsvc.replies.calls import Call, Calls
from chatsvc.replies.extra_members import ExtraMembers
from chatsvc.replies.json_values import encoded, json_value, text_value
from chatsvc.segment import fitting
from chatsvc.units import Close, Mark, PartText, Unit, size_of

Checked = ToolResult | Source | File | Data | Extra

Output = list[str | Unit]
"""Text of the answer, in whole characters, and side units, in the order of the log."""


class _Reasoning:
    """The reasoning that is open: its part's number, and half of a surrogate pair or ""."""

    __slots__ = ("half", "part")

    def __init__(self, part: int) -> None:
        self.part = part
        self.half = ""


class PartWriter:
    """A filter that takes the pieces of one reply and returns its units.

    `answer` is what the answer's text goes through; call `begin_text` before if `interrupted` is true, which it is
    while text ends a side part. `feed` takes any other piece, and `close` what the end leaves. `room`
    is how many bytes all side parts may have (see `units.size_of`); `full` is true once something had
    no room, and then nothing more may be written: the reply ends with `length`.
    `written` are the side units of a reply that another node has begun: extras.
    """

    __slots__ = (
        "_calls",
        "_extras",
        "_parts",
        "_reasoning",
        "answer",
        "full",
        "interrupted",
        "room",
    )

    def __init__(
        self, answer: Splitter, room: int, written: Iterable[Unit] = ()
    ) -> None:
        self.room = room
        self.answer = answer
        self.interrupted = False
        self.full = False
        self._parts = 0
        self._reasoning: _Reasoning | None = None
        self._calls = Calls()
        self._extras = ExtraMembers()
        for unit in written:
            self._parts = max(self._parts, unit.part)
            self.room -= size_of(unit)
            if isinstance(unit, Mark) and unit.kind == "extra":
                self._extras.note(unit)

    @property
    def has_calls(self) -> bool:
        """Whether a call of a tool has come."""
        return bool(self._calls)

    def begin_text(self, piece: str) -> Output:
        """Return what has to stand before a piece of the answer's text: the end of the reasoning.

        It is nothing if the piece holds no unit yet.
        """
        if not piece or (
            len(piece) == 1 and not self.answer.holds and is_open_end(piece)
        ):
            return []
        out: Output = []
        self._end_reasoning(out)
        return out

    def feed(self, piece: SidePiece | Usage | Finish) -> Output:
        """Return the units of a piece, perhaps none.

        Raises `BackendFailed` for one that can't be: a call that ends without a name, arguments for
        one that has ended, an address of another scheme, or what JSON can't hold.
        """
        out: Output = []
        match piece:
            case Reasoning():
                self._feed_reasoning(out, piece)
            case ToolCall():
                self._feed_call(out, piece)
            case ToolResult():
                self._feed_result(out, piece)
            case Extra():
                self._feed_extra(out, piece)
            case Finish():
                for call in self._calls.all_open():
                    _check_name(call)
                for call in self._calls.all_open():
                    self._end_call(out, call)
            case Usage():
                pass  # it is the end's
            case Source():
                _check_address(piece.url, "http:", "https:")
                self._put_whole(out, "source", _checked(piece))
            case File():
                _check_address(piece.url, "https:", "data:")
                self._put_whole(out, "file", _checked(piece))
            case Data():
                self._put_whole(out, "data", _checked(piece))
            case _:
                kind = type(piece).__name__
                raise BackendFailed(f"The backend gave a {kind}, which is no piece.")
        return out

    def close(self) -> Output:
        """Return what was held back, for the reply ends. What is open stays so: the end closes it."""
        out: Output = []
        if self._reasoning is not None:
            self._put_half(out, self._reasoning)
        for call in self._calls.all_open():
            if call.part:
                self._put_half(out, call)
        if text := self.answer.close():
            self._end_reasoning(out)
            out.append(text)
        return out

    # ------------------------------------------------------------------ kinds

    def _feed_reasoning(self, out: Output, piece: Reasoning) -> None:
        text = text_value(piece.text)
        given = "" if piece.signature is None else text_value(piece.signature)
        signature = join_surrogates(given)
        members = {"signature": signature} if signature else {}
        if text:
            if self._reasoning is None:
                self._reasoning = _Reasoning(self._begin(out, "reasoning", {}))
                self.interrupted = True
            self._put_text(out, self._reasoning, text)
        if members and self._reasoning is None:
            self._put_whole(out, "reasoning", members)
        elif members:
            self._end_reasoning(out, members)

    def _end_reasoning(
        self, out: Output, members: dict[str, Any] | None = None
    ) -> None:
        reasoning, self._reasoning = self._reasoning, None
        self.interrupted = False
        if reasoning is not None:
            self._put_half(out, reasoning)
            self._put(out, Close(reasoning.part, members or {}))

    def _feed_call(self, out: Output, piece: ToolCall) -> None:
        call = self._calls.of(piece)
        if call is None:
            return
        if call.ended:
            if piece.arguments:
                raise BackendFailed(
                    "The backend gave more arguments for a tool's call that had ended."
                )
            return
        if call.part:
            self._put_text(out, call, piece.arguments)
        elif call.name:
            self._end_reasoning(out)
            members = {"id": call.id, "name": call.name}
            members |= self._calls.take_members(call)
            arguments = self._calls.begin(call, self._begin(out, "tool_call", members))
            self._put_text(out, call, arguments)
        waits = piece.more or not call.part
        if waits and self._calls.waiting > self.room and not self.full:
            self._overflow(out)

    def _end_call(self, out: Output, call: Call) -> None:
        call.ended = True
        self._put_half(out, call)
        self._put(out, Close(call.part, self._calls.take_members(call)))

    def _feed_result(self, out: Output, piece: ToolResult) -> None:
        members = _checked(piece)
        if not piece.error:
            del members["error"]
        encoded(members)
        call = self._calls.by_id(members["id"])
        if call is not None and not call.ended:
            _check_name(call)
            self._end_call(out, call)
        self._put_whole(out, "tool_result", members)

    def _feed_extra(self, out: Output, piece: Extra) -> None:
        members = _checked(piece)
        at = members.get("at")
        if at not in (None, "chunk", "choice"):
            raise BackendFailed(
                f"The backend gave an Extra at {at!r}: it is `chunk`, `choice` or none."
            )
        given = members["value"].items()
        members["value"] = {
            name: value for name, value in given if self._extras.is_new(at, name, value)
        }
        if members["value"]:
            self._put_mark(out, "extra", members)  # `is_new` has encoded all of it

    # ------------------------------------------------------------------ units

    def _begin(self, out: Output, kind: str, members: dict[str, Any]) -> int:
        """Put the mark of a part that has text, and return the part's number."""
        self._put(out, Mark(self._parts + 1, kind, members))
        self._parts += 1
        return self._parts

    def _put_whole(self, out: Output, kind: str, members: dict[str, Any]) -> None:
        encoded(members)
        self._put_mark(out, kind, members)

    def _put_mark(self, out: Output, kind: str, members: dict[str, Any]) -> None:
        self._put(out, Mark(self._parts + 1, kind, members, whole=True))
        self._parts += 1

    def _put_text(self, out: Output, part: _Reasoning | Call, text: str) -> None:
        text = part.half + text
        part.half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, part.half = text[:-1], text[-1]
        if text:
            self._put(out, PartText(part.part, join_surrogates(text)))

    def _put_half(self, out: Output, part: _Reasoning | Call) -> None:
        if part.half:
            part.half = ""
            self._put(out, PartText(part.part, "\ufffd"))

    def _put(self, out: Output, unit: Unit) -> None:
        """Put a unit, and before it the answer's text that was held back; or what has room of it."""
        if self.full:
            return
        if text := self.answer.cut():
            out.append(text)
        size = size_of(unit)
        if size > self.room:
            if isinstance(unit, PartText) and (text := fitting(unit.text, self.room)):
                out.append(PartText(unit.part, text))
            self._overflow(out)
            return
        self.room -= size
        out.append(unit)

    def _overflow(self, out: Output) -> None:
        self.full = True
        if text := self.answer.close():
            out.append(text)


def _check_name(call: Call) -> None:
    if not call.name:
        raise BackendFailed("The backend called a tool without a name.")


def _checked(piece: Checked) -> dict[str, Any]:
    """Return the members of a piece, as JSON can hold them, without those that are None."""
    given = structs.asdict(piece)
    try:
        msgspec.convert(given, type(piece))
    except msgspec.ValidationError as error:
        kind = type(piece).__name__
        raise BackendFailed(
            f"The backend gave a {kind} that is none: {error}"
        ) from None
    return {
        name: json_value(value)
        for name, value in given.items()
        if value is not None or name in ("value", "result")
    }


def _check_address(url: str, *schemes: str) -> None:
    if not text_value(url)[:6].lower().startswith(schemes):
        raise BackendFailed(
            f"The backend gave an address that is not {' or '.join(schemes)}"
        )
