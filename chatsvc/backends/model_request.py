"""The interface of one request to a model server: what is sent, and what the answers mean.

`UpstreamClient` sends it, as often as it takes, and knows nothing of any server's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chatsvc.backends.response import ResponseReader
from chatsvc.problems import BackendFailed


class ModelRequest(Protocol):
    """One request to a model server. None of the methods awaits or raises.

    Of each attempt `body` is asked first, then `refused` or `reader`, depending on the answer.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of this request alone: what `UpstreamClient` sends with each is not among them."""

    def body(self) -> bytes:
        """Return the body to send, which is JSON. It may be another one after a refusal.

        It is asked again, too, where a connection that was kept has broken before any answer.
        """

    def reader(self) -> ResponseReader:
        """Return the reader of a response of status 200, a new one for each."""

    def refused(
        self, status: int, retry_after_field: str | None, body: bytes
    ) -> BackendFailed:
        """Return the failure that a response of another status is.

        `retry_after_field` is the value of its `Retry-After`, or None; `body` are the first bytes
        of its body, unpacked. It is a `TransientFailure` if the request may be sent again.
        """
