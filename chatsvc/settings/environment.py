"""The reading of settings from flags and from the environment.

Invariants:

- This is the only module that reads the variables of settings.
- A flag wins over a variable, a variable over the default.
- A value that is refused raises `BadSetting`, which names the flag or the variable that the value
  came from and says what that takes, in one line.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
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


_KUBERNETES_NAME = re.compile(
    "CHATSVC(_[A-Z0-9_]+)?_"
    "(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT = re.compile(r"(?:tcp|udp|sctp)://(?:\[(.+)\]|([^\[\]:]+)):[0-9]{1,5}")


def is_of_kubernetes(name: str, text: str) -> bool:
    """Return whether a variable is one that Kubernetes makes, and no setting.

    It makes some for every Service, and names them after it: for one named `chatsvc` or
    `chatsvc-redis`, `CHATSVC_SERVICE_HOST`, `CHATSVC_PORT_8000_TCP_ADDR` and others. One of them has
    the name of a setting, and a value that the setting never takes:
    `CHATSVC_PORT=tcp://10.0.0.1:8000`, the address of the Service.
    """
    if _KUBERNETES_NAME.fullmatch(name):
        return True
    found = _KUBERNETES_PORT.fullmatch(text)
    if found is None or not (name.startswith("CHATSVC_") and name.endswith("_PORT")):
        return False
    try:
        address = ipaddress.ip_address(found[1] or found[2])
    except ValueError:
        return False
    # No Service has an address of these: somebody has written them, by mistake.
    return not (address.is_unspecified or address.is_loopback)


def set_text(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the text of the variable of the setting `name`, or None if it is not set.

    `environment` is the process's own by default. What Kubernetes has made is not set.
    """
    environment = os.environ if environment is None else environment
    text = environment.get(variable(name))
    if text is None or is_of_kubernetes(variable(name), text):
        return None
    return text


def unknown_variables(
    kinds: Iterable[type[DataclassInstance]],
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Return a line about each variable that looks like one of a setting, and is none.

    `kinds` are the classes of the settings of all commands: a variable of another command is known.
    A line names the setting that may be meant, and never shows a value. `environment` is the
    process's own by default.
    """
    environment = os.environ if environment is None else environment
    known = {variable(each.name) for kind in kinds for each in fields(kind)}
    # What all of them begin with would make any two look alike.
    short = {each.removeprefix("CHATSVC_"): each for each in known}
    lines = []
    for name in sorted(environment):
        if not name.startswith("CHATSVC_") or name in known:
            continue
        if is_of_kubernetes(name, environment[name]):
            continue
        line = f"{name} is no variable of chatsvc"
        near = get_close_matches(
            name.removeprefix("CHATSVC_").upper(), short, n=1, cutoff=0.75
        )
        lines.append(f"{line}: did you mean {short[near[0]]}?" if near else line)
    return lines


def wants_traces(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether OpenTelemetry's standard variables name a collector for traces.

    Its SDK reads them, and all else that they say.
    """
    environment = os.environ if environment is None else environment
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return (
        any(environment.get(name, "").strip() for name in names)
        and environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none"
    )


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
    sequence of texts for one that may be given several times; None and an empty sequence stand for
    a flag that is not given. Such a setting's variable holds its texts separated by commas or white
    space. `environment` is the process's own by default.

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
            given = set_text(each.name, environment)
            if given is None:
                continue
            if repeatable:
                empty = [""] if each.metadata["takes_empty"] else []
                given = given.replace(",", " ").split() or empty
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
