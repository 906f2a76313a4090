"""A service that streams the replies of an AI, character by character.

None of the characters is lost, doubled or torn. The plan of the package, from the top to the
bottom; imports point down only:

    cli           the command line; flags: its flags and help
     ├──────────────────────────────────────────────────────────┐
    workers       several processes                            client/
    serve         one process                                    `chatsvc ask`, `doctor`
    hangup        the files that SIGHUP has read again         deploy/
    listening/    where it listens: addresses, sockets, TLS      `chatsvc deploy`
    app           `create_app` joins all                        │
     │                                                          │
    web/          routes, users, origins, limits, pages, logs   │
    transports/   how a reply crosses the wire: bytes out       │
    tracing/      spans of replies, if somebody collects them   │
    rendering/    Markdown as HTML, in processes of its own     │
    requests/     what a client asks, read into values          │
    users/        who a client is, and what it may do           │
     │                                                          │
    replies/      start, produce, read, stop, hand over         │
     ├──────────────────────┐                                   │
    stores/                backends/   text in                  │
      memory · redis         echo · openai · local · function   │
     │                      │                                   │
    log                     │   what has arrived, and when      │
     │                      │   it is released                  │
    model · problem · problems · cursor · graphemes · ticker · eventstream · settings
    setting_formats · kept_prompt · client_limits · host_names · named_functions · retry_after
    exit_status · proxies · tracebacks · machine_memory · memory_budget · service_manager

A room is one of the packages or modules above. It may import whatever stands below it. `stores` and
`backends` don't know each other, `replies` knows no HTTP, a transport knows neither store nor
backend, and `requests`, `users` and `client` import modules of the two bottom lines alone. `app` is
the only place that puts all together, and `settings` the only reader of the environment, but for
what curl reads of it, too (`proxies`), and for what systemd says (`service_manager`).
tests/test_house.py checks who imports whom.

A reply's life:

1. `web` reads a request into a value of `requests` and asks `replies.Replies` to start a reply.
2. A producer, a task that the application owns, reads the backend and appends its text to the
   reply's `log.Log`, through the store. A reader that leaves changes nothing about that.
3. Each client has a `replies.ReplyReader`. It takes the characters that the pace has released by
   then, each time when the node's one `ticker.Ticker` calls it. `transports` encode them and write
   them to the connection.
4. The log gets its end once, whatever happens: done, stopped or failed. The store keeps the reply
   for `--keep` seconds, so that it can be read again from any position, on any node.

The names in `__all__` are what an application that mounts chatsvc, or has a backend of its own,
uses. They change only with the major version; everything else may change with any. Docstrings name
the section of PROTOCOL.md, or the standard, that a thing follows.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatsvc.app import create_app
    from chatsvc.backends.base import Backend
    from chatsvc.model import (
        Context,
        Data,
        Extra,
        File,
        Finish,
        Message,
        Piece,
        Prompt,
        Reasoning,
        Source,
        ToolCall,
        ToolResult,
        Usage,
    )
    from chatsvc.problems import BackendFailed
    from chatsvc.settings import BadSetting, Settings

__all__ = [
    "Backend",
    "BackendFailed",
    "BadSetting",
    "Context",
    "Data",
    "Extra",
    "File",
    "Finish",
    "Message",
    "Piece",
    "Prompt",
    "Reasoning",
    "Settings",
    "Source",
    "ToolCall",
    "ToolResult",
    "Usage",
    "__version__",
    "create_app",
]

__version__ = "0.2.0"

# The module in which each public name is defined.
_HOMES = {
    "Backend": "chatsvc.backends.base",
    "BackendFailed": "chatsvc.problems",
    "BadSetting": "chatsvc.settings",
    "Context": "chatsvc.model",
    "Data": "chatsvc.model",
    "Extra": "chatsvc.model",
    "File": "chatsvc.model",
    "Finish": "chatsvc.model",
    "Message": "chatsvc.model",
    "Piece": "chatsvc.model",
    "Prompt": "chatsvc.model",
    "Reasoning": "chatsvc.model",
    "Settings": "chatsvc.settings",
    "Source": "chatsvc.model",
    "ToolCall": "chatsvc.model",
    "ToolResult": "chatsvc.model",
    "Usage": "chatsvc.model",
    "create_app": "chatsvc.app",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Importing the server takes half a second, which `chatsvc ask` and the child process of the
    backend `local` would spend for nothing.
    """
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
