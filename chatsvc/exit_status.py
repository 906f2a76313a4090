"""The exit statuses of the commands (PROTOCOL.md section 8)."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """An exit status of `chatsvc serve`, `chatsvc ask` or `chatsvc doctor`."""

    OK = 0
    """`serve` drained and ended; `ask` wrote the whole reply; `doctor` found nothing wrong."""
    FAILED = 1
    """`serve` could not start or was made to end at once; the reply of `ask` failed, was
    cut, or could not be read; a transport that `doctor` tried does not work."""
    USAGE = 2
    """A flag, a variable or an argument has a value that the command does not take."""
    STOPPED = 3
    """The reply of `ask` was stopped by another client, or for want of readers."""
    INTERRUPTED = 130
    """Ctrl-C, as shells report a program that SIGINT ended: 128 + 2."""
