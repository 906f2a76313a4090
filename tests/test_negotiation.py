"""What a client accepts (RFC 9110 section 12)."""

from __future__ import annotations

import pytest

from chatsvc.web.negotiation import accepted_languages, accepts_gzip, parse_weights


def test_a_value_has_the_weight_of_its_q() -> None:
    header = "a/b;level=1; q=0.5, c ;Q = 0.25,d;q=2,e;q=x,f;q=nan,g;q=-1,h;x=y,"
    assert parse_weights(header) == [
        ("a/b", 0.5),
        ("c", 0.25),
        ("d", 1.0),
        ("e", 0.0),
        ("f", 0.0),
        ("g", 0.0),
        ("h", 1.0),
        ("", 1.0),
    ]


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP, br", True),
        ("br;q=1, gzip;q=0.1", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("", False),
        ("identity, br", False),
        ("*", False),
    ],
)
def test_gzip_is_taken_where_it_is_named_and_not_refused(
    header: str, accepted: bool
) -> None:
    assert accepts_gzip(header) is accepted


def test_languages_are_best_first_with_their_shorter_forms_behind_them() -> None:
    header = "en;q=0.5, zh-Hant-TW, de;q=0, fr;q=0.8"
    assert accepted_languages(header) == ["zh-Hant-TW", "zh-Hant", "zh", "fr", "en"]
