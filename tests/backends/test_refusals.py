"""Whose words reach whom: refusals and errors of model servers, as users and the log read them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.errors import TransientFailure, error_words, is_error
from chatsvc.backends.reasons import reason_of_body, reason_of_status
from chatsvc.backends.refusals import (
    BROKEN,
    BUSY,
    MISCONFIGURED,
    refusal,
    reported_error,
)
from chatsvc.problems import FAILURE_REASONS, BackendFailed

KEY = "sk-s3cret-k3y"


def refused(
    status: int, body: object = "no luck", *, chose_model: bool = False, after: str = ""
) -> BackendFailed:
    raw = body if isinstance(body, str) else json.dumps(body)
    return refusal(
        status, after or None, raw.encode(), secrets=(KEY,), chose_model=chose_model
    )


@pytest.mark.parametrize("status", [400, 413, 422])
def test_words_about_the_request_reach_the_user(status: int) -> None:
    failure = refused(status, {"error": {"message": "too many tokens"}})
    assert failure.reason == "refused"
    assert (
        failure.detail == f"The model's server refused with {status}: too many tokens"
    )
    private = refused(status, f"{KEY} is not for /srv/m.gguf on gpu-7:8000")
    assert private.detail.endswith(f"with {status}: … is not for … on …")
    assert refused(status, "<html>").detail == (
        f"The model's server refused with {status}."
    )


@pytest.mark.parametrize(
    ("status", "reason", "detail"),
    [
        *((status, "misconfigured", MISCONFIGURED) for status in (401, 402, 403)),
        *((status, "misconfigured", MISCONFIGURED) for status in (404, 405, 307)),
        *((status, "busy", BUSY) for status in (408, 429, 498, 503, 529)),
        *((status, "broken", BROKEN) for status in (409, 500, 501, 502, 504, 599)),
    ],
)
def test_other_words_reach_the_log_alone(status: int, reason: str, detail: str) -> None:
    failure = refused(status, {"error": {"message": f"no {KEY} at 10.0.0.5"}})
    assert (failure.reason, failure.detail) == (reason, detail)
    assert (failure.words, failure.answer_status) == ("no … at 10.0.0.5", status)


def test_an_unknown_model_concerns_who_has_chosen_it() -> None:
    body = {"error": {"message": "no model x", "code": "model_not_found"}}
    assert refused(404, body, chose_model=True).detail.endswith("with 404: no model x")
    assert refused(404, body).detail == MISCONFIGURED
    error = {"code": "model_not_found", "message": "no model x"}
    for chose, reason in ((True, "refused"), (False, "misconfigured")):
        failure = reported_error(error, secrets=(), chose_model=chose)
        assert failure.reason == reason
        assert ("no model x" in failure.detail) == chose


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        # A wrong key is a bad request to Google, a spent quota too many requests to OpenAI.
        (400, {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}, "misconfigured"),
        (400, {"code": "Arrearage"}, "misconfigured"),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, "misconfigured"),
        (429, {"type": "exceeded_current_quota_error"}, "misconfigured"),
        (429, {"status": "RESOURCE_EXHAUSTED"}, "busy"),
        (429, {"code": "rate_limit_exceeded", "type": "tokens"}, "busy"),
        (400, {"code": "Throttling.RateQuota"}, "busy"),
        (500, {"type": "overloaded_error"}, "busy"),
        (401, {"type": "invalid_request_error"}, "misconfigured"),
        (400, {"type": "invalid_request_error", "code": None}, "refused"),
        (400, {"code": "DataInspectionFailed"}, "refused"),
    ],
)  # fmt: skip
def test_a_code_says_more_than_a_status(
    status: int, error: dict[str, Any], reason: str
) -> None:
    assert refused(status, {"error": {"message": "x", **error}}).reason == reason


def test_what_may_be_asked_again() -> None:
    for status in (408, 429, 500, 502, 503, 504):
        failure = refused(status, after="7")
        assert isinstance(failure, TransientFailure)
        assert (failure.wait_s, failure.at_once) == (7.0, False)
    for status in (400, 401, 404, 501):
        assert not isinstance(refused(status), TransientFailure)
    # A quota that is used up is not there a second later.
    spent = refused(429, {"error": {"code": "insufficient_quota"}})
    assert not isinstance(spent, TransientFailure)


@given(st.integers(100, 599), st.binary(max_size=200), st.booleans())
def test_any_refusal(status: int, body: bytes, chose_model: bool) -> None:
    failure = refusal(status, None, body, secrets=(), chose_model=chose_model)
    assert failure.reason in FAILURE_REASONS
    assert failure.detail and len(failure.detail) < 600 and len(failure.words) <= 501
    assert "\n" not in failure.detail + failure.words


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["error", "code", "type", "message", "detail", "details", "msg"]
                + ["status", "base_resp", "status_code", "errors", "choices", "success"]
            ),
            inner,
        ),
    ),
)


@given(json_values, st.booleans())
def test_any_error(value: Any, chose_model: bool) -> None:
    assert reason_of_body(value, chose_model=chose_model) in (*FAILURE_REASONS, None)
    assert isinstance(error_words(value), str)
    if isinstance(value, dict):
        assert is_error(value) in (True, False)
    failure = reported_error(value, secrets=(), chose_model=chose_model)
    assert failure.reason in FAILURE_REASONS


def test_every_status_has_a_reason() -> None:
    assert {reason_of_status(s, chose_model=False) for s in range(100, 600)} == set(
        FAILURE_REASONS
    )
