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
    secret: bool = False,
    flagless: bool = False,
) -> Any:
    """Return a dataclass field that is a setting.

    `default` is a value, not a text; a tuple makes a setting that may be given several times, each
    in `value_format`, and False one whose flag takes no value and stands for "yes". `help` is a
    phrase for `--help`. A `secret` value is not in the `repr` of the settings. A `flagless` setting
    has a variable alone: every user of a machine can see the flags of its processes.
    """
    metadata = {"format": value_format, "help": help, "flagless": flagless}
    return field(default=default, metadata=metadata, repr=not secret)


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
