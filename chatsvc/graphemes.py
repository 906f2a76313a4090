"""Splitting of text into characters: extended grapheme clusters (UAX #29).

A backend yields text in arbitrary pieces; `Splitter` turns them into clean text that holds whole
characters only, and `boundaries` finds the characters in it.

Invariants:

- A character is whole once the next one has begun or the text has ended; until then the splitter
  holds it back.
- What the splitter returns holds whole characters only, so cutting each piece of it anew gives the
  same characters as cutting the whole text.
- Line ends are `\\n`: `\\r\\n` and `\\r` are never returned, even when a piece ends between the
  two.
- The text can be encoded as UTF-8: a pair of surrogates is joined, a lone one becomes U+FFFD. Half
  a pair at the end doesn't tell yet whether the whole pair will extend the character before it, so
  both are held back.
"""

from __future__ import annotations

from array import array

import regex

_character = regex.compile(r"\X")

LONGEST_HELD = 1024
"""The longest character, in code points, that a splitter holds back.

No writing system has characters this long, but an attacker's text may have one that never ends:
holding it back would cost memory, and looking through it again at each piece would cost time.
"""


def boundaries(text: str) -> array[int] | None:
    """Return the offsets, in code points, at which the characters of `text` end, in order.

    Returns None when each character is one code point long: then the text itself is the sequence of
    its characters. The line ends of `text` must be `\\n`.
    """
    if text.isascii():
        return None
    ends = array("I", (match.end() for match in _character.finditer(text)))
    return None if len(ends) == len(text) else ends


class Splitter:
    """A filter that takes text in any pieces and returns it clean, in whole characters.

    What may still grow is held back until the next piece. Call `feed` with each piece, and `close`
    once at the end.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the text that is whole after `piece`, perhaps none; hold the rest back."""
        if not piece:
            return ""
        text = _clean(self._held + piece)
        whole = _whole(text)
        self._held = text[whole:]
        return text[:whole]

    def close(self) -> str:
        """Return the text that was held back: it is whole, for the text has ended."""
        held, self._held = self._held, ""
        if held.endswith("\r"):
            held = held[:-1] + "\n"
        return join_surrogates(held)


def _clean(text: str) -> str:
    """Normalise surrogates and line ends, but for a last code point that may be half of one."""
    last = text[-1]
    if not text.isascii():
        open_end = "\ud800" <= last <= "\udbff"
        text = join_surrogates(text[:-1]) + last if open_end else join_surrogates(text)
    if "\r" in text:
        open_end = last == "\r"
        text = text[:-1] if open_end else text
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = text + last if open_end else text
    return text


def join_surrogates(text: str) -> str:
    """Return `text` as valid Unicode: each surrogate pair joined, each lone surrogate replaced by U+FFFD.

    A high surrogate at the very end counts as lone: hold it back if more text may follow.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _whole(text: str) -> int:
    """Return how many code points of `text` are whole characters, whatever follows."""
    if text[-1] == "\n":  # [UAX #29, GB4] Break after controls.
        return len(text)
    if text.isascii():
        return len(text) - 1
    known = len(text) - 1 if "\ud800" <= text[-1] <= "\udbff" else len(text)
    start = 0
    for match in _character.finditer(text, 0, known):
        start = match.start()
    return start if known - start < LONGEST_HELD else known
