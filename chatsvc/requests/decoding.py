"""The decoding of clients' JSON into values; what is wrong with it is a problem that says where."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from chatsvc.problem import Problem
from chatsvc.problems import BadJson, BadText, InvalidRequest

Decoded = TypeVar("Decoded")


def decode(decoder: msgspec.json.Decoder[Decoded], body: bytes | str) -> Decoded:
    """Return the value that a body of JSON holds.

    Raises `BadJson`; `BadText` for what is not UTF-8 or has a lone surrogate; `InvalidRequest`,
    which names the field, for JSON of another shape.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _problem(error, body) from None


_any = msgspec.json.Decoder(msgspec.Raw)
"""A decoder that checks the syntax and makes no values, in a hundredth of the time."""

_lone_surrogate = re.compile(
    r"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|[c-fC-F](?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]))"
)
"""The escape sequence of half a character (RFC 8259 section 8.2), where no backslash is escaped."""


def _problem(error: Exception, body: bytes | str) -> Problem:
    """Return the problem of a body that msgspec refused.

    msgspec stops at the first thing that it dislikes, without saying what kind of thing it is: what
    is behind a member of the wrong type may not even be JSON.
    """
    try:
        text = body if isinstance(body, str) else body.decode()
        text.encode()
    except UnicodeDecodeError:
        return BadText("The body is not UTF-8.")
    except UnicodeEncodeError:
        return BadText(_HALF_CHARACTER)
    if _lone_surrogate.search(text.replace(r"\\", "  ")):
        return BadText(_HALF_CHARACTER)
    if text.startswith("\ufeff"):
        return BadJson("The body is not JSON: it begins with a BOM.")
    try:
        _any.decode(text)
    except RecursionError:
        return BadJson("The JSON is nested too deeply.")
    except msgspec.DecodeError as broken:
        return BadJson(_not_json(broken))
    if isinstance(error, msgspec.ValidationError):
        return InvalidRequest(f"{error}.")
    return BadJson(_not_json(error))


def _not_json(error: Exception) -> str:
    reason = str(error).removeprefix("JSON is malformed: ")
    return f"The body is not JSON: {reason[:1].lower()}{reason[1:]}."


_HALF_CHARACTER = "The text holds a lone surrogate, which is not a character."
