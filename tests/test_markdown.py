"""A reply as HTML: what it looks like, and that it does no harm."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.limits import MAX_COLOURED_BLOCK
from chatsvc.rendering.markdown import render

from .conftest import require_module
from .markdown_harm import read


def test_blocks_say_where_they_end() -> None:
    text = "# 你\n\na *b*\n\n\n```py\ndef f(): ...\n\n```\n- x\n\n  y"
    html = render(text)
    assert html.startswith('<h1 dir="auto" data-end="5">你</h1>\n<p dir="auto" data-')
    reader = read(text, html)
    assert [text[:end].splitlines()[-1] for end in reader.ends] == [
        "",
        "",
        "```",
        "  y",
    ]
    assert reader.code == ["def f(): ...\n\n"]
    assert '<code class="language-py"><span class="k">def</span>' in html


def test_a_table_is_aligned_without_style() -> None:
    html = render("|a|b|c|\n|-|-:|:-:|\n|1|2|3|\n")
    assert '<th align="right">b</th>' in html
    assert '<td align="center">3</td>' in html
    assert "style" not in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<b>never closed", "&lt;b&gt;never closed"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[x](JaVaScRiPt&colon;alert(1))", "[x](JaVaScRiPt:alert(1))"),
        ("<javascript:alert(1)>", "&lt;javascript:alert(1)&gt;"),
        ("[x](data:text/html,hi)", "[x](data:text/html,hi)"),
        ("[x](/api/chat?message=y)", "<a {}>x</a>"),
        ("[x](//host/)", "<a {}>x</a>"),
        ("![x](https://h/i.png)", '<a href="https://h/i.png" {}>x</a>'),
        ("![](https://h/i.png)", '<a href="https://h/i.png" {}>https://h/i.png</a>'),
        (
            '[x](https://h "t\\"<i>")',
            '<a href="https://h" title="t&quot;&lt;i&gt;" {}>x</a>',
        ),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
    ],
)
def test_harm_is_text(text: str, html: str) -> None:
    kept = 'target="_blank" rel="noopener noreferrer nofollow"'
    swapped = 'rel="noopener noreferrer nofollow" target="_blank"'
    found = render(text).replace(swapped, kept).strip()
    end = len(text)
    assert found == f'<p dir="auto" data-end="{end}">{html.replace("{}", kept)}</p>'


def test_line_ends_stay_line_ends() -> None:
    assert render("a\nb  \nc\n- d\n  e\n") == (
        '<p dir="auto" data-end="8">a<br>\nb<br>\nc</p>\n'
        '<ul dir="auto" data-end="16">\n<li dir="auto">d<br>\ne</li>\n</ul>\n'
    )


def test_each_item_of_a_list_has_the_direction_of_its_text() -> None:
    html = render("- one\n- שתיים\n  1. три\n\n> - ثلاثة\n")
    items = re.findall(r"<li[^>]*>(\w*)", html)
    assert items == ["one", "שתיים", "три", "ثلاثة"]
    assert html.count('<li dir="auto">') == len(items)


def test_long_or_unknown_code_is_plain() -> None:
    long = "x = 1\n" * (MAX_COLOURED_BLOCK // 6 + 1)
    assert "<span" not in render(f"```py\n{long}```\n")
    assert "<span" not in render("```nonsense\nx = 1\n```\n")
    assert read("", render("")).text == ""


WORDS = st.sampled_from(
    [
        "a",
        "你",
        "\n",
        "\n\n",
        "`",
        "```",
        "~~~",
        "```html",
        "```py",
        "```js",
        "*",
        "**",
        "_",
        "~~",
        "[",
        "]",
        "(",
        ")",
        "](",
        "![",
        "<",
        ">",
        "</",
        "<b",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "<a",
        "href=",
        "javascript:",
        "https://h/",
        "data:",
        "&lt;",
        "&#x3c;",
        "&colon;",
        '"',
        "'",
        "=",
        "\\",
        "|",
        "|-|",
        "#",
        "-",
        "1.",
        "+",
        ">",
        "\t",
        "\x00",
        "\x0c",
        "",
        "\u2028",
        "onload=",
        "style=",
        "]:",
        "{}",
        "<?x",
        "?>",
        "<![CDATA[",
        "]]>",
        "mailto:",
        "//h",
        "www.",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\text{",
        "\\frac",
        "\\href{javascript:a}",
        "}",
        "^",
        "[^a]",
        "[^a]: ",
        "- [ ] ",
        "- [x] ",
        "（",
        "。",
    ]
)
PIECES = st.lists(WORDS | st.text(max_size=3), max_size=40).map("".join) | st.text()
TEXT = PIECES.map(lambda text: text.replace("\r", "\n"))  # as every log is


@given(TEXT)
def test_nothing_that_a_model_writes_does_harm(text: str) -> None:
    read(text, render(text))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")))
def test_code_is_copied_as_it_was_written(code: str) -> None:
    fence = "`" * (code.count("`") + 3)
    for language in ("", "python", "html"):
        text = f"{fence}{language}\n{code}\n{fence}\n"
        assert read(text, render(text)).code == [code + "\n"]


FUZZ = """
import sys
import atheris
with atheris.instrument_imports(include=["markdown_it", "chatsvc.rendering"]):
    from chatsvc.rendering.markdown import render
from tests.markdown_harm import read

def once(data):
    text = data.decode(errors="replace").replace("\\r", "\\n")
    read(text, render(text))

atheris.Setup(sys.argv, once)
atheris.Fuzz()
"""
SEEDS = [
    "[a](javascript:b)\n\n```py\nx\n```\n",
    "<b>![a](http://b)|\n|-|\n> - 1. `<`",
    "$\\text{<b>}$ $$\\frac{a}{b}$$\n\\[\nx\n\\]\n",
    "- [ ] a[^1] **（b）**c http://d。\n\n[^1]: e\n",
]


def test_fuzzed(tmp_path: Path) -> None:
    require_module("atheris")
    for number, seed in enumerate(SEEDS):
        (tmp_path / str(number)).write_text(seed)
    result = subprocess.run(
        [
            *(sys.executable, "-c", FUZZ, "-runs=1500", "-seed=1", "-max_len=96"),
            *(f"-artifact_prefix={tmp_path}/", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Done 1500 runs" in result.stderr
