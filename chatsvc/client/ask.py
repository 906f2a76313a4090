"""`chatsvc ask`: puts a message and streams the reply to the terminal (section 8)."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress

import aiohttp
from yarl import URL

from chatsvc.client.reader import AUTO, TRANSPORTS, pieces, stop
from chatsvc.client.reading import Backoff, Reading
from chatsvc.client.wire import Patience, Question

DEFAULT_URL = "http://127.0.0.1:3000"
DONE, FAILED, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit statuses (PROTOCOL.md section 8)."""


def service_url(value: str) -> URL:
    """Read the service's root from `value`; raise ArgumentTypeError for what is none."""
    try:
        url = URL(value)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise argparse.ArgumentTypeError(
            f"{value!r} is no URL like http://127.0.0.1:3000"
        )
    # The page's own URL, with a query or a fragment, is as good as the root's.
    return url.with_path(url.raw_path.rstrip("/") + "/", encoded=True)


def add_ask_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `chatsvc ask` takes."""
    parser.add_argument(
        "message", metavar="MESSAGE", help="what to say; - reads it from stdin"
    )
    parser.add_argument(
        "--url",
        type=service_url,
        default=DEFAULT_URL,
        help="where chatsvc runs, with its prefix if it has one (%(default)s)",
    )
    parser.add_argument(
        "--transport",
        choices=("auto", *TRANSPORTS),
        default="auto",
        help="what carries the reply (%(default)s: sse, else websocket, else poll)",
    )


def run_ask(args: argparse.Namespace) -> int:
    """Do what `args` say and give the exit status.

    0: the whole reply is on stdout. 1: it failed or could not be had, 3: it was stopped
    by somebody else or for want of readers; stderr says why in one line, and stdout has
    what there was. 2: the message can't be read. 130: Ctrl-C, which has stopped the
    reply on the server.
    """
    message: str = args.message
    if message == "-":
        try:
            message = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError:
            _say("stdin is not UTF-8")
            return USAGE
        except KeyboardInterrupt:
            return INTERRUPTED
    try:
        return asyncio.run(ask(args.url, message, args.transport, _write))
    except KeyboardInterrupt:  # a second Ctrl-C, while the first is at work
        return INTERRUPTED


async def ask(
    url: URL,
    message: str,
    transport: str,
    write: Callable[[str], None],
    *,
    patience: Patience | None = None,
    backoff: Backoff | None = None,
) -> int:
    """Ask, hand the reply's text to `write` as it comes, and give the exit status."""
    auto = transport == "auto"
    question = Question(
        base=url,
        body={"message": message},
        key=secrets.token_urlsafe(16),
        patience=patience or (Patience() if auto else Patience(headers=30.0)),
        wary=auto,
    )
    reading = Reading(AUTO if auto else (transport,), backoff=backoff)
    # No total time: a reply takes as long as it takes. Silence has its own limits.
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=10.0, sock_read=question.patience.silence
    )
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        reader = asyncio.create_task(_read(session, question, reading, write))
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            reader.cancel()
            loop.remove_signal_handler(signal.SIGINT)  # the next one ends it at once

        loop = asyncio.get_running_loop()
        handled = False
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, interrupt)
            handled = True
        try:
            await reader
        except asyncio.CancelledError:
            # Where signals can't be handled here, asyncio.run cancels this task.
            reader.cancel()
            if not await stop(session, question, reading.reply):
                _say("interrupted, but the server did not say that it stopped")
            if not interrupted:
                raise
            return INTERRUPTED
        except BrokenPipeError:
            # Nobody reads on (`| head`). Python must not try to flush at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            await stop(session, question, reading.reply)
            return FAILED
        finally:
            if handled:
                loop.remove_signal_handler(signal.SIGINT)
    outcome = reading.outcome
    if outcome is None or outcome.state == "done":
        return DONE
    _say(outcome.why or f"the reply was {outcome.state}")
    return STOPPED if outcome.state == "stopped" else FAILED


async def _read(
    session: aiohttp.ClientSession,
    question: Question,
    reading: Reading,
    write: Callable[[str], None],
) -> None:
    last = ""
    try:
        async with aclosing(pieces(session, question, reading, _say)) as texts:
            async for last in texts:
                write(last)
    finally:
        # The prompt must not stand in the reply's last line; a pipe gets it exactly.
        if last and not last.endswith("\n") and sys.stdout.isatty():
            write("\n")


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def _say(line: str) -> None:
    print(f"chatsvc ask: {line}", file=sys.stderr, flush=True)
