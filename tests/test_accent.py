"""An operator's accent: it can be read on all that it stands on, whatever colour it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.web.accent import (
    DARK,
    LEAST_CONTRAST,
    LIGHT,
    Scheme,
    accent_rules,
    contrast,
    readable,
)

STYLES = (Path(__file__).parents[1] / "static" / "chat.css").read_text()
COLOURS = st.binary(min_size=3, max_size=3).map(lambda each: f"#{each.hex()}")


def of_styles(name: str) -> tuple[str, str]:
    """Return a colour of the page's styles in its two schemes."""
    found = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", STYLES)
    assert found is not None
    return found[1], found[2]


def between(one: str, other: str) -> float:
    """Return the contrast of two colours."""
    first, second = (
        tuple(map(float, bytes.fromhex(each[1:]))) for each in (one, other)
    )
    return contrast(first, second)  # type: ignore[arg-type]


def test_contrast_is_that_of_the_standard() -> None:
    assert between("#000000", "#ffffff") == pytest.approx(21)
    assert between("#777777", "#777777") == 1
    assert between("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_the_grounds_are_those_of_the_page() -> None:
    grounds = zip(of_styles("ground"), of_styles("raised"), strict=True)
    assert [LIGHT.grounds, DARK.grounds] == list(grounds)


@given(COLOURS)
def test_any_colour_can_be_read_in_both_schemes(accent: str) -> None:
    for number, scheme in enumerate((LIGHT, DARK)):
        shown, tint = readable(accent, scheme)
        for ground in (*scheme.grounds, tint):
            assert between(shown, ground) >= LEAST_CONTRAST
        # The text of a button, and of the reader's messages.
        assert between(shown, of_styles("on-accent")[number]) >= LEAST_CONTRAST
        assert between(tint, of_styles("ink")[number]) >= 7


@pytest.mark.parametrize(
    ("accent", "scheme"), [("#2a6a5d", LIGHT), ("#7fcab8", DARK), ("#1f5a9c", LIGHT)]
)
def test_a_colour_that_can_be_read_stays_as_it_is(accent: str, scheme: Scheme) -> None:
    assert readable(accent, scheme)[0] == accent


def test_the_rules_win_over_those_of_the_page() -> None:
    assert re.fullmatch(
        r"\n:root \{ --accent: light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\); "
        r"--mine: light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\); \}\n",
        accent_rules("#ffee00"),
    )
