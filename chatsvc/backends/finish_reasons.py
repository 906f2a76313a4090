"""The `finish_reason`s of model servers, and what they stand for (PROTOCOL.md section 1)."""

from __future__ import annotations

ALIASES = {
    "stop": (
        "stop",
        *("eos", "eos_token", "end", "end_turn", "stop_sequence", "stop_token"),
        *("complete", "completed", "finish", "finished", "done", "normal"),
        "finish_reason_stop",
    ),
    "length": (
        "length",
        *("max_tokens", "max_length", "model_length", "max_output_tokens"),
        *("max_completion_tokens", "model_context_window_exceeded"),
        "finish_reason_max_tokens",
    ),
    "content_filter": (
        "content_filter",
        *("content_filtered", "safety", "sensitive", "recitation", "blocklist"),
        *("prohibited_content", "spii", "image_safety", "refusal", "guardrail"),
    ),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
}
"""The names that servers have for a reason, by the reason: in lower case, with `_` for `-` and
spaces."""

FAILURES = {
    "insufficient_system_resource": "busy",
    "overloaded": "busy",
    **dict.fromkeys(
        (
            *("error", "failed", "network_error", "abort", "aborted"),
            *("cancelled", "canceled", "timeout", "malformed_function_call"),
        ),
        "broken",
    ),
}
"""The reason of the failure (`BackendFailed.reason`) by the `finish_reason` that stands for one,
written as in `ALIASES`."""

LINGER_S = 2.0
"""The seconds in which something may follow a chunk that has a finish alone: the usage, `[DONE]`."""

LINGER_WITH_WORDS_S = 10.0
"""The same for a chunk that has a part of the answer, too: some servers say `stop` in each."""

LONGEST_REASON = 100
"""Code points of a reason that nobody knows, of which no more are passed on."""

_KNOWN = {alias: reason for reason, aliases in ALIASES.items() for alias in aliases}


def linger_s(words: bool) -> float:
    """Return the seconds in which something may follow a finish, whose chunk has `words` or not."""
    return LINGER_WITH_WORDS_S if words else LINGER_S


def read_reason(value: str) -> str | None:
    """Return the reason that a server's `finish_reason` stands for, or None if the answer goes on.

    A known reason comes out as a key of `ALIASES` or of `FAILURES`, any other as it is, cut to
    `LONGEST_REASON`. An empty one, `null` and `none` say that the answer goes on.
    """
    plain = value.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in ("", "null", "none", "false", "finish_reason_unspecified"):
        return None
    if plain in FAILURES:
        return plain
    return _KNOWN.get(plain, value[:LONGEST_REASON])
