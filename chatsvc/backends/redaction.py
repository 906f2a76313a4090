"""The words of a model server, made fit for the log and for users: in one line, without secrets.

A server quotes what it was sent, and says where it runs. The log may have all of that but the key.
"""

from __future__ import annotations

import re

LONGEST_QUOTE = 500
"""Code points of a server's words that are passed on or logged."""

REDACTED = "…"
"""What stands in place of what was taken out, and of the rest of words that are too long."""

Secrets = tuple[str, ...]
"""The secrets of a request, none of them empty: its key, or a password and what it is encoded to."""

_URL = r"[a-z][a-z0-9+.-]{0,20}://[^\s\"'<>)\]}]+"

_KEY = (
    r"\bBearer +\S+"
    # The prefixes of the vendors' keys. A server may have masked the middle with asterisks.
    r"|(?<![\w-])(?:sk|pk|rk|gsk|xai|nvapi|hf|pplx|fw|tgp|api[_-]?key)[-_:=][\w*.…-]{6,}"
    r"|\bAIza[\w*-]{6,}"
    r"|[\w-]*\*{3,}[\w*-]*"
)

_PATH = (
    r"(?<![\w/.~-])(?:~|\.{1,2})?/[\w.@+~-]+(?:/[\w.@+~-]*)*"
    r"|(?<!\w)[A-Za-z]:\\[^\s\"']+|\\\\[^\s\"']+"
    r"|(?<![\w/.~-])[\w.-]+(?:/[\w.-]+)*/[\w.-]+\.(?:py|gguf|safetensors|bin|pt|so|json|js|go|rs|cpp|h)\b"
)

_HOST = (
    r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"
    # IPv6: in brackets, with two colons together, or with four and more.
    r"|\[[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*\](?::\d{1,5})?"
    r"|(?<![\w:.])(?=[0-9a-f:]{0,40}::|(?:[0-9a-f]{1,4}:){4})[0-9a-f:]{3,45}(?![\w:])"
    r"|\blocalhost(?::\d{1,5})?\b"
    # A name is one of a host if a port follows, or if it ends as names of hosts do: times,
    # `max_tokens:4096`, `messages.0.content` and `gpt-4.1` are none.
    r"|(?<![\w.-])(?=[0-9.-]*[a-z])[a-z0-9.-]{1,200}:\d{3,5}\b"
    r"|(?<![\w.-])(?:[a-z0-9_-]+\.)+(?:com|net|org|io|ai|dev|app|cloud|co|cn|de|eu|uk|us|jp|kr|in"
    r"|ru|fr|ch|local|internal|lan|intra|corp|home|svc|test|example|localdomain)\b\.?"
)

_PRIVATE = re.compile(f"{_URL}|{_KEY}|{_PATH}|{_HOST}", re.IGNORECASE)


def log_words(words: str, secrets: Secrets) -> str:
    """Return a server's words for the log: one line, cut to `LONGEST_QUOTE`, without `secrets`.

    `secrets` are what the server was sent and nobody may read: a key, a password.
    """
    return _cut(_line(words, secrets))


def public_words(words: str, secrets: Secrets) -> str:
    """Return a server's words for a user: as `log_words`, and without keys, paths and hosts.

    What looks like a key, a URL, a path of a file or of a URL, or the name or address of a host
    becomes `REDACTED`.
    """
    line = _line(words, secrets)
    # Of what is cut off nothing more is to be seen than would have been without the cut.
    longest = 2 * LONGEST_QUOTE
    if len(line) > longest:
        line = line[:longest].rpartition(" ")[0] or REDACTED
    return _cut(_PRIVATE.sub(REDACTED, line))


def _line(words: str, secrets: Secrets) -> str:
    for secret in secrets:
        words = words.replace(secret, REDACTED)
    return " ".join(words.split())


def _cut(line: str) -> str:
    printable = "".join(c if c.isprintable() else "\ufffd" for c in line)
    if len(printable) <= LONGEST_QUOTE:
        return printable
    return printable[:LONGEST_QUOTE] + REDACTED
