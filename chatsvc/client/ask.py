"""The command `chatsvc ask`: sends a message and streams the reply to the terminal.

PROTOCOL.md section 8 describes it for its users.
"""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import ClassVar

import aiohttp
from yarl import URL

from chatsvc.client.reader import AUTO, TRANSPORTS, read_text, stop_reply
from chatsvc.client.reading import Backoff, Reading
from chatsvc.client.terminal import print_line, write_dim, write_text
from chatsvc.client.wire import (
    SERVICE_URL,
    Question,
    Timeouts,
    check_api_key,
    new_session,
)
from chatsvc.exit_status import ExitStatus
from chatsvc.setting_formats import API_KEY, PATH, SWITCH, choice_format
from chatsvc.settings import BadSetting, setting

_CONNECT_TIMEOUT_S = 10.0

# Where no other transport could be used instead, a slow proxy gets more time than `Timeouts` says.
_HEADERS_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class AskSettings:
    """The settings of `chatsvc ask`."""

    group: ClassVar[str] = "Options"

    url: URL = setting(  # noqa: RUF009  (it returns a field)
        URL("http://127.0.0.1:3000/"),
        SERVICE_URL,
        "where chatsvc runs, with its prefix",
    )
    transport: str = setting(
        "auto",
        replace(choice_format("auto", *TRANSPORTS), metavar="NAME"),
        f"{', '.join(TRANSPORTS)} or auto",
    )
    thinking: bool = setting(
        False, SWITCH, "show the model's reasoning, dim, on stderr"
    )
    api_key: str = setting(
        "", API_KEY, "a key of the service; it has no flag", secret=True, flagless=True
    )

    uds: str = setting("", PATH, "a Unix socket by which the service is reached")

    def check(self) -> None:
        """Raise `BadSetting` for two settings that don't go together."""
        if self.thinking and self.transport == "text":
            raise BadSetting("--thinking: the transport text carries the answer alone")
        check_api_key(self.url, self.api_key)


_CUT = {
    "length": "the reply is cut: it came to a limit of its length",
    "content_filter": "the reply is cut: a filter of the model's server ended it",
}
"""What is said of a reply that is done, and not whole, by its finish reason."""


def run_ask(
    message: str,
    url: URL,
    transport: str,
    *,
    thinking: bool = False,
    api_key: str = "",
    uds: str = "",
) -> ExitStatus:
    """Stream the reply to `message` to stdout; return the exit status.

    `message` "-" stands for the text on stdin, which must be UTF-8. `url` is the service's root,
    with a slash at its end; `transport` is "auto" or a name of `TRANSPORTS`. With `thinking` the
    model's reasoning goes to stderr, which the transport `text` does not carry. `api_key` is the
    key of a user of the service, or "", and `uds` the path of its Unix socket, or "".

    `OK`: the whole reply is on stdout. `FAILED`: the reply failed, was cut by a limit or a filter,
    or could not be read; `STOPPED`: another client stopped it, or no reader was left. Both say why
    in one line on stderr, and stdout has the text that came. `USAGE`: the message can't be read.
    `INTERRUPTED`: Ctrl-C, which has stopped the reply on the server.
    """
    if message == "-":
        try:
            message = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError:
            _print_error("stdin is not UTF-8")
            return ExitStatus.USAGE
        except KeyboardInterrupt:
            return ExitStatus.INTERRUPTED
    try:
        return asyncio.run(
            ask(
                url,
                message,
                transport,
                _write,
                thinking=thinking,
                api_key=api_key,
                uds=uds,
            )
        )
    except KeyboardInterrupt:
        # A second Ctrl-C, while the stop that the first one sent is under way.
        return ExitStatus.INTERRUPTED


async def ask(
    url: URL,
    message: str,
    transport: str,
    write: Callable[[str], None],
    *,
    thinking: bool = False,
    api_key: str = "",
    uds: str = "",
    timeouts: Timeouts | None = None,
    backoff: Backoff | None = None,
) -> ExitStatus:
    """Send `message`, pass the reply's text to `write` as it comes, and return the exit status.

    The arguments and the status are those of `run_ask`; `message` is taken as it is. `write` may
    raise `BrokenPipeError`, which stops the reply.
    """
    auto = transport == "auto"
    # Only the parts view says why a reply has ended. Bare text is followed by a poll.
    parts = transport != "text"
    question = Question(
        base=url,
        body={"message": message},
        key=secrets.token_urlsafe(16),
        api_key=api_key,
        uds=uds,
        timeouts=timeouts
        or (Timeouts() if auto else Timeouts(headers=_HEADERS_TIMEOUT_S)),
        has_alternatives=auto,
        parts=parts,
    )
    reading = Reading(AUTO if auto else (transport,), parts=parts, backoff=backoff)
    # There is no limit for the whole: a reply takes as long as it takes. Silence has a limit.
    client_timeout = aiohttp.ClientTimeout(
        total=None,
        sock_connect=_CONNECT_TIMEOUT_S,
        sock_read=question.timeouts.silence,
    )
    async with new_session(url, api_key, uds, timeout=client_timeout) as session:
        task = asyncio.create_task(_read(session, question, reading, write, thinking))
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            task.cancel()
            loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once

        loop = asyncio.get_running_loop()
        handled = False
        # Not on Windows, and not outside the main thread.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, interrupt)
            handled = True
        try:
            await task
        except asyncio.CancelledError:
            # Where there is no signal handler, Ctrl-C makes asyncio.run cancel this coroutine.
            task.cancel()
            if not await stop_reply(session, question, reading.reply):
                _print_error("interrupted, but the server did not say that it stopped")
            if not interrupted:
                raise
            return ExitStatus.INTERRUPTED
        except BrokenPipeError:
            # The program behind the pipe has ended (`| head`). Python flushes stdout at its exit,
            # which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            await stop_reply(session, question, reading.reply)
            return ExitStatus.FAILED
        finally:
            if handled:
                loop.remove_signal_handler(signal.SIGINT)
    outcome = reading.outcome
    if outcome is None or outcome.state == "done":
        cut = _CUT.get(outcome.finish_reason) if outcome is not None else None
        if cut is None:
            return ExitStatus.OK
        _print_error(cut)
        return ExitStatus.FAILED
    _print_error(outcome.reason or f"the reply was {outcome.state}")
    return ExitStatus.STOPPED if outcome.state == "stopped" else ExitStatus.FAILED


async def _read(
    session: aiohttp.ClientSession,
    question: Question,
    reading: Reading,
    write: Callable[[str], None],
    thinking: bool,
) -> None:
    thoughts = _Thoughts()

    def notify(line: str) -> None:
        thoughts.close()
        _print_error(line)

    last = ""

    def think(part: int, text: str) -> None:
        if not thinking:
            return
        if last and not last.endswith("\n") and thoughts.closed and _on_one_terminal():
            print_line(sys.stderr, "")  # a thought must not begin in the answer's line
        thoughts.show(part, text)

    try:
        texts = read_text(session, question, reading, notify, think=think)
        async with aclosing(texts):
            async for last in texts:
                thoughts.close()
                write(last)
    finally:
        thoughts.close()
        # A terminal's prompt must not stand in the reply's last line; a pipe gets the exact text.
        if last and not last.endswith("\n") and sys.stdout.isatty():
            write("\n")


class _Thoughts:
    """The reasoning on stderr: its parts, each of whose last lines is ended."""

    def __init__(self) -> None:
        self._part = 0
        self._last = ""  # the last piece of a part that is not closed

    @property
    def closed(self) -> bool:
        """Whether the last line is ended."""
        return not self._last

    def show(self, part: int, text: str) -> None:
        if part != self._part:
            self.close()
        self._part, self._last = part, text
        write_dim(sys.stderr, text)

    def close(self) -> None:
        if self._last and not self._last.endswith("\n"):
            print_line(sys.stderr, "")
        self._last = ""


def _on_one_terminal() -> bool:
    """Return whether answer and reasoning are both shown on a terminal."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def _write(text: str) -> None:
    write_text(sys.stdout, text)


def _print_error(line: str) -> None:
    print_line(sys.stderr, f"chatsvc ask: {line}")
