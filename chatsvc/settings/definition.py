"""The definition of a setting: its flag, its environment variable, its default, format and help.

A command's settings are a frozen dataclass whose fields are made by `setting`: the field
`max_reply` is the flag `--max-reply` and the variable `CHATSVC_MAX_REPLY` (PROTOCOL.md section 8).
The class variable `group` is the heading of its fields in `--help`. A command with several groups
inherits from a class for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from chatsvc.setting_formats import ValueFormat

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CommandSettings = TypeVar("CommandSettings", bound="DataclassInstance")
"""A frozen dataclass whose fields are made by `setting`."""


class BadSetting(ValueError):
    """The error of a setting's value: the message names its source and what that takes."""


def setting(
    default: Any,
    value_format: ValueFormat,
    help: str,
    *,
    shown: str = "",
    secret: bool = False,
    flagless: bool = False,
    takes_empty: bool = False,
) -> Any:
    """Return a dataclass field that is a setting.

    `default` is a value, not a text; a tuple makes a setting that may be given several times, each
    in `value_format`, and False one whose flag takes no value and stands for "yes". `help` is a
    phrase for `--help`, and `shown` the default in words, where the value doesn't say it. A
    `secret` value is in neither the `repr` of the settings nor in `--help`. A `flagless` setting
    has a variable alone: every user of a machine can see the flags of its processes. `takes_empty`
    is whether an empty variable is one empty text for a setting that may be given several times;
    otherwise it is none.
    """
    metadata = {
        "format": value_format,
        "help": help,
        "shown": shown,
        "secret": secret,
        "flagless": flagless,
        "takes_empty": takes_empty,
    }
    return field(default=default, metadata=metadata, repr=not secret)


def default_text(each: Field[Any]) -> str:
    """Return the default of a setting as `--help` shows it; "" where it has none."""
    shown: str = each.metadata["shown"]
    if not shown and each.default not in (None, (), "", False):
        shown = each.metadata["format"].show(each.default)
    return shown


class SettingGroup(NamedTuple):
    """Settings that stand together in `--help`."""

    title: str
    """The heading: "Limits"."""
    settings: tuple[Field[Any], ...]
    """The fields that `setting` has made, in their order in the class."""


def setting_groups(kind: type[DataclassInstance]) -> Iterator[SettingGroup]:
    """Yield the groups of a command's settings, in the order of its base classes."""
    own = {each.name: each for each in fields(kind)}
    for part in kind.__mro__:
        if "group" in vars(part):
            names = [name for name in part.__annotations__ if name in own]
            yield SettingGroup(vars(part)["group"], tuple(own[name] for name in names))


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`: `CHATSVC_MAX_REPLY`."""
    return f"CHATSVC_{name.upper()}"


def flag(name: str) -> str:
    """Return the flag of the setting `name`: `--max-reply`."""
    return f"--{name.replace('_', '-')}"
