"""The lines of the logs: how they are written, as text or JSON, and where they go.

`chatsvc.web.logs` says which lines there are.

Invariants:

- In text, a line that does not begin with a space begins a record: further lines of a message, and a
  traceback, are indented, and control characters are escaped. What a client sends can't look like
  another record.
- A value of a pair is one word, or stands in quotes: what a client sends can't look like another pair.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from functools import lru_cache
from typing import Any, TextIO

from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger

from chatsvc.settings import Settings

NAME = "chatsvc"
"""The name of the logger above all of this package's."""

ACCESS = f"{NAME}.access"
"""The name of the logger of requests."""

# Each reply has two lines, and each of them was a tenth of what a short reply costs: so the second of
# the time is formatted once, a line without a traceback is joined here, and what is logged often
# becomes a record only where something but a `LineHandler` would see that.


@lru_cache(maxsize=4)
def _local(second: int) -> tuple[str, str]:
    """Return a time (Unix seconds) in this machine's time zone as ISO 8601, and that zone's offset."""
    local = time.localtime(second)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{zone[:3]}:{zone[3:5]}"


@lru_cache(maxsize=4)
def _utc(second: int) -> str:
    """Return a time (Unix seconds) in UTC, as ISO 8601 without its zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


_json_encoder = json.JSONEncoder(ensure_ascii=False, default=str)
_to_json = _json_encoder.encode

_PLAIN = r"[!#-<>-\[\]-~\xa1-\u1fff\u2030-\ud7ff…]+"
_is_plain = re.compile(_PLAIN).fullmatch
_are_plain = re.compile(f"(?: {_PLAIN}={_PLAIN})*").fullmatch
_HARMFUL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ESCAPED = re.compile(r"[\x7f-\xa0\u2000-\u202f\ud800-\uf8ff\ufeff]")


def _shown(value: object) -> str:
    """Return a value of a pair: as it is where nothing in it needs quotes, else as JSON does it."""
    text = value if isinstance(value, str) else str(value)
    if _is_plain(text):
        return text
    # What JSON leaves as it is may still end a line, or change the order of what is shown.
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", _to_json(text))


def _indented(line: str, pairs: str) -> str:
    """Return a record of several lines with its pairs behind the first, and the others indented.

    What moves a terminal's cursor, or changes the order of what it shows, is escaped.
    """
    line = _HARMFUL.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), line
    )
    if "\n" not in line:
        return line + pairs
    head, _, rest = line.partition("\n")
    return "\n  ".join([head + pairs, *rest.split("\n")])


class TextFormatter(logging.Formatter):
    """The formatter of lines for people: `time level name message key=value …`.

    The time is ISO 8601 with the offset of this machine's zone. A value with a space, a quotation
    mark, an `=`, a backslash or something that can't be seen stands in quotes, as a string of JSON.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time in this machine's time zone, to the millisecond."""
        second, zone = _local(int(record.created))
        return f"{second}.{int(record.msecs):03d}{zone}"

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback below it where there is one."""
        if record.exc_info or record.exc_text or record.stack_info:
            line = super().format(record)
        else:
            second, zone = _local(int(record.created))
            message = record.getMessage() if record.args else record.msg
            line = f"{second}.{int(record.msecs):03d}{zone} {record.levelname} {record.name} {message}"
        pairs = self._pairs(record.__dict__.get("data") or {})
        return line + pairs if line.isprintable() else _indented(line, pairs)

    def format_info(
        self, created: float, name: str, message: str, data: dict[str, Any]
    ) -> str:
        """Return what `format` returns for a record of level INFO; `message` is plain ASCII."""
        second, zone = _local(int(created))
        begin = f"{second}.{int(created % 1 * 1000):03d}{zone} INFO {name} {message}"
        return begin + self._pairs(data)

    def _pairs(self, data: dict[str, Any]) -> str:
        pairs = "".join([f" {key}={value}" for key, value in data.items()])
        # All at once, for nearly all are plain. A value that looks like pairs makes them too many.
        if not _are_plain(pairs) or pairs.count("=") != len(data):
            pairs = "".join([f" {key}={_shown(data[key])}" for key in data])
        return pairs


class JsonFormatter(logging.Formatter):
    """The formatter of lines for machines: one JSON object a line, its time in UTC (ISO 8601)."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        data = {
            "time": f"{_utc(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **record.__dict__.get("data", {}),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return _to_json(data)

    def format_info(
        self, created: float, name: str, message: str, data: dict[str, Any]
    ) -> str:
        """Return what `format` returns for a record of level INFO."""
        return _to_json(
            {
                "time": f"{_utc(int(created))}.{int(created % 1 * 1000):03d}Z",
                "level": "info",
                "logger": name,
                "message": message,
                **data,
            }
        )


class LineHandler(logging.StreamHandler[TextIO]):
    """The handler of a stream that gives each line to the system by itself, as Python's stderr does."""

    def write_info(self, name: str, message: str, data: dict[str, Any]) -> bool:
        """Write a line of level INFO without a record; return False if that takes one."""
        formatter, lock = self.formatter, self.lock
        if lock is None or not isinstance(formatter, (TextFormatter, JsonFormatter)):
            return False
        try:
            line = formatter.format_info(time.time(), name, message, data)
            with lock:
                self.stream.write(line + "\n")
        except Exception:  # noqa: BLE001  (a record tells how to report it)
            return False
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. An error is reported as `logging.Handler.handleError` does."""
        formatter = self.formatter
        try:
            line = (
                self.format(record) if formatter is None else formatter.format(record)
            )
            self.stream.write(line + "\n")
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001  (as the standard library's handlers do)
            self.handleError(record)


def _redact_unreadable_request(record: logging.LogRecord) -> bool:
    """Edit aiohttp's record of a request that it can't read, and return True to keep every record.

    aiohttp's own record shows the line in question, which may hold a message or a reply's id. The
    edited one names only the kind of mistake.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = "a request that can't be read: %s"
        record.args = (type(error).__name__,)
        record.exc_info = None
    return True


def set_up_logs(settings: Settings) -> None:
    """Send all logs to stderr, in the format and from the level on that `settings` say.

    The level `debug` is for this package alone: what others say then may hold a message's text.
    """
    # No line shows them, and to find them out costs a tenth of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    server_logger.addFilter(_redact_unreadable_request)
    handler = LineHandler(sys.stderr)
    is_json = settings.log_format == "json"
    handler.setFormatter(JsonFormatter() if is_json else TextFormatter())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    logging.getLogger(NAME).setLevel(level)
    if settings.no_access_log:
        logging.getLogger(ACCESS).setLevel(logging.WARNING)


class _FrequentRecord(logging.LogRecord):
    """A record of level INFO that is made at a fifth of the cost, with this module as its caller.

    It is for handlers of others: a test's, or of an application that logs in its own way.

    A `logging.LogRecord` takes the file's name apart each time, and to look for the caller on the
    stack costs as much as to write the line.
    """

    def __init__(self, name: str, message: str, data: dict[str, Any]) -> None:
        created = time.time()
        self.__dict__.update(
            _FIXED,
            name=name,
            msg=message,
            data=data,
            created=created,
            msecs=created % 1 * 1000,
            relativeCreated=(created - _STARTED) * 1000,
        )
        if logging.logThreads:
            self.thread = threading.get_ident()
            self.threadName = threading.current_thread().name
        if logging.logProcesses:
            self.process = os.getpid()


def _only_handler(logger: logging.Logger) -> LineHandler | None:
    """Return the `LineHandler` that gets the records of a logger as they are, and nothing else does.

    None if they go another way: through filters, to other handlers, or made by somebody's factory.
    """
    if logger.filters or logger.disabled:
        return None
    while logger.parent is not None:
        if logger.handlers or not logger.propagate:
            return None
        logger = logger.parent
    handlers = logger.handlers
    if len(handlers) != 1 or logging.getLogRecordFactory() is not logging.LogRecord:
        return None
    handler = handlers[0]
    takes = type(handler) is LineHandler and handler.level <= logging.INFO
    return handler if takes and not handler.filters else None  # type: ignore[return-value]


def log_often(logger: logging.Logger, message: str, data: dict[str, Any]) -> None:
    """Log a line of level INFO, as `logger.info` does with `extra={"data": data}`."""
    if not logger.isEnabledFor(logging.INFO):
        return
    handler = _only_handler(logger)
    if handler is not None and handler.write_info(logger.name, message, data):
        return
    if logging.getLogRecordFactory() is logging.LogRecord:
        logger.handle(_FrequentRecord(logger.name, message, data))
    else:  # an application adds something of its own to each record
        logger.info(message, extra={"data": data})


_STARTED = time.time()
_FIXED = {
    **logging.LogRecord(
        NAME, logging.INFO, __file__, 0, "", (), None, log_often.__name__
    ).__dict__,
    **dict.fromkeys(("thread", "threadName", "process", "taskName")),
}
