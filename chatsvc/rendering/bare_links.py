"""A rule of markdown-it: addresses in the text become links.

An address begins with `http://`, `https://` or `www.`, and ends as GitHub Flavored Markdown says
(section 6.9, "extended autolinks"), with these differences for what models write:

- It may begin behind a CJK character, since there are no blanks between words.
- It ends before CJK punctuation, and within the host before a CJK letter that is behind an ASCII one.
- It holds no `*`, backtick or bracket: these are marks of Markdown or of TeX.
"""

from __future__ import annotations

import re
from unicodedata import category

from markdown_it.rules_inline import StateInline

from chatsvc.rendering.limits import MAX_ADDRESS

START = r"(?<![A-Za-z0-9+.-])(?i:https?://)|(?<![A-Za-z0-9_./:@-])(?i:www\.)"
"""A regular expression for places where an address may begin."""

_start = re.compile(START)

_host = re.compile(
    r"(?:[A-Za-z0-9_-]+|[^\W\x00-\x7f]+)(?:\.(?:[A-Za-z0-9_-]+|[^\W\x00-\x7f]+))*"
    r"(?::[0-9]{1,5})?"
)
"""A host, each of its labels in ASCII or in other letters, and a port."""

_rest = re.compile(
    rf"[/?#](?:[A-Za-z0-9\-._:/?#@!$&'()+,;=%]|~(?!~)|[^\x00-\x7f]){{0,{MAX_ADDRESS}}}"
)
"""What may follow the host; `_length_of_rest` cuts it before punctuation that is not ASCII."""

_entity = re.compile(r"&[A-Za-z0-9]+;$")


def bare_link(state: StateInline, silent: bool) -> bool:
    """Match an address that stands in the text."""
    if state.linkLevel > 0:
        return False
    start = _start.match(state.src, state.pos)
    if start is None:
        return False
    end = _end_of_address(state.src, start.start(), start.end(), state.posMax)
    if end <= start.end():
        return False
    address = state.src[state.pos : end]
    href = state.md.normalizeLink(
        address if address[0] in "hH" else f"http://{address}"
    )
    if not state.md.validateLink(href):
        return False
    if not silent:
        state.push("link_open", "a", 1).attrs = {"href": href}
        state.push("text", "", 0).content = address
        state.push("link_close", "a", -1)
    state.pos = end
    return True


def _end_of_address(source: str, start: int, host_start: int, most: int) -> int:
    """Return where the address ends that begins at `start`; `host_start` or less if there is none.

    `most` is where the text ends that it may stand in.
    """
    host = _host.match(source, host_start, most)
    if host is None or source[host.end() : host.end() + 1] == "@":
        return start  # what stands before an `@` only looks like a host
    if "." not in host[0] and (host_start - start == 4 or not host[0].isascii()):
        return start  # `www.` alone, or words in Chinese behind `http://`
    rest = _rest.match(source, host.end(), most)
    if rest is None:
        end = host.end()
    else:
        end = host.end() + _length_of_rest(rest[0])
    return _without_punctuation(source, host_start, end)


def _length_of_rest(rest: str) -> int:
    """Return how much of what follows a host belongs to the address."""
    if rest.isascii():
        return len(rest)
    for index, character in enumerate(rest):
        if character.isascii() or character.isalnum():
            continue
        # Accents and vowel signs belong to the letter before them.
        if not category(character).startswith("M"):
            return index
    return len(rest)


def _without_punctuation(source: str, start: int, end: int) -> int:
    """Return where an address ends when the punctuation behind it is left out."""
    while end > start:
        last = source[end - 1]
        if last == ";" and (entity := _entity.search(source[start:end])):
            end -= len(entity[0])
        elif last in "?!.,:;_~'&" or (
            last == ")"
            and source.count(")", start, end) > source.count("(", start, end)
        ):
            end -= 1
        else:
            break
    return end
