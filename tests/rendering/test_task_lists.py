"""Items of lists that are tasks."""

from __future__ import annotations

import pytest

from chatsvc.rendering.markdown import render

from ..markdown_harm import read

OPEN = '<input type="checkbox" disabled="">'
DONE = '<input type="checkbox" disabled="" checked="">'


def inner(text: str) -> str:
    html = render(text)
    read(text, html)
    return html


def test_a_checkbox_is_named_by_what_it_stands_before() -> None:
    html = inner("- [ ] buy **milk**\n- [x] 喝 `it`\n- [X] three\n- no")
    assert (
        f'<li dir="auto"><label>{OPEN} buy <strong>milk</strong></label></li>' in html
    )
    assert f'<li dir="auto"><label>{DONE} 喝 <code>it</code></label></li>' in html
    assert f'<li dir="auto"><label>{DONE} three</label></li>' in html
    assert '<li dir="auto">no</li>' in html


def test_tasks_in_tasks_in_other_lists_and_with_paragraphs() -> None:
    html = inner("1. [x] one\n\n   two\n2. > - [ ] quoted\n* [ ] a\n  - [x] b\n")
    assert html.count("<label>") == html.count("</label>") == 4
    assert "<p>two</p>" in html
    # A label ends before the list within the item.
    assert "a</label>\n<ul>" in html


@pytest.mark.parametrize(
    "text",
    [
        "- [ ]",
        "- [ ] ",
        "- [x]y",
        "- [xx] y",
        "- [] y",
        "- \\[ ] y",
        "-     [ ] y",
        "- a\n\n  [ ] y",
        "[ ] y",
        "> [ ] y",
        "- # [ ] y",
        "- `[ ] y`",
    ],
)
def test_what_is_no_task(text: str) -> None:
    assert "<input" not in inner(text)
