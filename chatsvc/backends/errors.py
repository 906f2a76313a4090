"""The errors of model servers: what is one, how they word it, and failures that may pass.

Servers agree on no shape for an error's body, whatever API they speak, so the search for it and for
its words is shared by all readers of responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatsvc.graphemes import join_surrogates
from chatsvc.problems import BackendFailed

UNREADABLE = "The model's server sent what can't be read."
"""The detail of the failure when a response breaks its format: JSON, or a content coding."""

TOO_MUCH = "The model's server sent more than can be kept."
"""The detail of the failure when a response, or a part of one, breaks its limit."""

MEMBERS = (
    *("error", "message", "detail", "msg", "errors", "title"),
    *("error_msg", "error_message", "errorMessage", "status_msg", "base_resp"),
)
"""The members of a JSON object that may hold the words of an error, the most telling first."""

MOST_ITEMS = 5
"""Items of a list of errors whose words are joined; the first few tell what is wrong."""

MOST_DEPTH = 8
"""How many levels down the words are looked for: a proxy wraps an error in its own, and then it is
wrapped no more than a few times."""

NO_ERROR_CODES = ("", "0", "200", "none", "null", "ok", "success")
"""The values of a member `code` that say that nothing is wrong, in lower case."""


class TransientFailure(BackendFailed):
    """A failure that another attempt may mend, after at least `wait_s` seconds.

    `at_once` is whether it is so clear what the next attempt mends that it need not wait at all.
    """

    def __init__(
        self,
        detail: str,
        *,
        wait_s: float = 0.0,
        reason: str = "broken",
        words: str = "",
        answer_status: int | None = None,
        at_once: bool = False,
    ) -> None:
        super().__init__(
            detail, reason=reason, words=words, answer_status=answer_status
        )
        self.wait_s = wait_s
        self.at_once = at_once


def is_error(body: Mapping[str, Any]) -> bool:
    """Return whether a decoded JSON object, which came where a chunk is due, is an error.

    Beside an answer's `choices` only `error` and `base_resp` say so: the other members, such as
    `code` and `detail`, are errors where there is no choice.
    """
    if body.get("error"):
        return True
    base = body.get("base_resp")
    if isinstance(base, dict) and not _is_no_error(base.get("status_code")):
        return True
    if body.get("choices"):
        return False
    if "error" in (body.get("object"), body.get("type"), body.get("status")):
        return True
    if body.get("success") is False or body.get("detail") or body.get("errors"):
        return True
    if any(body.get(n) for n in ("error_msg", "error_message", "errorMessage")):
        return True
    has_words = any(isinstance(body.get(name), str) for name in ("msg", "message"))
    return has_words and not _is_no_error(body.get("code"))


def _is_no_error(code: object) -> bool:
    return code is None or str(code).lower() in NO_ERROR_CODES


def error_words(body: object) -> str:
    """Return the words of an error, wherever its decoded JSON `body` has them, or "".

    A string is its own words; those of a list are joined by "; "; an object is searched by
    `MEMBERS`; all down to `MOST_DEPTH`. They are valid Unicode: JSON can escape a lone surrogate,
    which becomes U+FFFD.
    """
    return join_surrogates(_words(body, MOST_DEPTH))


def _words(body: object, depth: int) -> str:
    if isinstance(body, str):
        return body
    if not depth:
        return ""
    if isinstance(body, list):
        words = (_words(item, depth - 1) for item in body[:MOST_ITEMS])
        return "; ".join(filter(None, words))
    if isinstance(body, dict):
        for name in MEMBERS:
            if found := _words(body.get(name), depth - 1):
                return found
    return ""
