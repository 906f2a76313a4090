"""Every setting, once: its flag, its environment variable, its default, its check (PROTOCOL.md section 8).

This is the only module that reads the environment. A field of `Settings` is a flag of `chatsvc serve`: `max_reply` is
`--max-reply` and `CHATSVC_MAX_REPLY`. A flag wins over a variable.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit


class BadSetting(ValueError):
    """A value that can't be; the message names where it came from and what it takes."""


def _number(
    kind: Callable[[str], float], least: float, most: float, what: str
) -> Callable[[str], Any]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ValueError(f"takes {what}, not {text!r}")
        return value

    return parse


seconds = _number(float, 0, 86_400 * 30, "a number of seconds, 0 or more")
count = _number(int, 1, 10**7, "a whole number, 1 or more")
timeout = _number(float, 0.001, 86_400, "a number of seconds above 0")
temperature = _number(float, 0, 100, "a number, 0 or more")
limit = _number(int, 0, 10**7, "a whole number, 0 or more (0: no limit)")
port = _number(int, 0, 65535, "a port from 0 to 65535")


def size(text: str) -> int:
    """Bytes, with the suffix KiB or MiB if wanted."""
    number, factor = text.strip(), 1
    for suffix, times in (("KiB", 1024), ("MiB", 1024**2)):
        if number.endswith(suffix):
            number, factor = number.removesuffix(suffix).strip(), times
    if not re.fullmatch("0*[1-9][0-9]{0,14}", number, re.ASCII):
        raise ValueError(f"takes a number of bytes, as 262144 or 256KiB, not {text!r}")
    return int(number) * factor


def choice(*choices: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"takes one of {', '.join(choices)}, not {text!r}")
        return text

    return parse


def _place(text: str) -> str | None:
    """The origin of an HTTP URL; None for what is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def origin(text: str) -> str:
    """A web origin: scheme, host and perhaps port."""
    if text == "*":
        return text
    place = _place(text)
    if place is None or text.lower() != place:
        raise ValueError(f"takes an origin, as https://chat.example, not {text!r}")
    return text.lower()


def url(text: str) -> str:
    """Where a server is."""
    if _place(text) is None:
        raise ValueError(f"takes a URL, as http://127.0.0.1:8080/v1, not {text!r}")
    return text


def json_object(text: str) -> str:
    """A JSON object, as text."""
    try:
        fits = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        fits = False
    if not fits:
        raise ValueError(f'takes a JSON object, as {{"top_p": 0.9}}, not {text!r}')
    return text


def openai_api_key(environment: Mapping[str, str] | None = None) -> str:
    """The key for the server behind `openai`: no flag, for flags are seen by everybody."""
    environment = os.environ if environment is None else environment
    return environment.get("OPENAI_API_KEY", "").strip()


def backend(text: str) -> str:
    """The name of a backend, or where a function is."""
    from chatsvc.backends import BACKENDS

    module, colon, function = text.partition(":")
    if text in BACKENDS or (
        colon
        and function.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
    ):
        return text
    raise ValueError(
        f"takes {', '.join(BACKENDS)} or package.module:function, not {text!r}"
    )


def store(text: str) -> str:
    """The name of a store, or its address."""
    from chatsvc.stores import STORES

    if text in STORES or text.partition("://")[0] in STORES:
        return text
    raise ValueError(f"takes {' or '.join(STORES)}, not {text!r}")


def _setting(default: Any, parse: Callable[[str], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True)
class Settings:
    """What `create_app` and `chatsvc serve` can be told. Times are in seconds, sizes in bytes."""

    host: str = _setting("127.0.0.1", str, "the address to listen on")
    port: int = _setting(3000, port, "the port to listen on; 0 picks one")
    backend: str = _setting(
        "echo",
        backend,
        "what answers: echo, openai, local or package.module:function",
    )
    pace: float | None = _setting(
        None, seconds, "seconds between characters (0.1 for echo, 0 for others)"
    )
    openai_url: str = _setting(
        "http://127.0.0.1:8080/v1", url, "the server behind openai, with its /v1"
    )
    openai_model: str = _setting("", str, "the model to ask it for")
    openai_timeout: float = _setting(
        60.0, timeout, "seconds between two bytes of a model's server"
    )
    openai_continue: str = _setting(
        "no",
        choice("no", "yes"),
        "whether that server continues an assistant's message that is not whole",
    )
    openai_extra: str = _setting(
        "{}", json_object, "further members of a model's request, as a JSON object"
    )
    model: str = _setting("", str, "the GGUF file of local")
    system: str = _setting("", str, "what a model is told before a conversation")
    temperature: float | None = _setting(
        None, temperature, "how freely a model chooses its words"
    )
    max_tokens: int | None = _setting(
        None, count, "tokens that a model's answer may have"
    )
    store: str = _setting("memory", store, "where replies are kept")
    workers: int = _setting(
        1, count, "processes that share the port; more than one needs a store in Redis"
    )
    grace: float = _setting(
        30.0, seconds, "seconds that a reply goes on when nobody reads it"
    )
    keep: float = _setting(300.0, seconds, "seconds that an ended reply is kept")
    max_reply: int = _setting(256 * 1024, size, "bytes of UTF-8 a reply may have")
    max_seconds: float = _setting(
        1800.0, timeout, "seconds in which a backend must have given all its text"
    )
    max_message: int = _setting(32 * 1024, size, "bytes of UTF-8 a message may have")
    max_replies: int = _setting(10_000, count, "replies that run at once")
    max_per_client: int = _setting(
        0, limit, "running replies of one client address; 0: no limit"
    )
    allow_origin: tuple[str, ...] = _setting(
        (), origin, "another origin that may use the service; repeatable"
    )
    drain: float = _setting(
        10.0, seconds, "seconds that running replies get when the service ends"
    )
    log_format: str = _setting(
        "text", choice("text", "json"), "how log lines are written"
    )


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"CHATSVC_{name.upper()}"


def flag(name: str) -> str:
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser one flag for each setting; values stay text until `read_settings`."""
    for setting in fields(Settings):
        default = setting.default
        shown = "" if default in (None, ()) else f" (default {default})"
        parser.add_argument(
            flag(setting.name),
            dest=setting.name,
            action="append" if isinstance(default, tuple) else "store",
            metavar=setting.name.rpartition("_")[2].upper(),
            help=f"{setting.metadata['help']}{shown} [{variable(setting.name)}]",
        )


def read_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings from flags, then the environment, then the defaults. Raises `BadSetting`."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        parse: Callable[[str], Any] = setting.metadata["parse"]
        source = flag(setting.name)
        raw: Any = flags.get(setting.name)
        if raw is None:
            source = variable(setting.name)
            raw = environment.get(source)
            if raw is not None and isinstance(setting.default, tuple):
                raw = raw.replace(",", " ").split()
        if raw is None:
            continue
        try:
            if isinstance(setting.default, tuple):
                values[setting.name] = tuple(parse(item) for item in raw)
            else:
                values[setting.name] = parse(raw)
        except ValueError as error:
            raise BadSetting(f"{source} {error}") from None
    return Settings(**values)


def from_environment(
    *names: str, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The variables of a command that has no `Settings`, as the flags that they stand for; later ones win."""
    environment = os.environ if environment is None else environment
    return [
        f"{flag(name)}={environment[variable(name)]}"
        for name in names
        if variable(name) in environment
    ]
