"""A rendering has limits, and what is over one is plain text (PROTOCOL.md section 2)."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest

from chatsvc.rendering.escaping import MAX_TEXT_NODE, plain
from chatsvc.rendering.limits import (
    CALLS_PER_LOOK,
    MAX_ADDRESS,
    MAX_CELLS,
    MAX_INLINE_NESTING,
    MAX_PARAGRAPH,
    OUTPUT_ALLOWANCE,
    OUTPUT_FACTOR,
    PHASE_TIME_S,
)
from chatsvc.rendering.markdown import render

from ..markdown_harm import read
from .poison import POISON

LONGEST = 64 * 1024


class Clock:
    """A clock that goes on by `step` seconds whenever it is looked at."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize("name", POISON)
@pytest.mark.sampled
def test_poison_is_rendered_within_the_limits(name: str) -> None:
    for size in (100, 3000, LONGEST):
        text = f"{POISON[name](size)}\n\nthe end"
        begun = time.process_time()
        html = render(text)
        # The time is looked at now and then, and the last phase cleans up; a machine of tests is
        # busy. Unlimited, most of the corpus takes 2 to 20 s.
        assert time.process_time() - begun < 3 * PHASE_TIME_S * 2.5
        assert len(html) <= OUTPUT_FACTOR * len(text) + OUTPUT_ALLOWANCE
        assert read(text, html).text.rstrip().endswith("the end")


@pytest.mark.parametrize(
    "text", ["> " * 40 + "deep", "- " * 40 + "deep", "1. > " * 40 + "deep"]
)
def test_what_is_nested_too_deeply_is_text(text: str) -> None:
    html = render(text)
    assert "deep" in html
    assert 5 < html.count("<blockquote") + html.count("<li") < 20


def test_cells_over_the_limit_are_lines_of_text() -> None:
    rows = MAX_CELLS // 4 + 100
    text = "|a|b|c|d|\n|-|-|-|-|\n" + "".join(f"|{i}|x|y|\n" for i in range(rows))
    html = render(text, clock=Clock(0))
    assert html.count("<td") + html.count("<th>") <= MAX_CELLS
    assert f"|{rows - 1}|x|y|" in html
    assert f"<td>{MAX_CELLS // 4 - 2}</td>" in html
    # A second table has none left.
    again = render(text + "\n|a|b|\n|-|-|\n", clock=Clock(0))
    assert again.count("<table") == 1
    assert "|a|b|<br>\n|-|-|" in again


def test_a_paragraph_over_the_limit_is_text() -> None:
    assert "<strong>" in render("**a** " + "b" * (MAX_PARAGRAPH - 10))
    html = render("**a** " + "b" * MAX_PARAGRAPH + "\n\n**c**")
    assert html.count("<strong>") == 1
    assert "**a** b" in html


def test_emphasis_over_the_limit_is_text() -> None:
    depth = MAX_INLINE_NESTING + 1
    text = "*a **b " * (depth // 2 + 1) + " c** d*" * (depth // 2 + 1)
    assert "<em>" not in render(text)
    assert "<em>" in render("*a **b " * 20 + " c** d*" * 20)


def test_an_address_over_the_limit_is_no_link() -> None:
    address = "http://a/" + "b" * MAX_ADDRESS
    for text in (f"[x]({address})", f"[x]\n\n[x]: {address}", f"<{address}>"):
        html = render(text)
        assert "<a" not in html
        assert address in unescape(html)


def test_output_over_the_limit_is_text() -> None:
    text = "**a**\n\n[b]: http://c 'd" + "d" * 5000 + "'\n\n" + "[b] " * 1000
    html = render(text, clock=Clock(0))
    assert "<strong>" in html
    assert "<a" not in html
    assert read(text, html).text.count("[b]") == 1000


def test_output_over_the_limit_that_the_cleaner_makes_is_text() -> None:
    text = "[b]: http://c '" + "\xa0" * 1000 + "'\n\n" + "[b] " * 60
    assert render(text, clock=Clock(0)) == plain(text)


@pytest.mark.parametrize("frame", ["{}", "```\n{}\n```", "> {}"])
def test_long_texts_stand_in_several_elements(frame: str) -> None:
    text = frame.format("&" * (MAX_PARAGRAPH * 2))
    html = render(text, clock=Clock(0))
    assert max(map(len, re.findall("[^<>]+", html))) <= MAX_TEXT_NODE * len("&amp;")
    assert read(text, html).text.count("&") == MAX_PARAGRAPH * 2


def test_when_the_time_is_over_the_rest_is_text() -> None:
    text = "**a**\n\n" * 2000
    assert render(text, clock=Clock(0)).count("<strong>") == 2000
    partly = render(text, clock=Clock(PHASE_TIME_S / 20))
    assert 0 < partly.count("<strong>") < 20 * CALLS_PER_LOOK
    reader = read(text, partly)
    assert partly.endswith("</code></pre>\n")
    assert reader.text.count("a") == 2000
    # What was rendered and the rest meet where the last block says.
    assert reader.code == [text[reader.ends[-2] :]]
    none = render(text, clock=Clock(PHASE_TIME_S * 20))
    assert none.count("<strong>") < CALLS_PER_LOOK
    assert read(text, none).text.count("a") == 2000


@pytest.mark.parametrize("text", ["> " * 5 + "a\n" * 500, "- a\n" * 500, "[" * 9000])
def test_when_the_time_is_over_within_a_block_it_is_text(text: str) -> None:
    html = render(text, clock=Clock(PHASE_TIME_S))
    assert read(text, html).code == [text]


def test_colouring_takes_of_the_same_time() -> None:
    text = "```py\n" + "x = 1\n" * 1000 + "```\n"
    assert "<span" in render(text, clock=Clock(0))
    assert "<span" not in render(text, clock=Clock(PHASE_TIME_S / 20))
    assert "<span" not in render(text, colours=False)
