"""The units of a reply as OpenAI's deltas: what chunks say, one after the other (PROTOCOL.md section 5).

`chatsvc.transports.openai` encodes them as a stream, `chatsvc.transports.completion` adds them up.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from chatsvc.log import Log
from chatsvc.replies import PartItem
from chatsvc.replies.calls import CALL_TYPE, CUSTOM, FUNCTION, joined_members
from chatsvc.units import ANSWER, Close, Mark, PartText

OF_A_CHUNK = frozenset({"id", "object", "created", "choices", "usage", "error"})
OF_A_CHOICE = frozenset({"index", "delta", "message", "finish_reason"})
OF_A_DELTA = frozenset({"role", "reasoning_content", "tool_calls", "function_call"})
"""The members of each that are never taken from an extra: they are made here."""

REFUSAL = "refusal"
"""The member of a delta that begins a refusal; it holds the text behind that."""


class Draft(msgspec.Struct):
    """What one chunk says: the members of its delta, and further ones of its choice and its own."""

    delta: dict[str, Any]
    choice: dict[str, Any] = {}
    chunk: dict[str, Any] = {}


class _OwnCall:
    """A call of a tool that the request did not name: whoever wrote the reply may answer it."""

    __slots__ = ("closed", "members", "texts")

    def __init__(self, members: dict[str, Any]) -> None:
        self.members = members
        self.texts: list[str] = []
        self.closed = False


class ToolOffer(msgspec.Struct, frozen=True):
    """What a request's options say of tools: the `names` of those that it offers.

    `as_functions` is whether it offers them only by OpenAI's older interface, as `functions`.
    """

    names: frozenset[str] = frozenset()
    as_functions: bool = False


def tool_offer(options: dict[str, Any]) -> ToolOffer:
    """Return what a request's options say of tools."""
    older = bool(options.get("functions")) and "tools" not in options
    return ToolOffer(tools_of(options), older)


class Deltas:
    """The drafts of one reply's chunks, from its units in order.

    `offer` is what the request says of tools. `text_name` is the member of a delta that text of the
    answer stands in: `content`, or `REFUSAL` behind the mark that says so. `calls_functions` is
    whether calls stand in the older `function_call`, because the request offers tools only as
    `functions`.

    - A call of a tool that the request offers grows as it is written. Any other waits for the end of
      the reply, and is left out if its result comes before: nothing is left for a client to do.
    - Sources and files wait for the next unit: an extra that holds them as the model's server sent
      them takes their place. `waiting` is whether there are any.
    - `tool_result` and `data` have no place in OpenAI's protocol.
    """

    def __init__(self, log: Log, offer: ToolOffer) -> None:
        self.text_name = "content"
        self.calls_functions = offer.as_functions
        self._log = log
        self._tools = offer.names
        self._indexes: dict[int, int] = {}  # of the calls that were begun, by part
        self._custom: set[int] = set()  # the indexes of those of custom tools
        self._own_calls: dict[int, _OwnCall] = {}  # by part
        self._own_parts: dict[object, int] = {}  # theirs, by the id of the call
        self._reasoning: dict[int, int] = {}  # the offset behind its mark, by part
        self._besides: list[Mark] = []
        self._counts: dict[str, int] = {}  # of the entries made for a list, by its name

    @property
    def waiting(self) -> bool:
        """Whether there are sources or files that wait for the next unit."""
        return bool(self._besides)

    def feed(self, items: Iterable[PartItem]) -> list[Draft]:
        """Return the drafts of the next units."""
        drafts: list[Draft] = []
        for offset, unit, _ in items:
            part = unit.part
            if isinstance(unit, PartText):
                self._put_besides(drafts)
                self._put_text(drafts, part, unit.text)
            elif isinstance(unit, Close):
                self._put_besides(drafts)
                self._close(drafts, unit, offset)
            elif unit.kind in ("source", "file"):
                self._besides.append(unit)
            elif unit.kind == "extra":
                self._put_extra(drafts, unit.members)
            else:
                self._put_besides(drafts)
                self._begin(drafts, unit, offset)
        return drafts

    def end(self) -> list[Draft]:
        """Return what has waited, once the reply has ended."""
        drafts: list[Draft] = []
        self._put_besides(drafts)
        for call in self._own_calls.values():
            if call.closed:
                arguments = "".join(call.texts)
                drafts.append(self._call_draft(call.members, arguments))
        self._own_calls = {}
        return drafts

    # ------------------------------------------------------------------ kinds

    def _put_text(self, drafts: list[Draft], part: int, text: str) -> None:
        if part == ANSWER:
            drafts.append(Draft({self.text_name: text}))
        elif part in self._reasoning:
            drafts.append(Draft({"reasoning_content": text}))
        elif (index := self._indexes.get(part)) is not None:
            drafts.append(self._call_piece(index, {}, text))
        elif (call := self._own_calls.get(part)) is not None:
            call.texts.append(text)

    def _begin(self, drafts: list[Draft], mark: Mark, offset: int) -> None:
        members, part = mark.members, mark.part
        if mark.kind == "reasoning":
            if "signature" in members:
                self._put_signature(drafts, "", members["signature"])
            if not mark.whole:
                self._reasoning[part] = offset
        elif mark.kind == "tool_call":
            if members.get("name") in self._tools:
                self._indexes[part] = self._counts.get("tool_calls", 0)
                drafts.append(self._call_draft(members, ""))
            else:
                self._own_calls[part] = _OwnCall(members)
                self._own_parts[members.get("id")] = part
        elif mark.kind == "tool_result":
            own = self._own_parts.pop(members.get("id"), None)
            if own is not None:
                del self._own_calls[own]

    def _close(self, drafts: list[Draft], close: Close, offset: int) -> None:
        members, part = close.members, close.part
        if part in self._reasoning:
            begin = self._reasoning.pop(part)
            if "signature" in members:
                units = self._log.units(begin, offset - 1)
                texts = (u.text for _, u in units if type(u) is PartText)
                self._put_signature(drafts, "".join(texts), members["signature"])
        elif part in self._own_calls:
            call = self._own_calls[part]
            more = [_more_of(each) for each in (call.members, members)]
            joined = {"more": joined_members(more)}
            call.members, call.closed = call.members | members | joined, True
        elif part in self._indexes and members:
            drafts.append(self._call_piece(self._indexes[part], members, ""))

    def _call_draft(self, members: dict[str, Any], arguments: str) -> Draft:
        index = self._next_index("tool_calls")
        if members.get(CALL_TYPE) == CUSTOM:
            self._custom.add(index)
        return self._call_piece(index, {CALL_TYPE: FUNCTION, **members}, arguments)

    def _call_piece(self, index: int, members: dict[str, Any], text: str) -> Draft:
        """Return the draft of a piece of a call: the members of its mark, and more of its text.

        A piece without text says so, since OpenAI's own client fails on one without a `function`.
        """
        kind, text_name = FUNCTION, "arguments"
        if index in self._custom:
            kind, text_name = CUSTOM, "input"
        more = dict(_more_of(members))
        tool_more = more.pop(kind, None)
        tool = dict(tool_more) if isinstance(tool_more, dict) else {}
        if "name" in members:
            tool["name"] = members["name"]
        tool[text_name] = text
        if self.calls_functions and kind == FUNCTION:
            return Draft({"function_call": tool})
        call = {"index": index}
        for name, member in (("id", "id"), ("type", CALL_TYPE)):
            if member in members:
                call[name] = members[member]
        if "metadata" in members:
            more["extra_content"] = members["metadata"]
        return Draft({"tool_calls": [more | call | {kind: tool}]})

    def _put_signature(self, drafts: list[Draft], text: str, signature: Any) -> None:
        """Put a signature as OpenRouter does, with the text that it is for: a client returns both."""
        detail = {"type": "reasoning.text", "text": text, "signature": signature}
        drafts.append(self._listed("reasoning_details", detail))

    def _listed(self, name: str, entry: dict[str, Any]) -> Draft:
        """Return the draft of the next entry of a list.

        Clients add lists up by the `index` of their entries, and OpenAI's own fails without.
        """
        return Draft({name: [{"index": self._next_index(name), **entry}]})

    def _next_index(self, name: str) -> int:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        return index

    # ------------------------------------------------------------------ sources, files, extras

    def _put_besides(self, drafts: list[Draft]) -> None:
        for mark in self._besides:
            drafts.append(self._listed(*_beside(mark)))
        self._besides = []

    def _put_extra(self, drafts: list[Draft], members: dict[str, Any]) -> None:
        value, at = members.get("value"), members.get("at")
        if not isinstance(value, dict):
            return
        if at in ("chunk", "choice"):
            made = OF_A_CHUNK if at == "chunk" else OF_A_CHOICE
            self._put_members(drafts, at, _without(value, made))
            return
        told = {kind for kind, names in _TOLD_BY.items() if names & value.keys()}
        self._besides = [mark for mark in self._besides if mark.kind not in told]
        self._put_besides(drafts)
        if REFUSAL in value:
            self.text_name = REFUSAL
        fragments = _without(value, OF_A_DELTA)
        if isinstance(fragments.get("content"), str):
            del fragments["content"]  # the answer's text is in its own units alone
        self._put_members(drafts, "delta", fragments)

    def _put_members(
        self, drafts: list[Draft], place: str, members: dict[str, Any]
    ) -> None:
        """Put members beside what their chunk said last, if they have room there, else alone."""
        if not members:
            return
        last = drafts[-1] if drafts else None
        if (
            last is None
            or (place != "chunk" and last.chunk)
            or (place == "delta" and last.choice)
            or members.keys() & getattr(last, place).keys()
        ):
            last = Draft({})
            drafts.append(last)
        setattr(last, place, getattr(last, place) | members)


_TOLD_BY = {
    "source": frozenset({"annotations"}),
    "file": frozenset({"images", "content"}),
}
"""The members of a delta that hold what `source` and `file` parts are made of."""


def tools_of(options: dict[str, Any]) -> frozenset[str]:
    """Return the names of the tools that a request's options offer, by either interface."""
    tools, functions = options.get("tools"), options.get("functions")
    found: list[Any] = list(functions) if isinstance(functions, list) else []
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            found.append(tool.get("function") or tool.get(CUSTOM) or tool)
    names = (each.get("name") for each in found if isinstance(each, dict))
    return frozenset(name for name in names if isinstance(name, str))


def _without(members: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}


def _more_of(members: dict[str, Any]) -> dict[str, Any]:
    """Return a mark's `more`: the members of a call that have no name of their own there."""
    more = members.get("more")
    return more if isinstance(more, dict) else {}


def _beside(mark: Mark) -> tuple[str, dict[str, Any]]:
    """Return the list that a source or file stands in, and its entry."""
    members = mark.members
    url = members.get("url", "")
    if mark.kind == "source":
        # OpenAI's clients know all four as required.
        citation = {
            "url": url,
            "title": members.get("title", url),
            "start_index": members.get("start", 0),
            "end_index": members.get("end", 0),
        }
        return "annotations", {"type": "url_citation", "url_citation": citation}
    if str(members.get("media_type", "")).startswith("image/"):
        return "images", {"type": "image_url", "image_url": {"url": url}}
    data = "file_data" if url.startswith("data:") else "file_url"
    file = {"filename": members.get("name", ""), data: url}
    return "annotations", {"type": "file", "file": file}
