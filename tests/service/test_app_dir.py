"""Functions of operators, through the installed command, from whatever folder it is started in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import packages_distributions
from pathlib import Path

import aiohttp
import pytest

from ..redis_server import RedisServer

pytestmark = pytest.mark.any_store

COMMAND = Path(sys.executable).parent / "chatsvc"
ANSWERS = """
import beside

async def answer(messages):
    yield beside.TEXT
"""
DOORMAN = """
async def who(request):
    return request.headers.get("X-Name")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a backend, and a function that names users."""
    (tmp_path / "answers.py").write_text(ANSWERS)
    (tmp_path / "beside.py").write_text("TEXT = 'from the folder'\n")
    (tmp_path / "doorman.py").write_text(DOORMAN)
    # What is installed has this name, too.
    (tmp_path / "colorsys.py").write_text(ANSWERS)
    # What stands for a part of Python is nothing to the processes that render.
    (tmp_path / "html.py").write_text("raise ImportError('not this one')\n")
    return tmp_path


async def started(
    cwd: Path, *words: str, **variables: str
) -> asyncio.subprocess.Process:
    """Start the installed command in a folder, without `PYTHONPATH`."""
    assert COMMAND.exists()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return await asyncio.create_subprocess_exec(
        COMMAND,
        *words,
        cwd=cwd,
        env={**environment, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(cwd: Path, *words: str, **variables: str) -> AsyncIterator[str]:
    """The URL of the command that serves from a folder."""
    words = (*words, "--port", "0", "--drain", "0")
    process = await started(cwd, *words, **variables)
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        if not line:
            assert process.stderr is not None
            pytest.fail((await process.stderr.read()).decode())
        yield line.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def answered(url: str, **headers: str) -> tuple[int, str]:
    """The status and the body of the answer to a question."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/api/chat",
            json={"message": "hi"},
            headers={"Accept": "text/plain", **headers},
        ) as response,
    ):
        return response.status, await response.text()


@pytest.mark.sampled
@pytest.mark.parametrize("words", [(), ("serve",)])
@pytest.mark.parametrize("module", ["answers", "colorsys"])
async def test_a_function_beside_the_command_is_found_first(
    words: tuple[str, ...], module: str, folder: Path
) -> None:
    async with serving(folder, *words, "--backend", f"{module}:answer") as url:
        assert await answered(url) == (200, "from the folder")


@pytest.mark.sampled
@pytest.mark.parametrize("by", ["flag", "relative", "variable"])
async def test_another_folder_can_be_named(by: str, folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    named = {"flag": str(folder), "relative": "..", "variable": ""}[by]
    flags = ("--app-dir", named) if named else ()
    variables = {} if named else {"CHATSVC_APP_DIR": str(folder)}
    backend = ("--backend", "answers:answer", "--authorize", "doorman:who")
    async with serving(elsewhere, *flags, *backend, **variables) as url:
        assert await answered(url, **{"X-Name": "ann"}) == (200, "from the folder")
        assert (await answered(url))[0] == 401


@pytest.mark.thorough
async def test_workers_find_them_too(folder: Path, redis_server: RedisServer) -> None:
    store = ("--workers", "2", "--store", redis_server.database(3))
    backend = ("--backend", "answers:answer", "--authorize", "doorman:who")
    async with serving(folder, *store, *backend) as url:
        for _ in range(6):
            assert await answered(url, **{"X-Name": "ann"}) == (200, "from the folder")
        assert (await answered(url))[0] == 401


async def test_files_of_the_folder_are_nothing_to_the_rendering(folder: Path) -> None:
    async with (
        serving(folder, "--backend", "answers:answer") as url,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(f"{url}/api/chat", json={"message": "hi"}) as begun:
            reply = begun.headers["X-Reply-Id"]
            await begun.read()
        html = {"Accept": "text/html"}
        async with session.get(f"{url}/api/chat/{reply}", headers=html) as page:
            assert page.status == 200
            assert 'data-end="15">from the folder</p>' in await page.text()


@pytest.mark.sampled
@pytest.mark.parametrize("what", ["--backend", "--authorize"])
async def test_where_a_module_was_looked_for_is_said(what: str, folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    process = await started(elsewhere, "--port", "0", what, "answers:answer")
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    (line,) = errors.decode().splitlines()
    assert process.returncode == 2
    assert line == (
        f"chatsvc: {what} answers:answer: there is no module 'answers' to import, neither in "
        f"{elsewhere} (--app-dir names another folder) nor where Python looks"
    )


async def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    process = await started(tmp_path, "--port", "0", "--app-dir", "nowhere")
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert errors.decode() == (
        "chatsvc: --app-dir takes a folder that is there, not 'nowhere'\n"
    )


NOT_MINE = "raise ImportError(__name__ + ' of the folder was imported')\n"


@pytest.mark.sampled
@pytest.mark.parametrize("keeps", ["memory", "redis"])
async def test_files_named_as_modules_of_the_service_are_not_taken_for_them(
    keeps: str, folder: Path, redis_server: RedisServer
) -> None:
    # All that Python has, and all that is installed.
    names = {*sys.stdlib_module_names, *packages_distributions()}
    for name in names - {"answers", "beside", "doorman"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(NOT_MINE)
    flags = ["--backend", "answers:answer", "--authorize", "doorman:who"]
    if keeps == "redis":
        flags += ["--store", redis_server.database(3)]
    # The extra that is imported only where it is wanted; nothing listens there.
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with serving(folder, *flags, **variables) as url:
        assert await answered(url, **{"X-Name": "ann"}) == (200, "from the folder")
        assert (await answered(url))[0] == 401
