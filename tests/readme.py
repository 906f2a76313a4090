"""The examples of the README, for tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
_BLOCKS = re.findall(
    r"^ *```(\w+)\n(.*?)^ *```", README.read_text(), re.MULTILINE | re.DOTALL
)


def blocks(language: str, holding: str) -> list[str]:
    """Return the README's examples in `language` that contain `holding`; there must be one."""
    found = [text for kind, text in _BLOCKS if kind == language and holding in text]
    assert found, f"the README has no {language} example with {holding}"
    return found
