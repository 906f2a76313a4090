"""The decoding of clients' JSON into values; what is wrong with it is a problem that says where."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from chatsvc.problems import BadJson, BadText, InvalidRequest, Problem

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


def _problem(error: Exception, body: bytes | str) -> Problem:
    """Return the problem of a body that msgspec refused.

    msgspec stops at the first fault, and does not say whether it is in the encoding, in the text or
    in the JSON, so the body is read once more by the standard library, which does.
    """
    try:
        text = body if isinstance(body, str) else body.decode()
    except UnicodeDecodeError:
        return BadText("The body is not UTF-8.")
    try:
        # An int() of very many digits would be refused, though it is JSON.
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=float)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadText("The text holds a lone surrogate, which is not a character.")
    except RecursionError:
        return BadJson("The JSON is nested too deeply.")
    except ValueError as broken:
        return BadJson(f"The body is not JSON: {broken}.")
    if isinstance(error, msgspec.ValidationError):
        return InvalidRequest(f"{error}.")
    return BadJson(f"The body is not JSON: {error}.")


def _refuse_constant(name: str) -> None:
    """Raise `ValueError`: Python reads `NaN` and `Infinity`, JSON has neither (RFC 8259)."""
    raise ValueError(f"it has no {name}")
