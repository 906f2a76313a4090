"""The operator's own function that says whose a request is, as `--authorize` names it."""

from __future__ import annotations

import inspect
from typing import cast

from aiohttp import web

from chatsvc.named_functions import called_function, import_function, takes
from chatsvc.problems import Unauthorized
from chatsvc.settings import BadSetting, flag
from chatsvc.web.app_keys import Authorize

RIGHT = "write `async def authorize(request)` that returns a user's name or None"
"""The words that say what the function should be."""


def load_authorize(name: str, folder: str = "") -> Authorize:
    """Return the function that `name`, as `package.module:function`, names.

    Its module is looked for in `folder` first, by default the current one.

    Raises `BadSetting` with one line when it can't be imported, and when it certainly is none: it
    is not asynchronous, or can't be called with a request.
    """
    try:
        function = import_function(name, folder)
    except ValueError as error:
        raise BadSetting(f"{flag('authorize')} {name}: {error}") from None
    if not takes(function, None):
        raise BadSetting(
            f"{flag('authorize')} {name} takes {inspect.signature(function)}: {RIGHT}"
        )
    called = called_function(function)
    # A decorator's own function may return what the coroutine function that it wraps returns.
    if not any(map(inspect.iscoroutinefunction, (called, inspect.unwrap(called)))):
        kind = "yields" if inspect.isasyncgenfunction(called) else "is not asynchronous"
        raise BadSetting(f"{flag('authorize')} {name} {kind}: {RIGHT}")
    return cast(Authorize, function)


async def authorized_user(request: web.Request, authorize: Authorize) -> str:
    """Return the name that the operator's function gives a request's user.

    Raises `Unauthorized` when it gives None, and `TypeError` for anything but a non-empty str.
    """
    name = await authorize(request)
    if name is None:
        raise Unauthorized("This service wants to know who asks.")
    if not isinstance(name, str) or not name:
        # Its value stays out of the log: it may be a secret.
        found = "an empty str" if name == "" else type(name).__name__
        raise TypeError(f"authorize must return a non-empty str or None, not {found}")
    return name
