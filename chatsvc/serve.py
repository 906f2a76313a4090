"""The command `chatsvc serve` in one process: listens, serves, and drains on a signal.

`serve` runs the application until a signal ends it; `start_failure` puts into words why it could
not start. `chatsvc.workers` runs several such processes on one port.
"""

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
from chatsvc.exit_status import ExitStatus
from chatsvc.problems import BackendFailed, StoreUnavailable
from chatsvc.settings import BadSetting, Settings
from chatsvc.web.app_keys import REPLIES
from chatsvc.web.connections import Connections
from chatsvc.web.descriptors import DESCRIPTORS, raise_descriptor_limit
from chatsvc.web.hosts import HOSTS, Hosts
from chatsvc.web.logs import AccessLog, access, set_up_logs

logger = logging.getLogger("chatsvc")

BACKLOG = 4096
"""The connections that may wait to be accepted: all clients reconnect at once after a restart."""

CLOSE_TIMEOUT_S = 2.0
"""The seconds that aiohttp waits, after the drain, for handlers that still run."""

FORCED_EXIT_AFTER_S = 2.0
"""The seconds that a backend's tasks and threads get to end once the application is shut down.

The process then exits, whether they have ended or not.
"""


class CannotListen(OSError):
    """The error of an address that the service can't listen on; `cause` is the system's error."""

    def __init__(self, settings: Settings, cause: OSError) -> None:
        address = f"{settings.host}:{settings.port}"
        super().__init__(f"can't listen on {address}: {cause.strerror or cause}")


CANNOT_START = (ValueError, BackendFailed, StoreUnavailable, CannotListen)
"""The exceptions that `serve` raises when the service can't start."""


def start_failure(error: Exception, settings: Settings) -> tuple[str, ExitStatus]:
    """Return why the service can't start, in one line, and the exit status.

    `error` is one of `CANNOT_START`. The status is `USAGE` when a setting is wrong and `FAILED`
    when the address or the store can't be used (PROTOCOL.md section 8).
    """
    if isinstance(error, BadSetting):
        return str(error), ExitStatus.USAGE
    if isinstance(error, StoreUnavailable):
        return f"--store: {error}", ExitStatus.FAILED
    if isinstance(error, CannotListen):
        return str(error), ExitStatus.FAILED
    return f"--backend {settings.backend}: {error}", ExitStatus.USAGE


class WorkerPipes(NamedTuple):
    """The file descriptors through which a worker process and its parent notice each other."""

    ready: int
    """The write end of a pipe: the worker writes one byte when it listens."""
    parent: int
    """The read end of a pipe that reaches its end of file when the parent process is gone."""


def serve(settings: Settings, worker: WorkerPipes | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    `worker` is given when this process shares its port with others: it then reports to the parent
    in place of printing its address, and drains also when the parent is gone. The process exits
    within `FORCED_EXIT_AFTER_S` seconds after the return, whatever the backend still does.

    Raises `CannotListen`, `StoreUnavailable`, `BackendFailed` when a model can't be loaded, and
    `ValueError` when the settings name a backend or a store that does not exist.
    """
    set_up_logs(settings.log_format)
    raise_descriptor_limit()
    app = create_app(settings)
    app[HOSTS] = Hosts(settings.allow_host)
    try:
        import uvloop  # It is not installed on Windows, nor with PyPy.
    except ImportError:
        asyncio.run(_serve(app, settings, worker))
    else:
        uvloop.run(_serve(app, settings, worker))


def announce(host: str, port: int) -> None:
    """Print the URL that the service listens on (PROTOCOL.md section 8)."""
    host = f"[{host}]" if ":" in host else host
    print(f"chatsvc is running on http://{host}:{port}", flush=True)


def tune_garbage_collector() -> None:
    """Make collections rare, once all that lives as long as the process exists.

    With Python's defaults the collector was the main cause of jitter: it scanned all live objects
    every 700 allocations, while thousands of streams allocate and free all the time. Objects that
    exist at the start live to the end, so they are excluded from the scans. No code that handles a
    character makes a reference cycle, so the other objects may be scanned rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(
    app: web.Application, settings: Settings, worker: WorkerPipes | None
) -> None:
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        shutdown_timeout=CLOSE_TIMEOUT_S,
    )
    await runner.setup()
    assert runner.server is not None
    connections = Connections(
        runner.server, app, access_log_class=AccessLog, access_log=access
    )
    loop = asyncio.get_running_loop()
    try:
        listener = await loop.create_server(
            connections,
            settings.host,
            settings.port,
            backlog=BACKLOG,
            reuse_port=worker is not None,
        )
    except OSError as error:
        # The store is open by now, and this node may have taken over replies of dead ones.
        await app[REPLIES].drain(0)
        await runner.cleanup()
        raise CannotListen(settings, error) from None
    tune_garbage_collector()
    logger.info("this process may have %s file descriptors", app[DESCRIPTORS].limit)
    stopping = asyncio.Event()
    # Before the address is printed: a program that reads it may send a signal at once.
    for number in signal.SIGTERM, signal.SIGINT:
        loop.add_signal_handler(number, _on_stop_signal, stopping, settings)
    if worker is None:
        announce(*listener.sockets[0].getsockname()[:2])
    else:
        os.write(worker.ready, b".")
        loop.add_reader(worker.parent, _on_parent_gone, loop, worker.parent, stopping)
    await stopping.wait()
    await app[REPLIES].drain(settings.drain)
    listener.close()
    with contextlib.suppress(asyncio.CancelledError):
        await runner.cleanup()
    _force_exit_later(ExitStatus.OK)


def _force_exit_later(status: ExitStatus) -> None:
    """Exit with `status` in `FORCED_EXIT_AFTER_S` seconds, if the process lives until then.

    A task of a user's function may swallow its cancellation, and a thread can't be cancelled;
    Python would wait for both.
    """
    timer = threading.Timer(FORCED_EXIT_AFTER_S, os._exit, [status])
    timer.daemon = True
    timer.start()


def _on_parent_gone(
    loop: asyncio.AbstractEventLoop, parent: int, stopping: asyncio.Event
) -> None:
    # A pipe at its end of file stays readable: without this the loop would spin.
    loop.remove_reader(parent)
    stopping.set()


def _on_stop_signal(stopping: asyncio.Event, settings: Settings) -> None:
    if stopping.is_set():  # The second signal means: end without draining.
        _force_exit_later(ExitStatus.FAILED)
        raise SystemExit(ExitStatus.FAILED)
    logger.info("draining: running replies get %g s", settings.drain)
    stopping.set()
