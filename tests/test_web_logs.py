"""The lines of the logs: as the standard library's formatter writes them, with `key=value` pairs behind the message."""

from __future__ import annotations

import json
import logging
import sys
import time

import pytest

from chatsvc.web.log_lines import JsonFormatter, TextFormatter

TIMES = [0.0, 1.9999, 1_790_000_000.0005, 1_790_000_000.9996, 1_790_000_001.5]


def record(
    created: float, message: str = "it is %s", **members: object
) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "chatsvc.x", "levelname": "INFO", "msg": message, **members}
    )
    made.args = ("so",) if "%s" in message else ()
    made.created = created
    made.msecs = created % 1 * 1000
    return made


@pytest.mark.parametrize("message", ["it is %s", "two\nlines", ""])
@pytest.mark.parametrize("created", TIMES)
def test_a_line_is_that_of_the_standard_formatter(created: float, message: str) -> None:
    standard = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    expected = standard.format(record(created, message))
    assert TextFormatter().format(record(created, message)) == expected
    data = {"a": 1, "b": None}
    with_pairs = TextFormatter().format(record(created, message, data=data))
    first, newline, rest = expected.partition("\n")
    assert with_pairs == f"{first} a=1 b=None{newline}{rest}"


def test_a_traceback_stands_below_the_pairs() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        failed = record(TIMES[2], exc_info=sys.exc_info(), data={"a": 1})
    first, *rest = TextFormatter().format(failed).split("\n")
    assert first.endswith(" INFO chatsvc.x it is so a=1")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: no"
    assert json.loads(JsonFormatter().format(failed))["traceback"] == "\n".join(rest)


@pytest.mark.parametrize("created", TIMES)
def test_json_has_the_time_in_utc(created: float) -> None:
    line = JsonFormatter().format(record(created, data={"path": "/é", "n": {1}}))
    assert "é" in line
    seen = json.loads(line)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    assert seen["time"] == f"{second}.{int(created % 1 * 1000):03d}Z"
    assert seen["message"] == "it is so"
    assert seen["n"] == "{1}"
