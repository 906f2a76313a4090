"""The response header `Retry-After` (RFC 9110 section 10.2.3), as a client reads it.

Both clients in this project read it here: the one of model servers in `chatsvc.backends` and the
one of chatsvc itself in `chatsvc.client`. The module imports nothing of chatsvc.
"""

from __future__ import annotations

import email.utils
import time
from datetime import UTC

MOST_DIGITS = 9
"""Digits of a number of seconds that are read: `int` and `float` need ever more time for more, and
a wait of 30 years is as good as any longer one."""


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Return the seconds that a `Retry-After` asks the client to wait, 0.0 for a past date.

    `value` is the header's value, or None when the response has no such header. `now` is the
    present in Unix seconds, by default the system clock's. Returns None for a missing header and
    for a value that is neither a date nor a number; it never raises.
    """
    if value is None:
        return None
    value = value.strip()
    # [RFC 9110 10.2.3] "Retry-After = HTTP-date / delay-seconds", and delay-seconds are ASCII
    # digits; `isdigit` alone would take those of other scripts, too.
    if value.isascii() and value.isdigit():
        return float(value[:MOST_DIGITS])
    try:
        date = email.utils.parsedate_to_datetime(value)
        if date.tzinfo is None:
            # [RFC 9110 5.6.7] "values in the asctime format are assumed to be in UTC". Without
            # this Python would take them for the local time of this machine.
            date = date.replace(tzinfo=UTC)
        moment = date.timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))
