"""The reading of settings from flags and from the environment.

Invariants:

- This is the only module that reads the variables of settings.
- A flag wins over a variable, a variable over the default.
- A value that is refused raises `BadSetting`, which names the flag or the variable that the value
  came from and says what that takes, in one line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from chatsvc.settings.definition import BadSetting, CommandSettings, flag, variable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def openai_api_key(environment: Mapping[str, str] | None = None) -> str:
    """Return the key for the server of the backend `openai`; "" when there is none.

    It is read from the variable `OPENAI_API_KEY` and has no flag: every user of a machine can see
    the flags of its processes.
    """
    environment = os.environ if environment is None else environment
    return environment.get("OPENAI_API_KEY", "").strip()


def forget_secrets(kind: type[DataclassInstance]) -> None:
    """Remove the variables of settings without a flag: programs that are started don't get them."""
    for each in fields(kind):
        if each.metadata["flagless"]:
            os.environ.pop(variable(each.name), None)


def read_settings(
    kind: type[CommandSettings],
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    checks: Mapping[str, Callable[[str], Any]] | None = None,
) -> CommandSettings:
    """Return the settings of class `kind`: from flags, else from variables, else the defaults.

    `flags` has the text of each flag by its setting's name ("yes" for a flag that takes none), a
    sequence of texts for one that may be given several times; None and an empty sequence stand for a flag that is not given. Such a
    setting's variable holds its texts separated by commas or white space. `environment` is the
    process's own by default.

    `checks` are functions that know more of a setting than its format says, by its name: each is
    called with the text and raises `ValueError` with a message as `ValueFormat.parse` does.

    Raises `BadSetting` when a text is refused.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for each in fields(kind):
        repeatable = isinstance(each.default, tuple)
        source = flag(each.name)
        given: Any = flags.get(each.name)
        if given is None or given == ():
            source = variable(each.name)
            if source not in environment:
                continue
            given = environment[source]
            if repeatable:
                given = given.replace(",", " ").split()
        try:
            if not repeatable and checks is not None and each.name in checks:
                checks[each.name](given)
            parse = each.metadata["format"].parse
            values[each.name] = (
                tuple(parse(text) for text in given) if repeatable else parse(given)
            )
        except ValueError as error:
            raise BadSetting(f"{source} {error}") from None
    return kind(**values)
