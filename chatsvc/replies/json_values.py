"""Values of a backend as JSON can hold them, wherever they go from here.

A backend may be any Python function, and yields values of its own. What goes into a reply's log goes
to every reader, and through a shared store to other nodes, so it is checked here once.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from chatsvc.graphemes import join_surrogates
from chatsvc.problems import BackendFailed

DEEPEST = 128
"""How deep a value may be nested."""

_encoder = msgspec.json.Encoder()
_REFUSED = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    msgspec.MsgspecError,
)


def text_value(value: object) -> str:
    """Return a text as a plain `str`, whatever class it had. Raises `BackendFailed` for no text."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise BackendFailed(
        "The backend gave a piece in which something else stands for a text."
    )


def json_value(value: object) -> Any:
    """Return a value as JSON can hold it: a copy, with texts of valid Unicode.

    A lone surrogate becomes U+FFFD. Dataclasses, structs, times and the like become what msgspec
    makes of them. Raises `BackendFailed` for what JSON can't hold, and what is nested deeper than
    `DEEPEST`.
    """
    if value is None or type(value) is bool:
        return value
    if type(value) is str and value.isascii():
        return value
    try:
        return _plain(msgspec.to_builtins(value, str_keys=True), DEEPEST)
    except _REFUSED:
        raise BackendFailed("The backend gave a value that JSON can't hold.") from None


def encoded(value: object) -> bytes:
    """Return a value that `json_value` has returned as JSON. Raises `BackendFailed`."""
    try:
        return _encoder.encode(value)
    except _REFUSED:
        raise BackendFailed("The backend gave a value that JSON can't hold.") from None


def _plain(value: object, depth: int) -> Any:
    if isinstance(value, str):
        return join_surrogates(str.__str__(value))
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError
        return value
    if not depth:
        raise ValueError
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {
            join_surrogates(name): _plain(item, depth - 1)
            for name, item in value.items()
        }
    raise TypeError
