"""`--authorize package.module:function`: the operator's own function for the command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from chatsvc.app import create_app
from chatsvc.settings import BadSetting, Settings, read_settings
from chatsvc.web.authorization import load_authorize

from .running import child, inside, launch
from .test_rendered import user as by_user

MODULE = """
import functools

from aiohttp import web


async def who(request):
    if request.query.get("login"):
        raise web.HTTPFound("/elsewhere")
    return request.headers.get("X-Name")


def not_wrapped(request):
    return who(request)


@functools.wraps(who)
def wrapped(request):
    return who(request)


class Who:
    async def __call__(self, request, more=None):
        return "ann"


instance = Who()
bound = functools.partial(instance, more=1)


def plain(request):
    return "ann"


async def asks_more(request, response):
    return "ann"


async def asks_nothing():
    return "ann"


async def named_only(*, request):
    return "ann"


async def yields(request):
    yield "ann"


value = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with functions, in the current folder."""
    (tmp_path / "authorizing.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_thing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    monkeypatch.delitem(sys.modules, "authorizing", raising=False)
    return "authorizing"


@pytest.mark.parametrize("name", ["who", "wrapped", "instance", "bound"])
def test_functions_that_will_do(module: str, name: str) -> None:
    assert callable(load_authorize(f"{module}:{name}"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("authorizing:nobody", "has no function 'nobody'"),
        ("authorizing:value", "has no function 'value'"),
        ("no_such_module:who", "there is no module 'no_such_module'"),
        ("broken:who", "importing 'broken' failed"),
        ("authorizing:plain", "is not asynchronous: write `async def authorize"),
        ("authorizing:not_wrapped", "is not asynchronous"),
        ("authorizing:yields", "yields: write"),
        ("authorizing:asks_more", "takes (request, response): write"),
        ("authorizing:asks_nothing", "takes (): write"),
        ("authorizing:named_only", "takes (*, request): write"),
        ("authorizing:Who", "takes ()"),
    ],
)
def test_what_is_certainly_none_is_refused_in_one_line(
    module: str, name: str, words: str
) -> None:
    with pytest.raises(BadSetting) as refused:
        create_app(Settings(authorize=name))
    line = str(refused.value)
    assert line.startswith(f"--authorize {name}")
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "text", ["", "who", "a.b", "a:", ":b", "a-b:c", "a:b:c", "a:b c"]
)
def test_a_name_has_a_module_and_a_function(text: str) -> None:
    with pytest.raises(BadSetting, match="--authorize takes a function's name, as"):
        read_settings(Settings, {"authorize": text}, {})


async def test_what_is_given_to_create_app_wins() -> None:
    async with inside(Settings(authorize="no_such:module"), authorize=by_user) as chat:
        assert (await chat.raw("GET /", "User: ann")).status == 200
        assert (await chat.raw("GET /")).status == 401


@pytest.mark.sampled
@pytest.mark.parametrize("by", ["flag", "variable"])
async def test_the_command_asks_the_function(module: str, by: str) -> None:
    name = f"{module}:who"
    flags = ("--authorize", name) if by == "flag" else ()
    environment = {} if by == "flag" else {"CHATSVC_AUTHORIZE": name}
    async with child("--pace", "0", *flags, **environment) as chat:
        body = b'{"message": "a"}'
        mine = await chat.raw("POST /api/chat", "X-Name: ann", body=body)
        assert mine.status == 200
        path = f"GET /api/chat/{mine.reply}"
        assert (await chat.raw(path, "X-Name: ann")).status == 200
        assert (await chat.raw(path, "X-Name: bob")).status == 404
        assert (await chat.raw(path)).status == 401
        login = await chat.raw("GET /?login=1")
        assert (login.status, login.headers["Location"]) == (302, "/elsewhere")
        assert (await chat.raw("GET /healthz")).status == 200


@pytest.mark.sampled
@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--store", "redis://x")])
async def test_the_command_refuses_a_bad_one_in_one_line(
    module: str, workers: tuple[str, ...]
) -> None:
    flags = ("--port", "0", "--host", "0.0.0.0", "--authorize", f"{module}:plain")
    process = await launch(*flags, *workers)
    out, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (2, b"")
    (line,) = errors.decode().splitlines()
    assert line.startswith(f"chatsvc: --authorize {module}:plain is not asynchronous")
