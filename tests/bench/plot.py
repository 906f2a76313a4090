"""The program that draws a scenario's JSON as SVG; it runs in the kit's own environment.

usage: plot.py IN.json OUT.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
# Text stays text. Without a date and random ids the same data gives the same file.
matplotlib.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "chatsvc", "font.size": 9}
)

from matplotlib import pyplot

OURS, OTHERS = "#0a7", ["#37c", "#c63", "#93b", "#888", "#b90", "#0bd"]


def colour(index: int) -> str:
    """Return the colour of a series; the first one is chatsvc."""
    return OURS if index == 0 else OTHERS[(index - 1) % len(OTHERS)]


def bars(axes: Any, panel: dict[str, Any]) -> None:
    """Draw a panel whose series have one point each."""
    drawn = [s for s in panel["series"] if s["y"]]
    names = [s["name"] for s in drawn]
    heights = [s["y"][0] for s in drawn]
    error = None
    if all(s["low"] for s in drawn):
        error = [
            [s["y"][0] - s["low"][0] for s in drawn],
            [s["high"][0] - s["y"][0] for s in drawn],
        ]
    # All doors of the first server are its: `chatsvc /api/chat`, `chatsvc /v1`.
    firsts = [name.split(" ")[0] for name in names]
    colours = [OURS if first == firsts[0] else "#aab" for first in firsts]
    drawing = axes.barh(names, heights, xerr=error, color=colours, capsize=3)
    axes.bar_label(drawing, fmt="%.1f", padding=6)
    axes.margins(x=0.3)
    axes.invert_yaxis()
    axes.set_xlabel(panel["y_label"])


def lines(axes: Any, panel: dict[str, Any]) -> None:
    """Draw a panel whose series have several points; far apart ones over a logarithmic x."""
    for i, s in enumerate(panel["series"]):
        marker = "o" if len(s["x"]) < 30 else None
        width = 2.2 if i == 0 else 1.2
        name, look = s["name"], {"marker": marker, "markersize": 3}
        axes.plot(s["x"], s["y"], label=name, color=colour(i), lw=width, **look)
        if s["low"]:
            axes.fill_between(s["x"], s["low"], s["high"], color=colour(i), alpha=0.12)
    axes.set(xlabel=panel["x_label"], ylabel=panel["y_label"])
    everything = [s for s in panel["series"] if s["x"]]
    axes.set_ylim(0, 1.1 * max(max(s["high"] or s["y"]) for s in everything))
    places = [x for s in everything for x in s["x"]]
    wide = min(places) > 0 and max(places) >= 100 * min(places)
    if wide and len(places) < 30 * len(everything):  # Minutes of a run stay linear.
        axes.set_xscale("log")
    axes.grid(alpha=0.25)
    if len(panel["series"]) > 1:
        axes.legend(frameon=False)


def main(source: str, target: str) -> None:
    """Draw all panels of the JSON file `source` into the SVG file `target`."""
    data = json.loads(Path(source).read_text())
    panels = data["panels"]
    size = (max(7.5, 4.6 * len(panels) + 0.6), 3.8)
    figure, row = pyplot.subplots(
        1, len(panels), figsize=size, squeeze=False, layout="constrained"
    )
    for axes, panel in zip(row[0], panels, strict=True):
        single = all(len(s["x"]) <= 1 for s in panel["series"])
        (bars if single else lines)(axes, panel)
    figure.suptitle(data["title"], fontsize=9)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
