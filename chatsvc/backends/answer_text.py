"""The answer that chunks add up to: its text, and when and how it has finished. Pure.

Servers say the same text twice, in the members of old and new interfaces, and say that they have
finished when they haven't. Here stands what counts.
"""

from __future__ import annotations

from typing import Any

from chatsvc.backends.chunk_values import Choice
from chatsvc.backends.finish_reasons import FAILURES, read_reason
from chatsvc.backends.response import Piece
from chatsvc.graphemes import join_surrogates
from chatsvc.problems import BackendFailed

NOT_CUMULATIVE = (
    "The model's server sent what can't be read: a text that does not go on with the one before, "
    "although --openai-cumulative says so."
)
"""The detail of the failure when a text is not cumulative although it should be."""

LINGER_S = 2.0
"""The seconds in which something may follow a chunk that has a finish alone: the usage, `[DONE]`."""

LINGER_WITH_WORDS_S = 10.0
"""The seconds in which something may follow a chunk that has a finish and a part of the answer:
some servers say `stop` in every chunk."""


class AnswerText:
    """The answer of one response, as far as its chunks have come.

    - `progress`, `linger_s`: as in `chatsvc.backends.response.ResponseReader`.
    - `reason`: the `finish_reason` of an answer that has finished, else None.
    - `began`: whether there was a choice, if only an empty one.

    With `cumulative` each text is the whole one so far.

    Invariants:

    - Texts come from the members `delta`. Only as long as these have given none they come from
      `message` or from `text`, whichever of the two gives some first: what the others repeat is
      passed over.
    - A `reason` that is followed by more of the answer, in a later chunk, is None again.
    - No piece holds half of a surrogate pair.
    """

    def __init__(self, *, cumulative: bool = False) -> None:
        self.progress = 0
        self.reason: str | None = None
        self.linger_s = LINGER_S
        self.began = False
        self._cumulative = cumulative
        self._whole = ""  # the text so far, if texts are cumulative
        self._source = ""  # the member that gives the text
        self._texts: list[str] = []  # since `take`
        self._high = ""  # the first half of a surrogate pair

    def add(self, choices: list[Choice]) -> tuple[Any, str | None] | None:
        """Add the choices of a chunk, of which only the one with index 0 counts.

        Returns None, or what the failure is that it reports: an error's JSON and a
        `BackendFailed.reason`, or None if only the JSON says it. Raises `BackendFailed` for a text
        that is not cumulative although it should be.
        """
        for choice in choices:
            if choice.index:
                continue
            self.began = True
            delta = choice.delta
            words = False
            if delta is not None:
                text = delta.content if delta.refusal is None else delta.text()
                if text:
                    self._source = "delta"
                    self._add_text(text)
                    words = True
                elif delta.has_more():
                    words = True
            if choice.message is not None or choice.text:
                words = self._add_other(choice) or words
            if words:
                self.progress += 1
                self.reason = None
            if choice.error:
                return {"error": choice.error}, None
            if choice.finish_reason:
                reason = read_reason(choice.finish_reason)
                if reason in FAILURES:
                    return f"finish_reason: {choice.finish_reason}", FAILURES[reason]
                if reason is not None:
                    if self.reason is None and not words:
                        self.progress += 1
                    self.reason = reason
                    self.linger_s = LINGER_WITH_WORDS_S if words else LINGER_S
        return None

    def take(self) -> list[Piece]:
        """Return the text since the last call, as one piece or none."""
        texts = self._texts
        if not texts:
            return texts
        self._texts = []
        return texts if len(texts) == 1 else ["".join(texts)]

    def rest(self) -> list[Piece]:
        """Return, once, what half a surrogate pair becomes that waited for the other."""
        high, self._high = self._high, ""
        return ["\ufffd"] if high else []

    def _add_other(self, choice: Choice) -> bool:
        """Add the text of a `message` or `text`; return whether the choice says anything there."""
        message = choice.message
        text = "" if message is None else message.text()
        for name, other in (("message", text), ("text", choice.text)):
            if other and self._source in ("", name):
                self._source = name
                self._add_text(other)
                return True
        return not self._source and message is not None and message.has_more()

    def _add_text(self, text: str) -> None:
        if not text.isascii() or self._high:
            # JSON escapes in UTF-16, and a server that cuts its text there sends half a code point.
            if not self._cumulative:
                text = self._high + text
            half = "\ud800" <= text[-1] <= "\udbff"
            self._high = text[-1] if half else ""
            text = join_surrogates(text[:-1] if half else text)
        if self._cumulative:
            whole = self._whole
            if not text.startswith(whole):
                raise BackendFailed(NOT_CUMULATIVE)
            text, self._whole = text[len(whole) :], text
        if text:
            self._texts.append(text)
