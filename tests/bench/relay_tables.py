"""The tables of the scenario `relay`, and the figures in them.

A token's figures come from code points, because each door of a server cuts a token into other
events. `Run.extra` has them as `token_us`, `token_bytes` and `reply_ms`; its `kept_pace` is the
share of the model's pace at which tokens came while all streams ran.
"""

from collections.abc import Callable, Iterable

from .measuring import Run
from .report import (
    DASH,
    Table,
    median,
    number,
    pick,
    quantiles,
    ratio,
    spread,
    with_range,
)

MODEL = "the model itself"
"""The name of the direct reading in tables and runs."""

BASES = ("proxy", "nginx", "express")
"""The peers that every other server is divided by."""

SHORT = 4
"""Tokens in a short reply."""

PACE = 0.95
"""Share of the model's pace below which a run is doubted."""

Figure = Callable[[Run], float | None]
"""A figure of a run; None where it is not known."""


def token_us(run: Run) -> float | None:
    """Return the CPU of a token in µs, or None if it is not known."""
    return run.extra.get("token_us")


def reply_ms(run: Run) -> float | None:
    """Return the CPU of a whole reply in ms, or None if it is not known."""
    return run.extra.get("reply_ms")


def token_bytes(run: Run) -> float | None:
    """Return the bytes to the client for a token, heads not included."""
    return run.extra.get("token_bytes")


def later(quantile: str, runs: list[Run]) -> Figure:
    """Return the figure of the first token less the model's own of that round, in ms."""
    model = {
        (run.round, run.at): run.first_ms.get(quantile)
        for run in runs
        if run.server == MODEL and not run.failed
    }

    def figure(run: Run) -> float | None:
        mine, its = run.first_ms.get(quantile), model.get((run.round, run.at))
        return None if mine is None or its is None else mine - its

    return figure


def _ratios(
    runs: list[Run], name: str, names: list[str], at: float, figure: Figure
) -> list[str]:
    """Return a cell for each of `BASES`: this server's figure as a multiple of that peer's."""
    cells = []
    for base in BASES:
        # A peer's name may have the version of its Node behind it.
        peer = next((n for n in names if n.split(" ")[0] == base), None)
        share = (
            ratio(runs, name, peer, at, figure) if peer not in (None, name) else None
        )
        cells.append(number(share, 2))
    return cells


def _first(runs: list[Run], name: str, at: float) -> list[str]:
    """Return the cells of the first token, and of what it is later than the model's own."""
    mine = pick(runs, name, at)
    after = (number(median(mine, later(q, runs))) for q in ("p50", "p99"))
    return [
        quantiles(mine, "first_ms", "p50", "p99"),
        DASH if name == MODEL else " / ".join(after),
    ]


def tokens(runs: list[Run], names: list[str], at: float) -> Table:
    """Return the table of the long replies."""
    head = ["server", "N", "CPU µs/token", *(f"÷ {base}" for base in BASES)]
    head += ["bytes/token", "÷ model's", "first token ms p50/p99", "less the model's"]
    head += ["KiB/reply", "core"]
    lines = []
    for name in names:
        mine = pick(runs, name, at)
        known = name != MODEL
        whole_run = "" if all(r.steady or not known for r in mine) else "~"
        busy = median(mine, lambda r: r.core_busy) if known else None
        lines.append(
            [
                name,
                str(mine[0].streams) if mine else DASH,
                whole_run + with_range(spread(mine, token_us), 1),
                *_ratios(runs, name, names, at, token_us),
                number(median(mine, token_bytes), 0),
                number(ratio(runs, name, MODEL, at, token_bytes), 2),
                *_first(runs, name, at),
                number(median(mine, lambda r: r.rss_kib) if known else None),
                DASH if busy is None else f"{busy:.0%}",
            ]
        )
    return Table(head, lines, "long replies")


def replies(runs: list[Run], names: list[str]) -> Table:
    """Return the table of the short replies."""
    head = ["server", "replies", "CPU ms/reply", *(f"÷ {base}" for base in BASES)]
    head += ["first token ms p50/p99", "less the model's"]
    lines = []
    for name in names:
        mine = pick(runs, name, SHORT)
        lines.append(
            [
                name,
                str(mine[0].streams) if mine else DASH,
                with_range(spread(mine, reply_ms)),
                *_ratios(runs, name, names, SHORT, reply_ms),
                *_first(runs, name, SHORT),
            ]
        )
    return Table(head, lines, f"short replies, of {SHORT} tokens")


def doubts(runs: list[Run]) -> Iterable[str]:
    """Yield what to distrust in the runs, besides what `notes` says."""
    for run in runs:
        if run.failed or run.at == SHORT:
            continue
        where = f"{run.server} at {run.at:g}, round {run.round + 1}"
        if run.server == MODEL:
            late = run.gap_ms.get("p99", 0) - run.gap_ms.get("p50", 0)
            if late > 10:
                yield f"{where}: the model's own gaps differ by {late:.0f} ms"
        elif not run.steady:
            yield f"{where}: ~ not all streams ran at once: the figure is of the whole run"
        elif run.extra.get("kept_pace", 1) < PACE:
            yield (
                f"{where}: tokens came at {run.extra['kept_pace']:.0%} of the model's pace: "
                "late ones are read together, and look cheap"
            )
