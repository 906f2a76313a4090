"""The plan of a deployment: the flags that are given, and what follows from them for any file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from chatsvc.backends import BACKENDS, check_backend_name
from chatsvc.deploy.options import NODE, DeploySettings
from chatsvc.requests.values import BODY_FACTOR
from chatsvc.setting_formats import FOLDER, PATH
from chatsvc.settings import BadSetting, Settings, flag, read_settings, variable
from chatsvc.stores import check_store_name
from chatsvc.web.use import most_readers

LIVES_BEYOND_DRAIN_S = 20.0
"""The seconds beyond `--drain` in which the service has ended, with workers and all they run."""

FILES_BESIDE = 2_000
"""File descriptors for what is no reader: Redis, files, connections that wait or are refused."""

MOST_FILES = 1_048_576
"""The most file descriptors that Linux gives to a process unless it is told otherwise."""


@dataclass(frozen=True)
class Plan:
    """A deployment of the service with the `settings` that `flags` say; `options` are the kit's own.

    `flags` has the text of each flag by its setting's name, as `read_settings` takes them. `folder`
    is the one that relative paths in the flags start from.
    """

    settings: Settings
    options: DeploySettings
    flags: Mapping[str, Any]
    folder: Path

    def words(self, changed: Mapping[str, str | None] | None = None) -> list[str]:
        """Return the flags as words of a command line, without what may hold a password.

        Paths are absolute. `changed` has other texts for some settings, also for some that are not
        given; None leaves a flag out.
        """
        changed = changed or {}
        found: list[str] = []
        for each in fields(Settings):
            name = each.name
            if name in changed:
                text = changed[name]
                found += [] if text is None else [flag(name), text]
            elif name in self.left_out or not self.flags.get(name):
                continue
            elif each.default is False:
                found.append(flag(name))
            elif isinstance(each.default, tuple):
                for text in self.flags[name]:
                    found += [flag(name), text]
            elif each.metadata["format"] in (PATH, FOLDER):
                found += [flag(name), self._absolute(name)]
            else:
                found += [flag(name), self.flags[name]]
        return found

    @property
    def left_out(self) -> dict[str, str]:
        """The variables, by their settings, whose values may hold a password and are not printed."""
        return {
            each.name: variable(each.name)
            for each in fields(Settings)
            # A password stands before the host, or is a parameter.
            if each.metadata["secret"]
            and {"@", "?"} & set(self.flags.get(each.name) or "")
        }

    @property
    def files(self) -> dict[str, str]:
        """The absolute paths of the files that flags name and that are there, by their settings."""
        return {
            each.name: self._absolute(each.name)
            for each in fields(Settings)
            if each.metadata["format"] is PATH
            and each.name != "uds"
            and self.flags.get(each.name)
        }

    @property
    def code_folder(self) -> str | None:
        """The absolute path of the folder of the operator's own functions; None if none are used."""
        if self.settings.backend in BACKENDS and not self.settings.authorize:
            return None
        return self._absolute("app_dir")

    @property
    def socket(self) -> str:
        """The absolute path of the Unix socket that the service listens on, if it does."""
        return self._absolute("uds")

    def _absolute(self, name: str) -> str:
        return os.path.normpath(self.folder / (self.flags.get(name) or ""))

    @property
    def has_users(self) -> bool:
        """Whether the flags say who the users are; variables may do that as well."""
        chosen = self.settings
        return bool(chosen.api_keys_file or chosen.user_header or chosen.authorize)

    @property
    def stop_s(self) -> int:
        """The seconds after SIGTERM in which the service has ended."""
        return int(self.settings.drain + LIVES_BEYOND_DRAIN_S)

    @property
    def file_descriptors(self) -> int:
        """The file descriptors that a process needs for all readers and replies that it may have."""
        chosen = self.settings
        if chosen.limits == "off":
            return MOST_FILES
        # A reply of a model's server has a connection to it.
        needed = most_readers(chosen) + chosen.max_replies + FILES_BESIDE
        return min(1 << (needed - 1).bit_length(), MOST_FILES)

    @property
    def memory_bytes(self) -> int | None:
        """The bytes of memory that all of the service may take, or None where no flag says it.

        They are twice those of `--max-memory`, as that is half of what there is by default. A model
        in the service's own memory takes more than any flag says.
        """
        limit = self.settings.max_memory
        return None if limit is None or self.settings.backend == "local" else 2 * limit

    @property
    def body_mib(self) -> int:
        """The MiB that the body of a request may have: messages, and their files."""
        chosen = self.settings
        most = BODY_FACTOR * chosen.max_message + chosen.max_files
        return -(-most // 1024**2)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The addresses of the nodes behind a proxy. Raises `BadSetting` when none can be written."""
        if self.options.node:
            return self.options.node
        if not self.settings.hosts:
            return (self._node("uds", f"unix:{self.socket}"),)
        host = self.settings.hosts[0]
        # Whoever listens on all addresses of a machine is reached on its loopback, too.
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
        host = f"[{host}]" if ":" in host else host
        return (self._node("host", f"{host}:{self.settings.port}"),)

    def _node(self, name: str, address: str) -> str:
        """Return the address of a node as proxies take it. Raises `BadSetting`."""
        try:
            return str(NODE.parse(address))
        except ValueError as error:
            raise BadSetting(
                f"{flag('node')}, which is by {flag(name)}, {error}"
            ) from None

    @property
    def names(self) -> list[str]:
        """The hosts at which people reach the service, as `--allow-host` has them, and URLs."""
        names = [name for name in self.settings.allow_host if name != "*"]
        return [f"[{name}]" if ":" in name else name for name in names]


def make_plan(flags: Mapping[str, Any], options: DeploySettings, folder: Path) -> Plan:
    """Return the plan for `flags`, each checked as `chatsvc serve` checks it.

    No variable is read, and no file that a flag names. Raises `BadSetting`.
    """
    checks = {"backend": check_backend_name, "store": check_store_name}
    settings = read_settings(Settings, flags, {}, checks)
    if settings.port == 0:
        raise BadSetting(f"{flag('port')} 0 is another port at each start: name one")
    for each in [*fields(Settings), *fields(DeploySettings)]:
        given = flags.get(each.name) or ""
        texts = (given,) if isinstance(given, str) else given
        if not all(map(_is_utf8, texts)):
            raise BadSetting(f"{flag(each.name)} takes UTF-8 alone in a file")
        if each.metadata["format"] in (PATH, FOLDER) and not given.isprintable():
            raise BadSetting(
                f"{flag(each.name)} takes a path without characters that nobody sees"
            )
    return Plan(settings, options, flags, folder)


def _is_utf8(text: str) -> bool:
    """Return whether a text of the command line was UTF-8: else it has half surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
