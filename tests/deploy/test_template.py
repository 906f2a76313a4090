"""Words are what they were when a unit, YAML or compose has been read."""

from __future__ import annotations

import importlib
import re
import shlex

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.deploy.template import (
    compose_string,
    systemd_item,
    systemd_line,
    systemd_word,
    yaml_string,
)
from tests.conftest import require_module

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def by_systemd(written: str, doubled: str = "%$") -> str:
    """The word that systemd reads: its quotes and escapes, then its specifiers and variables.

    `doubled` are the characters that begin these.
    """
    if written.startswith('"'):
        assert written.endswith('"')
        written = re.sub(
            r"\\(x..|.)",
            lambda found: chr(int(found[1][1:], 16)) if found[1][1:] else found[1],
            written[1:-1],
            flags=re.DOTALL,
        )
    else:
        assert shlex.split(written) == [written.replace("\\\\", "\\")]
    for character in doubled:
        assert written.replace(character * 2, "").count(character) == 0
        written = written.replace(character * 2, character)
    return written


@given(TEXTS)
def test_a_word_of_systemd(text: str) -> None:
    written = systemd_word(text)
    assert by_systemd(written) == text
    # A unit has lines.
    assert len(re.split("[\n\r]", written)) == 1


@given(TEXTS)
def test_what_has_no_variables_in_systemd(text: str) -> None:
    assert by_systemd(systemd_item(text), doubled="%") == text
    line = systemd_line(text)
    assert line.replace("%%", "").count("%") == 0
    assert line.replace("%%", "%") == text


@given(TEXTS)
def test_a_string_of_yaml(text: str) -> None:
    require_module("yaml")
    load = importlib.import_module("yaml").safe_load
    assert load(f"- {yaml_string(text)}") == [text]
    assert load(f"{{a: {yaml_string(text)}}}") == {"a": text}


@given(TEXTS)
def test_a_string_of_compose(text: str) -> None:
    require_module("yaml")
    written = importlib.import_module("yaml").safe_load(compose_string(text))
    assert re.sub(r"\$\$", "", written).count("$") == 0
    assert written.replace("$$", "$") == text
