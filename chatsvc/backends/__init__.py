"""What answers. A new backend is one file and one line in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .base import Backend, Finish, Message, Prompt
from .echo import EchoBackend
from .function import load_function

if TYPE_CHECKING:
    from ..settings import Settings

BACKENDS: dict[str, Callable[[Settings], Backend]] = {
    "echo": lambda settings: EchoBackend(),
}


def make_backend(settings: Settings) -> Backend:
    """The backend that the settings name. Raises `ValueError` that says what is wrong."""
    make = BACKENDS.get(settings.backend)
    return make(settings) if make is not None else load_function(settings.backend)


__all__ = ["BACKENDS", "Backend", "Finish", "Message", "Prompt", "make_backend"]
