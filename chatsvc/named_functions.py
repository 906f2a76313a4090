"""Functions that operators name in settings, as `package.module:function`.

They are imported when the application is made. What such a function certainly is not can be seen
before it is called: whether it takes what it will be given, and whether it is asynchronous.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any


def is_function_name(text: str) -> bool:
    """Return whether a text has the form `package.module:function`."""
    module, colon, function = text.partition(":")
    return (
        bool(colon)
        and function.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
    )


def import_function(name: str, folder: str = "") -> Callable[..., Any]:
    """Return the function that `name`, as `package.module:function`, names.

    The module is looked for in `folder`, by default the current one, and then where Python looks.
    The folder stays the first of `sys.path`, for what the module itself imports later. Raises
    `ValueError` with one line when the module can't be found, fails to be imported, or has no such
    function.
    """
    module_name, _, function_name = name.partition(":")
    looked = _look_first_in(folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself or a package above it, rather than something that it imports.
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ValueError(
                f"there is no module {module_name!r} to import, neither in {looked} (--app-dir "
                "names another folder) nor where Python looks"
            ) from None
        raise ValueError(f"importing {module_name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"importing {module_name!r} failed: {type(error).__name__}: {error}"
        ) from error
    function: Callable[..., Any] | None = getattr(module, function_name, None)
    if function is None or not callable(function):
        place = getattr(module, "__file__", None) or "part of Python"
        raise ValueError(
            f"module {module_name!r} has no function {function_name!r} (it is {place})"
        )
    return function


def _look_first_in(folder: str) -> str:
    """Put a folder, by default the current one, first on `sys.path`; return it in words."""
    try:
        path = os.path.abspath(folder or os.getcwd())
    except OSError:
        return "the current folder, which is gone"
    if sys.path[:1] != [path]:
        sys.path.insert(0, path)
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    return path


def called_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a call runs: that of a `partial`, or the `__call__` of an object."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    called: Callable[..., Any] = type(function).__call__
    return called


def takes(function: Callable[..., Any], *given: Any, **named: Any) -> bool:
    """Return whether a function can be called with such arguments.

    It is taken to be so if its signature can't be found out.
    """
    # What a decorator says of the function that it wraps may not be what its own function takes.
    for follow_wrapped in (True, False):
        try:
            signature = inspect.signature(function, follow_wrapped=follow_wrapped)
            signature.bind(*given, **named)
        except TypeError:
            continue
        except ValueError:
            pass
        return True
    return False
