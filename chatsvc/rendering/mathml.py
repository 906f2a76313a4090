r"""TeX as MathML that does no harm, whatever the formula says.

math-core makes the MathML. Of what it writes, only the elements and attributes of `ELEMENTS` are
written anew here, with values that match; styles become attributes where there are some for them.

Invariants:
- There is no address, no style and no id in it, and no text that is not escaped.
- Whatever math-core does not know, or is over a limit, raises `NotMathML`, and no other exception.
- A formula defines no commands: those that stand for many others would go past all limits.
- The TeX is in it, as an `annotation`, for whoever copies the formula.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

from math_core import LatexToMathML

from chatsvc.rendering.limits import MAX_FORMULA, MAX_FORMULA_NESTING, MAX_MATHML

_LENGTH = r"-?(?:\d(?:\.\d{1,8})?(?:em|ex|rem)|\d{1,2}(?:\.\d{1,8})?(?:px|pt)|0)"
"""A length below ten em: what is moved further would stand upon the text around it."""

_TRUTH = r"true|false"

_STYLED = {"displaystyle": _TRUTH, "scriptlevel": r"[+-]?[0-3]"}

_LINES = r"line-(?:top|right|bottom|left)"

ELEMENTS: dict[str, dict[str, str]] = {
    "math": {"display": "block"},
    "semantics": {},
    "annotation": {"encoding": "application/x-tex"},
    "menclose": {"notation": r"[a-z]{1,30}(?: [a-z]{1,30}){0,5}"},
    "mfrac": {"linethickness": _LENGTH, **_STYLED},
    "mi": {"mathvariant": "normal"},
    "mmultiscripts": {},
    "mn": {},
    "mo": {
        "form": "prefix|infix|postfix",
        **dict.fromkeys(("lspace", "rspace", "minsize", "maxsize"), _LENGTH),
        **dict.fromkeys(("stretchy", "symmetric", "movablelimits"), _TRUTH),
        **dict.fromkeys(("fence", "separator", "largeop"), _TRUTH),
    },
    "mover": {"accent": _TRUTH},
    "mpadded": dict.fromkeys(
        ("width", "height", "depth", "lspace", "voffset"), _LENGTH
    ),
    "mphantom": {},
    "mprescripts": {},
    "mroot": {},
    "mrow": {"mathcolor": "#[0-9A-Fa-f]{6}", **_STYLED},
    "mspace": dict.fromkeys(("width", "height", "depth"), _LENGTH),
    "msqrt": {},
    "mstyle": _STYLED,
    "msub": {},
    "msubsup": {},
    "msup": {},
    "mtable": {"class": rf"{_LINES}(?: {_LINES}){{0,3}}", **_STYLED},
    "mtd": {"columnalign": "left|right", "class": rf"{_LINES}(?: {_LINES}){{0,3}}"},
    "mtext": {"mathvariant": "bold|italic|bold-italic|monospace"},
    "mtr": {},
    "munder": {"accentunder": _TRUTH},
    "munderover": {"accent": _TRUTH, "accentunder": _TRUTH},
}
"""The elements that MathML may have, with their attributes and a regular expression for the values."""

_WITH_TEXT = {"mi", "mn", "mo", "mtext"}

_FONTS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "code": "monospace",
    "span": "",
    "u": "",
    "s": "",
}
"""The elements of HTML that math-core writes within `mtext`, and the font that stands for each."""

_COMMANDS = {
    "hbox": r"\text{#1}",
    "mbox": r"\text{#1}",
    "mathnormal": "{#1}",
    "pmb": r"\boldsymbol{#1}",
    "smash": "{#1}",
    "substack": r"\begin{matrix}#1\end{matrix}",
}
"""Commands that math-core does not know, by what stands for each."""

_ENVIRONMENTS = {"split": "aligned", "smallmatrix": "matrix"}
"""Environments that math-core does not know, by what stands for each."""

_converter = LatexToMathML(
    macros=_COMMANDS, fancy_error=False, allow_unreliable_rendering=True
)

_definition = re.compile(
    r"\\(?:def|newcommand|renewcommand|providecommand)(?![A-Za-z])"
)
_label = re.compile(r"\\label\s*\{[^{}]*\}")
_environment = re.compile(rf"\\(begin|end)\s*\{{({'|'.join(_ENVIRONMENTS)})\}}")
_tag = re.compile(r"\\tag(?![A-Za-z])")
_numbered = re.compile(r"\\begin\s*\{(?:equation|align|gather|multline)\*?\}")


class NotMathML(Exception):
    """Raised when a formula can't be shown as MathML."""


def mathml(tex: str, *, display: bool) -> str:
    """Return a formula as a `math` element. `display` is whether it stands by itself.

    Raises `NotMathML` when it is over a limit, or not TeX that math-core knows.
    """
    if (
        len(tex) > MAX_FORMULA
        or _definition.search(tex)
        or _depth(tex) > MAX_FORMULA_NESTING
    ):
        raise NotMathML
    try:
        converted = _converter.convert_with_local_state(
            _known(tex, display), displaystyle=display
        )
    except BaseException as error:
        # A bug in math-core comes as a PanicException, which is no Exception.
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise NotMathML from error
    if len(converted) > MAX_MATHML:
        raise NotMathML
    body = _Cleaner()
    body.feed(converted)
    body.close()
    displayed = ' display="block"' if display else ""
    return (
        f"<math{displayed}><semantics>{body.html()}"
        f'<annotation encoding="application/x-tex">{escape(tex, quote=False)}</annotation>'
        "</semantics></math>"
    )


def _known(tex: str, display: bool) -> str:
    """Return a formula with what math-core knows in place of what it does not."""
    tex = _environment.sub(
        lambda match: rf"\{match[1]}{{{_ENVIRONMENTS[match[2]]}}}", tex
    )
    tex = _label.sub("", tex)
    if display and _tag.search(tex) and not _numbered.search(tex):
        tex = rf"\begin{{equation}}{tex}\end{{equation}}"
    return tex


def _depth(tex: str) -> int:
    """Return how deep braces stand within braces: math-core has no limit but that of its stack."""
    depth = deepest = 0
    for character in tex:
        if character == "{":
            depth += 1
            deepest = max(deepest, depth)
        elif character == "}":
            depth -= 1
    return deepest


class _Cleaner(HTMLParser):
    """Reads what math-core wrote, and writes what is allowed of it.

    Raises `NotMathML` for elements that are not allowed, and for text where there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._out: list[str] = []
        self._open: list[str] = []
        self._texts: list[tuple[str, str]] = []  # of an `mtext`, each with its font
        self._fonts: list[str] = []
        self._count = 0  # of the elements right within `math`

    def html(self) -> str:
        """Return the content of the `math` element as one element."""
        if self._open:
            raise NotMathML
        content = "".join(self._out)
        return content if self._count == 1 else f"<mrow>{content}</mrow>"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._open[-1:] == ["mtext"]:
            if tag not in _FONTS:
                raise NotMathML
            self._fonts.append(tag)
            return
        if tag not in ELEMENTS or (tag == "math") != (not self._open):
            raise NotMathML
        if len(self._open) == 1:
            self._count += 1
        self._open.append(tag)
        if len(self._open) > MAX_FORMULA_NESTING:
            raise NotMathML
        if tag not in ("math", "mtext"):
            values = {name: value or "" for name, value in attrs}
            self._out.append(f"<{tag}{_attributes(tag, values)}>")

    def handle_endtag(self, tag: str) -> None:
        if self._fonts and tag == self._fonts[-1]:
            self._fonts.pop()
            return
        if not self._open or self._fonts or tag != self._open.pop():
            raise NotMathML
        if tag == "mtext":
            self._write_texts()
        elif tag != "math":
            self._out.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        element = self._open[-1] if self._open else ""
        if element == "mtext":
            fonts = {_FONTS[font] for font in self._fonts}
            self._texts.append(("-".join(sorted(fonts - {""})), data))
        elif element in _WITH_TEXT:
            self._out.append(escape(data, quote=False))
        elif data.strip():
            raise NotMathML

    def handle_comment(self, data: str) -> None:
        raise NotMathML

    def _write_texts(self) -> None:
        """Write an `mtext`, or one for each font."""
        texts, self._texts = self._texts or [("", "")], []
        written = [
            f"<mtext{_attributes('mtext', {'mathvariant': font})}>{escape(text, quote=False)}</mtext>"
            for font, text in texts
        ]
        self._out.append(
            written[0] if len(written) == 1 else f"<mrow>{''.join(written)}</mrow>"
        )


def _attributes(tag: str, values: dict[str, str]) -> str:
    """Return those attributes that an element may have, as HTML."""
    allowed = ELEMENTS[tag]
    values = {**values, **_from_style(tag, values.get("style", ""))}
    return "".join(
        f' {name}="{value}"'
        for name, value in values.items()
        if name in allowed and re.fullmatch(allowed[name], value)
    )


def _from_style(tag: str, style: str) -> dict[str, str]:
    """Return the attributes that stand for the declarations of a style."""
    found: dict[str, str] = {}
    lines = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "text-align":
            found["columnalign"] = value
        elif name == "color":
            found["mathcolor"] = value
        elif name.startswith("border-"):
            lines.append(name.replace("border-", "line-"))
        elif name == "margin-left" and tag == "mspace":
            found["width"] = value
    if lines:
        found["class"] = " ".join(lines)
    return found
