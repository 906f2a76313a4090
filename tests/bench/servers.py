"""The table of the peers, and the server that is compared with them."""

import shlex
import sys
from pathlib import Path

from . import kit
from .processes import Server

REDIS_SERVER = Server(
    "Redis", ("redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "")
)
"""A Redis that begins empty, and saves nothing to a disk."""


def _binary(name: str, program: str, part: str, second: str = "{pace}") -> Server:
    command = (str(kit.KIT / "bin" / program), "{port}", second)
    return Server(name, command, needs=part)


def _node(
    name: str,
    script: str,
    node: str = "node",
    needs: str = "node",
    second: str = "{pace}",
) -> Server:
    return Server(
        name,
        (node, str(kit.PEERS / script), "{port}", second),
        needs=needs,
        node=node,
        environment={"NODE_PATH": str(kit.NODE_MODULES), "NODE_ENV": "production"},
    )


def _python(name: str, script: str, second: str = "{pace}") -> Server:
    command = (str(kit.PYTHON), str(kit.PEERS / script), "{port}", second)
    return Server(name, command, needs="python")


CLIMIT = _binary("climit", "climit", "climit")
GO = _binary("go", "go_sse", "go")
_EXPRESS = _node("express", "express.cjs")
_EXPRESS_24 = _node("express-node24", "express.cjs", str(kit.NODE24), "node24")
_WS_NODE = _node("ws-node", "ws_node.cjs")
_STARLETTE = _python("sse-starlette", "sse_starlette_app.py")
_PLAIN = _python("plain-aiohttp", "plain_aiohttp.py")

_RELAYS = (
    _binary("proxy", "go_proxy", "go-proxy", "{model}"),
    Server(
        "nginx",
        (sys.executable, str(kit.PEERS / "nginx_proxy.py"))
        + ("{port}", "{model}", "{folder}"),
        needs="nginx",
    ),
    _node("express", "express_openai.cjs", second="{model}"),
    _python("fastapi", "fastapi_openai_app.py", "{model}"),
)
"""The servers that pass on the chunks of a model's server at `{model}`, a URL without its /v1."""

PEERS = {
    "sse": {p.name: p for p in (CLIMIT, GO, _EXPRESS, _EXPRESS_24, _STARLETTE, _PLAIN)},
    "ws": {p.name: p for p in (CLIMIT, _WS_NODE, _PLAIN)},
    "relay": {p.name: p.with_options("--completions") for p in _RELAYS},
}


def compared(
    command: str | None, name: str, lenient: bool, flags: tuple[str, ...] = ()
) -> Server:
    """Return the server to compare: chatsvc, or the one that `command` (with `{port}`) starts."""
    if command is None:
        program = str(Path(sys.executable).with_name("chatsvc"))
        words = [program, "--port", "{port}", "--pace", "{seconds}"]
        words += ["--drain", "0"]  # A run that has measured enough need not wait.
    else:
        words = shlex.split(command)
    options = () if lenient else ("--strict",)
    # The load of a benchmark comes from one address, of which chatsvc would serve a part.
    no_limits = {"CHATSVC_LIMITS": "off"}
    return Server(name, (*words, *flags), options=options, environment=no_limits)
