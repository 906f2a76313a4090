"""The main table over the number of streams: is the cost of an event flat?"""

import argparse

from ..report import Outcome
from . import table
from .plan import Plan, numbers


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    table.mode_arguments(parser)
    counts = [100, 500, 1000, 2500, 5000]
    parser.add_argument("--streams", type=numbers, default=counts, metavar="N,N,…")
    parser.add_argument("--length", type=int, default=90, help="characters in each")


def run(plan: Plan) -> Outcome:
    """Measure the main table at each number of streams."""
    return table.run(plan)
