"""The processes of `chatsvc serve --workers N`, which share a port, and their supervisor.

The kernel distributes connections among the workers (SO_REUSEPORT), so no process is in the way of
another. Replies are in a store that all workers share, so any of them can serve any request.

The parent alone listens on the admin port, once, and the workers accept connections from its socket.
So the port stays open while workers are restarted, a second service can't take a share of it, and
whichever worker is free answers: the figures of all are in memory that they share.

The parent forks the workers, restarts one that dies, and passes SIGTERM and SIGINT on, and SIGHUP
once it has read a file of API keys again. It runs no event loop: it waits for signals with
`sigtimedwait`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

from chatsvc.exit_status import ExitStatus
from chatsvc.hangup import has_files, read_again
from chatsvc.listening.addresses import bind_addresses, listen_for_admin
from chatsvc.listening.certificates import read_certificates
from chatsvc.listening.places import Places
from chatsvc.listening.unix import UnixSocket
from chatsvc.serve import (
    CANNOT_START,
    Worker,
    announce,
    serve,
    start_failure,
)
from chatsvc.service_manager import ServiceManager
from chatsvc.settings import BadSetting, Settings
from chatsvc.users.current_keys import (
    has_keys,
    read_keys,
    report_keys,
)
from chatsvc.users.keys import KeyRing
from chatsvc.web.figures import Figures
from chatsvc.web.log_lines import set_up_logs
from chatsvc.web.reach import check_reach, warn_if_open

logger = logging.getLogger("chatsvc")

HANDLED_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
"""The signals that the parent blocks and waits for."""

POLL_S = 0.2
"""The seconds for which the parent waits for a signal before it looks at its workers without one.

No signal says that a worker has become ready, or that a restart is due.
"""

RESTART_PAUSE_S = 1.0
"""The seconds before a worker that lived for less than that is started again.

A worker that lived longer is started again at once.
"""

KILL_AFTER_S = 10.0
"""The seconds beyond `--drain` after which a worker that has not ended is killed."""


class _Running(NamedTuple):
    """A worker that runs."""

    number: int
    started: float  # time.monotonic()


class _Supervisor:
    """The parent of the workers; `places` are where they listen.

    `keys` are the API keys, if the service has any.
    """

    def __init__(
        self, settings: Settings, places: Places, keys: KeyRing | None
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._manager = ServiceManager()
        self._signals = set(HANDLED_SIGNALS)
        if has_files(settings):
            self._signals.add(signal.SIGHUP)
        self._places = places
        self._figures = Figures(settings.workers)
        self._ready_reader, self._ready_writer = os.pipe()
        # Nothing is written to this pipe. The parent alone holds its write end, so it reaches its
        # end of file when the parent is gone, also by SIGKILL.
        self._parent_reader, self._parent_writer = os.pipe()
        self._running: dict[int, _Running] = {}  # by pid
        # The time.monotonic() at which each restart is due, and the worker's number.
        self._restarts: list[tuple[float, int]] = []
        os.set_blocking(self._ready_reader, False)

    def run(self) -> int:
        """Run the workers until a signal ends them; return the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        # The first worker starts alone: when it can't, none can, and one message is enough.
        self._start(0)
        unready = self._settings.workers
        while True:
            received = signal.sigtimedwait(self._signals, POLL_S)
            self._manager.beat()
            if received is not None and received.si_signo == signal.SIGHUP:
                self._read_again()
            elif received is not None and received.si_signo != signal.SIGCHLD:
                return self._drain(ExitStatus.OK)
            # The pipe is read even after all workers are ready: restarted ones write to it as well,
            # and would block once it is full.
            if (ready := self._count_ready()) and unready > 0:
                if unready == self._settings.workers:
                    for number in range(1, unready):
                        self._start(number)
                unready -= ready
                if unready == 0:
                    warn_if_open(self._settings)
                    if self._keys is not None:
                        report_keys(self._keys)
                    announce(self._places)
                    self._manager.ready()
            for status, ended in self._reap():
                # A worker that exits before all are ready shows a lasting fault, such as a bad
                # setting: the service ends, for a restart would fail as well.
                if unready > 0 and status > 0:
                    return self._drain(status)
                data = {"worker": ended.number, "status": status}
                logger.warning("a worker ended", extra={"data": data})
                now = time.monotonic()
                lived = now - ended.started
                pause = 0.0 if lived > RESTART_PAUSE_S else RESTART_PAUSE_S
                self._restarts.append((now + pause, ended.number))
            while self._restarts and self._restarts[0][0] <= time.monotonic():
                self._start(self._restarts.pop(0)[1])

    def _start(self, number: int) -> None:
        pid = os.fork()
        if pid:
            self._running[pid] = _Running(number, time.monotonic())
            return
        status: int = ExitStatus.FAILED
        try:
            # A process group of its own: the terminal sends Ctrl-C to the parent alone, which
            # passes it on, so that each worker gets it once.
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
            os.close(self._parent_writer)
            place = Worker(
                number,
                self._figures,
                self._places,
                self._ready_writer,
                self._parent_reader,
                self._keys,
            )
            serve(self._settings, place)
            status = ExitStatus.OK
        except CANNOT_START as error:
            reason, status = start_failure(error, self._settings)
            print(f"chatsvc: {reason}", file=sys.stderr)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else ExitStatus.FAILED
        except BaseException:  # noqa: BLE001  (the parent's code must not run on in a child)
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _read_again(self) -> None:
        """Read API keys and certificates, for workers to come, and have the others read them.

        What is refused is refused here, once, and the workers go on with what they have.
        """
        self._manager.reloading()
        keys, changed = read_again(self._settings, self._places.certificates)
        if keys is not None:
            self._keys = keys
        if changed or keys is not None:
            self._signal_all(signal.SIGHUP)
        self._manager.ready()

    def _count_ready(self) -> int:
        """Return how many workers have become ready since the last call."""
        try:
            return len(os.read(self._ready_reader, 1024))
        except BlockingIOError:
            return 0

    def _reap(self) -> list[tuple[int, _Running]]:
        """Return the exit status of each worker that has ended, and which it was."""
        ended = []
        for pid in list(self._running):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                worker = self._running.pop(pid)
                # What it produced and who read it is no more, whether it is restarted or not.
                self._figures.table(worker.number).end()
                ended.append((os.waitstatus_to_exitcode(status), worker))
        return ended

    def _drain(self, status: int) -> int:
        """End all workers and return `status`, or `FAILED` when a second signal came."""
        self._manager.stopping()
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain + KILL_AFTER_S
        while self._running:
            received = signal.sigtimedwait(HANDLED_SIGNALS, POLL_S)
            self._manager.beat()
            if received is not None and received.si_signo != signal.SIGCHLD:
                # A worker that gets a second signal ends without draining.
                self._signal_all(signal.SIGTERM)
                status = status or ExitStatus.FAILED
            if time.monotonic() > deadline:
                self._signal_all(signal.SIGKILL)
            self._reap()
        return status

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, number)


def serve_workers(settings: Settings, remarks: Iterable[str] = ()) -> int:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; return the exit status.

    `remarks` are warnings about how the command was started, to be logged.

    Raises `BadSetting` when the store is one that processes can't share or anyone would be let in
    without `--open`, and `CannotListen` when an address can't be used.
    """
    set_up_logs(settings)
    for remark in remarks:
        logger.warning(remark)
    if settings.store == "memory":
        raise BadSetting(
            "--workers needs a store that all share, --store redis://…: "
            "with memory, each process would know its own replies only"
        )
    check_reach(settings)
    keys = read_keys(settings) if has_keys(settings) else None
    certificates = read_certificates(settings)
    with ExitStack() as stack:
        # These sockets are bound and never listen. They keep the port while all workers restart,
        # and the kernel gives them no connection.
        reservations = bind_addresses(settings.hosts, settings.port, shared=True)
        for reservation in reservations:
            stack.enter_context(reservation)
        unix = None
        if settings.uds:
            unix = UnixSocket(settings.uds, settings.uds_mode)
            stack.callback(unix.remove)
        admin = listen_for_admin(settings.admin_port)
        places = Places(reservations, unix, certificates, admin)
        return _Supervisor(settings, places, keys).run()
