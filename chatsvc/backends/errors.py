"""The errors of model servers: how they word them, and the exception that carries the words.

Servers agree on no shape for an error's body, whatever API they speak, so the search for its words
is shared by all readers of responses.
"""

from __future__ import annotations

MEMBERS = ("error", "message", "detail", "msg", "errors", "title")
"""The members of a JSON object that may hold the words of an error, the most telling first."""

MOST_ITEMS = 5
"""Items of a list of errors whose words are joined; the first few tell what is wrong."""


class ServerError(Exception):
    """An error that a model server reports inside a response of status 200.

    `words` are the server's own, of any length and possibly empty. They may quote the request with
    its key, so they are shown to nobody before `UpstreamClient` has redacted them.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def error_words(body: object) -> str:
    """Return the words of an error, wherever its decoded JSON `body` has them, or "".

    A string is its own words; those of a list are joined by "; "; an object is searched by
    `MEMBERS`, to any depth.
    """
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(error_words, body[:MOST_ITEMS])))
    if isinstance(body, dict):
        for name in MEMBERS:
            if words := error_words(body.get(name)):
                return words
    return ""
