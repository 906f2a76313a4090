"""The reasons of failures: what the codes, types and statuses of model servers' errors stand for.

No two vendors have the same codes, but all build them of the same words: `rate_limit_exceeded`,
`RateLimitError`, `Throttling.RateQuota`. So codes are compared without case and punctuation, by the
words in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

MISCONFIGURED_WORDS = (
    "apikey",
    "authenticat",
    "unauthorized",
    "permission",
    "forbidden",
    "accessdenied",
    "insufficientquota",
    "currentquota",
    "billing",
    "insufficientbalance",
    "arrear",
    "payment",
    "credit",
    "subscription",
    "deactivated",
    "unsupportedcountry",
    "freetieronly",
    "unpurchased",
)
"""Words in codes of errors that only whoever runs the service can mend: keys, rights, money."""

BUSY_WORDS = (
    "ratelimit",
    "overload",
    "toomanyrequests",
    "busy",
    "throttl",
    "resourceexhausted",
    "unavailable",
    "capacity",
    "slowdown",
    "concurren",
    "queue",
    "limitrequests",
    "limitburstrate",
    "insufficientsystemresource",
)
"""Words in codes of errors that pass by themselves."""

UNKNOWN_MODEL_WORDS = (
    "notfound",
    "nosuchmodel",
    "invalidmodel",
    "unknownmodel",
    "modelnotsupported",
)
"""Words in codes of errors that say that there is no such model: it concerns the user only if the
user has chosen the model."""

REFUSED_WORDS = (
    "badrequest",
    "invalid",
    "contextlength",
    "contextsize",
    "contextwindow",
    "contentfilter",
    "contentpolicy",
    "inspection",
    "unprocessable",
    "toolong",
    "toolarge",
    "unsupported",
    "validation",
    "missing",
    "policyviolation",
    "moderation",
    "safety",
    "maxlength",
    "abovemax",
    "belowmin",
    "sensitive",
    "jsonvalidatefailed",
    "toolusefailed",
    "promptblocked",
)
"""Words in codes of errors that are about the user's own request."""

BUSY_STATUSES = frozenset({408, 429, 498, 503, 529})
"""HTTP statuses that pass by themselves; 498 and 529 are vendors' own for a lack of capacity."""

REFUSED_STATUSES = frozenset({400, 413, 422})
"""HTTP statuses that are about the request that was sent."""

CODE_MEMBERS = ("code", "type", "status", "error_code", "error_type", "reason")
"""The members of an error's JSON object that may hold a code, as a text or a number."""

NESTED_MEMBERS = ("error", "errors", "detail", "details", "metadata", "base_resp")
"""The members in which a further object, or a list of them, may hold more codes."""

MOST_DEPTH = 8
"""How many levels down codes are looked for."""

MOST_ITEMS = 5
"""The items of a list that are looked at."""

BASE_RESP_REASONS = {
    **dict.fromkeys((1002, 1041), "busy"),
    **dict.fromkeys((1004, 1008, 2049), "misconfigured"),
    **dict.fromkeys((1026, 1027, 1039, 2013), "refused"),
}
"""The reasons of the numbers that MiniMax gives as `base_resp.status_code`."""

_PUNCTUATION = re.compile(r"[\W_]+")


def reason_of_body(body: object, *, chose_model: bool) -> str | None:
    """Return the reason that the codes in an error's decoded JSON stand for, or None.

    A code that is the number of an HTTP status counts as that status. `chose_model` is whether the
    user, not the operator, chose the model that was asked for.
    """
    codes = set[str]()
    for code in _codes(body, MOST_DEPTH):
        if isinstance(code, int):
            if (reason := BASE_RESP_REASONS.get(code)) is not None:
                return reason
        else:
            codes.add(_PUNCTUATION.sub("", code[:100]).lower())
    numbers = [int(code) for code in codes if re.fullmatch("[45][0-9]{2}", code)]

    def has(words: Iterable[str]) -> bool:
        return any(word in code for code in codes for word in words)

    # From the most telling to the least: a wrong key and an unknown model are invalid requests too.
    if has(MISCONFIGURED_WORDS):
        return "misconfigured"
    if has(BUSY_WORDS):
        return "busy"
    if has(UNKNOWN_MODEL_WORDS):
        return "refused" if chose_model else "misconfigured"
    for status in numbers:
        if status < 500 or status in BUSY_STATUSES:
            return reason_of_status(status, chose_model=chose_model)
    return "refused" if has(REFUSED_WORDS) else None


def reason_of_status(status: int, *, chose_model: bool) -> str:
    """Return the reason that the HTTP status of a refusal stands for, as `reason_of_body` does."""
    if status in BUSY_STATUSES:
        return "busy"
    if status in REFUSED_STATUSES or (status == 404 and chose_model):
        return "refused"
    # Redirects, wrong keys and paths; 409 and 425 are passing troubles of the server.
    return "broken" if status >= 500 or status in (409, 425) else "misconfigured"


def _codes(body: object, depth: int) -> Iterator[str | int]:
    """Yield all codes of an error: texts, and the numbers of a `base_resp`."""
    if not depth:
        return
    if isinstance(body, list):
        for item in body[:MOST_ITEMS]:
            yield from _codes(item, depth - 1)
    if not isinstance(body, dict):
        return
    for name in CODE_MEMBERS:
        if isinstance(code := body.get(name), str | int):
            yield str(code)
    base: Any = body.get("base_resp")
    if isinstance(base, dict):
        number = str(base.get("status_code"))
        if re.fullmatch("[0-9]{1,9}", number):
            yield int(number)
    for name in NESTED_MEMBERS:
        yield from _codes(body.get(name), depth - 1)
