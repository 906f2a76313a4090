"""Every way to install chatsvc serves the page, from another folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from urllib.request import urlopen

import pytest

from .clean_clone import PARTS, ROOT, clean_clone

SHIPPED = {".py", ".lua", ".js", ".css", ".html", ".po", ".j2"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a clean clone has of what is packaged."""
    return clean_clone(tmp_path / "checkout")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment that has what chatsvc needs, from the one of the tests, and not chatsvc."""
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # Behind what is installed there; editable installs of the tests' environment don't come with it.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return tmp_path / "venv" / "bin" / "python"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command; what it writes."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(what: str, source: Path, into: Path) -> Path:
    """Build an sdist or a wheel as every front end does, through setuptools' backend."""
    into.mkdir(exist_ok=True)
    program = f"import setuptools.build_meta as b; b.build_{what}({str(into)!r})"
    run(sys.executable, "-c", program, cwd=source)
    (built,) = into.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return built


def unpacked(sdist: Path) -> Path:
    """The folder that an sdist holds."""
    shutil.unpack_archive(sdist, sdist.parent, filter="data")
    return sdist.parent / sdist.name.removesuffix(".tar.gz")


def serves_the_page(python: Path, folder: Path) -> Path:
    """Start the command in another folder, fetch the page and all it names; where the package is."""
    folder.mkdir()
    process = subprocess.Popen(
        [python.parent / "chatsvc", "--port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("chatsvc is running on http://"), line
            url = line.split()[-1] + "/"
            with urlopen(url, timeout=20) as answer:
                page = answer.read().decode()
            assert re.search(r"<style>[^<]*\.rendered\b", page)
            files = set(re.findall(r'(?:src|href)="([^"#]+\.(?:js|svg))"', page))
            assert {Path(file).suffix for file in files} == {".js", ".svg"}
            for file in files:
                with urlopen(url + file, timeout=20) as answer:
                    assert answer.read()
        finally:
            process.terminate()
    assert process.returncode == 0
    where = "import chatsvc; print(chatsvc.__file__)"
    return Path(run(python, "-c", where, cwd=folder).strip())


@pytest.mark.sampled
@pytest.mark.parametrize("way", ["wheel", "sdist", "editable", "folder"])
def test_installed(way: str, checkout: Path, python: Path, tmp_path: Path) -> None:
    if way == "wheel":
        what = [str(build("wheel", checkout, tmp_path / "dist"))]
    elif way == "sdist":
        source = unpacked(build("sdist", checkout, tmp_path / "dist"))
        shutil.rmtree(checkout)
        what = [str(build("wheel", source, tmp_path / "wheels"))]
    elif way == "editable":
        what = ["--no-build-isolation", "--editable", str(checkout)]
    else:
        what = ["--no-build-isolation", str(checkout)]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    quiet = ["--no-index", "--no-deps", "--disable-pip-version-check"]
    run(*pip, *quiet, *what, cwd=tmp_path)
    if way != "editable":
        shutil.rmtree(checkout, ignore_errors=True)
    package = serves_the_page(python, tmp_path / "elsewhere")
    # The scripts of the store in Redis are read when it is imported.
    run(python, "-c", "import chatsvc.stores.redis", cwd=tmp_path / "elsewhere")
    home = checkout if way == "editable" else python.parent.parent
    assert package.is_relative_to(home)


def test_a_wheel_holds_every_file_of_the_page_and_nothing_else(
    checkout: Path, tmp_path: Path
) -> None:
    wheel = build("wheel", checkout, tmp_path / "dist")
    shutil.unpack_archive(wheel, tmp_path / "in", "zip")
    for part in PARTS:
        inside = tmp_path / "in" / "chatsvc" / ("" if part == "chatsvc" else part)
        for file in (ROOT / part).rglob("*"):
            if file.is_file() and file.suffix in SHIPPED:
                assert (inside / file.relative_to(ROOT / part)).is_file(), file
    tops = {path.name for path in (tmp_path / "in").iterdir()}
    assert len(tops) == 2, tops
    assert (tmp_path / "in" / "chatsvc" / "py.typed").is_file()
