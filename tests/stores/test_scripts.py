"""The Lua scripts: each file is loaded, and says at its head what it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatsvc.stores.redis.scripts import ALL, FOLDER

FILES = sorted(path for path in FOLDER.glob("*.lua") if path.stem != "lib")


def test_each_file_is_loaded_once() -> None:
    bodies = [path.read_text("utf-8") for path in FILES]
    assert len(ALL) == len(FILES)
    for body in bodies:
        assert sum(script.source.endswith(body) for script in ALL) == 1
    assert len({script.sha1 for script in ALL}) == len(ALL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_head_documents_what_is_named(path: Path) -> None:
    """KEYS and ARGV are taken apart once, at the top, under the names that the head documents."""
    source = path.read_text("utf-8")
    head = source[: source.index("\nlocal" if "\nlocal" in source else "\nreturn")]
    assert all(line.startswith("--") for line in head.splitlines())
    taken = re.findall(
        r"^local (.*) = unpack\((?:KEYS|ARGV)(?:, 1, \d+)?\)$", source, re.MULTILINE
    )
    for name in ", ".join(taken).split(", ") if taken else ():
        documented = rf"^-- (?:KEYS|ARGV|    ) +{name}\b"
        assert re.search(documented, head, re.MULTILINE), name
    assert not re.search(r"\b(KEYS|ARGV)\[\d+\]", source)
