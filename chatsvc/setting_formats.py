"""The formats of settings: how the text of a flag or variable becomes a value.

Each format says in words what it takes, so that a value that is refused is refused with what would
be right. `chatsvc.settings` has the settings themselves.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chatsvc.host_names import UNIX, normal_host, normal_network
from chatsvc.named_functions import is_function_name


def without_password(text: str) -> str:
    """Return `text` with `***` for what stands before the last `@` of a URL, but for its scheme.

    Other texts are returned unchanged. It is for messages about a value that may be a URL, even a
    mistyped one or that of another flag.
    """
    before, at, behind = text.rpartition("@")
    scheme = re.match(r"(?:-*[\w-]+=)?(?:[\w.+-]+:/{0,2}|/{1,2})?", before)
    return f"{scheme[0]}***@{behind}" if at and scheme is not None else text


def _key_prefix(text: str) -> str:
    if not re.fullmatch(r"[\w.:-]{1,64}", text, re.ASCII):
        raise ValueError
    return text


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """The format of a setting's value, from its text to what the program works with."""

    metavar: str
    """The word that stands for the value in `--help`: "SECONDS"."""
    takes: str
    """The format in words, as messages say it: "a port from 0 to 65535"."""
    convert: Callable[[str], Any]
    """Returns the value of a text; raises `ValueError` when the text has another format."""
    secret: bool = False
    """Whether no message may show the text."""
    show: Callable[[Any], str] = str
    """Returns a text of a value, for `--help`."""

    def parse(self, text: str) -> Any:
        """Return the value of `text`.

        Raises `ValueError`, whose message is "takes …, not …", when `text` has another format. The
        message shows no password of a URL, and nothing of a text that is `secret`.
        """
        try:
            return self.convert(text)
        except ValueError:
            if self.secret:
                raise ValueError(f"takes {self.takes}") from None
            shown = without_password(text)
            raise ValueError(f"takes {self.takes}, not {shown!r}") from None


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
    return ValueFormat(metavar, takes, _number(float, least, most), show="{:g}".format)


def integer_format(metavar: str, takes: str, least: int, most: int) -> ValueFormat:
    """Return the format of a whole number from `least` to `most`."""
    return ValueFormat(metavar, takes, _number(int, least, most))


def choice_format(*choices: str, metavar: str = "") -> ValueFormat:
    """Return the format of one of `choices`, written exactly so; `metavar` if they are many."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    metavar = metavar or "|".join(choices)
    return ValueFormat(metavar, f"one of {', '.join(choices)}", convert)


def text_format(metavar: str, takes: str) -> ValueFormat:
    """Return the format of any text."""
    return ValueFormat(metavar, takes, str)


def _bytes(text: str) -> int:
    number, factor = text.strip(), 1
    for suffix, times in (("KiB", 1024), ("MiB", 1024**2), ("GiB", 1024**3)):
        if number.endswith(suffix):
            number, factor = number.removesuffix(suffix).strip(), times
    if not re.fullmatch("0*[1-9][0-9]{0,14}", number, re.ASCII):
        raise ValueError
    return int(number) * factor


def _size(count: int) -> str:
    """Return a number of bytes with the largest suffix that leaves it whole."""
    for suffix, times in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count % times == 0:
            return f"{count // times}{suffix}"
    return str(count)


def _mode(text: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError
    return int(text, 8)


def _folder(text: str) -> str:
    if text and not os.path.isdir(text):
        raise ValueError
    return text


def _path(text: str) -> str:
    if "\0" in text:
        raise ValueError
    return text


def _colour(text: str) -> str:
    digits = text.removeprefix("#").lower()
    if not re.fullmatch("#(?:[0-9a-f]{3}){1,2}", f"#{digits}"):
        raise ValueError
    return "#" + (digits if len(digits) == 6 else "".join(2 * each for each in digits))


def _title(text: str) -> str:
    title = text.strip()
    if not 0 < len(title) <= 60 or not title.isprintable():
        raise ValueError
    return title


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


def _host(text: str) -> str:
    if text == "*":
        return text
    dot = "." if text.startswith(".") else ""
    return dot + normal_host(text.removeprefix("."))


def _network(text: str) -> str:
    return text if text == UNIX else normal_network(text)


def _function(text: str) -> str:
    if not is_function_name(text):
        raise ValueError
    return text


def each_name(values: Iterable[str]) -> tuple[str, ...]:
    """Return the names in the values of a repeatable setting, each of which may hold several (`a,b`)."""
    return tuple(name for names in values for name in names.split(",") if name)


def _header(text: str) -> str:
    # `*` is a character of names (RFC 9110 section 5.6.2), and the wildcard of browsers.
    if not re.fullmatch(r"[!#$%&'+.^_`|~0-9A-Za-z-]+", text):
        raise ValueError
    return text


def _headers(text: str) -> str:
    return ",".join(_header(name.strip()) for name in text.split(","))


def _models(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(r"[^\s\x00-\x1f\x7f]{1,256}", name) for name in names):
        raise ValueError
    return ",".join(names)


def _url(text: str) -> str:
    _origin_of(text)
    return text


def _api_key(text: str) -> str:
    key = text.strip()
    if not re.fullmatch("[!-~]*", key, re.ASCII):
        raise ValueError
    return key


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    # A whole IPv6 address without a port would be cut at its last colon.
    if (colon and not host) or (":" in host and not bracketed):
        raise ValueError
    if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError
    if bracketed:
        host = str(ipaddress.IPv6Address(host[1:-1]))
    return host or "127.0.0.1", int(port)


def _switch(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError
    return text == "yes"


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
TEMPERATURE = number_format("N", "a number, 0 or more", least=0, most=100)
"""The format of a model's sampling temperature."""
COUNT = integer_format("N", "a whole number, 1 or more", least=1, most=10**7)
"""The format of a number of things of which there is at least one."""
WORKERS = integer_format("N", "a whole number from 1 to 1024", least=1, most=1024)
"""The format of a number of processes; more than that is a slip, and would stop the machine."""
LIMIT = integer_format(
    "N", "a whole number, 0 or more (0: no limit)", least=0, most=10**7
)
"""The format of a number of things, where 0 means that there is no limit."""
PORT = integer_format("PORT", "a port from 0 to 65535", least=0, most=65535)
"""The format of a TCP port."""
ADDRESS = ValueFormat(
    "[HOST:]PORT",
    "a port, as 9000, or an address with one, as 0.0.0.0:9000",
    _address,
)
"""The format of an address to listen on, as host and port; the host is 127.0.0.1 by default."""
SWITCH = ValueFormat("yes|no", "yes or no", _switch)
"""The format of a switch: a variable is `yes` or `no`, and the flag takes nothing."""
SIZE = ValueFormat("SIZE", "a number of bytes, as 262144 or 256KiB", _bytes, show=_size)
"""The format of a size in bytes, with the suffix KiB, MiB or GiB where wanted."""
PATH = ValueFormat("PATH", "a file", _path)
"""The format of the path of a file; empty for none."""
FOLDER = ValueFormat("PATH", "a folder that is there", _folder)
"""The format of the path of a folder that exists; empty for the current one."""
COLOUR = ValueFormat("COLOUR", "a colour, as #2a6a5d or #26d", _colour)
"""The format of a colour, as `#rrggbb`; three digits stand for six."""
TITLE = ValueFormat("TEXT", "a name of 1 to 60 characters in one line", _title)
"""The format of a name that is shown on a page."""
MODE = ValueFormat("MODE", "three octal digits, as 660", _mode, show="{:o}".format)
"""The format of the permissions of a file."""
ORIGIN = ValueFormat("ORIGIN", "an origin, as https://chat.example", _origin)
"""The format of a web origin (scheme, host, and the port if it is not the scheme's), or `*`."""
HOST = ValueFormat(
    "HOST",
    "a host without its port, as chat.example, .example for all below it, or *",
    _host,
)
"""The format of a host: its name, its address, a dot and the name that others are below, or `*`."""
HEADER = ValueFormat("HEADER", "the name of a header, as X-Session", _header)
"""The format of the name of an HTTP header (RFC 9110 section 5.1)."""
HEADERS = ValueFormat("HEADER,…", "names of headers, as X-Tenant,X-Locale", _headers)
"""The format of the names of HTTP headers, separated by commas: without white space."""
MODELS = ValueFormat("MODEL,…", "names of models, as gpt-5,gpt-5-mini, or *", _models)
"""The format of the names of models, separated by commas: without white space."""
NETWORK = ValueFormat(
    "CIDR", "an address or a network, as 10.0.0.0/8, or unix", _network
)
"""The format of an IP network in CIDR notation, or of the word for all Unix sockets."""
FUNCTION = ValueFormat(
    "FUNCTION", "a function's name, as package.module:function", _function
)
"""The format of the name of a function that is imported."""
URL = ValueFormat("URL", "a URL, as http://127.0.0.1:8080/v1", _url)
"""The format of an HTTP URL."""
KEY_PREFIX = ValueFormat(
    "NAME", "1 to 64 letters, digits and any of . : _ -", _key_prefix
)
"""The format of what the names of all keys in Redis begin with."""
API_KEY = ValueFormat(
    "KEY", "one API key, of visible ASCII characters", _api_key, secret=True
)
"""The format of an API key that a client sends; empty for none."""
JSON_OBJECT = ValueFormat("JSON", 'a JSON object, as {"top_p": 0.9}', _json_object)
"""The format of a JSON object, which stays text."""
