"""The reading of files that settings name: of bounded size, and with errors that name the setting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chatsvc.settings.definition import BadSetting, flag

T = TypeVar("T")


def read_setting_file(
    name: str, path: str, most_bytes: int, parse: Callable[[bytes], T]
) -> T:
    """Return what `parse` makes of the bytes of a file that the setting `name` names.

    Raises `BadSetting` for a file that can't be read, that has more than `most_bytes`, or for which
    `parse` raises `ValueError`, whose message says what is wrong with it.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise bad_file(name, path, f"can't read it: {reason}") from None
    if len(content) > most_bytes:
        raise bad_file(name, path, f"it has more than {most_bytes} bytes")
    try:
        return parse(content)
    except UnicodeDecodeError:
        raise bad_file(name, path, "it is not UTF-8") from None
    except ValueError as error:
        raise bad_file(name, path, str(error)) from None


def bad_file(name: str, path: str, reason: str) -> BadSetting:
    """Return the error of a file that the setting `name` names."""
    return BadSetting(f"{flag(name)} {path}: {reason}")
