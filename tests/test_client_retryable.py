"""The refusals after which a client comes back (PROTOCOL.md section 6)."""

from chatsvc.client.retryable import (
    OWN_STATUSES,
    RETRIED_CLOSE_CODES,
    RETRIED_STATUSES,
    is_final_close,
)
from chatsvc.problems import every_problem


def test_a_client_comes_back_after_what_passes_and_after_nothing_else() -> None:
    for problem in every_problem():
        passes = problem.retryable
        assert (problem.status in RETRIED_STATUSES) == passes, problem
        assert (problem.close_code in RETRIED_CLOSE_CODES) == passes, problem
        assert not (passes and is_final_close(problem.close_code)), problem


def test_a_close_that_no_problem_has_is_a_broken_connection() -> None:
    for code in (1000, 1001, 1005, 1006, 1011, 3000, 5000):
        assert code not in RETRIED_CLOSE_CODES and not is_final_close(code)
    for code in (1003, 1009, 4401, 4404, 4410, 4422, 4502):
        assert is_final_close(code)


def test_the_statuses_of_a_refused_upgrade_are_the_services_own() -> None:
    before_upgrade = {
        problem.status
        for problem in every_problem()
        if problem.retryable
        or problem.code
        in ("unauthorized", "forbidden", "forbidden-origin", "misdirected-request")
    }
    assert before_upgrade == OWN_STATUSES
