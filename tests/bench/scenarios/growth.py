"""The main table over N: is the cost of an event flat?"""

import argparse

from ..report import Outcome
from . import table
from .plan import Plan, numbers


def arguments(parser: argparse.ArgumentParser) -> None:
    table.mode_arguments(parser)
    counts = [100, 500, 1000, 2500, 5000]
    parser.add_argument("--streams", type=numbers, default=counts, metavar="N,N,…")
    parser.add_argument("--length", type=int, default=90, help="characters in each")


def run(plan: Plan) -> Outcome:
    return table.run(plan)
