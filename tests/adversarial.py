"""Texts that are hard to cut into characters (UAX #29), each of any length.

`CORPUS` holds them by name: for every class of code points that the rules speak of a text of it
alone, and texts that keep a rule busy for as long as they last. `SAMPLES` are the classes.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Generator = Callable[[int], str]
"""A function that returns a text of as many code points as it is told."""

FAMILY = "👨\u200d👩\u200d👧"

SAMPLES = {
    "GCB=CR": "\r",
    "GCB=LF": "\n",
    "GCB=Control": "\0\u200b\u2028\U000e0001",
    "GCB=Extend": "\u0301\u0308\ufe0f\u0b3e\u200c\U0001f3fd",
    "GCB=ZWJ": "\u200d",
    "GCB=Regional_Indicator": "\U0001f1e6\U0001f1e9\U0001f1ea\U0001f1ff",
    "GCB=Prepend": "\u0600\u06dd\u0d4e\U000110bd",
    "GCB=SpacingMark": "\u0903\u0a03\u0e33\U00011145",
    "GCB=L": "\u1100\u1112\ua960",
    "GCB=V": "\u1160\u1175\ud7b0",
    "GCB=T": "\u11a8\u11c2\ud7cb",
    "GCB=LV": "가개",
    "GCB=LVT": "각힣",
    "GCB=Other": "a é好Ж",
    "InCB=Consonant": "कसবক",
    "InCB=Linker": "\u094d\u0acd",
    "InCB=Extend": "\u093c\u0951\u200d",
    "Extended_Pictographic": "😀❤©\U0001f469",
}
"""Some code points of each value of the properties that UAX #29 uses, by property and value."""


def _of_class(name: str) -> Generator:
    """Return the generator of code points of one class, in an order that has hardly a pattern."""
    return _repeating("".join(random.Random(name).choices(SAMPLES[name], k=1009)))


def _repeating(unit: str, begin: str = "") -> Generator:
    """Return the generator of `unit`, again and again behind `begin`."""

    def generate(length: int) -> str:
        return (begin + unit * (length // len(unit) + 1))[:length]

    return generate


def _mixed(length: int) -> str:
    """Return runs of 1 to 600 code points, each of one to three classes."""
    source = random.Random(29)
    runs = []
    while length > 0:
        classes = source.sample(list(SAMPLES.values()), source.randint(1, 3))
        run = source.choices(
            "".join(classes), k=min(length, int(600 ** source.random()))
        )
        length -= len(run)
        runs.append("".join(run))
    return "".join(runs)


CORPUS: dict[str, Generator] = {
    **{name: _of_class(name) for name in SAMPLES},
    "flags": _repeating("🇩🇪"),
    "flags behind a letter": _repeating("🇩🇪", "a"),
    "flags behind half a flag and a mark": _repeating("🇩🇪", "🇩\u0301"),
    "three halves of flags and a mark": _repeating("\U0001f1e6" * 3 + "\u0301"),
    "flags at a forced end": _repeating("\u0600" * 255 + "\U0001f1e6" * 5),
    "marks": _repeating("\u0301", "a"),
    "marks behind each letter": _repeating("a" + "\u0301" * 3),
    "marks up to a forced end": _repeating("a" + "\u0301" * 255),
    "marks past a forced end": _repeating("a" + "\u0301" * 256),
    "joined pictographs": _repeating("😀\u200d"),
    "joined pictographs with marks": _repeating("😀" + "\u0301" * 40 + "\u200d"),
    "joiners after marks that join nothing": _repeating(
        "a" + "\u0301" * 40 + "\u200d😀"
    ),
    "families": _repeating(FAMILY),
    "prepended to flags": _repeating("\u0600🇩🇪"),
    "prepended to letters": _repeating("\u0600" * 40 + "a"),
    "prepended to controls": _repeating("\u0600" * 40 + "\u200b"),
    "Hangul syllables in parts": _repeating("\u1100\u1160\u11a8"),
    "Hangul vowels without a beginning": _repeating("\u1160", "a"),
    "conjuncts": _repeating("क\u094d"),
    "conjuncts with extenders": _repeating("क" + "\u093c" * 40 + "\u094d\u0951"),
    "consonants without a linker": _repeating("क" + "\u093c" * 40),
    "line ends": _repeating("a\u0301\n"),
    "all mixed": _mixed,
    "Chinese": _repeating("你好世界，今天天气很好。"),
    "Hindi": _repeating("नमस्ते दुनिया, यह एक परीक्षण है। "),
    "French in decomposed letters": _repeating("de\u0301ja\u0300 e\u0301te\u0301 "),
}
"""The texts by name."""
