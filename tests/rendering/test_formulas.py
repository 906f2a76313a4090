r"""Where formulas begin and end, and what stays text."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatsvc.rendering.limits import MAX_FORMULA, MAX_FORMULA_NESTING
from chatsvc.rendering.markdown import render

from ..markdown_harm import read
from .test_limits import Clock

MATH = re.compile(
    r'<math(?P<display> display="block")?><semantics>.*?'
    r'<annotation encoding="application/x-tex">(?P<tex>.*?)</annotation>',
    re.DOTALL,
)


def formulas(text: str) -> list[tuple[str, bool]]:
    """Return the TeX of each formula that is shown as one, and whether it stands by itself."""
    html = render(text)
    read(text, html)
    return [(unescape(m["tex"]), m["display"] is not None) for m in MATH.finditer(html)]


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("$x$", ["x"]),
        (r"\(x\)", ["x"]),
        ("公式$x^2$和$y$。", ["x^2", "y"]),
        ("$a$$b$", ["a", "b"]),
        ("2$x$ or x$y$", ["x", "y"]),
        ("$5 and $10", []),
        ("$5 and $10, then $x$", ["x"]),
        ("$5-$10", []),
        ("US$5, HK$10", []),
        ("a $ b $ c", []),
        ("$ x$", []),
        ("$x $", []),
        ("$x$5", []),
        ("$x", []),
        (r"\$x$", []),
        (r"$x\$", []),
        (r"$x\$y$", [r"x\$y"]),
        (r"$\\$", [r"\\"]),
        ("$x\ny$", ["x\ny"]),
        ("$x\n\ny$", []),
        ("`$x$`", []),
        ("```\n$x$\n$$y$$\n```", []),
        ("    $x$", []),
        ("$5 `code$`", []),
        ("$a `b` c$", []),
        (r"\( x \)", ["x"]),
        (r"\(x", []),
        (r"\\(x\\)", []),
        (r"\(\)", []),
        (r"\(a \\ b\)", [r"a \\ b"]),
        ("*a $x*y$ b*", ["x*y"]),
        ("# $x$", ["x"]),
        ("|a|\n|-|\n|$x$|", ["x"]),
        ("[$x$](http://a)", ["x"]),
        ("$x<y>z\\&$", ["x<y>z\\&"]),
    ],
)
def test_in_a_line(text: str, tex: list[str]) -> None:
    assert formulas(text) == [(formula, False) for formula in tex]


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("$$x$$", ["x"]),
        (r"\[x\]", ["x"]),
        ("$$\nx\n$$", ["x"]),
        ("\\[\nx\n\\]", ["x"]),
        ("   $$x\n= y$$  ", ["x\n= y"]),
        ("a\n$$\nx\n$$\nb", ["x"]),
        ("a\n\\[x\\]\nb", ["x"]),
        ("$$\na\n= b\n- c\n# d\n> e\n$$", None),
        ("- a\n  $$\n  x\n  $$\n- b", ["x"]),
        ("> $$\n> x\n> $$", ["x"]),
        ("- a\n$$\nx\n$$", ["x"]),
        ("a $$x$$ b", ["x"]),
        (r"a \[x\] b", ["x"]),
        ("$$x$$ and $$y$$", ["x", "y"]),
        ("$$\na\n= b\n$$.\nc", ["a\n= b"]),
        ("$$x$$\n$$y$$", ["x", "y"]),
        ("$$\nx\n\ny\n$$", []),
        ("$$\nx", []),
        ("$$$$", []),
        ("$$ $$", []),
        ("$$", []),
        ("$$$", []),
        (r"\[\]", []),
        (r"\[x", []),
        ("\\[\na \\\\[2pt] b\n\\]", ["a \\\\[2pt] b"]),
        ("> $$\nx\n$$", ["x"]),
        ("$$\\text{\\$\\$}$$", ["\\text{\\$\\$}"]),
        ("    $$x$$", []),
    ],
)
def test_by_itself(text: str, tex: list[str] | None) -> None:
    found = formulas(text)
    if tex is None:  # `#` is no TeX here; the lines are together all the same
        assert "<h" not in render(text)
        assert "$$\na\n= b\n- c\n# d\n> e\n$$" in read(text, render(text)).text
    else:
        assert found == [(formula, True) for formula in tex]


def test_below_an_item_of_a_list_it_stands_where_it_is_indented_to() -> None:
    assert "</ul>\n<div" in render("- a\n$$\nx\n$$")
    assert "</div>\n</li>" in render("- a\n  $$\n  x\n  $$")


def test_marks_that_nothing_closes_take_linear_time() -> None:
    for text in ("\\[a\n" * 8000, "> \\[a\n" * 8000):
        begun = time.process_time()
        render(text, clock=Clock(0))
        assert time.process_time() - begun < 4


def test_a_displayed_formula_has_a_box_to_scroll_in() -> None:
    assert render("$$x$$").startswith('<div class="formula" data-end="5"><math ')
    assert '<p dir="auto" data-end="7">a <span class="formula"><math ' in render(
        "a $$x$$"
    )
    assert "formula" not in render("a $x$")


@pytest.mark.parametrize(
    "tex",
    [
        r"\bad{x}",
        r"\frac{1",
        r"\href{javascript:alert(1)}{x}",
        r"\begin{a}x\end{b}",
        "x" * (MAX_FORMULA + 1),
        "{" * (MAX_FORMULA_NESTING + 1) + "}" * (MAX_FORMULA_NESTING + 1),
        r"\sqrt " * MAX_FORMULA_NESTING + "x",
        r"\def\a{x}\a",
    ],
)
def test_what_can_not_be_shown_is_code_as_it_was_written(tex: str) -> None:
    for text in (f"${tex}$", f"\\({tex}\\)", f"a $${tex}$$", f"a \\[{tex}\\]"):
        html = render(text)
        assert "<math" not in html
        code = re.findall("<code>(.*?)</code>", html)
        assert [unescape(c) for c in code] == [text.removeprefix("a ")]
    for text in (f"$$\n{tex}\n$$", f"\\[{tex}\\]"):
        html = render(text)
        assert '<pre data-end="' in html and '<code class="language-tex">' in html
        assert read(text, html).code[0].rstrip("\n") == text


def test_a_formula_at_its_limit_is_shown() -> None:
    text = f"${'x' * MAX_FORMULA}$"
    assert render(text).count("<mi>") == MAX_FORMULA


def test_when_the_time_is_over_the_rest_is_text() -> None:
    text = "$x$\n\n" * 500
    partly = render(text, clock=Clock(0.01))
    assert 0 < partly.count("<math") < 100
    assert read(text, partly).code == [text[read(text, partly).ends[-2] :]]


def test_a_hundred_formulas_are_quick() -> None:
    formula = (
        r"$\sum_{i=1}^{n} \frac{x_i^2}{\sqrt{2\pi}} \le \left(\int_0^1 f\right)$"
        + "\n\n"
    )
    begun = time.process_time()
    html = render(formula * 100)
    assert html.count("<math") == 100
    assert time.process_time() - begun < 1


MARKS = st.sampled_from(
    [
        "$",
        "$$",
        r"\(",
        r"\)",
        r"\[",
        r"\]",
        "\\",
        "`",
        "\n",
        "\n\n",
        " ",
        "x",
        "5",
        "字",
    ]
    + [
        "> ",
        "- ",
        "    ",
        "|",
        "=",
        r"\frac",
        "{",
        "}",
        "^",
        "_",
        "*",
        "[",
        "](http://a)",
    ]
)


@given(st.lists(MARKS, max_size=40).map("".join))
def test_formulas_do_no_harm_and_no_word_is_lost(text: str) -> None:
    assume("```" not in text)  # what is behind it is the name of a language
    reader = read(text, html := render(text))
    assert reader.text.count("x") >= text.count("x"), html
    assert reader.text.count("字") >= text.count("字"), html
