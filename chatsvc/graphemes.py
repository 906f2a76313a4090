"""Splitting of text into characters: extended grapheme clusters (UAX #29) of bounded length.

A backend yields text in arbitrary pieces; `Splitter` turns them into clean text that holds whole
characters only, and `boundaries` finds the characters in it. The time for both is linear in the
length of the text, whatever it holds and however it is cut.

Invariants:

- A character has at most `LONGEST_CHARACTER` code points (PROTOCOL.md section 1). Where a cluster
  is longer, the character ends there, and what follows is read as if the text began with it. So
  the characters behind a boundary depend on nothing before it, and every node cuts a text alike,
  whatever the pieces it arrives in.
- A character is whole once the next one has begun, once it cannot grow or once the text has ended;
  until then the splitter holds it back.
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
from itertools import accumulate

import regex

LONGEST_CHARACTER = 256
"""The code points after which a character ends, whatever follows.

No writing system has characters this long, but an attacker's text may have one that never ends:
holding it back would cost memory, and looking through it again at each piece would cost time.
"""

# [UAX #29, GB12, GB13] Break between regional indicators if their number before is even. To count
# them, `\X` goes back over all of them, which makes a run of flags cost the square of its length.
# Here the first two of three are a flag, and `\X` never meets a third one that it would count for.
_RI = r"[\U0001F1E6-\U0001F1FF]"
_character = regex.compile(rf"{_RI}{_RI}(?={_RI})|{_RI}(?={_RI})\X|\X")

# What joins nothing by itself. Between two of these there is always a boundary, for each rule that
# forbids one [GB3, GB6 to GB13] needs a code point of another class directly before or after it.
# `regex` finds them about forty times as fast as `\X` finds characters.
_plain = r"\p{GCB=Other}\p{GCB=Control}\n"
_joining = regex.compile(f"[^{_plain}]")
_last_plain_pair = regex.compile(f"(?r)[{_plain}]{{2}}")


def boundaries(text: str) -> array[int] | None:
    """Return the offsets, in code points, at which the characters of `text` end, in order.

    Returns None when each character is one code point long: then the text itself is the sequence of
    its characters. The line ends of `text` must be `\\n`.
    """
    if text.isascii() or len(text) == 1 or not _joining.search(text):
        return None
    if len(text) <= LONGEST_CHARACTER:
        ends = array("I", accumulate(map(len, _character.findall(text))))
    else:
        ends = _boundaries_of_long(text)
    return None if len(ends) == len(text) else ends


def _boundaries_of_long(text: str) -> array[int]:
    """Return the boundaries of a text of any length.

    The text is looked at in windows of two of the longest characters. A window is copied out of the
    text, so that what stands before it has no influence, and at least half of it is done with.
    """
    ends = array("I")
    begin = 0
    while begin < len(text):
        window = text[begin : begin + 2 * LONGEST_CHARACTER]
        lengths = [*map(len, _character.findall(window))]
        if max(lengths) > LONGEST_CHARACTER:
            too_long = next(
                index for index, n in enumerate(lengths) if n > LONGEST_CHARACTER
            )
            lengths[too_long:] = [LONGEST_CHARACTER]
        elif begin + len(window) < len(text):
            lengths.pop()  # It may go on behind the window.
        lengths[0] += begin
        ends.extend(accumulate(lengths))
        begin = ends[-1]
    return ends


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
        text = self._held + piece
        if text.isascii() and "\r" not in text:  # each is whole once the next has come
            if text[-1] == "\n":
                self._held = ""
                return text
            self._held = text[-1]
            return text[:-1]
        text = _clean(text)
        whole = _whole(text, len(self._held))
        self._held = text[whole:]
        return text[:whole]

    def cut(self) -> str:
        """Return the text that was held back, for something else than text follows: it is whole.

        The next character begins anew. A last `\\r`, or half of a surrogate pair, stays held back
        until the text goes on or ends.
        """
        held = self._held
        self._held = held[-1:] if is_open_end(held[-1:]) else ""
        return held[: len(held) - len(self._held)]

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def close(self) -> str:
        """Return the text that was held back: it is whole, for the text has ended."""
        held, self._held = self._held, ""
        if held.endswith("\r"):
            held = held[:-1] + "\n"
        return join_surrogates(held)


def is_open_end(last: str) -> bool:
    """Return whether a text's `last` code point says only together with what follows what it is.

    It is a `\\r`, which may begin a `\\r\\n`, or the first half of a surrogate pair.
    """
    return last == "\r" or "\ud800" <= last <= "\udbff"


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
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _whole(text: str, held: int) -> int:
    """Return how many code points of `text` are whole characters, whatever follows.

    The first `held` are known to be one character, or its beginning.
    """
    if text[-1] == "\n":  # [UAX #29, GB4] Break after controls.
        return len(text)
    if text.isascii():
        return len(text) - 1
    if "\ud800" <= text[-1] <= "\udbff":
        text = text[:-1]
    start = _last_start(text, held)
    return start if len(text) - start < LONGEST_CHARACTER else len(text)


def _last_start(text: str, held: int) -> int:
    """Return the offset at which the last character of `text` starts; `held` is as for `_whole`."""
    begin = 0
    if pair := _last_plain_pair.search(text, max(held - 1, 0)):
        begin = pair.start() + 1
        text = text[begin:]
    if len(text) < 2:
        return begin
    if len(text) <= LONGEST_CHARACTER:
        return begin + len(text) - len(_character.findall(text)[-1])
    ends = boundaries(text)
    if ends is None:
        return begin + len(text) - 1
    return begin + (ends[-2] if len(ends) > 1 else 0)
