"""The files that SIGHUP has read again while the service goes on: API keys and certificates.

Invariant: a file that can't be used changes nothing, and is one line of the log.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from chatsvc.listening.certificates import Certificates, read_certificates_again
from chatsvc.settings import Settings
from chatsvc.users.current_keys import read_keys_again, report_keys
from chatsvc.users.keys import KeyRing


class Reread(NamedTuple):
    """What has been read again and can be used."""

    keys: KeyRing | None
    """The API keys; None if there are no new ones."""
    certificates: bool
    """Whether there are new certificates."""


def has_files(settings: Settings) -> bool:
    """Return whether there is anything for SIGHUP to have read again."""
    return bool(settings.api_keys_file or settings.ssl_certfile)


def hold_hangups(settings: Settings) -> None:
    """Block SIGHUP, if it has files read again, until this process can do that."""
    if has_files(settings):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def read_again(
    settings: Settings, certificates: Certificates | None, *, quietly: bool = False
) -> Reread:
    """Read the files again that the settings name; `certificates` get theirs at once.

    What comes of it is logged, but with `quietly`: of several workers, the parent says it.
    """
    keys = None
    if settings.api_keys_file:
        keys = read_keys_again(settings, quietly=quietly)
        if keys is not None and not quietly:
            report_keys(keys)
    changed = certificates is not None and read_certificates_again(
        certificates, quietly=quietly
    )
    return Reread(keys, changed)
