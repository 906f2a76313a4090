"""`--workers N`: processes that share a port, under one parent that restarts what dies and drains all.

The kernel shares the connections out (SO_REUSEPORT), so no process waits for another. Replies are in a store that they
share, so it doesn't matter who gets which.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import replace

from chatsvc.serve import CANNOT_START, CannotListen, Worker, refusal, serve
from chatsvc.settings import BadSetting, Settings

SIGNS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}

TOO_SOON = 1.0
"""Seconds: a worker that lived for less is not started again at once."""

LAST_WORD = 10.0
"""Seconds beyond `--drain` after which a worker that has not ended is killed."""


class _Parent:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready, self._tell = os.pipe()
        # Its end tells the workers that their parent is gone, however it went.
        self._life, self._alive = os.pipe()
        self._started: dict[int, float] = {}
        self._due: list[float] = []
        os.set_blocking(self._ready, False)

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNS)
        self._start()  # the first one alone: what it can't do, none can, and that is said once
        waiting = self._settings.workers
        while True:
            sign = signal.sigtimedwait(SIGNS, 0.2)
            if sign is not None and sign.si_signo != signal.SIGCHLD:
                return self._drain(0)
            # Those who start again say so as well, and wait once the pipe is full.
            if (ready := self._count_ready()) and waiting > 0:
                if waiting == self._settings.workers:
                    for _ in range(waiting - 1):
                        self._start()
                waiting -= ready
                if waiting == 0:
                    _announce(self._settings)
            for status, lived in self._ended():
                # Before all have started, one that ends by itself can't, and could not the next time.
                if waiting > 0 and status > 0:
                    return self._drain(status or 1)
                print(f"chatsvc: a worker ended ({status})", file=sys.stderr)
                now = time.monotonic()
                self._due.append(now if lived > TOO_SOON else now + TOO_SOON)
            while self._due and self._due[0] <= time.monotonic():
                self._due.pop(0)
                self._start()

    def _start(self) -> None:
        pid = os.fork()
        if pid:
            self._started[pid] = time.monotonic()
            return
        status = 1
        try:
            # Ctrl-C is for the parent, which tells its workers once.
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNS)
            os.close(self._alive)
            serve(self._settings, Worker(self._tell, self._life))
            status = 0
        except CANNOT_START as error:
            why, status = refusal(error, self._settings)
            print(f"chatsvc: {why}", file=sys.stderr)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  (nothing of the parent's may run on in a child)
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _count_ready(self) -> int:
        try:
            return len(os.read(self._ready, 1024))
        except BlockingIOError:
            return 0

    def _ended(self) -> list[tuple[int, float]]:
        """Exit statuses of those that have ended, and for how many seconds they lived."""
        found = []
        for pid in list(self._started):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                lived = time.monotonic() - self._started.pop(pid)
                found.append((os.waitstatus_to_exitcode(status), lived))
        return found

    def _drain(self, status: int) -> int:
        self._tell_all(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain + LAST_WORD
        while self._started:
            sign = signal.sigtimedwait(SIGNS, 0.2)
            if sign is not None and sign.si_signo != signal.SIGCHLD:
                self._tell_all(signal.SIGTERM)  # told twice, they end at once
                status = status or 1
            if time.monotonic() > deadline:
                self._tell_all(signal.SIGKILL)
            self._ended()
        return status

    def _tell_all(self, sign: signal.Signals) -> None:
        for pid in self._started:
            os.kill(pid, sign)


def _announce(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"chatsvc is running on http://{host}:{settings.port}", flush=True)


def serve_workers(settings: Settings) -> int:
    """Serve with `settings.workers` processes until told to end; gives the exit status.

    Raises `BadSetting`, `CannotListen`.
    """
    if settings.store == "memory":
        raise BadSetting(
            "--workers needs a store that all share, --store redis://…: "
            "with memory, each process would know its own replies only"
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Bound and never listening: it keeps the port, also while all workers restart, and takes no connection.
    with socket.socket(family, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # With SO_REUSEPORT the kernel would mix this service with another that has it, too: first without.
            with socket.socket(family, socket.SOCK_STREAM) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind((settings.host, settings.port))
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            place.bind((settings.host, settings.port))
        except OSError as error:
            raise CannotListen(
                f"can't listen on {settings.host}:{settings.port}: {error.strerror or error}"
            ) from None
        settings = replace(settings, port=place.getsockname()[1])
        return _Parent(settings).run()
