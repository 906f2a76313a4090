r"""TeX as MathML: what is shown of it, and that nothing but what is allowed comes out."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatsvc.rendering.cleaning import clean
from chatsvc.rendering.limits import MAX_FORMULA, MAX_MATHML
from chatsvc.rendering.mathml import ELEMENTS, NotMathML, mathml

from ..markdown_harm import read


def inner(tex: str, *, display: bool = True) -> str:
    """Return the MathML of a formula without the elements that all have."""
    html = mathml(tex, display=display)
    read("", html.replace("data-end", ""))
    # The cleaner has nothing to remove, and nothing to repair.
    assert clean(html) == html.replace("\xa0", "&nbsp;")
    start = html.index("<semantics>") + len("<semantics>")
    return html[start : html.index("<annotation")]


@pytest.mark.parametrize(
    ("tex", "html"),
    [
        ("x^2", "<msup><mi>x</mi><mn>2</mn></msup>"),
        (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        ("x<y", "<mrow><mi>x</mi><mo>&lt;</mo><mi>y</mi></mrow>"),
        (r"\text{概率 } P", "<mrow><mtext>概率\xa0</mtext><mi>P</mi></mrow>"),
        (r"\mbox{a}", "<mtext>a</mtext>"),
        (r"\label{eq:1} x", "<mi>x</mi>"),
        (r"\mathbb{R}", "<mi>ℝ</mi>"),
        ("", "<mrow></mrow>"),
    ],
)
def test_formulas(tex: str, html: str) -> None:
    assert inner(tex) == html


@pytest.mark.parametrize(
    "tex",
    [
        r"\sum_{i=1}^n \int_0^\infty \prod_{k}",
        r"\hat{x}\vec{v}\overline{AB}\underbrace{a+b}_{n}\widehat{ab}\tilde a",
        r"\lim_{x\to 0}\frac{\sin x}{x} = 1",
        r"\begin{pmatrix}a&b\\c&d\end{pmatrix}^{-1}",
        r"\begin{smallmatrix}a&b\end{smallmatrix}",
        r"\begin{split}a&=b\\&=c\end{split}",
        r"\begin{gather}a\\b\end{gather}",
        r"\left\{ x \,\middle|\, y \right\}",
        r"\operatorname*{argmax}_{\theta} \mathcal{L}(\theta)",
        r"\nabla\cdot\mathbf{E}=\frac{\rho}{\varepsilon_0}",
        r"\binom{n}{k} \pmod n \xrightarrow[a]{b} \boxed{x} \cancel{y}",
        r"\sum_{\substack{a\\b}} \pmb{x} \smash{y}",
        r"P(A \mid B), A \subseteq B \implies \neg C \iff D",
        r"x'' + f'(x) \ldots \cdots \dots",
        r"\lVert x\rVert \lvert y \rvert \langle a, b \rangle \lceil c \rceil",
    ],
)
def test_what_models_write_is_known(tex: str) -> None:
    for display in (True, False):
        assert inner(tex, display=display)


def test_styles_become_attributes() -> None:
    aligned = inner(r"\begin{aligned}a&=b\end{aligned}")
    assert (
        '<mtd columnalign="right"><mi>a</mi></mtd><mtd columnalign="left">' in aligned
    )
    array = inner(r"\begin{array}{c|c}a&b\\\hline c&d\end{array}")
    assert '<mtd class="line-top line-right"><mi>c</mi></mtd>' in array
    assert inner(r"\textcolor{red}{x}") == '<mrow mathcolor="#FF0000"><mi>x</mi></mrow>'
    assert inner(r"a\!b").count('<mspace width="-0.16666667em">') == 1
    assert inner(r"\text{\textbf{a} b}") == (
        '<mrow><mtext mathvariant="bold">a</mtext><mtext>\xa0b</mtext></mrow>'
    )
    assert inner(r"\text{<b>\&\texttt{c}}") == (
        "<mrow><mtext>&lt;b&gt;&amp;</mtext>"
        '<mtext mathvariant="monospace">c</mtext></mrow>'
    )


def test_a_number_of_an_equation() -> None:
    for tex in (
        r"x \tag{7}",
        r"\begin{aligned}a&=b\\c&=d\end{aligned}\tag{7}",
        r"\begin{align}x \tag{7}\end{align}",
    ):
        assert "<mtext>(7)</mtext>" in inner(tex)
    with pytest.raises(NotMathML):
        mathml(r"x \tag{7}", display=False)


def test_what_moves_far_away_does_not_move() -> None:
    for tex in (r"\raisebox{-90pt}{x}", r"\hspace{-50em}x", r"\kern 999em x"):
        assert not re.search(r'="-?\d\d', inner(tex))


def test_the_source_is_in_it_and_who_displays_it_says_so() -> None:
    assert mathml("a<b", display=False) == (
        "<math><semantics><mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow>"
        '<annotation encoding="application/x-tex">a&lt;b</annotation></semantics></math>'
    )
    assert mathml("x", display=True).startswith('<math display="block"><semantics>')


@pytest.mark.parametrize(
    "tex",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\url{http://a}",
        r"\class{a}{x}",
        r"\style{color:red}{x}",
        r"\cssId{a}{x}",
        r"\htmlData{a=b}{x}",
        r"\includegraphics{http://a}",
        r"\eqref{a}",
        r"\unicode{x3c}",
        r"\def\a{\a}\a",
        r"\def\a{x}",
        r"\newcommand{\a}{\a\a}\a",
        r"\renewcommand{\frac}{x}",
        r"\providecommand\a{x}\a",
        r"\bad",
        r"\frac{1",
        "}",
        r"\left(",
        r"\begin{pmatrix}a",
        r"\text{a $x$}",
        "a & b",
        "x_a_b",
        "x" * (MAX_FORMULA + 1),
        "{" * 1000 + "}" * 1000,
        "x^{" * 600 + "}" * 600,
        r"\sqrt " * 300 + "x",
        r"\hat " * 390 + "x",
        "x" + "'" * (MAX_FORMULA - 1),
    ],
)
def test_what_is_not_known_or_over_a_limit_is_no_mathml(tex: str) -> None:
    for display in (True, False):
        begun = time.process_time()
        with pytest.raises(NotMathML):
            mathml(tex, display=display)
        assert time.process_time() - begun < 0.3


@pytest.mark.parametrize(
    "written",
    [
        "<math><script>x</script></math>",
        "<math><mi><b>x</b></mi></math>",
        "<math><mtext><img></mtext></math>",
        "<math><mglyph></mglyph></math>",
        "<math><mi>x</math>",
        "<math><mrow>x</mrow></math>",
        "<mi>x</mi>",
        "<math><math></math></math>",
        "<math><!-- x --></math>",
        "x",
    ],
)
def test_what_the_library_may_never_write_is_refused(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Converter:
        def convert_with_local_state(self, tex: str, *, displaystyle: bool) -> str:
            return written

    monkeypatch.setattr("chatsvc.rendering.mathml._converter", Converter())
    with pytest.raises(NotMathML):
        mathml("x", display=True)


def test_attributes_that_are_not_allowed_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Converter:
        def convert_with_local_state(self, tex: str, *, displaystyle: bool) -> str:
            return (
                '<math onclick="a"><mrow href="javascript:a" id="b" class="c" '
                'style="color:url(x);background:red"><mo lspace="9999em" form=\'prefix\'>'
                '&ApplyFunction;</mo><mtd style="text-align:left;border-top:0;x"></mtd>'
                "</mrow></math>"
            )

    monkeypatch.setattr("chatsvc.rendering.mathml._converter", Converter())
    assert inner("x") == (
        '<mrow><mo form="prefix">\u2061</mo>'
        '<mtd columnalign="left" class="line-top"></mtd></mrow>'
    )


class Panic(BaseException):
    """What math-core raises for a bug of its own: it is no `Exception`."""


def test_a_bug_of_the_library_is_no_mathml(monkeypatch: pytest.MonkeyPatch) -> None:
    class Converter:
        def convert_with_local_state(self, tex: str, *, displaystyle: bool) -> str:
            raise Panic

    monkeypatch.setattr("chatsvc.rendering.mathml._converter", Converter())
    with pytest.raises(NotMathML):
        mathml("x", display=True)


COMMANDS = st.sampled_from(
    [
        *(r"\frac", r"\sqrt", r"\text", r"\left", r"\right", r"\middle", r"\begin"),
        *(r"\end", "{matrix}", "{array}", "{cc|c}", "{align}", "{cases}", r"\\", "&"),
        *(r"\hline", r"\color", "{red}", r"\textcolor", r"\href", "{javascript:a}"),
        *(r"\def\a", r"\newcommand", r"\a", "#1", r"\hspace", "{9em}", "{-9999em}"),
        *(r"\raisebox", r"\operatorname", r"\mathbb", r"\mathrm", r"\textbf", r"\not"),
        *(
            r"\hat",
            r"\overline",
            r"\underbrace",
            r"\sum",
            r"\limits",
            r"\lim",
            r"\over",
        ),
        *(r"\tag", r"\label", r"\eqref", r"\boxed", r"\cancel", r"\genfrac", r"\Big"),
        *(
            r"\xrightarrow",
            r"\substack",
            r"\sideset",
            r"\prescript",
            r"\phantom",
            r"\,",
        ),
        *"{}[]()^_'<>=+-.012xyz ~%#$|/\"&\\\n",
        *("中", "é", "😀", "\u200b", "\x00", "\ud7ff", "\ufe00", "</math>", "<script>"),
    ]
)


TEXT = st.text(st.characters(exclude_characters="\r"), max_size=3)  # as every log is


@given(st.lists(COMMANDS | TEXT, max_size=60).map("".join), st.booleans())
@example("<", True)
@example(r"\text{</mtext><script>}", False)
def test_whatever_is_written_only_what_is_allowed_comes_out(
    tex: str, display: bool
) -> None:
    try:
        html = mathml(tex, display=display)
    except NotMathML:
        return
    assert len(html) < MAX_MATHML * 8
    Elements().feed(html)
    read("", clean(html))
    assert clean(html) == html.replace("\xa0", "&nbsp;").replace("\x00", "\ufffd")


class Elements(HTMLParser):
    """Raises `AssertionError` for an element or an attribute that is not in `ELEMENTS`."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an opening tag."""
        for name, value in attrs:
            if not re.fullmatch(ELEMENTS[tag][name], value or ""):
                raise AssertionError(f"<{tag} {name}={value}>")
        if tag not in ELEMENTS:
            raise AssertionError(f"<{tag}>")
