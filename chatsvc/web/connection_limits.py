"""The limits of what comes in on a connection: times, and sizes in bytes."""

from __future__ import annotations

HEAD_S = 10.0
"""Seconds in which a request's head must arrive, from its first byte on."""

HEAD_BYTES = 64 * 1024
"""Bytes that a request's head may have in all."""

AHEAD_BYTES = 64 * 1024
"""Bytes that a client may send behind a request that is still being answered, or as trailers."""

IDLE_S = 75.0
"""Seconds after which a connection without a request is closed."""

DISCARD_S = 1.0
"""Seconds in which the rest of a refused request is thrown away, so that the answer arrives.

To close a connection on which bytes are unread is to reset it, which may cost the client the
answer.
"""

DISCARD_BYTES = 64 * 1024
"""Bytes of a refused request that are thrown away; what is more is not read."""

RESERVE_HEAD_S = 1.0
"""Seconds that a connection which is one too many has for its head, from its start on.

It is one of the reserve (`Descriptors`), or beyond the limit of its address (`Beyond`).
"""
