"""The numbers behind the metrics, in memory that all processes of a service share.

Each process writes a table of its own, and any of them reads them all: a scrape that comes to one
worker gives the sums of all, also while another one is stalled.

Invariants:

- A table has one writer, the event loop's thread of its process, so writing takes no lock.
- A table outlives its process. The worker that is started in place of a dead one goes on with the
  counters of that, so no sum ever goes back; what describes a living process is set to 0.
- A table has a fixed size. A figure that has no room is counted nowhere, and nothing fails.
"""

from __future__ import annotations

import enum
import mmap
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

TABLE_BYTES = 64 * 1024
"""Bytes of one process's table: room for some 600 figures, of which there are about 100."""

_CELL_BYTES = (
    8  # Everything in a table is aligned to the float64 cells that it is seen as.
)

# The first cells of a table. Behind them stand the records: the bytes of the key, the key in whole
# cells, the time of creation, the value.
_USED, _PID, _NOWHERE, _FIRST = range(4)

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


class Kind(enum.Enum):
    """What becomes of a figure when its process ends, and of those of several processes."""

    COUNTER = "counter"
    """A count that only grows: it stays; the processes' counts are added up."""
    GAUGE = "gauge"
    """The state of a living process: it becomes 0; the processes' states are added up."""
    PEAK = "peak"
    """The highest value since the last scrape: it becomes 0; the highest of all counts."""


class Record(NamedTuple):
    """A figure as it was read from a table."""

    kind: Kind
    name: str
    """The metric's name."""
    labels: tuple[str, ...]
    """The values of the metric's labels, in the order of their names."""
    created: float
    """When the figure was created (seconds since the epoch)."""
    figure: Figure


class Figure:
    """One number of one process, which that process changes."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: memoryview[float], at: int) -> None:
        self._cells = cells
        self._at = at

    @property
    def value(self) -> float:
        """The number as it is now."""
        return self._cells[self._at]

    def set(self, value: float) -> None:
        """Replace the number."""
        self._cells[self._at] = value

    def inc(self, amount: float = 1.0) -> None:
        """Add `amount`."""
        self._cells[self._at] += amount

    def dec(self) -> None:
        """Subtract 1."""
        self._cells[self._at] -= 1.0

    def raise_to(self, value: float) -> None:
        """Replace the number if `value` is greater."""
        self._cells[self._at] = max(self._cells[self._at], value)


class Table:
    """The figures of one process, in `memory` (`TABLE_BYTES` of it, all 0 at first)."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory
        self._cells = memory.cast("d")
        self._known: dict[tuple[str, ...], Figure] = {}
        for kind, name, labels, _, figure in self:
            self._known[kind.value, name, *labels] = figure

    @property
    def pid(self) -> int:
        """The id of the process that writes the table; 0 while there is none."""
        return int(self._cells[_PID])

    def begin(self, pid: int) -> None:
        """Take the table for a process that starts: what its predecessor was is no more."""
        self.end()
        self._cells[_PID] = float(pid)

    def end(self) -> None:
        """Note that the process is gone: its counters stay, all else becomes 0."""
        self._cells[_PID] = 0.0
        for record in self:
            if record.kind is not Kind.COUNTER:
                record.figure.set(0.0)

    def figure(self, kind: Kind, name: str, *labels: str) -> Figure:
        """Return the figure of the metric `name` for these values of its labels.

        It is created as 0 if it isn't there; only the table's own process may do that.
        """
        key = (kind.value, name, *labels)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._create(key)
        return found

    def _create(self, key: tuple[str, ...]) -> Figure:
        encoded = _encode(key)
        begin = max(int(self._cells[_USED]), _FIRST)
        key_cells = -(-len(encoded) // _CELL_BYTES)
        value_at = begin + 1 + key_cells + 1
        if value_at >= len(self._cells):
            return Figure(self._cells, _NOWHERE)
        self._cells[begin] = float(len(encoded))
        key_at = (begin + 1) * _CELL_BYTES
        self._bytes[key_at : key_at + len(encoded)] = encoded
        self._cells[value_at - 1] = time.time()
        self._cells[value_at] = 0.0
        # The last step: another process reads as far as this says.
        self._cells[_USED] = float(value_at + 1)
        return Figure(self._cells, value_at)

    def __iter__(self) -> Iterator[Record]:
        """Yield all figures, in the order in which they were created."""
        at, used = _FIRST, int(self._cells[_USED])
        while at < used:
            length = int(self._cells[at])
            key_at = (at + 1) * _CELL_BYTES
            kind, name, *labels = _decode(self._bytes[key_at : key_at + length])
            at += 1 + -(-length // _CELL_BYTES) + 2
            figure = Figure(self._cells, at - 1)
            yield Record(Kind(kind), name, tuple(labels), self._cells[at - 2], figure)


class Figures:
    """The tables of a service of `processes` processes.

    The memory of several is shared with the processes that are forked afterwards. It has no name in
    any file system and goes with the last of them. The memory of one is its own: an application
    that is forked by whoever mounts it counts in each process by itself.
    """

    def __init__(self, processes: int = 1) -> None:
        size = processes * TABLE_BYTES
        memory = memoryview(bytearray(size) if processes == 1 else mmap.mmap(-1, size))
        self._parts = [
            memory[begin : begin + TABLE_BYTES]
            for begin in range(0, len(memory), TABLE_BYTES)
        ]

    def __len__(self) -> int:
        """Return the number of processes."""
        return len(self._parts)

    def table(self, process: int) -> Table:
        """Return the table of a process by its number, from 0, as it is now."""
        return Table(self._parts[process])

    def tables(self) -> list[Table]:
        """Return all tables as they are now."""
        return list(map(Table, self._parts))
