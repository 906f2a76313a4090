"""Texts and bodies that cost more than their length says, and the innocents' own text.

The texts of `HOSTILE` have a kind's worst form: one grapheme cluster, or as many as possible, or
borders that are known late (UAX #29).
"""

import json
import random
import zlib

CLUSTERS = (
    *("a", "e\u0301", "你", "한", "\u00df", " ", "\n", "🇨🇳"),
    *("👨‍👩‍👧‍👦", "👍🏽", "x", "."),
)
"""The characters of the innocents: whatever their order, each is one grapheme cluster."""

HOSTILE = {
    "flags": "🇨🇳",
    "one-indicator": "🇨",
    "marks": "\u0301",
    "marked": "e\u0301\u0302",
    "joiners": "\u200d",
    "families": "👨\u200d",
    "prepended": "\u0600",
    "hangul": "\u1100",
    "hangul-vowels": "\u1160",
    "indic": "क\u094d",
    "indic-linkers": "\u094d",
    "newlines": "\r\n",
}
"""What is repeated in a hostile text, by its kind."""

MESSAGE_BYTES = 32_000
"""The length of a hostile message, a little under the service's limit of 32 KiB."""
REPLY_BYTES = 160_000
"""The length of a hostile reply, under the service's limit of 256 KiB."""
BOMB_BYTES = 1 << 30
"""What a gzip bomb unpacks to."""

_BLOCK_BYTES = 1 << 20


def hostile(kind: str, size: int = MESSAGE_BYTES) -> str:
    """Return a text of a kind of `HOSTILE` with at most `size` bytes of UTF-8."""
    unit = HOSTILE[kind]
    return unit * (size // len(unit.encode()))


def innocent(count: int, source: random.Random) -> list[str]:
    """Return `count` characters in an order that `source` chooses."""
    return source.choices(CLUSTERS, k=count)


def request(message: str, **more: object) -> bytes:
    """Return the body of a request with one message."""
    return json.dumps({"message": message, **more}, ensure_ascii=False).encode()


def gzip_bomb(unit: bytes, begin: bytes = b"", size: int = BOMB_BYTES) -> bytes:
    """Return a gzip of `begin` and then `unit` repeated to `size` bytes: a thousandth of it.

    After a full flush deflate knows nothing of what came before, so equal blocks have equal bytes
    and only one of them is compressed. The end with the checksum is left out: it takes the time of
    the whole text to compute, and who gets there has unpacked everything.
    """
    block = unit * (_BLOCK_BYTES // len(unit))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = deflate.compress(begin) + deflate.flush(zlib.Z_FULL_FLUSH)
    packed = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + first + packed * (size // len(block))


MARKDOWN = {
    "table": "|" * 90 + "\n" + "|-" * 89 + "|\n" + ("|" * 90 + "\n") * 84,
    "cells": "|a|b|\n|-|-|\n" + "|\n" * 3900,
    "quotes": ">" * 8000 + "x",
    "lists": "".join("- " * depth + "x\n" for depth in range(1, 80)),
    "brackets": "[" * 4000 + "]" * 4000,
    "links": "[a](b " * 1300,
    "images": "![" * 4000,
    "emphasis": "*_" * 4000,
    "stars": "**a *b " * 1140,
    "backticks": "".join("`" * n + " " for n in range(1, 125)),
    "angles": "<a " * 2600,
    "entities": "&" * 8000,
    "fences": "```c\n" + "/* " * 2600,
    "references": "[x]: y\n" * 1100 + "[x]" * 100,
    "html": "<b>" * 2600,
    "urls": "http://a.b?" * 720,
}
"""Markdown of 8 KB that is dear to render, by name."""

DEEP = b"[" * 100_000
"""Nested JSON arrays that never end."""
DIGITS = b"9" * 200_000
"""A JSON number that is quadratic to convert."""
