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
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple

from aiohttp import web

from chatsvc.app import build_admin_app, build_app
from chatsvc.exit_status import ExitStatus
from chatsvc.hangup import has_files, hold_hangups, read_again
from chatsvc.listening.addresses import (
    BACKLOG,
    CannotListen,
    bind_addresses,
    listen_for_admin,
)
from chatsvc.listening.certificates import read_certificates
from chatsvc.listening.places import Places, listening_on
from chatsvc.problems import BackendFailed, StoreUnavailable
from chatsvc.service_manager import ServiceManager
from chatsvc.settings import BadSetting, Settings
from chatsvc.stores import StoreMisconfigured
from chatsvc.tracing import TRACER_PROVIDER
from chatsvc.tracing.collector import collector
from chatsvc.users.current_keys import report_keys
from chatsvc.users.keys import KeyRing
from chatsvc.web.app_keys import KEYS, REPLIES
from chatsvc.web.connections import Connections
from chatsvc.web.descriptors import DESCRIPTORS, raise_descriptor_limit
from chatsvc.web.figures import Figures
from chatsvc.web.health import add_metrics
from chatsvc.web.hosts import HOSTS, Hosts
from chatsvc.web.log_lines import set_up_logs
from chatsvc.web.logs import AccessLog, access
from chatsvc.web.metrics import Metrics
from chatsvc.web.reach import check_reach, has_metrics, is_local, warn_if_open

logger = logging.getLogger("chatsvc")

CLOSE_TIMEOUT_S = 2.0
"""The seconds that aiohttp waits, after the drain, for handlers that still run."""

LAST_REQUESTS_S = 0.1
"""The seconds, after the drain, for requests that are on their way over connections that are open."""

FORCED_EXIT_AFTER_S = 2.0
"""The seconds that a backend's tasks and threads get to end once the application is shut down.

The process then exits, whether they have ended or not.
"""

CANNOT_START = (ValueError, BackendFailed, StoreUnavailable, CannotListen)
"""The exceptions that `serve` raises when the service can't start."""


def start_failure(error: Exception, settings: Settings) -> tuple[str, ExitStatus]:
    """Return why the service can't start, in one line, and the exit status.

    `error` is one of `CANNOT_START`. The status is `FAILED` when the address or the store can't be
    used, and `USAGE` when a setting is wrong (PROTOCOL.md section 8).
    """
    reason = " ".join(str(error).split())
    cannot_be_used = isinstance(error, (CannotListen, StoreUnavailable))
    if isinstance(error, (StoreMisconfigured, StoreUnavailable)):
        reason = f"--store: {reason}"
    elif not isinstance(error, (BadSetting, CannotListen)):
        reason = f"--backend {settings.backend}: {reason}"
    return reason, ExitStatus.FAILED if cannot_be_used else ExitStatus.USAGE


class Worker(NamedTuple):
    """What a worker process gets from its parent: its place, and how they notice each other."""

    number: int
    """Its number, from 0. A worker that is started in place of a dead one has the same."""
    figures: Figures
    """The figures of all workers."""
    places: Places
    """The places where the service listens, as its parent has them."""
    ready: int
    """The write end of a pipe: the worker writes one byte when it listens."""
    parent: int
    """The read end of a pipe that reaches its end of file when the parent process is gone."""
    keys: KeyRing | None
    """The API keys that are good as the worker starts, if the service has any."""


def serve(
    settings: Settings, worker: Worker | None = None, remarks: Iterable[str] = ()
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    `remarks` are warnings about how it was started, to be logged.

    `worker` is given when this process shares its port with others: it then reports to the parent
    in place of printing its address, and drains also when the parent is gone. The process exits
    within `FORCED_EXIT_AFTER_S` seconds after the return, whatever the backend still does.

    Raises `CannotListen`, `StoreUnavailable`, `StoreMisconfigured`, `BackendFailed` when a model
    can't be loaded, and `ValueError` when the settings name a backend or a store that does not
    exist, or would let anyone in without `--open`.
    """
    set_up_logs(settings)
    for remark in remarks:
        logger.warning(remark)
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    # This and the collector before the operator's folder is the first to look for modules in.
    with contextlib.suppress(ImportError):  # It is not there on Windows, nor with PyPy.
        from uvloop import run
    # Of workers, their parent speaks to it, and has removed its variables.
    manager = ServiceManager()
    raise_descriptor_limit()
    with collector() as provider:
        app, places = _application(settings, worker)
        app[TRACER_PROVIDER] = provider
        run(_serve(app, places, settings, worker, manager))


def _application(
    settings: Settings, worker: Worker | None
) -> tuple[web.Application, Places]:
    """Return the application of this process and the places where it is to listen."""
    if worker is None:
        check_reach(settings)
        hold_hangups(settings)
        certificates = read_certificates(settings)
        sockets = bind_addresses(settings.hosts, settings.port)
        admin = listen_for_admin(settings.admin_port)
        places = Places(sockets, None, certificates, admin)
        app = build_app(settings, Metrics())
    else:
        places = worker.places.of_worker()
        figures = Metrics(worker.figures, worker.number)
        app = build_app(settings, figures, keys=worker.keys)
    if has_metrics(settings):
        add_metrics(app, public=is_local(settings))
    app[HOSTS] = Hosts(settings.allow_host)
    return app, places


def announce(places: Places) -> None:
    """Print where the service listens."""
    print("\n".join(places.lines()), flush=True)


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


async def _run(
    app: web.Application, beside: Connections | None = None
) -> tuple[web.AppRunner, Connections]:
    """Start an application, and return its runner and the factory of its connections.

    `beside` is the factory of another port of this process.
    """
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        shutdown_timeout=CLOSE_TIMEOUT_S,
    )
    await runner.setup()
    assert runner.server is not None
    return runner, Connections(
        runner.server,
        app,
        waiting=None if beside is None else beside.waiting,
        access_log_class=AccessLog,
        access_log=access,
    )


async def _serve(
    app: web.Application,
    places: Places,
    settings: Settings,
    worker: Worker | None,
    manager: ServiceManager,
) -> None:
    loop = asyncio.get_running_loop()
    runner, connections = await _run(app)
    async with contextlib.AsyncExitStack() as stack:
        try:
            places = await stack.enter_async_context(
                listening_on(places, connections, None if worker else settings)
            )
        except CannotListen:
            # The store is open by now, and this node may have taken over replies of dead ones.
            await app[REPLIES].drain(0)
            await runner.cleanup()
            raise
        tune_garbage_collector()
        descriptors = app[DESCRIPTORS].limit
        logger.info("this process may have %s file descriptors", descriptors)
        # The admin port is the last to close: the figures of the drain are to be seen.
        async with _admin_port(app, places.admin, connections):
            stopping = asyncio.Event()
            # Before the address is printed: a program that reads it may send a signal at once.
            for number in signal.SIGTERM, signal.SIGINT:
                loop.add_signal_handler(
                    number, _on_stop_signal, stopping, settings, manager
                )
            if has_files(settings):
                alone = worker is None
                again = partial(_on_hangup, app, places, settings, alone, manager)
                loop.add_signal_handler(signal.SIGHUP, again)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            if worker is None:
                keys = app[KEYS]
                if keys is not None:
                    report_keys(keys.ring)
                warn_if_open(settings)
                announce(places)
                manager.ready()
            else:
                os.write(worker.ready, b".")
                loop.add_reader(
                    worker.parent, _on_parent_gone, loop, worker.parent, stopping
                )
            beating = asyncio.create_task(manager.keep_beating())
            await stopping.wait()
            await app[REPLIES].drain(settings.drain)
            await stack.aclose()
            await _answer_the_last(runner)
            with contextlib.suppress(asyncio.CancelledError):
                await runner.cleanup()
            beating.cancel()
    _force_exit_later(ExitStatus.OK)


@contextlib.asynccontextmanager
async def _admin_port(
    app: web.Application, listening: socket.socket | None, main: Connections
) -> AsyncIterator[None]:
    """Answer on the admin port, if there is one, while the context lasts.

    `main` is the factory of the connections of `app`.
    """
    if listening is None:
        yield
        return
    runner, connections = await _run(build_admin_app(app), main)
    listener = await asyncio.get_running_loop().create_server(
        connections, sock=listening, backlog=BACKLOG
    )
    try:
        yield
    finally:
        listener.close()
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()


async def _answer_the_last(runner: web.AppRunner) -> None:
    """Serve the connections that are open for `LAST_REQUESTS_S` more, if there are any.

    The streams that have ended just now leave connections on which a proxy sends its next request
    at once. It is answered that the node drains, and not by a connection that closes.
    """
    if runner.server is not None and runner.server.connections:
        await asyncio.sleep(LAST_REQUESTS_S)


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


def _on_hangup(
    app: web.Application,
    places: Places,
    settings: Settings,
    alone: bool,
    manager: ServiceManager,
) -> None:
    manager.reloading()
    ring, _ = read_again(settings, places.certificates, quietly=not alone)
    keys = app[KEYS]
    if ring is not None and keys is not None:
        keys.replace(ring)
    manager.ready()


def _on_stop_signal(
    stopping: asyncio.Event, settings: Settings, manager: ServiceManager
) -> None:
    if stopping.is_set():  # The second signal means: end without draining.
        _force_exit_later(ExitStatus.FAILED)
        raise SystemExit(ExitStatus.FAILED)
    logger.info("draining: running replies get %g s", settings.drain)
    manager.stopping()
    stopping.set()
