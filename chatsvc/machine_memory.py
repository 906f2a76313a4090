"""The memory that this process may use: the machine's, or what its control group leaves of that.

A control group (cgroup) is how containers and systemd limit processes on Linux. Version 2 has one
tree for all kinds of limits, version 1 one tree for each kind. In both a group's limit holds for
all groups below it, so the lowest one on the way from the process's group to the root counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

NO_LIMIT = 1 << 60
"""Bytes from which on a limit stands for none: version 1 writes the largest number that it knows."""


def usable_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process may use, or None where the system can't say.

    `root` is the directory below which `proc` and `sys` are looked for; the machine's own memory is
    that of `proc/meminfo` there, or else what the system says through `os.sysconf`.
    """
    found = [*_limits(root)]
    machine = _machine_memory(root)
    if machine is not None:
        found.append(machine)
    return min(found, default=None)


def _machine_memory(root: Path) -> int | None:
    """Return the bytes of memory of the machine, or None."""
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemTotal" and words and words[0].isdigit():
            return int(words[0]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf.
        return None


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of all groups that this process is in, in bytes.

    Each line of `proc/self/cgroup` names a hierarchy, its controllers and the group's path. The
    second is empty for version 2.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, _, named = line.partition(":")
        controllers, separator, path = named.partition(":")
        if not separator:
            continue
        if not controllers:
            yield from _limits_on_the_way(
                root / "sys/fs/cgroup", path, ("memory.max", "memory.high")
            )
        elif "memory" in controllers.split(","):
            yield from _limits_on_the_way(
                root / "sys/fs/cgroup/memory", path, ("memory.limit_in_bytes",)
            )


def _limits_on_the_way(tree: Path, path: str, names: tuple[str, ...]) -> Iterator[int]:
    """Yield the limits of a group and of all above it, up to the root of its tree.

    A container sees its own group as the root of the tree, while its path may still be that on the
    machine: what isn't there has no limit to read. Files that are no number ("max") are none.
    """
    group = PurePosixPath("/", path)
    if ".." in group.parts:  # The group lies outside of what this process sees.
        group = PurePosixPath("/")
    for each in (group, *group.parents):
        for name in names:
            for line in _lines(tree / str(each).lstrip("/") / name):
                if line.strip().isdigit() and int(line) < NO_LIMIT:
                    yield int(line)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except (OSError, ValueError):
        return []
