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

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from chatsvc.setting_formats import (
    ADDRESS,
    COUNT,
    FUNCTION,
    HEADER,
    HEADERS,
    HOST,
    JSON_OBJECT,
    KEY_PREFIX,
    LIMIT,
    MODELS,
    NETWORK,
    ORIGIN,
    PORT,
    SECONDS,
    SIZE,
    SWITCH,
    TEMPERATURE,
    TIMEOUT,
    URL,
    WORKERS,
    ValueFormat,
    choice_format,
    text_format,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CommandSettings = TypeVar("CommandSettings", bound="DataclassInstance")
"""A frozen dataclass whose fields are made by `setting`."""


class BadSetting(ValueError):
    """The error of a setting's value: the message names its source and what that takes."""


def openai_api_key(environment: Mapping[str, str] | None = None) -> str:
    """Return the key for the server of the backend `openai`; "" when there is none.

    It is read from the variable `OPENAI_API_KEY` and has no flag: every user of a machine can see
    the flags of its processes.
    """
    environment = os.environ if environment is None else environment
    return environment.get("OPENAI_API_KEY", "").strip()


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


@dataclass(frozen=True)
class Settings:
    """The settings of `create_app` and `chatsvc serve`. Times are in seconds, sizes in bytes."""

    host: str = setting(
        "127.0.0.1", text_format("ADDRESS", "an address"), "the address to listen on"
    )
    port: int = setting(3000, PORT, "the port to listen on; 0 picks one")
    open: bool = setting(
        False, SWITCH, "let anyone in who reaches an address beyond this machine"
    )
    api_keys: str = setting(
        "",
        text_format("KEYS", "API keys"),
        "the API keys of users, separated by spaces",
        secret=True,
        flagless=True,
    )
    api_keys_file: str = setting(
        "",
        text_format("FILE", "a file"),
        "a TOML file of users' API keys, by their SHA-256; SIGHUP reads it again",
    )
    admin_port: tuple[str, int] | None = setting(
        None,
        ADDRESS,
        "the port for /metrics; it is on 127.0.0.1, or as in 0.0.0.0:9000",
    )
    backend: str = setting(
        "echo",
        text_format("NAME", "a backend's name or package.module:function"),
        "what answers: echo, openai, local or package.module:function",
    )
    pace: float | None = setting(
        None, SECONDS, "seconds between characters (0.1 for echo, 0 for others)"
    )
    openai_url: str = setting(
        "http://127.0.0.1:8080/v1",
        URL,
        "the server behind openai, with its /v1",
        secret=True,
    )
    openai_model: str = setting(
        "", text_format("NAME", "a model's name"), "the model to ask it for"
    )
    openai_models: tuple[str, ...] = setting(
        (),
        MODELS,
        "the models that a request may choose instead, or * for any; repeatable",
    )
    openai_forward: str = setting(
        "yes",
        choice_format("yes", "no"),
        "whether all members of a request go on to that server, or only the usual",
    )
    openai_timeout: float = setting(
        60.0, TIMEOUT, "seconds between two bytes of a model's server"
    )
    openai_continue: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether that server continues an assistant's message that is not whole",
    )
    openai_cumulative: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether that server sends the whole text so far each time",
    )
    openai_think_tags: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether <think>…</think> in a model's text is reasoning",
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
        secret=True,
    )
    store_file: str = setting(
        "",
        text_format("FILE", "a file"),
        "a file with what --store takes: no flag shows a password then",
    )
    store_prefix: str = setting(
        "chatsvc",
        KEY_PREFIX,
        "the word with which the names of all keys in Redis begin",
    )
    workers: int = setting(
        1,
        WORKERS,
        "processes that share the port; more than one needs a store in Redis",
    )
    grace: float = setting(
        30.0, SECONDS, "seconds that a reply goes on when nobody reads it"
    )
    keep: float = setting(300.0, SECONDS, "seconds that an ended reply is kept")
    max_reply: int = setting(256 * 1024, SIZE, "bytes of UTF-8 a reply may have")
    max_parts: int = setting(
        4 * 1024 * 1024, SIZE, "bytes a reply may have beside its text"
    )
    max_seconds: float = setting(
        1800.0, TIMEOUT, "seconds in which a backend must have given all its text"
    )
    max_message: int = setting(32 * 1024, SIZE, "bytes of UTF-8 a message may have")
    max_files: int = setting(
        4 * 1024 * 1024, SIZE, "bytes the files of a request may have as they are sent"
    )
    max_replies: int = setting(10_000, COUNT, "replies that run at once")
    max_per_client: int = setting(
        200, LIMIT, "running replies of one user or address; 0: no limit"
    )
    max_starts: int = setting(
        600, LIMIT, "replies that one user or address starts in a minute; 0: no limit"
    )
    max_readers: int = setting(
        1000, LIMIT, "replies that one user or address reads at once; 0: no limit"
    )
    max_connections: int = setting(
        1000, LIMIT, "open connections of one user or address; 0: no limit"
    )
    limits: str = setting(
        "on",
        choice_format("on", "off"),
        "off lifts all limits of the five flags before, for tests and benchmarks",
    )
    max_memory: int | None = setting(
        None,
        SIZE,
        "bytes that prompts, replies and connections may hold (half of what there is)",
    )
    allow_origin: tuple[str, ...] = setting(
        (), ORIGIN, "another origin that may use the service; repeatable"
    )
    allow_credentials: bool = setting(
        False, SWITCH, "let the pages of these origins send cookies and read the answer"
    )
    allow_header: tuple[str, ...] = setting(
        (),
        HEADER,
        "another header that the pages of these origins may send; repeatable",
    )
    allow_host: tuple[str, ...] = setting(
        (), HOST, "another host that the service answers; repeatable"
    )
    context_headers: tuple[str, ...] = setting(
        (),
        HEADERS,
        "headers of requests that a backend of your own may know, as X-Tenant; repeatable",
    )
    trusted_proxy: tuple[str, ...] = setting(
        (), NETWORK, "proxies that are believed what they say of clients; repeatable"
    )
    user_header: str = setting(
        "",
        HEADER,
        "the header in which these proxies name the user, as X-Forwarded-User",
    )
    authorize: str = setting(
        "",
        FUNCTION,
        "your function that says whose a request is: package.module:function",
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
