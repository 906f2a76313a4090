"""The reports: from runs to tables, notes on what to distrust, JSON, and a plot."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import kit, machine
from .measuring import Run, reasons_text

NOISE = 0.1  # share of a core used by others from which a note says so
DASH = "–"


@dataclass
class Table:
    """A table: a heading and lines of cells, of which the first column is left-aligned."""

    head: list[str]
    lines: list[list[str]]
    title: str = ""

    def __str__(self) -> str:
        widths = [
            max(map(len, column)) for column in zip(self.head, *self.lines, strict=True)
        ]
        rows = [self.head, ["-" * width for width in widths], *self.lines]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )


@dataclass
class Series:
    """One line of a panel: y over x, with the least and the greatest of the rounds."""

    name: str
    x: list[float]
    y: list[float]
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


@dataclass
class Panel:
    """One drawing of a plot: bars if every series has one point, else lines."""

    y_label: str
    series: list[Series]
    x_label: str = ""


@dataclass
class Outcome:
    """The result of a scenario: what is printed, plotted and stored."""

    title: str
    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    failed: bool = False


# ------------------------------------------------------------- from rounds to figures


@dataclass(frozen=True)
class Spread:
    """The median of a figure over the rounds, the least and the greatest."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Return a text like `12.34 [12.10–12.60]`."""
        d = digits
        return f"{self.median:.{d}f} [{self.low:.{d}f}–{self.high:.{d}f}]"


Figure = Callable[[Run], float | None]


def pick(runs: Iterable[Run], server: str, at: float) -> list[Run]:
    """Return the runs of one server at one x of the table in which no stream failed."""
    return [r for r in runs if r.server == server and r.at == at and not r.failed]


def spread(runs: Iterable[Run], figure: Figure) -> Spread | None:
    """Return a figure over the rounds, or None if no round has it."""
    known = [value for value in map(figure, runs) if value is not None]
    if not known:
        return None
    return Spread(statistics.median(known), min(known), max(known))


def median(runs: Iterable[Run], figure: Figure) -> float | None:
    """Return the median of a figure over the rounds, or None if no round has it."""
    found = spread(runs, figure)
    return found.median if found else None


def ratio(
    runs: list[Run], this: str, to: str, at: float, figure: Figure
) -> float | None:
    """Return the median of the ratios of two servers, each taken within one round.

    The speed of the machine changes between rounds, but both servers of a round have the same.
    """
    base = {r.round: figure(r) for r in pick(runs, to, at)}
    found = []
    for run in pick(runs, this, at):
        mine, its = figure(run), base.get(run.round)
        if mine and its:
            found.append(mine / its)
    return statistics.median(found) if found else None


def number(value: float | None, digits: int = 1) -> str:
    """Return the cell of a number; a dash for None."""
    return DASH if value is None else f"{value:.{digits}f}"


def with_range(value: Spread | None, digits: int = 2) -> str:
    """Return the cell of a `Spread`; a dash for None."""
    return DASH if value is None else value.text(digits)


def quantiles(runs: Sequence[Run], which: str, *names: str) -> str:
    """Return a cell like `99.9 / 103.1`: the medians of the rounds' quantiles."""

    def one(name: str) -> str:
        return number(median(runs, lambda r: getattr(r, which).get(name)))

    return " / ".join(map(one, names))


def series(
    runs: list[Run], servers: list[str], places: list[float], figure: Figure
) -> list[Series]:
    """Return a line of a panel for each server."""
    lines = []
    for server in servers:
        line = Series(server, [], [])
        for at in places:
            if found := spread(pick(runs, server, at), figure):
                line.x.append(at)
                line.y.append(found.median)
                line.low.append(found.low)
                line.high.append(found.high)
        lines.append(line)
    return lines


# ------------------------------------------------------------------- what to distrust


def notes(runs: list[Run]) -> list[str]:
    """Return the notes below a table: failed runs, doubtful figures, and noise of the machine."""
    said = []
    for run in runs:
        where = f"{run.server} at {run.at:g}, round {run.round + 1}"
        if run.error or run.failed:
            said.append(f"FAILED: {where}: {run.error or reasons_text(run.reasons)}")
        else:
            said += [f"{where}: {doubt}" for doubt in _doubts(run)]
    shares: dict[str, Figure] = {
        "other work used more than {} of the server's core": lambda r: r.other_work,
        "other work used more than {} of the load's core": lambda r: r.client_other,
        "the hypervisor took more than {} of the server's core": lambda r: r.stolen,
    }
    for what, share in shares.items():
        noisy = [(share(r) or 0, r) for r in runs if (share(r) or 0) > NOISE]
        if noisy:
            most, worst = max(noisy, key=lambda pair: pair[0])
            said.append(
                f"NOISE: {what.format(f'{NOISE:.0%}')} in {len(noisy)} of {len(runs)} "
                f"runs; worst {most:.0%}: {worst.server} at {worst.at:g}, "
                f"round {worst.round + 1}"
            )
    return said


def _doubts(run: Run) -> Iterable[str]:
    if run.pace_ms and run.setup_us is None and not run.steady:
        yield "~ not all streams ran at once: the figure is of the whole run"
    p50 = run.gap_ms.get("p50", 0)
    if run.pace_ms and p50 and abs(p50 / run.pace_ms - 1) > 0.1:
        yield f"median gap {p50:.1f} ms, asked {run.pace_ms}: doesn't compare"
    elif run.pace_ms and run.core_busy and run.core_busy > 0.97:
        yield "its core was full: gaps grow, and events in batches look cheap"
    if run.client_busy > 0.9:
        yield (
            f"the load used {run.client_busy:.0%} of its core: "
            "gaps and events/s may be its own limit"
        )
    if abs(run.events_per_character - 1) > 0.01:
        yield f"{run.events_per_character:.2f} events per character asked for"


# ---------------------------------------------------------------------------- output


def show(outcome: Outcome) -> None:
    """Print the tables and the notes."""
    print(f"\n{outcome.title}")
    for table in outcome.tables:
        print("\n" + (f"{table.title}\n" if table.title else "") + str(table))
    if outcome.notes:
        print("\n" + "\n".join(outcome.notes))


def write(outcome: Outcome, name: str, folder: Path, plot: bool) -> None:
    """Write NAME.json with every run and, if `plot`, NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": machine.describe(), **asdict(outcome)}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{path}", end="")
    if plot and outcome.panels and any(p.series for p in outcome.panels):
        try:
            kit.ensure("plot")
        except kit.NotBuilt as e:
            print(f"; no plot: {e}")
            return
        drawing = folder / f"{name}.svg"
        script = kit.HERE / "plot.py"
        subprocess.run([kit.PYTHON, script, path, drawing], check=True)
        print(f", {drawing.name}", end="")
    print(flush=True)
    sys.stdout.flush()
