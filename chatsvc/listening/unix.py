"""The Unix socket that the service listens on, and its file.

Invariants:

- Only a file that is a socket on which nobody listens is replaced, and only the file that this
  process has made is removed.
- The file never has more permissions than it is to have.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import socket
import stat
from contextlib import suppress
from typing import Any

from chatsvc.listening.addresses import BACKLOG, CannotListen, accepting


class UnixSocket:
    """A Unix socket at `path`, bound and not yet listening; `mode` are its file's permissions.

    `socket` is the socket itself, which workers share.

    Raises `CannotListen` when the path can't be used: somebody listens there, or it is no socket.
    """

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            _remove_stale(path)
            before = os.umask(~mode & 0o777)
            try:
                self.socket.bind(path)
            finally:
                os.umask(before)
            self._file: tuple[int, int] | None = _identity(path)
        except OSError as error:
            self.socket.close()
            raise CannotListen(self.place, error) from None

    @property
    def place(self) -> str:
        """Where it is, as the command says it: `unix:/run/chatsvc.sock`."""
        return f"unix:{self.path}"

    async def serve(self, factory: Any) -> list[asyncio.AbstractServer]:
        """Listen, and return the servers whose connections `factory` makes. Raises `CannotListen`."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {}
        # Python 3.13 removes the file with the server: that of all workers, when the first of them
        # ends. Earlier versions, and those of uvloop, know no such argument.
        with suppress(ValueError):
            if (
                "cleanup_socket"
                in inspect.signature(loop.create_unix_server).parameters
            ):
                options["cleanup_socket"] = False
        try:
            return [
                await loop.create_unix_server(
                    factory, sock=listening, backlog=BACKLOG, **options
                )
                for listening in accepting(self.socket, loop)
            ]
        except OSError as error:
            raise CannotListen(self.place, error) from None

    def remove(self) -> None:
        """Remove the file, unless somebody else's has taken its place; only the first call does.

        It must come before the socket is closed: then another file may get this one's number.
        """
        with suppress(OSError):
            if _identity(self.path) == self._file:
                os.unlink(self.path)
        self._file = None


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Remove the socket's file of a process that is gone. Raises `OSError` for any other file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file is there that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue would let it wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
