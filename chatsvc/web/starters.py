"""The questions that the chat page offers while its conversation is empty.

An operator's file has one a line, in UTF-8. A line `[zh]` begins those for readers of that
language; those before the first such line are for readers of every other one:

    What can you do?
    Explain this error to me.
    [zh]
    你能做什么？
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from chatsvc.settings.files import read_setting_file

SHOWN = 3
"""How many questions the page offers at once."""

MOST_CHARACTERS = 200
"""The most characters of a question: more is no button that can be read at a glance."""

MOST_FILE_BYTES = 64 * 1024
"""The most bytes of a file of questions."""

Starters = dict[str, list[str]]
"""Questions by the BCP 47 code of their language; those of every other language by ""."""


def read_starters(path: str, languages: Iterable[str]) -> Starters:
    """Return the questions of a file, none for the path "". `languages` are those of the page.

    Raises `BadSetting` for a file that can't be read, that is too large, or that `parse_starters`
    refuses.
    """
    if not path:
        return {}
    return read_setting_file(
        "starters",
        path,
        MOST_FILE_BYTES,
        lambda content: parse_starters(content.decode("utf-8-sig"), languages),
    )


def parse_starters(text: str, languages: Iterable[str]) -> Starters:
    """Return the questions of a file's text, without those that stand there twice.

    Raises `ValueError`, whose message names the line, for a question that is too long or has
    characters that can't be seen, and for a language that the page doesn't have.
    """
    known = sorted(languages)
    language = ""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        question = line.strip()
        if heading := re.fullmatch(r"\[([A-Za-z-]+)\]", question):
            language = heading[1]
            if language not in known:
                raise ValueError(
                    f"line {number}: the page has no language {language}, but {', '.join(known)}"
                )
        elif len(question) > MOST_CHARACTERS:
            raise ValueError(
                f"line {number} has more than {MOST_CHARACTERS} characters"
            )
        elif not question.isprintable():
            raise ValueError(f"line {number} has characters that can't be seen")
        elif question and question not in found.setdefault(language, []):
            found[language].append(question)
    return found


def offered(starters: Starters, language: str) -> list[str]:
    """Return at most `SHOWN` questions for a reader of a language, in the file's order.

    If there are more, they are chosen by chance, each time anew.
    """
    questions = starters.get(language) or starters.get("", [])
    places = sorted(random.sample(range(len(questions)), min(SHOWN, len(questions))))
    return [questions[place] for place in places]
