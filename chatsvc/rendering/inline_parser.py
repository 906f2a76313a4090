"""markdown-it's parser of inlines, in which emphasis may stand beside Chinese, Japanese or Korean text.

CommonMark decides by the characters beside `**` whether it opens or closes emphasis, and takes them
for words with blanks between them: in `**注意：**请看` the second `**` stands between punctuation and a
letter, so it closes nothing. The specification "CommonMark CJK-friendly Amendments" of the project
tats-u/markdown-cjk-friendly changes the two rules for text of these scripts; this is it.

Invariants:
- Where no CJK character stands beside the run of marks, markdown-it's own answer is returned.
"""

from __future__ import annotations

from typing import Any

import regex
from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_inline.balance_pairs import link_pairs
from markdown_it.rules_inline.state_inline import Scanned, StateInline
from markdown_it.token import Token

_CJK = regex.compile(
    r"[[\p{East_Asian_Width=W}--\p{Emoji_Presentation}]"
    r"\p{East_Asian_Width=F}\p{East_Asian_Width=H}\p{Script=Hangul}]",
    regex.V1,
)

_FIRST_CJK = "\u1100"

_FULL_WIDTH_FORM = "\ufe01"

_QUOTATION_MARKS = "\u2018\u2019\u201c\u201d"
"""The marks whose width is ambiguous, and which `_FULL_WIDTH_FORM` makes Chinese ones."""


def is_cjk(character: str) -> bool:
    """Return whether a character is Chinese, Japanese or Korean: a letter or punctuation.

    That is a `CJK character` of the specification: it is wide (UAX #11) and no emoji (UTS #51), or
    it is Hangul (UAX #24).
    """
    return character >= _FIRST_CJK and _CJK.match(character) is not None


class InlineState(StateInline):
    """The state of one paragraph, heading or cell."""

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        """Return whether the run of marks at `start` can open and close emphasis, and its length.

        `canSplitWord` is whether it can do so within a word, as `*` and `~` can and `_` can't.
        """
        scanned = super().scanDelims(start, canSplitWord)
        end = start + scanned.length
        if start == 0 or end >= self.posMax:
            return scanned  # CommonMark's answer is the same beside the end of a line
        before, is_cjk_before = self._before(start)
        after = self.src[end]
        if not is_cjk_before and not is_cjk(after):
            return scanned
        if isWhiteSpace(ord(before)) or isWhiteSpace(ord(after)):
            return Scanned(
                not isWhiteSpace(ord(after)),
                not isWhiteSpace(ord(before)),
                scanned.length,
            )
        if canSplitWord:
            return Scanned(True, True, scanned.length)
        return Scanned(_is_punctuation(before), _is_punctuation(after), scanned.length)

    def _before(self, start: int) -> tuple[str, bool]:
        """Return the character before a position, and whether it is a CJK character.

        A variation selector is no character of its own: what it stands behind is.
        """
        last = self.src[start - 1]
        if "\U000e0100" <= last <= "\U000e01ef":  # it follows ideographs alone
            return last, True
        if start > 1 and "\ufe00" <= last <= "\ufe0e":
            base = self.src[start - 2]
            if is_cjk(base) or (last == _FULL_WIDTH_FORM and base in _QUOTATION_MARKS):
                return base, True
        return last, is_cjk(last)


def _is_punctuation(character: str) -> bool:
    return isMdAsciiPunct(ord(character)) or isPunctChar(character)


class InlineParser(ParserInline):
    """markdown-it's parser of inlines, with `InlineState` for its state."""

    def parse(
        self, src: str, md: MarkdownIt, env: Any, tokens: list[Token]
    ) -> list[Token]:
        """Append the tokens of a paragraph, a heading or a cell to `tokens`, and return these."""
        state = InlineState(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens

    def paired(self, src: str, md: MarkdownIt, env: Any) -> InlineState:
        """Return the state in which marks of emphasis are paired, and are not replaced by tags yet.

        Those that open emphasis which nothing closes have `open` and no `end`.
        """
        state = InlineState(src, md, env, [])
        self.tokenize(state)
        link_pairs(state)
        return state
