"""What a client accepts by its headers: media types, languages, codings (RFC 9110 section 12)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

MAX_VALUES = 64
"""Values of a header that are looked at, from its beginning; no browser sends a dozen."""

MAX_SUBTAGS = 8
"""Subtags of a language that are looked at, from its beginning: each makes one more shorter form.

The longest tags that there are have six (RFC 5646 section 4.4.1).
"""


KNOWN_HEADERS = 64
"""The `Accept` headers whose answer is remembered: every client has its own one, always the same."""


def parse_weights(header: str) -> list[tuple[str, float]]:
    """Return the first `MAX_VALUES` values of a header, each with its weight (RFC 9110 section 12.4.2).

    `header` is that of an `Accept`, `Accept-Language` or `Accept-Encoding`. The values stay in its
    order and letter case; parameters other than `q` are left out. A weight is from 0, which refuses
    the value, to 1; one that can't be read is 0.
    """
    weighted = []
    for item in header.split(",", MAX_VALUES)[:MAX_VALUES]:
        value, *parameters = (part.strip() for part in item.split(";"))
        weighted.append((value, _weight(parameters)))
    return weighted


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.rstrip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return min(weight, 1.0) if weight > 0 else 0.0  # a NaN is neither
    return 1.0


@lru_cache(KNOWN_HEADERS)
def negotiate(accept: str, media_types: tuple[str, ...]) -> str | None:
    """Return the media type that an `Accept` header wants most (RFC 9110 section 12.5.1).

    `media_types` are those that there are. Of several with the same weight it is the one that the
    header names first, else the first of `media_types`. Returns None if the header takes none.
    """
    ranges: dict[str, tuple[float, int]] = {}  # the weight, and how early it stands
    for place, (name, weight) in enumerate(parse_weights(accept.lower())):
        found = (weight, -place)
        ranges[name] = max(found, ranges.get(name, found))

    def wish(media_type: str) -> tuple[float, int]:
        # [RFC 9110] "the most specific reference has precedence"
        for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
            if name in ranges:
                return ranges[name]
        return 0.0, 0

    best = max(media_types, key=wish)
    return best if wish(best)[0] else None


def covers(media_range: str, media_type: str) -> bool:
    """Return whether a range of an `Accept` header takes a media type (RFC 9110 section 12.5.1).

    Both are in lower case and without parameters.
    """
    kind = media_type.partition("/")[0]
    return media_range in (media_type, f"{kind}/*", "*/*")


def accepted_languages(header: str) -> list[str]:
    """Return the languages of an `Accept-Language` header, best first (RFC 9110 section 12.5.4).

    A range with subtags stands for its shorter forms too, just behind it (RFC 4647 section 3.4).
    """
    weighted = [(tag, weight) for tag, weight in parse_weights(header) if weight]
    weighted.sort(key=lambda pair: -pair[1])
    accepted = []
    for tag, _ in weighted:
        subtags = tag.split("-", MAX_SUBTAGS)[:MAX_SUBTAGS]
        accepted += [
            "-".join(subtags[:length]) for length in range(len(subtags), 0, -1)
        ]
    return accepted


def cookie(header: str, name: str) -> str | None:
    """Return the value of the first cookie of a name in a `Cookie` header, or None.

    aiohttp's parser takes 20 ms for some headers of 8 KiB (RFC 6265 section 4.2.1).
    """
    for pair in header.split(";"):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            return value.strip().strip('"')
    return None


def accepts_gzip(header: str) -> bool:
    """Return whether an `Accept-Encoding` header takes gzip (RFC 9110 section 12.5.3).

    `x-gzip` is the same coding (section 8.4.1.3). A `*` does not count: with it a body that is not
    compressed is acceptable, too.
    """
    return any(
        weight and coding in ("gzip", "x-gzip")
        for coding, weight in parse_weights(header.lower())
    )
