"""The plan of a run: the arguments of the command line that every scenario needs."""

import argparse
from dataclasses import dataclass
from typing import Any

from .. import kit
from ..machine import Cores
from ..processes import Server
from ..servers import PEERS


@dataclass(frozen=True)
class Plan:
    """The server to measure, on which cores, how often, and the scenario's own arguments."""

    server: Server
    cores: Cores
    rounds: int
    args: argparse.Namespace

    def __getattr__(self, name: str) -> Any:
        """Return a scenario's own argument, as in `plan.streams`."""
        return getattr(self.args, name)

    def servers(self, mode: str = "sse") -> tuple[list[Server], list[str]]:
        """Return the servers to run, and a note for each peer that can't run.

        The first server is the one that is measured; it is compared with the others.
        """
        peers, missing = self.peers(mode)
        return [*self.own(), *peers], missing

    def own(self) -> list[Server]:
        """Return the server to measure and, with `--store`, the same server on that store."""
        own, store = self.server, self.args.store
        if subprotocol := getattr(self.args, "subprotocol", None):
            own = own.with_options("--subprotocol", subprotocol)
        if store is None:
            return [own]
        name = f"{own.name}+{store.partition(':')[0]}"
        return [own, own.named(name, "--store", store)]

    def peers(self, mode: str) -> tuple[list[Server], list[str]]:
        """Return the peers that are asked for and can run, and a note for each other one."""
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
                    ready.append(_made(known[name]))
                except kit.NotBuilt as e:
                    missing.append(f"without {name}: {e}")
        return ready, missing


def _made(peer: Server) -> Server:
    """Return a peer that is built, with its Node's version in its name. Raises `NotBuilt`."""
    kit.ensure(peer.needs or "load")
    if peer.node is None:
        return peer
    return peer.named(f"{peer.name} (Node {kit.node_version(peer.node)})")


def peer_arguments(parser: argparse.ArgumentParser, peers: str | None = None) -> None:
    """Add the options of a comparison: the peers, and chatsvc with itself on another store."""
    peers_argument(parser, peers)
    store_argument(parser)


def peers_argument(parser: argparse.ArgumentParser, peers: str | None = None) -> None:
    """Add the option that names the peers, `peers` by default (None: all that can run)."""
    said = peers or "all that can run"
    parser.add_argument(
        "--peers", metavar="A,B", default=peers, help=f"default: {said}"
    )


def store_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that compares chatsvc with itself on another store."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="compare with the same server on this store too, as redis://127.0.0.1:6379",
    )


def numbers(text: str) -> list[int]:
    """Return the numbers of a text like `1,2,3`; an argparse type."""
    return [int(word) for word in text.split(",")]
