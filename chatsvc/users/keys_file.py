"""The file of API keys that `--api-keys-file` names (PROTOCOL.md section 9).

It is TOML. Each key is a table `[[key]]` with `name`, `sha256`, and perhaps `scopes` and limits of
its own. What is wrong with a file is said in one line, which names the file, the key by its number
and its name, and what would be right. No message shows another value than a name, for a plain key
may stand in the place of its hash.
"""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from chatsvc.client_limits import ClientLimits
from chatsvc.setting_formats import LIMIT
from chatsvc.settings.files import bad_file, read_setting_file
from chatsvc.users.identity import ADMIN, CHAT
from chatsvc.users.keys import LEAST_KEY_CHARACTERS, ApiKey, digest_of

LIMIT_MEMBERS = {
    "max_per_client": "running",
    "max_starts": "starts",
    "max_readers": "readers",
    "max_connections": "connections",
}
"""The fields of `ClientLimits` by the members of a key, which are named as the flags are."""

MOST_NAME_CHARACTERS = 64
"""The most characters of a user's name."""

MOST_FILE_BYTES = 16 * 1024 * 1024
"""The most bytes of a file of keys: enough for 100,000 of them."""

_MEMBERS = ("name", "sha256", "scopes", *LIMIT_MEMBERS)
_SCOPES = (CHAT, ADMIN)
_TWO_BRACKETS = "each key is a table [[key]], with two brackets"


def read_keys_file(path: str, *, again: bool = False) -> list[ApiKey]:
    """Return the keys of a file. `again` is whether the file has been read before.

    Raises `BadSetting` for a file that can't be read, that is too large, or that `parse_keys`
    refuses; and `again` for one that is no regular file: a pipe has been read to its end, which
    would withdraw all keys.
    """
    # Before it is opened: to open a named pipe waits for somebody who writes into it.
    if again and not _is_regular(path):
        reason = "it is no regular file, and can't be read again"
        raise bad_file("api_keys_file", path, reason)
    return read_setting_file(
        "api_keys_file",
        path,
        MOST_FILE_BYTES,
        lambda content: parse_keys(content.decode()),
    )


def _is_regular(path: str) -> bool:
    """Return whether a path is that of a regular file, or of none: to read that says what is wrong."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return True


def parse_keys(text: str) -> list[ApiKey]:
    """Return the keys of a file's text.

    Raises `ValueError`, whose message is one line without a key or a hash, for a text that is not
    TOML, has other members than there are, or one of another form, and for a key that is there
    twice.
    """
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        place = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        where = "" if place is None else f" at {place[1]}"
        raise ValueError(f"it is not TOML{where}") from None
    for name in found:
        if name != "key":
            raise ValueError(f"it takes tables [[key]] alone, not {_shown(name)}")
    tables = found.get("key", [])
    if not isinstance(tables, list):
        raise ValueError(_TWO_BRACKETS)  # noqa: TRY004  (the text is what is wrong)
    numbers: dict[str, int] = {}
    keys = []
    for number, table in enumerate(tables, 1):
        key = _parse_key(number, table)
        if key.digest in numbers:
            raise ValueError(
                f"key {number} ({key.name}) has the sha256 of key {numbers[key.digest]}: "
                "each key is there once"
            )
        numbers[key.digest] = number
        keys.append(key)
    return keys


def _parse_key(number: int, table: Any) -> ApiKey:
    if not isinstance(table, dict):
        raise ValueError(_TWO_BRACKETS)  # noqa: TRY004
    name = table.get("name")
    if not isinstance(name, str) or not _is_name(name):
        raise ValueError(
            f"key {number}: name takes 1 to {MOST_NAME_CHARACTERS} printable characters in "
            "quotes, without a space at its beginning or end"
        )
    entry = f"key {number} ({name})"
    for member in table:
        if member not in _MEMBERS:
            raise ValueError(
                f"{entry} takes {', '.join(_MEMBERS)}, not {_shown(member)}"
            )
    digest = table.get("sha256")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise ValueError(
            f"{entry}: sha256 takes the 64 hexadecimal digits that `printf %s KEY | sha256sum` "
            "prints, in quotes"
        )
    digest = digest.lower()
    if digest == digest_of(""):
        raise ValueError(f"{entry}: sha256 is that of an empty key")
    scopes = table.get("scopes", [CHAT])
    # A list in a list can't be looked up in a set.
    if (
        not isinstance(scopes, list)
        or not scopes
        or any(scope not in _SCOPES for scope in scopes)
    ):
        raise ValueError(f'{entry}: scopes takes a list of "{CHAT}", "{ADMIN}" or both')
    return ApiKey(name, digest, frozenset(scopes), _parse_limits(entry, table))


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= MOST_NAME_CHARACTERS
        and name.isprintable()
        and name == name.strip()
    )


def _parse_limits(entry: str, table: dict[str, Any]) -> ClientLimits:
    limits: dict[str, int] = {}
    for member, field in LIMIT_MEMBERS.items():
        if member not in table:
            continue
        value = table[member]
        try:
            # True is an int, too.
            if type(value) is not int:
                raise ValueError
            limits[field] = LIMIT.parse(str(value))
        except ValueError:
            raise ValueError(f"{entry}: {member} takes {LIMIT.takes}") from None
    return ClientLimits(**limits)


def _shown(member: str) -> str:
    """Return the name of a member for a message, unless it is so long that it may be a key."""
    short = len(member) < LEAST_KEY_CHARACTERS
    return repr(member) if short and member.isprintable() else "other ones"
