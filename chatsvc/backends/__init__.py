"""What answers. A new backend is one file and one line in `BACKENDS`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatsvc.backends.base import Backend
from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.function import load_function
from chatsvc.backends.local import LocalBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish, Message, Prompt

if TYPE_CHECKING:
    from chatsvc.settings import Settings


def _model_options(settings: Settings) -> dict[str, Any]:
    return {
        "timeout": settings.openai_timeout,
        "system": settings.system,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "extra": json.loads(settings.openai_extra),
    }


def _openai(settings: Settings) -> Backend:
    from chatsvc.settings import openai_api_key

    return OpenAIBackend(
        settings.openai_url,
        settings.openai_model,
        key=openai_api_key(),
        resumes=settings.openai_continue == "yes",
        **_model_options(settings),
    )


BACKENDS: dict[str, Callable[[Settings], Backend]] = {
    "echo": lambda settings: EchoBackend(),
    "openai": _openai,
    "local": lambda settings: LocalBackend(settings.model, **_model_options(settings)),
}
"""By the name that `--backend` has for each."""


def check_backend_name(text: str) -> str:
    """Return `text`, the name of a backend or `package.module:function`, as it is.

    Raises `ValueError`, "takes …, not …", when it is neither. Nothing is imported to find out.
    """
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


def make_backend(settings: Settings) -> Backend:
    """The backend that the settings name. Raises `ValueError` that says what is wrong."""
    make = BACKENDS.get(settings.backend)
    return make(settings) if make is not None else load_function(settings.backend)


__all__ = [
    "BACKENDS",
    "Backend",
    "Finish",
    "Message",
    "Prompt",
    "check_backend_name",
    "make_backend",
]
