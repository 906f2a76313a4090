"""The errors of model servers: how they word them, and how much of the words is passed on.

Servers agree on no shape for an error's body, whatever API they speak, so the search for its words
is shared by all readers of responses.
"""

from __future__ import annotations

from chatsvc.graphemes import join_surrogates
from chatsvc.problems import BackendFailed

UNREADABLE = "The model's server sent what can't be read."
"""The detail of the failure when a response breaks its format: JSON, or a content coding."""

TOO_MUCH = "The model's server sent more than can be kept."
"""The detail of the failure when a response, or a part of one, breaks its limit."""

MEMBERS = ("error", "message", "detail", "msg", "errors", "title")
"""The members of a JSON object that may hold the words of an error, the most telling first."""

MOST_ITEMS = 5
"""Items of a list of errors whose words are joined; the first few tell what is wrong."""

MOST_DEPTH = 8
"""How many levels down the words are looked for: a proxy wraps an error in its own, and then it is
wrapped no more than a few times."""


class TransientFailure(BackendFailed):
    """A failure that another attempt may mend, after at least `wait_s` seconds."""

    def __init__(self, detail: str, *, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


LONGEST_QUOTE = 500
"""Characters of the server's words that are passed on."""


def redacted(words: str, secret: str) -> str:
    """Return a server's words in one line, cut to `LONGEST_QUOTE`, without the secret."""
    line = " ".join(words.split())
    if secret:
        line = line.replace(secret, "…")
    return line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + "…"


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
