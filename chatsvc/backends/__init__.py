"""Backends: where replies come from.

A backend turns a prompt into one reply, in pieces, as an async generator. It knows
nothing of replies, stores, readers or transports: `chatsvc.replies` reads the generator into the
reply's log, whether the log has readers or not. One backend serves a whole process:

    make_backend(settings)
        open()                           once, before the service listens
            stream(prompt) → pieces      once for each reply, many at a time
            …                            closed when the reply ends, however it ends
        close()                          once, when the last reply has ended

The modules, each of which imports only those below it:

    __init__   the table of names, and the factory of the backend that the settings name
    echo       `echo`: the user's last message
    function   `package.module:function`: an operator's own async generator
    function_signature   what its parameters and annotations say of it
    local      `local`: starts llama as a child process, and asks it by openai
    llama      the program of that process: llama.cpp's server
    openai     `openai`: builds the request; upstream sends it, chunks reads the response
    upstream   the client of a model server: attempts and timeouts, over one of two routes
    ├ direct         connects to the server, and keeps connections for the next request
    │ ├ connection       one connection: a request out, the bytes of the response to a receiver
    │ ├ deadline, wake_up    its timer, and what the task that asked waits for
    │ └ http_response    pure: the bytes of a response → its status, fields and content
    ├ proxied        goes through a proxy, by aiohttp's client
    │ └ body             the bytes of its response, unpacked, in turns of the event loop
    ├ exchange       the interface of both
    └ receivers      pure: the receivers of refusals, and of what follows an answer
    inflate    pure: the content codings of responses, in steps of bounded work
    chunks     pure: the bytes of an OpenAI-compatible server's response → pieces
    refusals   pure: what a server says of an error → a failure, with words for whom they are meant
    ├ quick_events, frames          the events of a body, and those that differ in a text alone
    ├ chunk_conversion, chunk_values, content_parts, extras    what they hold
    ├ answer_pieces, call_pieces    what they add to an answer
    ├ think_tags, cumulative, text_places    its text: reasoning in it, repeated, its positions
    ├ finish_reasons                how it finished
    └ errors, reasons, redaction    what is an error, what it stands for, and what is told of it
    request_options pure: the options of a client's request → those that go on to the server
    model_request   the interface of one request
    answer     pure: one answer as it arrives, and the limits in which it ends
    response   the interfaces of what takes a response's body, and of what reads it
    base       the protocol `Backend`: all that the rest of the service knows of a backend

Invariants:

- Nothing here imports from the service but `model`, `problems`, `graphemes`, `eventstream`,
  `retry_after`, `proxies`, `named_functions`, `setting_formats` and `settings`; the last two only
  here, so that backends can be made without settings.
- `upstream` knows no server's API, and `chunks` no connection. They meet in `ModelRequest` and
  `ResponseReader`, which `model_request` and `response` declare.

To add a backend, write a class that satisfies `Backend` in a module of its own, and a line in
`BACKENDS`; all members but `stream` may be as short as those of `echo`. A backend for another kind
of model server has three parts: a `ModelRequest`, a `ResponseReader` for what the server answers, and
an `UpstreamClient` between them; `openai` is the example. An operator can add one without a change
to the package: by a function, or by `create_app(backend=…)` with any object that satisfies
`Backend`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chatsvc.backends.base import Backend
from chatsvc.backends.chunks import WHOLE_LIMIT_BYTES
from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.function import load_function
from chatsvc.backends.local import LocalBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.named_functions import is_function_name
from chatsvc.setting_formats import each_name, without_password
from chatsvc.settings import Settings, openai_api_key


def _echo(settings: Settings) -> Backend:
    return EchoBackend()


def _openai(settings: Settings) -> Backend:
    return OpenAIBackend(
        settings.openai_url,
        settings.openai_model,
        key=openai_api_key(),
        models=each_name(settings.openai_models),
        resumes=settings.openai_continue == "yes",
        cumulative=settings.openai_cumulative == "yes",
        **_model_options(settings),
    )


def _local(settings: Settings) -> Backend:
    return LocalBackend(settings.model, **_model_options(settings))


def _model_options(settings: Settings) -> dict[str, Any]:
    """Return the options that all backends have that ask a model."""
    return {
        "timeout": settings.openai_timeout,
        "think_tags": settings.openai_think_tags == "yes",
        "system": settings.system,
        "forward_all": settings.openai_forward == "yes",
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "max_event": WHOLE_LIMIT_BYTES + settings.max_parts,
        "extra": json.loads(settings.openai_extra),
    }


BACKENDS: dict[str, Callable[[Settings], Backend]] = {
    "echo": _echo,
    "openai": _openai,
    "local": _local,
}
"""The factory of each backend that has a name, by the name that `--backend` takes for it."""


def check_backend_name(text: str) -> str:
    """Return `text` if it is a name in `BACKENDS` or has the form `package.module:function`.

    Nothing is imported. Raises `ValueError` with a clause that says what is taken, to stand behind
    the name of the flag or variable.
    """
    if text in BACKENDS or is_function_name(text):
        return text
    raise ValueError(
        f"takes {', '.join(BACKENDS)} or package.module:function,"
        f" not {without_password(text)!r}"
    )


def make_backend(settings: Settings) -> Backend:
    """Return the backend that `settings.backend` names, not yet open.

    Raises `ValueError` with one line when there is no such backend, and when it can't be made: a
    function that can't be imported, a model that is not there.
    """
    name = check_backend_name(settings.backend)
    make = BACKENDS.get(name)
    if make is not None:
        return make(settings)
    return load_function(name, settings.app_dir)


__all__ = ["BACKENDS", "Backend", "check_backend_name", "make_backend"]
