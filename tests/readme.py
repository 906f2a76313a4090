"""The README's examples, to be run."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
_BLOCKS = re.findall(
    r"^ *```(\w+)\n(.*?)^ *```", README.read_text(), re.MULTILINE | re.DOTALL
)


def blocks(language: str, holding: str) -> list[str]:
    """The README's examples in a language that hold a word."""
    found = [text for kind, text in _BLOCKS if kind == language and holding in text]
    assert found, f"the README has no {language} example with {holding}"
    return found
