"""The memory that a process may use, as `/proc` and its control groups say (Linux's cgroups(7))."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.machine_memory import usable_memory

GIB = 1024**3
MEMINFO = "MemTotal:        8388608 kB\nMemFree:          123456 kB\n"
MACHINE = 8 * GIB
V1 = "12:cpu,cpuacct:/\n9:memory:/docker/abc\n1:name=systemd:/docker/abc\n"


def system(root: Path, **files: str) -> Path:
    """A tree of files below `root`; in names `__` stands for a slash, `_DOT_` for a dot."""
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    assert usable_memory(system(tmp_path, proc__meminfo=MEMINFO)) == MACHINE


def test_this_machine_has_some() -> None:
    assert (usable_memory() or 0) > 2**24


def test_no_file_at_all_is_the_systems_word(tmp_path: Path) -> None:
    assert (usable_memory(tmp_path) or 0) > 2**24


def test_of_version_2_the_lowest_on_the_way_counts(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/system/chat/inner\n",
        sys__fs__cgroup__memory_DOT_max="max\n",
        sys__fs__cgroup__system__memory_DOT_max=f"{2 * GIB}\n",
        sys__fs__cgroup__system__chat__memory_DOT_max=f"{3 * GIB}\n",
        sys__fs__cgroup__system__chat__inner__memory_DOT_max="max\n",
        sys__fs__cgroup__elsewhere__memory_DOT_max="1024\n",
    )
    assert usable_memory(root) == 2 * GIB


def test_of_version_2_what_is_throttled_counts_too(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/a\n",
        sys__fs__cgroup__a__memory_DOT_max=f"{2 * GIB}\n",
        sys__fs__cgroup__a__memory_DOT_high=f"{GIB}\n",
    )
    assert usable_memory(root) == GIB


@pytest.mark.parametrize("path", ["/", "/docker/abc", "/../abc"])
def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path, path: str) -> None:
    root = system(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup=f"0::{path}\n",
        sys__fs__cgroup__memory_DOT_max=f"{GIB}\n",
    )
    assert usable_memory(root) == GIB


def test_of_version_1_the_group_of_memory_counts(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup=V1,
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes="9223372036854771712\n",
        sys__fs__cgroup__memory__docker__abc__memory_DOT_limit_in_bytes=f"{GIB}\n",
    )
    assert usable_memory(root) == GIB


def test_of_version_1_the_largest_number_is_no_limit(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup=V1,
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes="9223372036854771712\n",
    )
    assert usable_memory(root) == MACHINE


@pytest.mark.parametrize("text", ["", "\n", "nonsense", "1:2", "0::", "\xff", ":::"])
def test_what_makes_no_sense_is_passed_over(tmp_path: Path, text: str) -> None:
    root = system(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup=text,
        sys__fs__cgroup__memory_DOT_max="plenty",
    )
    assert usable_memory(root) == MACHINE
