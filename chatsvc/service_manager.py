"""The notifications to the service manager that started this process: systemd's `Type=notify`.

The manager names a datagram socket in `NOTIFY_SOCKET`, and takes lines of assignments there
(`sd_notify(3)`): that the service is ready, reads its configuration again, or stops. If it has a
watchdog (`WatchdogSec=`), it restarts a service that sends no sign of life for `WATCHDOG_USEC`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import MutableMapping

logger = logging.getLogger("chatsvc")

SEND_TIMEOUT_S = 1.0
"""The seconds that a notification may take: the manager reads its socket all the time."""


class ServiceManager:
    """The service manager, to which this process says how it is; without one nothing is sent.

    `environment` is the process's own by default. The manager's variables are removed from it, so
    that no program that is started speaks in the name of the service.

    Nothing is raised when the manager can't be reached: it finds that out by its own time limits.
    The log has a warning.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.pop("NOTIFY_SOCKET", "")
        interval_us = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "")
        # "@" stands for the zero byte of an abstract socket. Other kinds of addresses are those of
        # virtual machines, whose manager none but their own init speaks to.
        self._address = address if address.startswith(("/", "@")) else ""
        if self._address.startswith("@"):
            self._address = f"\0{address[1:]}"
        self.beat_s: float | None = None
        """The seconds between two signs of life: half of what is allowed; None if none is wanted."""
        for_this_process = watched in ("", str(os.getpid()))
        if self._address and for_this_process and interval_us.isdecimal():
            self.beat_s = int(interval_us) / 2e6 or None
        self._next_beat = 0.0

    def ready(self) -> None:
        """Say that the service listens, or that it has read its configuration again."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the service reads its configuration again; `ready` says that it has."""
        # systemd asks for the time with Type=notify-reload, and takes it with any type.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service drains and then ends."""
        self._send("STOPPING=1")

    def beat(self) -> None:
        """Give a sign of life if one is due; to be called more often than every `beat_s` seconds."""
        now = time.monotonic()
        if self.beat_s is not None and now >= self._next_beat:
            self._next_beat = now + self.beat_s
            self._send("WATCHDOG=1")

    async def keep_beating(self) -> None:
        """Give signs of life for as long as the event loop runs; return at once if none is wanted."""
        while self.beat_s is not None:
            self.beat()
            await asyncio.sleep(self.beat_s)

    def _send(self, assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(SEND_TIMEOUT_S)
                sending.connect(self._address)
                sending.sendall(assignments.encode())
        except OSError as error:
            logger.warning("the service manager can't be reached: %s", error)
