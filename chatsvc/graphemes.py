"""Characters: extended grapheme clusters (UAX #29) out of text that arrives in arbitrary pieces.

Rules
- A character is whole once the next one has begun, or the text has ended; until then it is held back.
- What comes out holds whole characters only, so cutting it anew, piece by piece, gives the same ones.
- Line ends are `\\n`: `\\r\\n` and `\\r` never come out, even when a piece ends between the two.
- It is always encodable: a pair of surrogates is joined, a lone one becomes U+FFFD. Half a pair at the end says
  nothing yet of the character before it, which the whole pair may join: both are held back.
"""

from __future__ import annotations

from array import array

import regex

_character = regex.compile(r"\X")

LONGEST_HELD = 1024
"""Code points of a character that are held back at most.

No writing system has characters this long, but an attacker's text may have one that never ends: holding it back would
cost memory, and looking it over again at each piece, time.
"""


def boundaries(text: str) -> array[int] | None:
    """The offsets, in code points, at which the characters of `text` end.

    None when each is one code point long: then the text itself is the sequence of its characters.
    `text` must have normalised line ends.
    """
    if text.isascii():
        return None
    ends = array("I", (match.end() for match in _character.finditer(text)))
    return None if len(ends) == len(text) else ends


class Splitter:
    """Holds back what may still grow; gives the rest, clean.

    `feed` takes any piece and returns whole characters, possibly none; `close` returns the rest.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What is known to be whole after this piece."""
        if not piece:
            return ""
        text = _clean(self._held + piece)
        whole = _whole(text)
        self._held = text[whole:]
        return text[:whole]

    def close(self) -> str:
        """What was held back: the text has ended, so it is whole."""
        held, self._held = self._held, ""
        if held.endswith("\r"):
            held = held[:-1] + "\n"
        return join_surrogates(held)


def _clean(text: str) -> str:
    """`text` without bad surrogates and line ends, but for a last one that the next piece may complete."""
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
    """How many code points of `text` are whole characters whatever follows."""
    if text[-1] == "\n":  # [UAX #29, GB4] Break after controls.
        return len(text)
    if text.isascii():
        return len(text) - 1
    known = len(text) - 1 if "\ud800" <= text[-1] <= "\udbff" else len(text)
    start = 0
    for match in _character.finditer(text, 0, known):
        start = match.start()
    return start if known - start < LONGEST_HELD else known
