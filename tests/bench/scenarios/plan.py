"""What every scenario is told by the command line."""

import argparse
from dataclasses import dataclass
from typing import Any

from .. import kit
from ..machine import Cores
from ..processes import Server
from ..servers import PEERS


@dataclass(frozen=True)
class Plan:
    """The server to measure, where, how often, and the scenario's own arguments."""

    server: Server
    cores: Cores
    rounds: int
    args: argparse.Namespace

    def __getattr__(self, name: str) -> Any:
        """A scenario's own argument: `plan.streams`."""
        return getattr(self.args, name)

    def peers(self, mode: str = "sse") -> tuple[list[Server], list[str]]:
        """The peers that were asked for and can run, and why others can't."""
        known = PEERS[mode]
        asked = self.args.peers
        names = list(known) if asked is None else [p for p in asked.split(",") if p]
        ready, missing = [], []
        for name in names:
            if name == self.server.name:
                missing.append(f"no peer {name}: the server measured is called so")
            elif name not in known:
                missing.append(f"no {mode} peer {name}")
            else:
                try:
                    kit.ensure(known[name].needs or "load")
                    ready.append(known[name])
                except kit.NotBuilt as e:
                    missing.append(f"without {name}: {e}")
        return ready, missing


def numbers(text: str) -> list[int]:
    """`1,2,3`, as an argparse type."""
    return [int(word) for word in text.split(",")]
