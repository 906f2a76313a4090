"""The lines of the logs: as the standard library's formatter writes them, with `key=value` pairs behind the message."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.web import log_lines
from chatsvc.web.log_lines import JsonFormatter, LineHandler, TextFormatter

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


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/St_Johns"])
def zone(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A time zone, in which the process is."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        log_lines._local.cache_clear()
        yield request.param
    time.tzset()
    log_lines._local.cache_clear()


@pytest.mark.parametrize("message", ["it is %s", "two\nlines", ""])
@pytest.mark.parametrize("created", TIMES)
def test_a_line_has_its_time_with_its_zone(
    zone: str, created: float, message: str
) -> None:
    line = TextFormatter().format(record(created, message, data={"a": 1, "b": None}))
    at, level, name, rest = line.split(" ", 3)
    assert (level, name) == ("INFO", "chatsvc.x")
    seen = datetime.fromisoformat(at)
    assert seen == datetime.fromtimestamp(int(created * 1000) / 1000, seen.tzinfo)
    assert (
        seen.utcoffset() == datetime.fromtimestamp(created, ZoneInfo(zone)).utcoffset()
    )
    shown = {"it is %s": "it is so a=1 b=None", "": " a=1 b=None"}
    assert rest == shown.get(message, "two a=1 b=None\n  lines")


def test_a_traceback_stands_below_the_pairs() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        failed = record(TIMES[2], exc_info=sys.exc_info(), data={"a": 1})
    first, *rest = TextFormatter().format(failed).split("\n")
    assert first.endswith(" INFO chatsvc.x it is so a=1")
    assert all(line.startswith("  ") for line in rest)
    told = [line.removeprefix("  ") for line in rest]
    assert told[0] == "Traceback (most recent call last):"
    assert told[-1] == "ValueError: no"
    assert json.loads(JsonFormatter().format(failed))["traceback"] == "\n".join(told)


WORDS = st.text(st.sampled_from('a=" \\\n\r\t\x00\x1b\x7f\x85\u2028\u202e\ufeff…é你'))
PAIR = re.compile(r' ([a-z]+)=("(?:[^"\\]|\\.)*"|[^ "=\\]+)')


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), WORDS | st.integers()))
def test_whatever_a_value_holds_it_is_one_pair_of_one_line(
    data: dict[str, Any],
) -> None:
    line = TextFormatter().format(record(1.0, "it is", data=data))
    assert line.isprintable()
    pairs = line.partition("it is")[2]
    found = PAIR.findall(pairs)
    assert "".join(f" {key}={value}" for key, value in found) == pairs
    read = {k: json.loads(v) if v.startswith('"') else v for k, v in found}
    assert read == {key: str(value) for key, value in data.items()}


@given(WORDS)
def test_what_a_failure_says_begins_no_record(words: str) -> None:
    try:
        raise ValueError(words)
    except ValueError:
        failed = record(1.0, exc_info=sys.exc_info(), data={"a": words})
    first, *rest = re.split("[\r\n]", TextFormatter().format(failed))
    assert first.startswith(("1970-", "1969-"))
    assert all(line.startswith("  ") for line in rest)


@pytest.mark.parametrize("all_facts", [True, False])
def test_a_frequent_record_has_all_that_a_record_has(
    all_facts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[logging.LogRecord] = []
    logger = logging.getLogger("chatsvc.test")
    monkeypatch.setattr(logger, "handle", seen.append)
    for name in ("logThreads", "logProcesses"):
        monkeypatch.setattr(logging, name, all_facts)
    logger.setLevel(logging.INFO)
    before = time.time()
    log_lines.log_often(logger, "it is so", {"a": 1})
    logger.info("it is so", extra={"data": {"a": 1}})
    frequent, usual = (vars(each) for each in seen)
    own = {"created", "msecs", "relativeCreated", "taskName", "processName"}
    own |= {"pathname", "filename", "module", "lineno", "funcName"}
    assert {k: v for k, v in frequent.items() if k not in own} == {
        k: v for k, v in usual.items() if k not in own
    }
    assert set(usual) <= set(frequent)
    assert before <= frequent["created"] <= time.time()
    assert int(frequent["msecs"]) == int(frequent["created"] % 1 * 1000)
    assert abs(frequent["relativeCreated"] - usual["relativeCreated"]) < 60_000
    assert (frequent["filename"], frequent["module"]) == ("log_lines.py", "log_lines")


@contextmanager
def alone() -> Iterator[tuple[logging.Logger, LineHandler, io.StringIO]]:
    """A logger, and the `LineHandler` that alone gets its lines, with what that has written.

    pytest adds handlers of its own before each test.
    """
    root, out = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    handler = LineHandler(out)
    handler.setFormatter(TextFormatter())
    logger = logging.getLogger("chatsvc.test")
    root.handlers, before = [handler], (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    try:
        yield logger, handler, out
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logger.level, logger.propagate = before
        logger.handlers, logger.filters = [], []


@given(st.dictionaries(st.sampled_from(["a", "path", "n"]), st.text() | st.integers()))
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_line_without_a_record_is_the_line_of_one(
    formatter: TextFormatter | JsonFormatter, data: dict[str, Any]
) -> None:
    for created in TIMES:
        made = record(created, "it is so", data=data)
        line = formatter.format_info(created, "chatsvc.x", "it is so", data)
        assert line == formatter.format(made)


def test_a_handler_of_its_own_gets_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    with alone() as (logger, _, out):
        monkeypatch.setattr(logger, "handle", lambda _: pytest.fail("a record"))
        log_lines.log_often(logger, "it is so", {"a": 1})
    assert re.fullmatch(r"\S+ INFO chatsvc.test it is so a=1\n", out.getvalue())


@pytest.mark.parametrize(
    "why", ["a filter", "the handler's filter", "two", "no propagation", "a format"]
)
def test_whoever_looks_at_records_gets_them(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[logging.LogRecord] = []
    with alone() as (logger, handler, _):
        monkeypatch.setattr(logger, "handle", seen.append)
        match why:
            case "a filter":
                logger.addFilter(lambda _: True)
            case "the handler's filter":
                handler.addFilter(lambda _: True)
            case "two":
                logging.getLogger().addHandler(logging.NullHandler())
            case "no propagation":
                logger.propagate = False
            case _:
                handler.setFormatter(logging.Formatter())
        log_lines.log_often(logger, "it is so", {"a": 1})
    assert [vars(each)["data"] for each in seen] == [{"a": 1}]


def test_a_level_above_writes_nothing() -> None:
    with alone() as (logger, handler, out):
        logger.disabled = True
        log_lines.log_often(logger, "it is so", {"a": 1})
        logger.disabled = False
        logger.setLevel(logging.WARNING)
        log_lines.log_often(logger, "it is so", {"a": 1})
        handler.setLevel(logging.WARNING)
        logger.setLevel(logging.INFO)
        log_lines.log_often(logger, "it is so", {"a": 1})
    assert not out.getvalue()


def test_an_applications_own_records_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_trace(*args: Any, **more: Any) -> logging.LogRecord:
        made = logging.LogRecord(*args, **more)
        made.trace = "of-ann"
        return made

    seen: list[logging.LogRecord] = []
    logger = logging.getLogger("chatsvc.test")
    monkeypatch.setattr(logger, "handle", seen.append)
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(with_trace)
    try:
        log_lines.log_often(logger, "it is so", {"a": 1})
    finally:
        logging.setLogRecordFactory(before)
    assert (vars(seen[0])["trace"], vars(seen[0])["data"]) == ("of-ann", {"a": 1})


@pytest.mark.parametrize("created", TIMES)
def test_json_has_the_time_in_utc(created: float) -> None:
    line = JsonFormatter().format(record(created, data={"path": "/é", "n": {1}}))
    assert "é" in line
    seen = json.loads(line)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    assert seen["time"] == f"{second}.{int(created % 1 * 1000):03d}Z"
    assert seen["message"] == "it is so"
    assert seen["n"] == "{1}"


def test_a_message_moves_no_cursor_and_ends_no_line() -> None:
    message = "a\rb\x1b[2Jc\x85d\u2028e\u202ef\x7f\tg 你 \ud800"
    line = TextFormatter().format(record(0.0, message, data={"key": "v"}))
    assert line.endswith(
        r" a\rb\x1b[2Jc\x85d\u2028e\u202ef\x7f" + "\tg 你 " + r"\ud800 key=v"
    )
    twice = record(0.0, f"{message}\n{message}", data={"key": "v"})
    several = TextFormatter().format(twice)
    head, rest = several.split("\n")
    assert head == line
    assert rest.startswith("  a") and not set(rest) & set("\r\x1b\x85\u2028\x7f")
