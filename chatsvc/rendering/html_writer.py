"""Tokens as HTML: markdown-it's renderer, with other code, images, tasks, footnotes and formulas."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from chatsvc.rendering.cleaning import CHECKBOX, LINK_OVERHEAD, NEW_TAB
from chatsvc.rendering.colours import coloured
from chatsvc.rendering.escaping import escaped
from chatsvc.rendering.footnotes import COUNT, NUMBER
from chatsvc.rendering.formulas import DISPLAYED, SOURCE
from chatsvc.rendering.limits import Budget
from chatsvc.rendering.mathml import NotMathML, mathml
from chatsvc.rendering.task_lists import CHECKED
from chatsvc.rendering.tokens import BUDGET, Env

_NEW_TAB = "".join(f' {name}="{value}"' for name, value in NEW_TAB.items())

_CHECKBOX = "".join(f' {name}="{value}"' for name, value in CHECKBOX.items())


class HTMLWriter(RendererHTML):
    """Writes tokens as HTML that is not cleaned yet, and counts what it writes.

    The environment of all methods holds the budget. They raise `OverLimit` when that is used up.
    """

    def renderToken(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a tag. Links open a new tab."""
        token = tokens[idx]
        if token.type != "link_open":
            return _counted(super().renderToken(tokens, idx, options, env), env)
        token.attrs.update(NEW_TAB)
        html = super().renderToken(tokens, idx, options, env)
        return _counted(html, env, LINK_OVERHEAD)

    def text(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return plain text."""
        return _counted(escaped(tokens[idx].content), env)

    def softbreak(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a break of the line where there is one in the text."""
        return _counted("<br>\n", env)

    hardbreak = softbreak

    def code_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return code within a line."""
        return _counted(super().code_inline(tokens, idx, options, env), env)

    def fence(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a block of code in the one shape that a page can give a copy button.

        That is `pre` around `code`.
        """
        token = tokens[idx]
        language = token.info.split()[0].lower() if token.info.strip() else ""
        kind = f' class="language-{escape(language)}"' if language else ""
        code = coloured(token.content, language, env[BUDGET])
        attributes = self.renderAttrs(token)
        return _counted(f"<pre{attributes}><code{kind}>{code}</code></pre>\n", env)

    code_block = fence

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a link to the image, named by its description."""
        token = tokens[idx]
        source = str(token.attrGet("src") or "")
        name = self.renderInlineAsText(token.children, options, env) or source
        html = f'<a href="{escape(source)}"{_NEW_TAB}>{escape(name)}</a>'
        return _counted(html, env, LINK_OVERHEAD)

    def renderInlineAsText(
        self, tokens: Sequence[Token] | None, options: OptionsDict, env: Env
    ) -> str:
        """Return the text of inlines without marks, but that of formulas and references with them."""
        shown = []
        for token in tokens or ():
            if token.type == "formula":
                token = Token("text", "", 0, content=token.meta[SOURCE])
            elif token.type == "footnote_reference":
                token = Token("text", "", 0, content=token.content)
            shown.append(token)
        return super().renderInlineAsText(shown, options, env)

    def task_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a checkbox, and the opening tag of the label that names it."""
        checked = ' checked=""' if tokens[idx].meta[CHECKED] else ""
        return _counted(f"<label><input{_CHECKBOX}{checked}> ", env)

    def footnote_reference(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return the number of a footnote, as a link to it."""
        number, count = (tokens[idx].meta[key] for key in (NUMBER, COUNT))
        html = (
            f'<sup><a href="#fn-{number}" id="{_reference_id(number, count)}" '
            f'role="doc-noteref">{number}</a></sup>'
        )
        return _counted(html, env, LINK_OVERHEAD)

    def footnote_back(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a link back to what refers to a footnote."""
        number, count = (tokens[idx].meta[key] for key in (NUMBER, COUNT))
        # U+FE0E keeps the arrow from becoming an emoji.
        name = "\u21a9\ufe0e" if count == 1 else f"\u21a9\ufe0e<sup>{count}</sup>"
        html = (
            f' <a href="#{_reference_id(number, count)}" role="doc-backlink">{name}</a>'
        )
        return _counted(html, env, LINK_OVERHEAD)

    def formula(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a formula in a line; its source as code if it can't be shown as one."""
        token = tokens[idx]
        env[BUDGET].check_time(now=True)
        try:
            html = mathml(token.content, display=token.markup in DISPLAYED)
        except NotMathML:
            html = f"<code>{escaped(token.meta[SOURCE])}</code>"
        else:
            if token.markup in DISPLAYED:
                html = f'<span class="formula">{html}</span>'
        return _counted(html, env)

    def formula_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a formula that is a block; its source as a block of code if it can't be shown."""
        token = tokens[idx]
        env[BUDGET].check_time(now=True)
        attributes = self.renderAttrs(token)
        try:
            html = mathml(token.content, display=True)
        except NotMathML:
            code = coloured(token.meta[SOURCE], "tex", env[BUDGET])
            html = f'<pre{attributes}><code class="language-tex">{code}</code></pre>\n'
        else:
            html = f'<div class="formula"{attributes}>{html}</div>\n'
        return _counted(html, env)


def _reference_id(number: int, count: int) -> str:
    return f"fnref-{number}" if count == 1 else f"fnref-{number}-{count}"


def _counted(html: str, env: Env, more: int = 0) -> str:
    """Return HTML that is written, and `more` characters that cleaning adds."""
    budget: Budget = env[BUDGET]
    budget.check_time()
    budget.write(len(html) + more)
    return html
