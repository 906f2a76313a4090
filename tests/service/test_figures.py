"""The numbers of all processes in shared memory: sums, restarts, and the end of the room."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.web.figures import TABLE_BYTES, Figures, Kind, Table

pytestmark = pytest.mark.any_store

PROCESSES = 3
NAMES = st.sampled_from(["a", "ab", "ünïcode", '"\\\n\x1f', ""])
KEYS = st.tuples(st.sampled_from(Kind), NAMES, st.lists(NAMES, max_size=2).map(tuple))
STEPS = st.lists(
    st.tuples(
        st.integers(0, PROCESSES - 1),
        st.one_of(st.just("restart"), st.tuples(KEYS, st.integers(0, 9))),
    ),
    max_size=40,
)

Key = tuple[Kind, str, tuple[str, ...]]


def read(table: Table) -> dict[Key, float]:
    """All figures of a table."""
    return {(r.kind, r.name, r.labels): r.figure.value for r in table}


@given(steps=STEPS)
@settings(deadline=None)
def test_every_table_has_what_its_processes_have_counted(
    steps: list[tuple[int, str | tuple[Key, int]]],
) -> None:
    figures = Figures(PROCESSES)
    tables = figures.tables()
    expected: list[dict[Key, float]] = [{} for _ in tables]
    for process, step in steps:
        counted = expected[process]
        if isinstance(step, str):
            tables[process] = figures.table(process)
            tables[process].begin(os.getpid())
            lost = {key: 0.0 for key in counted if key[0] is not Kind.COUNTER}
            counted.update(lost)
            continue
        (kind, name, labels), amount = step
        tables[process].figure(kind, name, *labels).inc(amount)
        key = kind, name, labels
        counted[key] = counted.get(key, 0.0) + amount
    assert [read(table) for table in figures.tables()] == expected


def test_a_process_that_was_forked_counts_where_the_others_see_it() -> None:
    figures = Figures(2)
    child = os.fork()
    if not child:
        table = figures.table(1)
        table.begin(os.getpid())
        table.figure(Kind.COUNTER, "started").inc(7)
        table.figure(Kind.GAUGE, "running", "x").set(3)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    table = figures.table(1)
    assert table.pid == child
    assert read(table) == {
        (Kind.COUNTER, "started", ()): 7.0,
        (Kind.GAUGE, "running", ("x",)): 3.0,
    }
    table.end()
    assert table.pid == 0
    assert Counter(read(table).values()) == {7.0: 1, 0.0: 1}
    assert not list(figures.table(0))


def test_a_process_alone_shares_nothing_with_those_that_it_forks() -> None:
    figures = Figures()
    figures.table(0).figure(Kind.COUNTER, "started").inc()
    child = os.fork()
    if not child:
        figures.table(0).figure(Kind.COUNTER, "started").inc()
        os._exit(int(read(figures.table(0))[Kind.COUNTER, "started", ()]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert read(figures.table(0)) == {(Kind.COUNTER, "started", ()): 1.0}


def test_a_restart_keeps_when_a_figure_was_created() -> None:
    figures = Figures()
    before = time.time()
    figures.table(0).figure(Kind.COUNTER, "x")
    [first] = figures.table(0)
    assert before <= first.created <= time.time()
    figures.table(0).begin(1)
    figures.table(0).figure(Kind.COUNTER, "x").inc()
    [again] = figures.table(0)
    assert (again.created, again.figure.value) == (first.created, 1.0)


def test_a_table_that_is_full_stays_as_it_is_and_its_neighbours_too() -> None:
    figures = Figures(2)
    table = figures.table(0)
    figures.table(1).figure(Kind.COUNTER, "neighbour").inc(5)
    for number in range(TABLE_BYTES // 16):
        table.figure(Kind.COUNTER, "many", str(number)).inc()
    counted = read(figures.table(0))
    assert 500 < len(counted) < TABLE_BYTES // 32
    assert set(counted.values()) == {1.0}
    table.figure(Kind.COUNTER, "many", "0").inc()
    assert read(figures.table(0))[Kind.COUNTER, "many", ("0",)] == 2.0
    assert read(figures.table(1)) == {(Kind.COUNTER, "neighbour", ()): 5.0}


def test_a_peak_only_rises() -> None:
    peak = Figures().table(0).figure(Kind.PEAK, "peak")
    for value in (1.0, 3.0, 2.0):
        peak.raise_to(value)
    assert peak.value == 3.0
