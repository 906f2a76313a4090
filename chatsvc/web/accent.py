"""The accent of the chat page: an operator's colour, made readable in both schemes of the page.

`static/chat.css` has the page's own accent. An operator's takes its place by rules behind it. In
each scheme the colour is mixed with black or white as far as its contrast (WCAG 2.2, "relative
luminance" and "contrast ratio") to all that it stands on needs it, so that text in it can be read,
and the text of a button on it.
"""

from __future__ import annotations

from typing import NamedTuple

LEAST_CONTRAST = 4.5
"""The contrast that text of any size needs (WCAG 2.2, criterion 1.4.3, level AA)."""

_STEPS = 64

Colour = tuple[float, float, float]
"""Red, green and blue, from 0 to 255."""


class Scheme(NamedTuple):
    """What the accent stands on in one of the page's two colour schemes."""

    grounds: tuple[str, ...]
    """Colours of `static/chat.css`: the page's ground first, then what is raised from it."""
    towards: str
    """The colour that is mixed in: black on light grounds, white on dark ones."""
    tint: float
    """The part of the accent in the background of the reader's own messages, from 0 to 1."""


LIGHT = Scheme(("#fbfaf8", "#ffffff"), "#000000", 0.1)
"""The light scheme."""
DARK = Scheme(("#16171a", "#1f2125"), "#ffffff", 0.15)
"""The dark scheme."""


def accent_rules(accent: str) -> str:
    """Return the CSS rules that give the page an accent, `#rrggbb`, in both schemes."""
    (light, light_tint), (dark, dark_tint) = (
        readable(accent, scheme) for scheme in (LIGHT, DARK)
    )
    return (
        f"\n:root {{ --accent: light-dark({light}, {dark}); "
        f"--mine: light-dark({light_tint}, {dark_tint}); }}\n"
    )


def readable(accent: str, scheme: Scheme) -> tuple[str, str]:
    """Return the accent of a scheme, and the tint of it that stands behind text, as `#rrggbb`.

    Its contrast to the scheme's grounds and to the tint is at least `LEAST_CONTRAST`.
    """
    wanted, towards = _parsed(accent), _parsed(scheme.towards)
    grounds = [_parsed(ground) for ground in scheme.grounds]
    for step in range(_STEPS + 1):
        colour = _mixed(towards, wanted, step / _STEPS)
        tint = _mixed(colour, grounds[0], scheme.tint)
        if min(contrast(colour, each) for each in (*grounds, tint)) >= LEAST_CONTRAST:
            break
    return _written(colour), _written(tint)


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours, from 1 (the same) to 21 (black and white)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        each / 255 / 12.92
        if each / 255 <= 0.04045
        else ((each / 255 + 0.055) / 1.055) ** 2.4
        for each in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mixed(over: Colour, under: Colour, part: float) -> Colour:
    """Return `part` of a colour on top of another, in whole steps of 8 bits as it is written."""
    red, green, blue = (
        float(round(a * part + b * (1 - part)))
        for a, b in zip(over, under, strict=True)
    )
    return red, green, blue


def _parsed(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return float(red), float(green), float(blue)


def _written(colour: Colour) -> str:
    return "#" + bytes(map(int, colour)).hex()
