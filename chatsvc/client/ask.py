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
from dataclasses import dataclass

import aiohttp
from yarl import URL

from chatsvc.client.reader import AUTO, TRANSPORTS, read_text, stop_reply
from chatsvc.client.reading import Backoff, Reading
from chatsvc.client.terminal import print_line, write_text
from chatsvc.client.wire import SERVICE_URL, Question, Timeouts, new_session
from chatsvc.exit_status import ExitStatus
from chatsvc.setting_formats import choice_format
from chatsvc.settings import setting

_CONNECT_TIMEOUT_S = 10.0

# Where no other transport could be used instead, a slow proxy gets more time than `Timeouts` says.
_HEADERS_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class AskSettings:
    """The settings of `chatsvc ask`."""

    url: URL = setting(  # noqa: RUF009  (it returns a field)
        URL("http://127.0.0.1:3000/"),
        SERVICE_URL,
        "where chatsvc runs, with its prefix if it has one",
    )
    transport: str = setting(
        "auto",
        choice_format("auto", *TRANSPORTS),
        "what carries the reply; auto is sse, else websocket, else poll",
    )


def run_ask(message: str, url: URL, transport: str) -> ExitStatus:
    """Stream the reply to `message` to stdout; return the exit status.

    `message` "-" stands for the text on stdin, which must be UTF-8. `url` is the service's root,
    with a slash at its end; `transport` is "auto" or a name of `TRANSPORTS`.

    `OK`: the whole reply is on stdout. `FAILED`: the reply failed or could not be read; `STOPPED`:
    another client stopped it, or no reader was left. Both say why in one line on stderr, and stdout
    has the text that came. `USAGE`: the message can't be read. `INTERRUPTED`: Ctrl-C, which has
    stopped the reply on the server.
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
        return asyncio.run(ask(url, message, transport, _write))
    except KeyboardInterrupt:
        # A second Ctrl-C, while the stop that the first one sent is under way.
        return ExitStatus.INTERRUPTED


async def ask(
    url: URL,
    message: str,
    transport: str,
    write: Callable[[str], None],
    *,
    timeouts: Timeouts | None = None,
    backoff: Backoff | None = None,
) -> ExitStatus:
    """Send `message`, pass the reply's text to `write` as it comes, and return the exit status.

    The arguments and the status are those of `run_ask`; `message` is taken as it is. `write` may
    raise `BrokenPipeError`, which stops the reply.
    """
    auto = transport == "auto"
    question = Question(
        base=url,
        body={"message": message},
        key=secrets.token_urlsafe(16),
        timeouts=timeouts
        or (Timeouts() if auto else Timeouts(headers=_HEADERS_TIMEOUT_S)),
        has_alternatives=auto,
    )
    reading = Reading(AUTO if auto else (transport,), backoff=backoff)
    # There is no limit for the whole: a reply takes as long as it takes. Silence has a limit.
    client_timeout = aiohttp.ClientTimeout(
        total=None,
        sock_connect=_CONNECT_TIMEOUT_S,
        sock_read=question.timeouts.silence,
    )
    async with new_session(url, timeout=client_timeout) as session:
        task = asyncio.create_task(_read(session, question, reading, write))
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
        return ExitStatus.OK
    _print_error(outcome.reason or f"the reply was {outcome.state}")
    return ExitStatus.STOPPED if outcome.state == "stopped" else ExitStatus.FAILED


async def _read(
    session: aiohttp.ClientSession,
    question: Question,
    reading: Reading,
    write: Callable[[str], None],
) -> None:
    last = ""
    try:
        texts = read_text(session, question, reading, _print_error)
        async with aclosing(texts):
            async for last in texts:
                write(last)
    finally:
        # A terminal's prompt must not stand in the reply's last line; a pipe gets the exact text.
        if last and not last.endswith("\n") and sys.stdout.isatty():
            write("\n")


def _write(text: str) -> None:
    write_text(sys.stdout, text)


def _print_error(line: str) -> None:
    print_line(sys.stderr, f"chatsvc ask: {line}")
