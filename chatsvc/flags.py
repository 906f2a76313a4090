"""The flags of the commands, and what `--help` says of them.

A flag is made of the setting that it gives the text of. In `--help` each is one line of its group:
the flag and the kind of its value, what it is for, and its default. Where an environment variable
is set, the line says so, for then the default does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any

import click

from chatsvc.setting_formats import without_password
from chatsvc.settings import (
    default_text,
    flag,
    set_text,
    setting_groups,
    variable,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HELP_FLAGS = ("-h", "--help")
"""The flags that print help."""

WIDTH = 100
"""The columns that help takes at most; a narrower terminal breaks its lines."""

_SHOWN_CHARACTERS = 60  # of a variable's value


class SettingOption(click.Option):
    """The flag of one setting; its value stays text.

    `setting` is a field that `chatsvc.settings.setting` has made.
    """

    def __init__(self, setting: Field[Any]) -> None:
        value_format, default = setting.metadata["format"], setting.default
        self.takes: str = "nothing" if default is False else value_format.takes
        """What the flag takes, in words."""
        # A switch takes nothing, and gives the text that its variable would have.
        switch: dict[str, Any] = {}
        if default is False:
            switch = {"is_flag": True, "flag_value": "yes"}
        super().__init__(
            [flag(setting.name)],
            multiple=isinstance(default, tuple),
            metavar=value_format.metavar,
            help=setting.metadata["help"],
            callback=_refuse_flag_as_value,
            **switch,
        )


def _refuse_flag_as_value(
    context: click.Context, option: click.Parameter, value: Any
) -> Any:
    """Return `value`. Raises `BadOptionUsage` when it is itself a flag of the same command.

    click takes the word behind a flag for its value, whatever it is: without this check, the
    message for `--host --port 80` would be about 80, and not about `--host`.
    """
    flags = {name for each in context.command.params for name in each.opts}
    if not flags.isdisjoint(value if isinstance(value, tuple) else (value,)):
        raise click.BadOptionUsage(option.opts[0], "no value", context)
    return value


def options(kind: type[DataclassInstance]) -> list[click.Parameter]:
    """Return the flags of a command whose settings are of class `kind`."""
    return [
        SettingOption(setting)
        for setting in fields(kind)
        if not setting.metadata["flagless"]
    ]


def variables_text(kind: type[DataclassInstance]) -> str:
    """Return what `--help` says of the environment variables of a command's flags."""
    every = [each for each in fields(kind) if not each.metadata["flagless"]]
    name = next((each.name for each in every if "_" in each.name), every[0].name)
    text = f"Each flag has an environment variable: that of {flag(name)} is {variable(name)}."
    if any(each.default is False for each in every):
        text += " For a flag without a value it is yes or no."
    if any(isinstance(each.default, tuple) for each in every):
        text += " For a repeatable one it holds values separated by commas."
    return f"{text} A flag wins over its variable."


def write_flags(
    formatter: click.HelpFormatter,
    kind: type[DataclassInstance],
    others: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Write the flags of a command whose settings are of class `kind`, by their groups.

    `others` are more flags and what they do. `environment` is the process's own by default.
    """
    environment = os.environ if environment is None else environment
    groups = [
        (group.title, [_row(each, environment) for each in group.settings])
        for group in setting_groups(kind)
    ]
    groups.append(("Help", list(others.items())))
    width = max(len(words) for _, rows in groups for words, _ in rows)
    for title, rows in groups:
        with formatter.section(title):
            formatter.write_dl([(words.ljust(width), help) for words, help in rows])


def _row(setting: Field[Any], environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the two columns of a setting: its flag, and what is said of it."""
    name, metadata = setting.name, setting.metadata
    words = flag(name)
    if metadata["flagless"]:
        words = variable(name)
    elif setting.default is not False:
        words += f" {metadata['format'].metavar}"
    notes = []
    if default := default_text(setting):
        notes.append(f"default {default}")
    text = set_text(name, environment)
    if text is not None:
        shown = "is set"
        if not metadata["secret"]:
            shown = f"is {without_password(text)[:_SHOWN_CHARACTERS]!r}"
        notes.append(f"{variable(name)} {shown}")
    help = metadata["help"]
    return words, f"{help} ({'; '.join(notes)})" if notes else help
