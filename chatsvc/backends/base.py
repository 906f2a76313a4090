"""The interface of a backend: the protocol `Backend`, and a backend's name for OpenAI's clients.

The package's docstring shows how to write a backend and where to register it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from chatsvc.model import Piece, Prompt, may_choose


class Backend(Protocol):
    """A source of replies' texts: a prompt in, the text of one reply out, piece by piece.

    There is one object for the whole service. `open` is called once, before anything else; `stream`
    once for each reply, for many replies at the same time; `close` once, after all generators that
    `stream` returned have been closed. Everything runs in the service's event loop, so a backend
    must not block it: work that takes more than some milliseconds belongs into a thread or process.

    Three attributes are optional: `model` (see `model_name`), `takes` (see `abilities`) and `models`
    (see `chosen_models`).
    """

    @property
    def name(self) -> str:
        """The backend's name in logs, and in the detail of a failure without words of its own."""
        ...

    @property
    def pace(self) -> float:
        """The default of `--pace`: seconds between two characters of a reply, 0.0 for no delay."""
        ...

    @property
    def lag(self) -> float | None:
        """How many seconds the release of characters may fall behind their arrival, at most.

        When pieces arrive faster than the pace releases them, the pace gives way so that this
        holds. With None the pace holds, however far the release falls behind: for a backend that
        yields its whole text at once and wants it spread out.
        """
        ...

    @property
    def resumes(self) -> bool:
        """Whether `stream` can continue a reply behind `Prompt.written`.

        If so, a reply whose node went down is carried on by another node; else a reply that has
        text ends there, as `failed` with the finish reason `interrupted` (PROTOCOL.md section 7).
        """
        ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Return an async generator of one reply's text.

        It yields `str`, in pieces of any size and cut anywhere, also empty or in the middle of a
        character; what stands beside the text, as the other pieces of `chatsvc.model`, which don't
        end the text; what it has used so far, as `Usage`; and may yield
        one `Finish` as the last item, which says why the text ended and what it used (without one
        the reason is `stop`). A surrogate pair may be cut in two; a lone
        surrogate becomes U+FFFD, and `\\r\\n` and `\\r` become `\\n`. If `prompt.written` is not
        empty, which happens only if `resumes`, it yields what follows that text.

        The prompt is a `chatsvc.model.PromptInContext`, whose `context` says more of the request.

        The caller closes the generator when the reply is stopped, abandoned, too long, or takes
        longer than `--max-seconds`, by `aclose()` or by cancelling the task that waits for it:
        whatever the generator holds open it must give back then, in its own `finally` or `async
        with`, in five seconds. After these the reply ends without it.

        Raises a `Problem`, usually `BackendFailed` with a sentence for the user, and the reply ends
        as `failed` with it. Any other exception is logged with its traceback, and the user is shown
        only that the backend failed. Text yielded before an exception stays in the reply.
        """
        ...

    async def open(self) -> None:
        """Start what the backend needs, such as a connection pool or a process.

        Raises `BackendFailed` or `ValueError` when it can't; the service then does not start, and
        prints the sentence.
        """

    async def close(self) -> None:
        """Give back what the backend holds."""


@runtime_checkable
class DirectBackend(Protocol):
    """A `Backend` whose text can reach the reply in the call that reads it from the network.

    For each read, an async generator costs a future and two turns of the event loop. A backend that
    has its text in a callback saves them by this method; no other need have it.
    """

    def stream_to(
        self, prompt: Prompt, take: Callable[[Piece], bool]
    ) -> AsyncGenerator[Piece, None]:
        """Return what `Backend.stream` does, which offers each piece to `take` first.

        `take` appends the piece to the reply and returns True, or returns False, and then the
        generator yields it: a `Finish` always. It never raises. While a piece waits to be yielded,
        or its consumer has not asked for the next one, `take` must not be called: the pieces would
        change their order.
        """
        ...


def model_name(backend: Backend, options: Mapping[str, Any] | None = None) -> str:
    """Return the `model` that OpenAI's clients are shown (PROTOCOL.md section 5).

    It is the one that a request's `options` choose, if they may; else the backend's attribute `model`
    if there is one and it is not empty, else its name.
    """
    chosen = (options or {}).get("model")
    if may_choose(chosen, chosen_models(backend)):
        return str(chosen)
    return getattr(backend, "model", "") or backend.name


def abilities(backend: Backend) -> frozenset[str]:
    """Return what a backend takes beside text, of `chatsvc.model.ABILITIES`.

    It is the backend's attribute `takes`, or nothing if there is none. A request that holds anything
    else is refused before the backend sees it (PROTOCOL.md section 2).
    """
    return frozenset(getattr(backend, "takes", ()))


def chosen_models(backend: Backend) -> tuple[str, ...]:
    """Return the names of the models among which a request may choose, `*` for any.

    It is the backend's attribute `models`, or nothing if there is none. Another `model` of a request
    never reaches the backend.
    """
    return tuple(getattr(backend, "models", ()))


def listed_models(backend: Backend) -> tuple[str, ...]:
    """Return the names of all models that OpenAI's clients are shown: the backend's own is first."""
    names = (model_name(backend), *chosen_models(backend))
    return tuple(name for name in dict.fromkeys(names) if name != "*")
