"""The command `chatsvc` (PROTOCOL.md section 8)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from chatsvc import __version__
from chatsvc.client.ask import INTERRUPTED, add_ask_arguments, run_ask
from chatsvc.client.doctor import add_doctor_arguments, run_doctor
from chatsvc.settings import Settings, add_flags, from_environment, read_settings

OTHERS = {"ask": ("url", "transport"), "doctor": ("seconds",)}
"""The flags of the commands that have no `Settings`."""


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the usage (PROTOCOL.md section 8)."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = _Parser(
        prog="chatsvc",
        description="Streams the replies of an AI, character by character.",
    )
    top.add_argument("--version", action="version", version=f"chatsvc {__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve (also without a command)")
    add_flags(serve)
    ask = commands.add_parser("ask", help="stream a reply to the terminal")
    add_ask_arguments(ask)
    doctor = commands.add_parser(
        "doctor", help="try every transport through whatever stands between"
    )
    add_doctor_arguments(doctor)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status: 2 for a bad setting, with one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (
        words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")
    ):
        words.insert(0, "serve")
    words[1:1] = from_environment(*OTHERS.get(words[0], ()))
    args = parser().parse_args(words)
    commands = {"ask": run_ask, "doctor": run_doctor, "serve": _serve}
    return commands[args.command](args)


def _serve(args: argparse.Namespace) -> int:
    from chatsvc.serve import CANNOT_START, refusal, serve
    from chatsvc.workers import serve_workers

    settings = Settings()
    try:
        settings = read_settings(vars(args))
        if settings.workers > 1:
            return serve_workers(settings)
        serve(settings)
    except CANNOT_START as error:
        why, status = refusal(error, settings)
        print(f"chatsvc: {why}", file=sys.stderr)
        return status
    except KeyboardInterrupt:  # before it serves: a model takes minutes to load
        return INTERRUPTED
    return 0
