"""The settings of the commands: flag, environment variable, default and format of each.

A command's settings are a frozen dataclass whose fields are made by `setting`: the field
`max_reply` is the flag `--max-reply` and the variable `CHATSVC_MAX_REPLY` (PROTOCOL.md section 8).
`Settings` are those of `chatsvc serve`; `chatsvc.client` has those of `ask` and `doctor`.

Invariants:

- This is the only module that reads the environment.
- A flag wins over a variable, a variable over the default.
- A value that is refused raises `BadSetting`, which names the flag or the variable that the value
  came from and says what that takes, in one line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CommandSettings = TypeVar("CommandSettings", bound="DataclassInstance")
"""A frozen dataclass whose fields are made by `setting`."""


class BadSetting(ValueError):
    """The error of a setting's value: the message names its source and what that takes."""


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """The format of a setting's value, from its text to what the program works with."""

    metavar: str
    """The word that stands for the value in `--help`: "SECONDS"."""
    takes: str
    """The format in words, as messages say it: "a port from 0 to 65535"."""
    convert: Callable[[str], Any]
    """Returns the value of a text; raises `ValueError` when the text has another format."""

    def parse(self, text: str) -> Any:
        """Return the value of `text`.

        Raises `ValueError`, whose message is "takes …, not …", when `text` has another format.
        """
        try:
            return self.convert(text)
        except ValueError:
            raise ValueError(f"takes {self.takes}, not {text!r}") from None


def _number(
    kind: Callable[[str], float], least: float, most: float
) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:  # not a number (nan) is within no limits either
            raise ValueError
        return value

    return convert


def number_format(metavar: str, takes: str, least: float, most: float) -> ValueFormat:
    """Return the format of a decimal number from `least` to `most`."""
    return ValueFormat(metavar, takes, _number(float, least, most))


def integer_format(metavar: str, takes: str, least: int, most: int) -> ValueFormat:
    """Return the format of a whole number from `least` to `most`."""
    return ValueFormat(metavar, takes, _number(int, least, most))


def choice_format(*choices: str) -> ValueFormat:
    """Return the format of one of `choices`, written exactly so."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return ValueFormat("|".join(choices), f"one of {', '.join(choices)}", convert)


def text_format(metavar: str, takes: str) -> ValueFormat:
    """Return the format of any text."""
    return ValueFormat(metavar, takes, str)


def _bytes(text: str) -> int:
    number, factor = text.strip(), 1
    for suffix, times in (("KiB", 1024), ("MiB", 1024**2)):
        if number.endswith(suffix):
            number, factor = number.removesuffix(suffix).strip(), times
    if not re.fullmatch("0*[1-9][0-9]{0,14}", number, re.ASCII):
        raise ValueError
    return int(number) * factor


def _origin_of(url: str) -> str:
    """Return scheme, host and port of an HTTP URL. Raises `ValueError` when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _origin(text: str) -> str:
    if text != "*" and text.lower() != _origin_of(text):
        raise ValueError
    return text.lower()


def _url(text: str) -> str:
    _origin_of(text)
    return text


def _json_object(text: str) -> str:
    try:
        is_object = isinstance(json.loads(text), dict)
    except RecursionError:
        is_object = False
    if not is_object:
        raise ValueError
    return text


SECONDS = number_format(
    "SECONDS", "a number of seconds, 0 or more", least=0, most=86_400 * 30
)
"""The format of a time in seconds, up to 30 days."""
TIMEOUT = number_format(
    "SECONDS", "a number of seconds above 0", least=0.001, most=86_400
)
"""The format of a time limit in seconds, up to a day."""
TEMPERATURE = number_format("NUMBER", "a number, 0 or more", least=0, most=100)
"""The format of a model's sampling temperature."""
COUNT = integer_format("COUNT", "a whole number, 1 or more", least=1, most=10**7)
"""The format of a number of things of which there is at least one."""
LIMIT = integer_format(
    "COUNT", "a whole number, 0 or more (0: no limit)", least=0, most=10**7
)
"""The format of a number of things, where 0 means that there is no limit."""
PORT = integer_format("PORT", "a port from 0 to 65535", least=0, most=65535)
"""The format of a TCP port."""
SIZE = ValueFormat("BYTES", "a number of bytes, as 262144 or 256KiB", _bytes)
"""The format of a size in bytes, with the suffix KiB or MiB where wanted."""
ORIGIN = ValueFormat("ORIGIN", "an origin, as https://chat.example", _origin)
"""The format of a web origin (scheme, host, and the port if it is not the scheme's), or `*`."""
URL = ValueFormat("URL", "a URL, as http://127.0.0.1:8080/v1", _url)
"""The format of an HTTP URL."""
JSON_OBJECT = ValueFormat("JSON", 'a JSON object, as {"top_p": 0.9}', _json_object)
"""The format of a JSON object, which stays text."""


def openai_api_key(environment: Mapping[str, str] | None = None) -> str:
    """Return the key for the server of the backend `openai`; "" when there is none.

    It is read from the variable `OPENAI_API_KEY` and has no flag: every user of a machine can see
    the flags of its processes.
    """
    environment = os.environ if environment is None else environment
    return environment.get("OPENAI_API_KEY", "").strip()


def setting(default: Any, value_format: ValueFormat, help: str) -> Any:
    """Return a dataclass field that is a setting.

    `default` is a value, not a text; a tuple makes a setting that may be given several times, each
    in `value_format`. `help` is a phrase for `--help`.
    """
    return field(default=default, metadata={"format": value_format, "help": help})


@dataclass(frozen=True)
class Settings:
    """The settings of `create_app` and `chatsvc serve`. Times are in seconds, sizes in bytes."""

    host: str = setting(
        "127.0.0.1", text_format("ADDRESS", "an address"), "the address to listen on"
    )
    port: int = setting(3000, PORT, "the port to listen on; 0 picks one")
    backend: str = setting(
        "echo",
        text_format("NAME", "a backend's name or package.module:function"),
        "what answers: echo, openai, local or package.module:function",
    )
    pace: float | None = setting(
        None, SECONDS, "seconds between characters (0.1 for echo, 0 for others)"
    )
    openai_url: str = setting(
        "http://127.0.0.1:8080/v1", URL, "the server behind openai, with its /v1"
    )
    openai_model: str = setting(
        "", text_format("NAME", "a model's name"), "the model to ask it for"
    )
    openai_timeout: float = setting(
        60.0, TIMEOUT, "seconds between two bytes of a model's server"
    )
    openai_continue: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether that server continues an assistant's message that is not whole",
    )
    openai_extra: str = setting(
        "{}", JSON_OBJECT, "further members of a model's request, as a JSON object"
    )
    model: str = setting("", text_format("FILE", "a file"), "the GGUF file of local")
    system: str = setting(
        "", text_format("TEXT", "a text"), "the system message before a conversation"
    )
    temperature: float | None = setting(
        None, TEMPERATURE, "how freely a model chooses its words"
    )
    max_tokens: int | None = setting(
        None, COUNT, "tokens that a model's answer may have"
    )
    store: str = setting(
        "memory",
        text_format("STORE", "a store's name or address"),
        "where replies are kept: memory, or an address as redis://host:port/db",
    )
    workers: int = setting(
        1, COUNT, "processes that share the port; more than one needs a store in Redis"
    )
    grace: float = setting(
        30.0, SECONDS, "seconds that a reply goes on when nobody reads it"
    )
    keep: float = setting(300.0, SECONDS, "seconds that an ended reply is kept")
    max_reply: int = setting(256 * 1024, SIZE, "bytes of UTF-8 a reply may have")
    max_seconds: float = setting(
        1800.0, TIMEOUT, "seconds in which a backend must have given all its text"
    )
    max_message: int = setting(32 * 1024, SIZE, "bytes of UTF-8 a message may have")
    max_replies: int = setting(10_000, COUNT, "replies that run at once")
    max_per_client: int = setting(
        0, LIMIT, "running replies of one client address; 0: no limit"
    )
    allow_origin: tuple[str, ...] = setting(
        (), ORIGIN, "another origin that may use the service; repeatable"
    )
    drain: float = setting(
        10.0, SECONDS, "seconds that running replies get when the service ends"
    )
    log_format: str = setting(
        "text", choice_format("text", "json"), "how log lines are written"
    )


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`: `CHATSVC_MAX_REPLY`."""
    return f"CHATSVC_{name.upper()}"


def flag(name: str) -> str:
    """Return the flag of the setting `name`: `--max-reply`."""
    return f"--{name.replace('_', '-')}"


def read_settings(
    kind: type[CommandSettings],
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    checks: Mapping[str, Callable[[str], Any]] | None = None,
) -> CommandSettings:
    """Return the settings of class `kind`: from flags, else from variables, else the defaults.

    `flags` has the text of each flag by its setting's name, a sequence of texts for one that may
    be given several times; None and an empty sequence stand for a flag that is not given. Such a
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
