"""The settings of the chat page's look.

It holds the group "Chat page".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import COLOUR, PATH, TITLE
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class LookSettings:
    """What the chat page is called, and what it offers to begin with."""

    group: ClassVar[str] = "Chat page"

    title: str = setting("chatsvc", TITLE, "the name of the chat page")
    accent: str = setting(
        "", COLOUR, "the colour of its buttons and links, as #2a6a5d", shown="green"
    )
    starters: str = setting(
        "", PATH, "a file of questions, one a line, of which it offers three"
    )
