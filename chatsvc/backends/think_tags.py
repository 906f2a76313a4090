"""The reasoning that a model writes into its text, between `<think>` and `</think>`. Pure.

Servers that don't know a model's way to reason pass its tags on as text. Some templates of chats end
with the opening tag: then the model's text begins behind it.
"""

from __future__ import annotations

from enum import Enum

from chatsvc.model import Reasoning

OPENING, CLOSING = "<think>", "</think>"
"""The tags that reasoning stands between."""


class _Phase(Enum):
    UNDECIDED = 0  # the text so far may be reasoning or not
    REASONING = 1
    BLANK = 2  # behind the closing tag; white space goes
    ANSWER = 3


class ThinkTags:
    """The splitter of one answer's text into its reasoning and what is behind that.

    `feed` takes the text as it comes, in any pieces. White space before `<think>`, both tags and the
    white space behind `</think>` are in neither. A text that reaches a `</think>` without an opening
    tag has been reasoning from its start. Until that is known, `undecided` is true and `feed` returns
    nothing; call `decide` when no more of the text can tell, and `end` at the text's end. `removed` is
    how many code points there were before the answer's.

    Invariants:

    - The cuts of the text change nothing but the cuts of what comes out.
    - The work is linear in the length of the text.
    """

    __slots__ = ("_head", "_held", "_phase", "_tail", "removed")

    def __init__(self) -> None:
        self.removed = 0
        self._phase = _Phase.UNDECIDED
        self._held: list[str] = []  # the text while it is undecided
        self._head: str | None = ""  # its beginning, while that may be the opening tag
        self._tail = (
            ""  # the last code points of the text: they may begin a closing tag
        )

    @property
    def undecided(self) -> bool:
        """Whether it is not known yet what the text so far is."""
        return self._phase is _Phase.UNDECIDED

    def feed(self, text: str) -> list[str | Reasoning]:
        """Return what is known now of the text."""
        if self._phase is _Phase.ANSWER:
            return [text]
        if self._phase is _Phase.UNDECIDED:
            return self._feed_undecided(text)
        if self._phase is _Phase.REASONING:
            return self._feed_reasoning(text)
        return self._feed_blank(text)

    def decide(self) -> list[str | Reasoning]:
        """Return the text that was undecided: it is the answer's, and so is what follows."""
        if self._phase is not _Phase.UNDECIDED:
            return []
        self._phase = _Phase.ANSWER
        text, self._held = "".join(self._held), []
        return [text] if text else []

    def end(self) -> list[str | Reasoning]:
        """Return, once, what was held back: nothing follows."""
        if self._phase is _Phase.REASONING and self._tail:
            tail, self._tail = self._tail, ""
            return [Reasoning(tail)]
        return self.decide()

    def _feed_undecided(self, text: str) -> list[str | Reasoning]:
        self._held.append(text)
        if self._head is not None:
            head = (self._head + text).lstrip()
            if head.startswith(OPENING):
                self.removed = sum(map(len, self._held)) - len(head) + len(OPENING)
                self._held, self._tail = [], ""
                self._phase = _Phase.REASONING
                return self._feed_reasoning(head[len(OPENING) :])
            self._head = head if OPENING.startswith(head) else None
        window = self._tail + text
        if CLOSING not in window:
            self._tail = window[1 - len(CLOSING) :]
            return []
        self._tail = ""
        held, self._held = "".join(self._held), []
        self._phase = _Phase.REASONING
        return self._feed_reasoning(held)

    def _feed_reasoning(self, text: str) -> list[str | Reasoning]:
        window = self._tail + text
        reasoning, tag, behind = window.partition(CLOSING)
        if tag:
            self._tail = ""
            self._phase = _Phase.BLANK
            self.removed += len(reasoning) + len(tag)
        else:
            cut = len(window) - _begun(window)
            reasoning, self._tail = window[:cut], window[cut:]
            self.removed += len(reasoning)
        found: list[str | Reasoning] = [Reasoning(reasoning)] if reasoning else []
        return found + (self._feed_blank(behind) if behind else [])

    def _feed_blank(self, text: str) -> list[str | Reasoning]:
        answer = text.lstrip()
        self.removed += len(text) - len(answer)
        if not answer:
            return []
        self._phase = _Phase.ANSWER
        return [answer]


def _begun(text: str) -> int:
    """Return how many of the last code points of a text may begin a closing tag."""
    for length in range(min(len(text), len(CLOSING) - 1), 0, -1):
        if text.endswith(CLOSING[:length]):
            return length
    return 0
