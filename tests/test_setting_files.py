"""Files that settings name: what can't be read or used is said with the setting and the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.settings import BadSetting
from chatsvc.settings.files import read_setting_file


def refuse(content: bytes) -> str:
    raise ValueError("line 3 is empty")


def test_it_is_parsed_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_setting_file("starters", str(path), 5, bytes.decode) == "12345"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"123456", "it has more than 5 bytes"),
        (b"\xff", "it is not UTF-8"),
        (None, "can't read it: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said(
    content: bytes | None, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSetting) as error:
        read_setting_file("starters", str(path), 5, bytes.decode)
    assert str(error.value) == f"--starters {path}: {says}"


def test_the_words_of_who_parses_it_are_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(BadSetting, match="line 3 is empty"):
        read_setting_file("starters", str(path), 5, refuse)


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(BadSetting, match="it is no path"):
        read_setting_file("starters", "a\0", 5, bytes.decode)
