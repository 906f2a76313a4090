"""The interface by which replies have spans in traces, if somebody collects them.

`chatsvc.tracing` implements it. Where nobody collects traces, no reply has a span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chatsvc.kept_prompt import KeptPrompt


class ReplySpan(Protocol):
    """The span of a reply that is produced on this node."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of W3C Trace Context that name the span as a parent; empty if it has no id."""
        ...

    def run(self, call: Callable[..., None], *args: object) -> None:
        """Call something, and let the tasks that it starts have this span as their current one."""


class Tracer(Protocol):
    """The maker of spans for replies that begin. It is an `Observer` as well, and ends them."""

    def start(self, prompt: KeptPrompt, parent: Mapping[str, str]) -> ReplySpan:
        """Return the span of a reply that is about to be created.

        `parent` are the client's headers of W3C Trace Context. The span of a reply that is not
        created is dropped.
        """
        ...
