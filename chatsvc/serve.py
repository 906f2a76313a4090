"""`chatsvc serve`: one process that listens, serves, and on SIGTERM or SIGINT ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
from typing import NamedTuple

from aiohttp import web

from chatsvc.app import create_app
from chatsvc.problems import BackendFailed, StoreUnavailable
from chatsvc.settings import BadSetting, Settings
from chatsvc.web.app_keys import REPLIES
from chatsvc.web.logs import AccessLog, access, set_up_logs

logger = logging.getLogger("chatsvc")

BACKLOG = 4096
"""Connections that may wait to be accepted: a crowd that comes back at once after a restart."""

LAST_WORD = 2.0
"""Seconds for which the process lives on when all is over, while a backend's tasks or threads do not end."""


class CannotListen(OSError):
    """The address can't be listened on."""


CANNOT_START = (ValueError, BackendFailed, StoreUnavailable, CannotListen)
"""What `serve` raises when there is no way to begin."""


def refusal(error: Exception, settings: Settings) -> tuple[str, int]:
    """One line that says why the service can't start, and the exit status (PROTOCOL.md section 8)."""
    if isinstance(error, BadSetting):
        return str(error), 2
    if isinstance(error, StoreUnavailable):
        return f"--store: {error}", 1
    if isinstance(error, CannotListen):
        return str(error), 1
    return f"--backend {settings.backend}: {error}", 2


class Worker(NamedTuple):
    """A process among others that share a port: it tells its parent when it listens, and ends with it.

    `tell` is the descriptor that takes a byte then, `life` the one that ends with the parent.
    """

    tell: int
    life: int


def serve(settings: Settings, worker: Worker | None = None) -> None:
    """Serve until told to end; then the process ends, too, within `LAST_WORD` seconds.

    Raises `CannotListen`, `StoreUnavailable`, `BackendFailed` for a model that can't be loaded, and `ValueError` for a
    backend or a store that can't be had.
    """
    set_up_logs(settings.log_format)
    app = create_app(settings)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(app, settings, worker))
    else:
        uvloop.run(_serve(app, settings, worker))


def calm_garbage_collector() -> None:
    """Make collections rare.

    With Python's defaults the collector was the main cause of jitter: it looked at all that lives every 700
    allocations, while thousands of streams allocate and free all the time. What is there at the start lives to the
    end, so it is never looked at again; and nothing on the path of a character makes a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(
    app: web.Application, settings: Settings, worker: Worker | None
) -> None:
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        access_log_class=AccessLog,
        access_log=access,
        shutdown_timeout=2.0,
    )
    await runner.setup()
    site = web.TCPSite(
        runner,
        settings.host,
        settings.port,
        backlog=BACKLOG,
        reuse_port=worker is not None or None,
    )
    try:
        await site.start()
    except OSError as error:
        await app[REPLIES].drain(0)  # of what it may have taken over by now
        await runner.cleanup()
        raise CannotListen(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror or error}"
        ) from None
    calm_garbage_collector()
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    # First: whoever reads that it runs may tell it to end at once.
    for sign in signal.SIGTERM, signal.SIGINT:
        loop.add_signal_handler(sign, _told_to_end, told, settings)
    if worker is None:
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"chatsvc is running on http://{shown}:{port}", flush=True)
    else:
        os.write(worker.tell, b".")
        loop.add_reader(worker.life, _orphaned, loop, worker.life, told)
    await told.wait()
    await app[REPLIES].drain(settings.drain)
    with contextlib.suppress(asyncio.CancelledError):
        await runner.cleanup()
    _end_by_force(0)


def _end_by_force(status: int) -> None:
    """End the process with this exit status, if it has not ended in `LAST_WORD` seconds.

    A function's task may swallow its cancellation, and a thread can't be cancelled; Python would wait for both.
    """
    timer = threading.Timer(LAST_WORD, os._exit, [status])
    timer.daemon = True
    timer.start()


def _orphaned(loop: asyncio.AbstractEventLoop, life: int, told: asyncio.Event) -> None:
    loop.remove_reader(life)
    told.set()


def _told_to_end(told: asyncio.Event, settings: Settings) -> None:
    if told.is_set():  # told twice: somebody is in a hurry
        _end_by_force(1)
        raise SystemExit(1)
    logger.info("draining: running replies get %g s", settings.drain)
    told.set()
