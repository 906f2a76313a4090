"""The refusals after which a client comes back (PROTOCOL.md section 6).

The service says "come back" with the problems `too-many-requests`, `overloaded`, `draining` and
`store-unavailable`. These are their HTTP statuses and their WebSocket close codes; every other
refusal is final.
"""

RETRIED_STATUSES = frozenset({429, 503})
"""The HTTP statuses of a refusal that another attempt may overcome, after `Retry-After`."""

RETRIED_CLOSE_CODES = {
    1012: "the server restarts",
    1013: "the server has no room",
    4429: "too many requests",
}
"""The close codes of such a refusal (RFC 6455 section 7.4), and what each says to the user."""

OWN_STATUSES = RETRIED_STATUSES | {401, 403, 421}
"""The HTTP statuses that are the service's own even when no problem comes with them.

A refused upgrade has a status and no body that the client can read.
"""


def is_final_close(code: int) -> bool:
    """Return whether the service refuses for good by closing a WebSocket with `code`.

    Codes from 4000 on are the service's own; 1003 and 1009 are a frame that it never takes. Any
    other code that is not in `RETRIED_CLOSE_CODES` is a broken connection.
    """
    own = 4000 <= code < 5000
    return code not in RETRIED_CLOSE_CODES and (own or code in (1003, 1009))
