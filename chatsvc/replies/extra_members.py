"""The members of a reply's extras: which of them are to be written (PROTOCOL.md section 1). Pure."""

from __future__ import annotations

from chatsvc.model import FRAGMENTS
from chatsvc.replies.json_values import encoded
from chatsvc.units import Mark


class ExtraMembers:
    """The members that the extras of one reply have had so far.

    Those of a chunk or choice are states: one that is equal to the last of its place and name says
    nothing new. Those of a delta, and `FRAGMENTS`, are pieces of a stream: each says something, but
    for one that is empty and not the first. A delta's boolean can only be a state.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        # By place and name. Of fragments only that there was one: they may be large.
        self._last: dict[tuple[str | None, str], bytes] = {}

    def is_new(self, at: str | None, name: str, value: object) -> bool:
        """Note a member of an extra at `at`, and return whether it says anything new.

        Raises `BackendFailed` for a value that JSON can't hold.
        """
        as_json, key = encoded(value), (at, name)
        last = self._last.get(key)
        if (at is None and not isinstance(value, bool)) or name in FRAGMENTS:
            self._last[key] = b""
            return last is None or value not in ("", [], {})
        self._last[key] = as_json
        return as_json != last

    def note(self, mark: Mark) -> None:
        """Note the members of an extra that has been written, in this version or in another."""
        value, at = mark.members.get("value"), mark.members.get("at")
        for name, member in value.items() if isinstance(value, dict) else ():
            self.is_new(at if isinstance(at, str) else None, name, member)
