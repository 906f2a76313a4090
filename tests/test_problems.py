"""The table of problems against PROTOCOL.md section 6, and the clients' lists against the table."""

from __future__ import annotations

import re
from itertools import cycle
from pathlib import Path

import pytest

from chatsvc.problem import Problem
from chatsvc.problems import every_problem

ROOT = Path(__file__).parent.parent


def rows() -> dict[str, tuple[int, int | None, bool]]:
    """Status, close code if there is one, and whether `Retry-After` is sent, by code."""
    section = (ROOT / "PROTOCOL.md").read_text(encoding="utf-8").split("\n## ")[6]
    table: dict[str, tuple[int, int | None, bool]] = {}
    for line in section.splitlines():
        codes, status, close, *_ = [*line.strip("|").split("|"), "", ""]
        names = re.findall(r"`([a-z-]+)`", codes)
        statuses = map(int, re.findall(r"\b\d{3}\b", status))
        closes: list[int | None] = [*map(int, re.findall(r"\b\d{4}\b", close))]
        if line.startswith("| `"):
            # One number may stand for all codes of its row.
            table |= {
                name: (number, closed, "Retry-After" in status)
                for name, number, closed in zip(
                    names, cycle(statuses), cycle(closes or [None]), strict=False
                )
            }
    return table


RETRYABLE = [kind for kind in every_problem() if kind.retryable]


def test_every_row_has_one_class() -> None:
    codes = [kind.code for kind in every_problem()] + [Problem.code]
    assert sorted(codes) == sorted(rows())


@pytest.mark.parametrize(
    "kind", [Problem, *every_problem()], ids=lambda kind: kind.code
)
def test_a_class_is_as_its_row_says(kind: type[Problem]) -> None:
    status, close_code, retryable = rows()[kind.code]
    assert (kind.status, kind.retryable) == (status, retryable)
    assert close_code in (None, kind.close_code)


def test_the_page_comes_back_for_the_retryable_ones() -> None:
    source = (ROOT / "static" / "problems.js").read_text(encoding="utf-8")
    [listed] = re.findall(r"RETRIED_CODES = new Set\(\[(.*?)\]\)", source, re.DOTALL)
    assert set(re.findall(r"'([a-z-]+)'", listed)) == {kind.code for kind in RETRYABLE}
