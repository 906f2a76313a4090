"""The characters that a page may draw by itself; the page's own rule is the same."""

from __future__ import annotations

import json
import subprocess
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.rendering.markdown import render
from chatsvc.rendering.safe_characters import safe_length

from ..conftest import require
from ..growing_markdown import visible, well_formed, wild

SCRIPT = Path(__file__).parents[2] / "static/safe-characters.js"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (
            'Hello, world (again). It\'s 5% - "ok"? **b',
            'Hello, world (again). It\'s 5% - "ok"? ',
        ),
        (
            "你好，世界。（好）“是”— … 😀 👨\u200d👩\u200d👧 é[",
            "你好，世界。（好）“是”— … 😀 👨\u200d👩\u200d👧 é",
        ),
        ("a  b", "a"),
        ("a \n", "a"),
        ("a ", "a"),
        ("www.x", "www"),
        ("http://x", "http:"),
        ("and/or", "and/or"),
        ("Hi!", "Hi"),
        ("Hi! ![x", "Hi! "),
        ("a\nb", "a"),
        ("a\u00a0b", "a"),
        *((f"a{mark}b", "a") for mark in "*_`~$\\<&[]|#\t\0"),
    ],
)
def test_of_text_all_is_safe_that_can_mean_nothing(text: str, safe: str) -> None:
    assert text[: safe_length(text, 0, False)] == safe


def test_of_code_all_is_safe_but_what_may_end_it() -> None:
    assert safe_length("x = [a*b] | $c &\n", 0, True) == 16
    assert safe_length("a`", 0, True) == safe_length("a~", 0, True) == 1


def test_what_stands_before_counts() -> None:
    assert safe_length("www.x", 3, False) == 0
    assert safe_length("a b", 1, False) == 2
    assert safe_length("](x", 1, False) == 0


@given(
    st.text(
        st.one_of(
            st.characters(exclude_categories=["Cs"]), st.sampled_from("ab ,.!(w:/-1")
        )
    )
)
def test_safe_text_looks_as_it_is_written(text: str) -> None:
    begun = "word" + text
    safe = begun[: 4 + safe_length(begun, 4, False)]
    shown = render(safe).partition(">")[2].removesuffix("</p>\n")
    assert shown == escape(safe, quote=False)


def test_the_page_has_the_same_rule() -> None:
    if not SCRIPT.exists():
        pytest.skip("the page draws nothing by itself")
    require("node")
    cases: list[tuple[str, int, bool]] = []

    @given(st.one_of(wild, well_formed, st.text()), st.integers(0, 9), st.booleans())
    def collect(text: str, start: int, in_code: bool) -> None:
        if start <= len(text):
            cases.append((text, start, in_code))

    collect()
    script = (
        f"import {{ safeLength }} from {json.dumps(SCRIPT.as_uri())};"
        "import { readFileSync } from 'node:fs';"
        "const units = (text, n) => [...text].slice(0, n).join('').length;"
        "const cases = JSON.parse(readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(cases.map(([text, start, inCode]) => {"
        "  const from = units(text, start);"
        "  return [...text.slice(from, from + safeLength(text, from, inCode))].length;"
        "})));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [safe_length(*case) for case in cases]


def test_a_page_shows_what_it_draws() -> None:
    assert visible("<p>a &amp; b</p>") == "a & b"
