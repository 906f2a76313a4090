"""What servers add to an answer that send all of it so far each time (`--openai-cumulative`). Pure."""

from __future__ import annotations

from collections.abc import Hashable

from chatsvc.problems import BackendFailed

NOT_CUMULATIVE = (
    "The model's server sent what can't be read: a text that does not go on with the one before, "
    "although --openai-cumulative says so."
)
"""The detail of the failure when a text is not cumulative although it should be."""


class Cumulative:
    """The texts of one answer as far as they have come: the answer's own, and others by a name."""

    def __init__(self) -> None:
        self._text = ""
        self._others: dict[Hashable, str] = {}

    def new_text(self, text: str) -> str:
        """Return what is new in the answer's text so far. Raises `BackendFailed` for another text."""
        known = self._text
        if not text:  # as the last chunk has it
            return ""
        if not text.startswith(known):
            raise BackendFailed(NOT_CUMULATIVE)
        self._text = text
        return text[len(known) :]

    def new(self, name: Hashable, text: str) -> str:
        """Return what is new in another text so far; one that does not go on with it is all new."""
        known = self._others.get(name, "")
        if known.startswith(text):
            return ""
        if not text.startswith(known):
            self._others[name] = known + text
            return text
        self._others[name] = text
        return text[len(known) :]
