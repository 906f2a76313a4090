"""Emphasis beside Chinese, Japanese and Korean text, and CommonMark's own everywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatsvc.rendering.inline_parser import InlineParser, is_cjk
from chatsvc.rendering.markdown import render


def markdown(*, friendly: bool) -> MarkdownIt:
    """Return CommonMark with strikethrough, with markdown-it's parser of inlines or the one here."""
    parser = MarkdownIt("commonmark")
    if friendly:
        parser.inline = InlineParser()
        parser.configure("commonmark")
    return parser.enable("strikethrough")


FRIENDLY = markdown(friendly=True)
STRICT = markdown(friendly=False)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**注意：**请看", "<strong>注意：</strong>请看"),
        ("これは**「重要」**です", "これは<strong>「重要」</strong>です"),
        ("**안녕(hello)**은", "<strong>안녕(hello)</strong>은"),
        (
            "使用**微服务（microservices）**架构",
            "使用<strong>微服务（microservices）</strong>架构",
        ),
        ("~~删除：~~保留", "<s>删除：</s>保留"),
        ("*注意：*请看", "<em>注意：</em>请看"),
        ("***注意：***请看", "<em><strong>注意：</strong></em>请看"),
        ("**太*字。*好**的", "<strong>太<em>字。</em>好</strong>的"),
        ("见**`code`**的", "见<strong><code>code</code></strong>的"),
        ("用**“引号”**吧", "用<strong>“引号”</strong>吧"),
        ("用**“\ufe01引号”\ufe01**x", "用<strong>“\ufe01引号”\ufe01</strong>x"),
        ("ｆｕｌｌ**（ｗ）**ｗ", "ｆｕｌｌ<strong>（ｗ）</strong>ｗ"),
        ("ﾊﾝｶｸ**｢｣**ﾃﾞ", "ﾊﾝｶｸ<strong>｢｣</strong>ﾃﾞ"),
        ("𠮷**(野)**家", "𠮷<strong>(野)</strong>家"),
        (
            "葛\U000e0100**(城)**葛\U000e0100",
            "葛\U000e0100<strong>(城)</strong>葛\U000e0100",
        ),
        ("大塚\ufe00**(x)**大塚", "大塚\ufe00<strong>(x)</strong>大塚"),
        ("**値\ufe00。\ufe00**x", "<strong>値\ufe00。\ufe00</strong>x"),
        ("ᄀ**(가)**ᅡ", "ᄀ<strong>(가)</strong>ᅡ"),
        ("**[链接](http://a)**的", None),
        ("_注意：_ 请看", "<em>注意：</em> 请看"),
        ("。_注_。", "。<em>注</em>。"),
        ("__注意：__请看", "__注意：__请看"),  # within a word `_` means nothing
        ("字_字_字", "字_字_字"),
        ("** 注意**请看", "** 注意**请看"),
        ("**注意 **请看", "**注意 **请看"),
        ("**注意　**请看", "**注意　**请看"),
        ("a**(b)**c", "a**(b)**c"),
        ("😀**(b)**😀", "😀<strong>(b)</strong>😀"),
    ],
)
def test_emphasis_beside_cjk_text(text: str, html: str | None) -> None:
    found = render(text).strip()
    if html is None:
        assert found.count("<strong>") == 1
        assert "*" not in found
    else:
        assert found == f'<p dir="auto" data-end="{len(text)}">{html}</p>'


def test_what_is_cjk() -> None:
    # The characters that implementers' tips of the specification name are among them.
    for character in "字あアｱ가가㄀、。「」（）！～〰〽㊗㊙𠮷🈂　ﾞ":
        assert is_cjk(character), character
    for character in "a1.(!“é\u0301אع\u0e01😀🈁★\ufe00":
        assert not is_cjk(character), character


def test_where_no_blank_and_no_letter_stands_the_marks_do_both() -> None:
    # The table of the implementers' tips, for `*`: before, after, may close, may open.
    for before, after, closes, opens in (
        ("(", "字", True, True),
        ("～", "a", True, True),
        ("字", "(", True, True),
        ("字", "字", True, True),
        (" ", "～", False, True),
        ("～", " ", True, False),
    ):
        opening = FRIENDLY.renderInline(f"{before}**{after}b**")
        assert ("<strong>" in opening) == opens, (before, after)
        closing = FRIENDLY.renderInline(f"**b{before}**{after}")
        assert ("<strong>" in closing) == closes, (before, after)


MARKS = st.sampled_from(
    [*"*_~ \n().,!`[]<>&\\\"'$-ab1é“”“…—", "**", "__", "~~", "***", "\u00a0", "\u200d"]
)
WITHOUT_CJK = st.characters(exclude_categories=["Cs"]).filter(
    lambda character: (
        not is_cjk(character)
        and not "\ufe00" <= character <= "\ufe0f"
        and not "\U000e0100" <= character <= "\U000e01ef"
    )
)


@given(st.lists(MARKS | WITHOUT_CJK, max_size=40).map("".join))
def test_text_without_cjk_is_as_in_commonmark(text: str) -> None:
    assert FRIENDLY.render(text) == STRICT.render(text)


@given(st.text(st.sampled_from("字（）。a() *_~\ufe00\ufe01\U000e0100“"), max_size=30))
def test_nothing_that_is_emphasis_in_commonmark_is_lost(text: str) -> None:
    single = f"**{text.replace('*', '').strip()}x**"
    assert ("<strong>" in STRICT.render(single)) <= (
        "<strong>" in FRIENDLY.render(single)
    )
