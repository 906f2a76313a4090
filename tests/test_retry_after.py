"""The header Retry-After: RFC 9110 section 10.2.3, and what else comes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.retry_after import retry_after

NOW = 1_445_412_470.0
"""Ten seconds before Wed, 21 Oct 2015 07:28:00 GMT."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("3", 3.0),
        (" 120 ", 120.0),
        ("007", 7.0),
        ("9" * 5000, 999_999_999.0),
    ],
)
def test_delay_seconds(value: str, seconds: float) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", id="IMF-fixdate"),
        pytest.param("Wednesday, 21-Oct-15 07:28:00 GMT", id="RFC 850"),
        pytest.param("Wed Oct 21 07:28:00 2015", id="asctime"),
        pytest.param("Wed, 21 Oct 2015 09:28:00 +0200", id="another zone"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_http_dates_in_any_form_and_wherever_the_client_is(
    value: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after(value, NOW) == 10.0
        assert retry_after(value, NOW + 60) == 0.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_without_a_present_it_is_the_clocks() -> None:
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-1",
        "1.5",
        "soon",
        "٣",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Wed, 21 Oct 2015 99:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +9999",
        "Wed, 21 Oct 2015 07:28:00 +" + "9" * 20,
    ],
)
def test_anything_else_is_none(value: str | None) -> None:
    assert retry_after(value, NOW) is None


@given(st.text(alphabet="0123456789 ,:+-GMTWedOct", max_size=40) | st.text())
def test_it_never_raises(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or seconds >= 0
