"""The failures that a model server's own errors become: who is to read what of its words.

Pure: what the server said in, a `BackendFailed` out. The user reads a server's words only where
they are about the user's own request (PROTOCOL.md section 6); the log gets them always.
"""

from __future__ import annotations

import json

from chatsvc.backends.errors import TransientFailure, error_words
from chatsvc.backends.reasons import reason_of_body, reason_of_status
from chatsvc.backends.redaction import Secrets, log_words, public_words
from chatsvc.problems import BackendFailed
from chatsvc.retry_after import retry_after

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses of refusals that another attempt may mend."""

BUSY = "The model is busy: wait a moment, then try again."
"""The detail of a failure with the reason `busy`."""

MISCONFIGURED = (
    "This service can't use its model's server: tell whoever runs the service."
)
"""The detail of a failure with the reason `misconfigured`."""

BROKEN = "The model's server failed: try again."
"""The detail of a failure with the reason `broken`."""

REFUSED = "The model's server refused the request"
"""The detail of a failure with the reason `refused`; a colon and the server's words follow."""

PAGE = "The model's server sent a web page, not a stream: look at --openai-url."
"""The detail of the failure when a response is a page, as the wrong URL of a server gives it."""

_SENTENCES = {"busy": BUSY, "misconfigured": MISCONFIGURED, "broken": BROKEN}


def refusal(
    status: int,
    retry_after_field: str | None,
    body: bytes,
    *,
    secrets: Secrets,
    chose_model: bool,
) -> BackendFailed:
    """Return the failure that a response of another status than 200 is.

    `retry_after_field` is the value of its `Retry-After`, `body` its body, unpacked, or the
    beginning of it. `secrets` are those of the request. `chose_model` is whether the user,
    not the operator, chose the model that was asked for. It is a `TransientFailure` if another
    attempt may mend it.
    """
    text = body.decode("utf-8", "replace")
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        # A page is of no use to anybody, a line of text may be.
        decoded = "" if text.lstrip("\ufeff \t\r\n").startswith("<") else text
    reason = reason_of_status(status, chose_model=chose_model)
    by_code = reason_of_body(decoded, chose_model=chose_model)
    # Several things have one status: a spent quota a busy server's, a wrong key a bad request's.
    if by_code in ("busy", "misconfigured") and status not in (401, 402, 403, 404):
        reason = by_code
    words = error_words(decoded)
    detail = _SENTENCES.get(reason, "")
    if reason == "refused":
        refused = f"The model's server refused with {status}"
        line = public_words(words, secrets)
        detail = f"{refused}: {line}" if line else f"{refused}."
    words = log_words(words, secrets)
    if status in RETRIED_STATUSES and reason != "misconfigured":
        wait_s = retry_after(retry_after_field) or 0.0
        return TransientFailure(
            detail, wait_s=wait_s, reason=reason, words=words, answer_status=status
        )
    return BackendFailed(detail, reason=reason, words=words, answer_status=status)


def reported_error(
    error: object, *, secrets: Secrets, chose_model: bool, reason: str | None = None
) -> BackendFailed:
    """Return the failure that an error inside a response of status 200 is.

    `error` is its decoded JSON, or its text where it is none; `secrets` and `chose_model` are as for
    `refusal`. `reason` is the failure's if the error's codes don't say it; without both it is
    `broken`.
    """
    found = reason_of_body(error, chose_model=chose_model) or reason or "broken"
    words = error_words(error)
    detail = _SENTENCES.get(found, "")
    if found == "refused":
        line = public_words(words, secrets)
        detail = f"{REFUSED}: {line}" if line else f"{REFUSED}."
    return BackendFailed(
        detail, reason=found, words=log_words(words, secrets), answer_status=200
    )
