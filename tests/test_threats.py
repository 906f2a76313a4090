"""Tests that the threat model of SECURITY.md names tests that exist, at least one for each threat."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SECURITY = (TESTS.parent / ".github" / "SECURITY.md").read_text(encoding="utf-8")


def _rows() -> list[list[str]]:
    """Return the cells of each row of the threat model, without the heads of table and groups."""
    table = SECURITY.partition("\n| --- | --- | --- |\n")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()]
    return [
        [cell.strip() for cell in row] for row in rows if not row[0].startswith(" **")
    ]


@cache
def _tests_of(file: str) -> set[str]:
    """Return the names of the tests in a file below `tests/`, also those of classes."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row[0])
def test_each_threat_has_tests_that_exist(row: list[str]) -> None:
    threat, defence, named = row
    assert threat and defence
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", named)
    assert tests
    assert named == ", ".join(f"`{file}::{name}`" for file, name in tests)
    for file, name in tests:
        assert name in _tests_of(file), f"{file} has no {name}"


def test_all_of_the_table_is_read() -> None:
    assert len(_rows()) > 30
    assert SECURITY.count("::") == sum(named.count("::") for *_, named in _rows())
