"""The calls of tools in one reply: which call a piece belongs to, and what is known of each."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import chain
from typing import Any

from chatsvc.graphemes import join_surrogates
from chatsvc.model import ToolCall
from chatsvc.problems import BackendFailed
from chatsvc.replies.json_values import encoded, json_value, text_value
from chatsvc.units import MARK_BYTES

FUNCTION = "function"
"""The type of a call that its mark does not say."""

CALL_TYPE = "call_type"
"""The member of a call's marks that is its type: in an event, `type` says which event it is."""

CUSTOM = "custom"
"""The type of a call whose arguments are plain text, and the member of it that names its tool."""

CONSTANTS = frozenset({"id", "index", "type", "format", "name", "role"})
"""The texts inside members that later pieces repeat, and do not continue."""


def joined_members(pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the members of pieces of one value add up to, as OpenAI's clients add them up.

    Texts but `CONSTANTS` and lists are continued, objects member by member; of anything else the
    last counts, and of values of different types those of the last one's. None counts only where
    there is nothing else. The work is linear in all that the pieces hold.
    """
    if len(pieces) == 1:
        return pieces[0]
    values: dict[str, list[Any]] = {}
    for piece in pieces:
        for name, value in piece.items():
            found = values.setdefault(name, [])
            if value is not None:
                found.append(value)
    return {name: _joined(name, each) for name, each in values.items()}


def _joined(name: str, values: list[Any]) -> Any:
    if not values:
        return None
    last = values[-1]
    if name in CONSTANTS:
        return last
    same = [value for value in values if type(value) is type(last)]
    if isinstance(last, str):
        return "".join(same)
    if isinstance(last, list):
        return [*chain.from_iterable(same)]
    return joined_members(same) if isinstance(last, dict) else last


class Call:
    """A call of a tool.

    `id` and `name` are as the model gives them; `name` is "" until it is known. `part` is the number
    of its part, 0 until that has begun. `waiting` are arguments that came before the name, `half` is
    half of a surrogate pair that waits for the other, or "". `type` is its type. What its next mark is
    to have are `metadata`, or None, its type if `new_type`, and the joined `more`, whose JSON has
    about `more_bytes`. `made` is whether `id` was made here. `ended` is whether it has ended. `index` is
    the number that the model's server gave it first, or None.
    """

    __slots__ = (
        "ended",
        "half",
        "id",
        "index",
        "made",
        "metadata",
        "more",
        "more_bytes",
        "name",
        "new_type",
        "part",
        "type",
        "waiting",
    )

    def __init__(self, id: str) -> None:
        self.id = id or f"call_{secrets.token_hex(8)}"
        self.made = not id
        self.index: int | None = None
        self.name = ""
        self.part = 0
        self.waiting: list[str] = []
        self.half = ""
        self.metadata: Any = None
        self.type = FUNCTION
        self.new_type = False
        self.more: list[dict[str, Any]] = []
        self.more_bytes = 0
        self.ended = False

    def take_members(self) -> dict[str, Any]:
        """Return, once, the members that the call's next mark has beside its id and name."""
        members: dict[str, Any] = {}
        if self.new_type:
            members[CALL_TYPE] = self.type
        if self.metadata is not None:
            members["metadata"] = self.metadata
        if self.more:
            members["more"] = joined_members(self.more)
        self.new_type, self.metadata, self.more, self.more_bytes = False, None, [], 0
        return members


class Calls:
    """The calls of one reply, in the order in which they came.

    Servers of models say in different ways which call a piece continues: by its id in each piece; by
    its id in the first and its index in all; by a new id and the old index in each; or not at all,
    where every piece is a whole call. Some give all calls the index 0.

    `waiting` is about how many bytes the calls have whose names are not known yet, and the members
    `more` that wait for a mark.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[int, Call] = {}
        self._open: list[Call] = []
        self._latest: Call | None = None

    def __len__(self) -> int:
        """Return how many ids of calls are known."""
        return len(self._by_id)

    def by_id(self, id: str) -> Call | None:
        """Return the call that has an id, or None."""
        return self._by_id.get(join_surrogates(text_value(id)))

    def all_open(self) -> list[Call]:
        """Return the calls that have not ended, in the order of their parts; unnamed ones first."""
        self._open = [call for call in self._open if not call.ended]
        return sorted(self._open, key=lambda call: call.part)

    def of(self, piece: ToolCall) -> Call | None:
        """Return the call that a piece begins or continues, or None for an empty piece.

        It takes the piece's id and name, if it has none of its own yet, and unless it has ended its
        type, metadata and `more`. Raises `BackendFailed` for what is no text, or no JSON.
        """
        id = join_surrogates(text_value(piece.id))
        name = join_surrogates(text_value(piece.name))
        arguments, kind = text_value(piece.arguments), text_value(piece.type)
        metadata, more = json_value(piece.metadata), json_value(piece.more)
        if not isinstance(more, dict):
            raise BackendFailed("The backend gave a call whose `more` is no object.")
        if not (id or name or arguments or more or metadata is not None):
            return None
        size = len(encoded(more)) + MARK_BYTES if more else 0
        call = self._find(id, name, piece.index)
        if call is None:
            call = Call(id)
            self._by_id[call.id] = call
            self._open.append(call)
            self.waiting += len(call.id) + MARK_BYTES
        elif id and call.made:
            # The id came later. Before the part has begun it is the call's own.
            call.made = False
            self._by_id[id] = call
            if not call.part:
                self.waiting += len(id) - len(call.id)
                call.id = id
        if call.index is None and isinstance(piece.index, int):
            call.index = piece.index
            self._by_index[piece.index] = call
        self._latest = call
        if call.ended:
            return call
        if metadata is not None:
            call.metadata = metadata
        if kind not in (FUNCTION, call.type):
            call.type, call.new_type = join_surrogates(kind), True
        if more:
            call.more.append(more)
            call.more_bytes += size
            self.waiting += size
        if not call.name:
            call.name = name
            call.waiting.append(arguments)
            self.waiting += len(arguments)
        return call

    def begin(self, call: Call, part: int) -> str:
        """Note that a call's part has begun, and return the arguments that have waited for that."""
        call.part = part
        arguments = "".join(call.waiting)
        self.waiting -= len(arguments) + len(call.id) + MARK_BYTES
        call.waiting = []
        return arguments

    def take_members(self, call: Call) -> dict[str, Any]:
        """Return what `Call.take_members` does, which then waits no longer."""
        self.waiting -= call.more_bytes
        return call.take_members()

    def _find(self, id: str, name: str, index: int | None) -> Call | None:
        if id and id in self._by_id:
            return self._by_id[id]
        latest = self._latest
        if latest is not None and latest.index is None:
            # What it lacks may come late: its index with arguments alone, or its name with anything
            # but another id.
            goes_on = not (id or name or latest.ended)
            if not latest.name:
                goes_on = latest.made or not id
            if goes_on and index not in self._by_index:
                return latest
        if index is None:
            # A new id, or a name, begins a call; arguments alone go to the latest.
            return None if id or name else latest
        known = self._by_index.get(index)
        if known is None or not known.name:
            return known
        if id:
            # Another id with a name is another call under the same index; without one it is the
            # same call, whose server makes an id for each piece.
            return known if not name or known.made else None
        # Without an id, another name can only be another call.
        return known if name in ("", known.name) else None
