"""Tests of the instrument: it must notice a character that is lost, doubled or torn."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import regex
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import THOROUGH, require

from . import kit
from .machine import Cores
from .measuring import Run
from .processes import family, free_port, listeners, wait_for_listeners
from .relay_tables import MODEL, doubts, tokens
from .report import DASH
from .scenarios.plan import Plan
from .scenarios.relay import DOORS
from .scenarios.workers import childless, figures
from .scenarios.workers import table as workers_table
from .servers import PEERS, compared

DONE = "[DONE]"
# How a faulty server changes the characters of a reply before it sends them.
FAULTS: dict[str, Callable[[list[str]], list[str]]] = {
    "none": lambda text: text,
    "drops-one": lambda text: text[:7] + text[8:],
    "drops-last": lambda text: text[:-1],
    "doubles-one": lambda text: [*text[:7], text[6], *text[7:]],
    "swaps-two": lambda text: [*text[:5], text[6], text[5], *text[7:]],
    "joins-two": lambda text: [*text[:5], text[5] + text[6], *text[7:]],
    "goes-on": lambda text: [*text, DONE, "x"],
}
CLUSTERS = {
    "tears-clusters": lambda text: [point for cluster in text for point in cluster],
}
REPLY = "A" * 22


def sse(data: bytes, position: int | str) -> bytes:
    lines = b"\n".join(b"data: " + line for line in data.split(b"\n"))
    return b"id: %s:%s\n%s\n\n" % (REPLY.encode(), str(position).encode(), lines)


async def sse_events(fault: str, text: list[str]) -> AsyncIterator[bytes]:
    at = 0
    for character in (FAULTS | CLUSTERS).get(fault, FAULTS["none"])(text):
        at += len(character)
        data = character.encode()
        if character == DONE:
            yield sse(data, "end")
            continue
        if fault == "tears-bytes" and len(data) > 1:
            yield sse(data[:1], at)
            yield sse(data[1:], at)
        elif fault == "wrong-id" and at > 5:
            yield sse(data, at + 1)
        elif fault == "no-id" and at > 5:
            yield b"data: " + data + b"\n\n"
        elif fault == "comments":
            yield b": t=1\n\n" + sse(data, at)
        else:
            yield sse(data, at)
    if fault == "fails":
        yield b'event: failed\ndata: {"status":502}\n\n'
    if fault != "no-end":
        yield sse(DONE.encode(), "end")


async def chat(request: web.Request) -> web.StreamResponse:
    text = regex.findall(r"\X", (await request.json())["message"])
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    async for event in sse_events(request.query.get("fault", "none"), text):
        await answer.write(event)
    return answer


def chunk(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


CHUNK_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "error-in-a-chunk": lambda body: b'data: {"error": {"message": "no"}}\n\n' + body,
    "not-a-chunk": lambda body: b'data: {"object": "x"}\n\n' + body,
    "cut-off": lambda body: body.partition(b"data: [DONE]")[0],
}


async def completions(request: web.Request) -> web.StreamResponse:
    """Answer as OpenAI does, with three characters to a chunk, and chunks that have no text."""
    fault = request.query.get("fault", "none")
    text = regex.findall(r"\X", (await request.json())["messages"][-1]["content"])
    told = FAULTS.get(fault, FAULTS["none"])(text)
    end = told.index(DONE) if DONE in told else len(told)
    parts = ["".join(told[i : i + 3]) for i in range(0, end, 3)]
    body = chunk(index=0, delta={"role": "assistant", "content": None})
    body += b"".join(chunk(delta={"content": part}) for part in ["", *parts])
    body += chunk(delta={}, finish_reason="stop") + b"data: [DONE]\n\n"
    if DONE in told:
        body += chunk(delta={"content": "x"})
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(CHUNK_FAULTS.get(fault, bytes)(body))
    return answer


async def chat_ws(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=("chatsvc.v1",), compress=False)
    await ws.prepare(request)
    fault = request.query.get("fault", "none")
    async for frame in ws:
        at = 0
        text = regex.findall(r"\X", frame.json()["message"])
        for character in [*(FAULTS | CLUSTERS)[fault](text), DONE]:
            at += len(character)
            if ws.ws_protocol:
                position = "end" if character == DONE else at
                fields = {"id": f"{REPLY}:{position}", "data": character}
                await ws.send_json(fields)
            else:
                await ws.send_str(character)
    return ws


@pytest.fixture
async def scripted() -> AsyncIterator[TestServer]:
    require("gcc")
    await asyncio.to_thread(kit.ensure, "load")
    app = web.Application()
    app.router.add_post("/api/chat", chat)
    app.router.add_get("/ws/chat", chat_ws)
    app.router.add_post("/v1/chat/completions", completions)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


QUIETLY = ("--nice", "0", "--no-plot")
Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def load(scripted: TestServer) -> Ask:
    """The function that runs the load generator against the scripted server: its report."""

    async def ask(path: str, *options: str) -> dict[str, Any]:
        small = ("--streams", "5", "--length", "30", "--timeout", "20")
        process = await asyncio.create_subprocess_exec(
            kit.LOAD,
            *("--port", str(scripted.port), "--path", path, *small, *options),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        report: dict[str, Any] = json.loads(out)
        assert (process.returncode == 0) == (report["failed"] == 0)
        return report

    return ask


@pytest.mark.parametrize("charset", ["ascii", "utf8", "emoji", "all"])
@pytest.mark.parametrize("fault", ["none", "comments"])
async def test_passes_an_honest_stream(load: Ask, charset: str, fault: str) -> None:
    report = await load(f"/api/chat?fault={fault}", "--charset", charset, "--strict")
    assert report["reasons"] == {}
    assert (report["completed"], report["events"]) == (5, 5 * 30)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("drops-one", "wrong character"),
        ("drops-last", "[DONE] before the last character"),
        ("doubles-one", "wrong character"),
        ("swaps-two", "wrong character"),
        ("joins-two", "several characters in one event"),
        ("tears-clusters", "torn character"),
        ("tears-bytes", "torn code point"),
        ("goes-on", "event after [DONE]"),
        ("wrong-id", "wrong id"),
        ("no-id", "no id"),
        ("no-end", "body ended without [DONE]"),
        ("fails", "event: failed"),
    ],
)
async def test_sees_a_fault_in_events(load: Ask, fault: str, reason: str) -> None:
    report = await load(f"/api/chat?fault={fault}", "--charset", "emoji", "--strict")
    # Texts are random: one may lack the characters that a fault needs, or show two faults at once.
    assert report["reasons"].get(reason, 0) >= 3
    assert report["failed"] == sum(report["reasons"].values())


@pytest.mark.parametrize("protocol", [(), ("--subprotocol", "chatsvc.v1")])
@pytest.mark.parametrize("fault", ["none", *FAULTS, *CLUSTERS])
async def test_sees_a_fault_in_frames(
    load: Ask, fault: str, protocol: tuple[str, ...]
) -> None:
    report = await load(
        f"/ws/chat?fault={fault}",
        *("--mode", "ws", "--charset", "emoji", "--strict", *protocol),
    )
    assert report["failed"] == (0 if fault == "none" else 5)


@pytest.mark.parametrize("charset", ["ascii", "all"])
async def test_passes_honest_chunks(load: Ask, charset: str) -> None:
    report = await load("/v1/chat/completions", "--completions", "--charset", charset)
    assert report["reasons"] == {}
    assert (report["completed"], report["events"]) == (5, 5 * 10)
    assert report["points"] >= 5 * 30
    assert 0 < report["body_bytes"] < report["bytes"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("drops-one", "wrong character"),
        ("drops-last", "[DONE] before the last character"),
        ("doubles-one", "wrong character"),
        ("swaps-two", "wrong character"),
        ("goes-on", "event after [DONE]"),
        ("error-in-a-chunk", "error in a chunk"),
        ("not-a-chunk", "chunk not understood"),
        ("cut-off", "body ended without [DONE]"),
    ],
)
async def test_sees_a_fault_in_chunks(load: Ask, fault: str, reason: str) -> None:
    path = f"/v1/chat/completions?fault={fault}"
    report = await load(path, "--completions", "--charset", "emoji")
    assert report["reasons"].get(reason, 0) >= 3
    assert report["failed"] == 5


async def test_peers_may_send_code_points(load: Ask) -> None:
    report = await load("/api/chat?fault=tears-clusters", "--charset", "emoji")
    assert report["failed"] == 0
    torn = await load("/api/chat?fault=tears-bytes", "--charset", "emoji")
    assert "torn code point" in torn["reasons"]


@pytest.mark.thorough
def test_one_command_measures_and_reports(tmp_path: Path) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    kit.ensure("climit")
    program = kit.KIT / "bin/climit"
    small = ["--streams", "20", "--length", "6", "--rounds", "1", *QUIETLY]
    who = ["--server", f"{program} {{port}} {{pace}}", "--lenient", "--name", "it"]
    status = main([*who, "--peers", "climit", *small, "--out", str(tmp_path)])
    assert status == 0
    runs = json.loads((tmp_path / "table.json").read_text())["runs"]
    assert [run["server"] for run in runs] == ["it", "climit"]
    assert all(run["cpu_us"] > 0 and run["gap_ms"]["p50"] > 0 for run in runs)


def test_a_peer_says_on_which_node_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    require("node")
    monkeypatch.setattr(
        kit, "ensure", lambda part: None
    )  # Nothing is to be installed in this test.
    asked = Namespace(peers="express", store=None)
    plan = Plan(compared(None, "chatsvc", lenient=False), Cores(0, 1, 0), 1, asked)
    said = subprocess.check_output(["node", "-p", "process.versions.node"], text=True)
    servers, missing = plan.servers()
    names = [server.name for server in servers]
    assert names == ["chatsvc", f"express (Node {said.strip()})"]
    assert missing == []


def test_a_server_that_does_not_start_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    command = "sh -c 'echo no port {port} for me; exit 1'"
    rest = ["--peers", "", *QUIETLY, "--out", str(tmp_path)]
    assert main(["--server", command, *rest]) == 1
    assert "did not listen: no port " in capsys.readouterr().out


CHATSVC = Path(sys.executable).with_name("chatsvc")


@pytest.fixture
async def real() -> AsyncIterator[Callable[..., Awaitable[dict[str, Any]]]]:
    """The function that runs the strict load generator against chatsvc: its report."""
    require("gcc")
    await asyncio.to_thread(kit.ensure, "load")
    port = free_port()
    flags = ("--port", str(port), "--pace", "0.01", "--drain", "0")
    server = await asyncio.create_subprocess_exec(
        CHATSVC,
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def ask(*options: str) -> dict[str, Any]:
        common = (
            "--port",
            str(port),
            "--strict",
            "--charset",
            "all",
            "--timeout",
            "20",
        )
        process = await asyncio.create_subprocess_exec(
            kit.LOAD, *common, *options, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        report: dict[str, Any] = json.loads(out)
        return report

    try:
        assert server.stdout is not None
        assert b"is running on" in await server.stdout.readline()
        yield ask
    finally:
        server.terminate()
        await server.wait()


@asynccontextmanager
async def connected(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def model() -> AsyncIterator[int]:
    """The port of the model's server, which gives a token each 2 ms."""
    require("gcc")
    await asyncio.to_thread(kit.ensure, "model")
    port = free_port()
    server = await asyncio.create_subprocess_exec(kit.MODEL, str(port), "2")
    while True:
        try:
            async with connected(port):
                break
        except ConnectionRefusedError:
            assert server.returncode is None
    yield port
    server.terminate()
    await server.wait()


CONTENT = re.compile(rb'"content":("(?:[^"\\]|\\.)*")')


@pytest.mark.parametrize("ascii_only", [True, False])
async def test_the_model_says_the_last_message_in_tokens(
    model: int, ascii_only: bool
) -> None:
    texts = [
        "",
        "four",
        'a "content": \\ \n\t/',
        "é中文😀😀👩\u200d💻ud83d",
        "x" * 5000,
    ]
    async with connected(model) as (reader, writer):
        for text in texts:
            said = {"role": "user", "content": text}
            messages = [{"role": "system", "content": "not this"}, said]
            body = json.dumps({"messages": messages}, ensure_ascii=ascii_only).encode()
            head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-LENGTH: %d\r\n\r\n"
            request = head % len(body) + body
            for part in request[:60], request[60:-9], request[-9:]:
                writer.write(part)
                await writer.drain()
            answer = await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            tokens = [json.loads(found) for found in CONTENT.findall(answer)]
            assert tokens == [text[i : i + 4] for i in range(0, len(text), 4)]
            assert answer.count(b'"finish_reason":"stop"') == 1


@pytest.mark.parametrize("length", ["", "content-length: 2\r\n"])
async def test_the_model_hangs_up_on_what_it_does_not_understand(
    model: int, length: str
) -> None:
    async with connected(model) as (reader, writer):
        writer.write(f"POST / HTTP/1.1\r\n{length}\r\n{{}}".encode())
        assert not await reader.read()


async def test_the_model_outlives_who_leaves(model: int) -> None:
    body = b'{"content":"' + b"x" * 4000 + b'"}'
    request = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    for leaves in [True] * 20 + [False]:
        async with connected(model) as (reader, writer):
            writer.write(request)
            await reader.readuntil(b"xxxx")
            if not leaves:
                await reader.readuntil(b"0\r\n\r\n")


async def test_many_read_one_reply(real: Ask) -> None:
    report = await real("--streams", "20", "--readers", "10", "--length", "30")
    assert report["reasons"] == {}
    assert (report["completed"], report["events"]) == (20, 20 * 30)


@pytest.mark.sampled
@pytest.mark.parametrize(
    "mode", [(), ("--mode", "ws"), ("--mode", "ws", "--subprotocol", "chatsvc.v1")]
)
async def test_streams_are_cut_and_stopped(real: Ask, mode: tuple[str, ...]) -> None:
    report = await real("--streams", "20", "--length", "9", "--churn", "1", *mode)
    assert report["reasons"] == {}
    assert report["opened"] == report["completed"] > 20
    fates = {fate for fate, count in report["ended"].items() if count}
    assert fates >= ({"whole", "left"} if mode else {"whole", "resumed", "stopped"})


@pytest.mark.thorough
async def test_a_window_bounds_what_is_open(real: Ask) -> None:
    report = await real("--streams", "40", "--window", "5", "--length", "3")
    assert report["reasons"] == {}
    # Five at a time, and each takes two paces.
    assert report["wall_s"] > 8 * 2 * 0.01


SMALL = {
    "setup": ["--peers", "", "--streams", "20", "--crowd", "20", "--seconds", "1"],
    "memory": ["--streams", "20", "--readers", "10", "--kept", "20"] + ["--steps", "1"],
    "readers": ["--streams", "20", "--readers", "10", "--lengths", "300"]
    + ["--total", "3000", "--length", "6"],
    "soak": ["--minutes", "0.03", "--streams", "20", "--length", "9", "--keep", "1"],
    "attack": ["--minutes", "0.05", "--alone", "1", "--chats", "10", "--length", "9"]
    + ["--attacks", "slow-heads"],
    "budget": ["--minutes", "0.05", "--alone", "1", "--chats", "10", "--length", "9"]
    + ["--appetites", "large-prompts"],
    "endings": ["--minutes", "0.05", "--streams", "24", "--most", "1000"],
    "shard": ["--replies", "40", "--shards", "1", "--streams", "10", "--length", "80"]
    + ["--record", "2", "--seconds", "2"],
    "workers": ["--streams", "20", "--tokens", "50"],
    "layers": ["--streams", "20", "--seconds", "1"],
}


IN_REDIS = {"shard", "workers"}
LONG = {"setup", "memory", "layers"}  # These take many seconds even with a small load.


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", SMALL)
def test_a_scenario_runs_on_our_server(scenario: str, tmp_path: Path) -> None:
    require("gcc", "taskset", *({"redis-server"} if scenario in IN_REDIS else ()))
    from .__main__ import main

    if scenario in LONG and not THOROUGH:
        pytest.skip("takes long; runs with CHATSVC_REQUIRE_ALL=1")
    where = ["--rounds", "1", *QUIETLY, "--out", str(tmp_path)]
    assert main([scenario, *SMALL[scenario], *where]) == 0
    found = json.loads((tmp_path / f"{scenario}.json").read_text())
    assert found["runs"] and not any(run["failed"] for run in found["runs"])


@pytest.mark.thorough
def test_a_crowd_is_measured_without_others(tmp_path: Path) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    crowd = ["--streams", "40", "--ramp", "20", "--crowd", "0", "--peers", ""]
    where = ["--rounds", "1", *QUIETLY, "--out", str(tmp_path)]
    assert main(["setup", *crowd, *where]) == 0
    [run] = json.loads((tmp_path / "setup.json").read_text())["runs"]
    assert (run["at"], run["streams"], run["failed"]) == (0, 40, 0)
    assert run["setup_us"] > 0


def test_workers_are_known_by_their_sockets_and_their_parents() -> None:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        other.bind(("127.0.0.1", port))
        one.listen()
        assert listeners(port) == 1
        other.listen()
        wait_for_listeners(port, 2)
    asleep = "import os, time; os.fork(); os.fork(); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", asleep], start_new_session=True
    ) as parent:
        try:
            while len(found := family(parent.pid)) < 4:
                assert parent.poll() is None
            # The first child and the parent have a child of the second fork each.
            assert set(childless(found)) < set(found) - {parent.pid}
            assert len(childless(found)) == 2
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_workers_are_compared_by_the_busiest() -> None:
    def run(name: str, round_: int, streams: int, *used_us: float) -> Run:
        extra = figures(list(used_us), tokens=1000)
        return Run(name, 250, round_, streams=streams, steady=True, extra=extra)

    runs = [
        *(run("1 worker", 0, 9, 80_000), run("2 workers", 0, 18, 40_000, 40_000)),
        *(run("1 worker", 1, 9, 50_000), run("2 workers", 1, 18, 10_000, 40_000)),
    ]
    one, two = (
        dict(zip(workers_table(runs, names, 250).head, line))
        for names in [["1 worker", "2 workers"]]
        for line in workers_table(runs, names, 250).lines
    )
    # 80 µs and 50 µs a token of the one; of two, 40 µs of the busiest.
    assert one["tokens/s at 80%"] == "13000 [10000–16000]"
    assert two["tokens/s at 80%"] == "20000 [20000–20000]"
    assert two["CPU µs/token"] == "65.0 [50.0–80.0]"
    assert two["busiest worker's share"] == "0.65 [0.50–0.80]"
    # 20000 ÷ 10000 and 20000 ÷ 16000.
    assert (one["÷ one"], two["÷ one"]) == (DASH, "1.62")


TINY = ["--streams", "3", "--tokens", "20", "--gap", "20", "--ramp", "50"]
TINY += ["--replies", "3", "--seconds", "0.1", "--rounds", "1", *QUIETLY]
QUICK = {"proxy", "nginx"}  # The other peers take seconds to start.


def _relays_at_hand(every: bool) -> list[str]:
    """Return the peers of `relay`: every one, or those that start quickly and are installed."""
    return [
        name
        for name, peer in PEERS["relay"].items()
        if every
        or (name in QUICK and kit.is_made(str(peer.needs)))
        or (name == "nginx" and shutil.which("nginx"))
    ]


@pytest.mark.thorough
def test_a_token_is_measured_through_every_door_and_peer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _measure_a_token(tmp_path, list(DOORS), _relays_at_hand(True))
    assert "÷ express" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_token_is_measured_through_a_door(tmp_path: Path) -> None:
    _measure_a_token(tmp_path, ["/api/chat?ids=0"], _relays_at_hand(False))


def _measure_a_token(folder: Path, doors: list[str], peers: list[str]) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    who = ["--doors", ",".join(doors), "--peers", ",".join(peers)]
    assert main(["relay", *TINY, *who, "--out", str(folder)]) == 0
    runs = json.loads((folder / "relay.json").read_text())["runs"]
    names = [f"chatsvc {door.removesuffix('/chat/completions')}" for door in doors]
    names += ["the model itself", *peers]
    asked = [(run["server"].partition(" (")[0], run["at"]) for run in runs]
    assert asked == [(name, at) for at in (20, 4) for name in names]
    for run in runs:
        relayed = run["server"] != "the model itself"
        assert bool(run["extra"].get("token_us")) is relayed
        assert bool(run["extra"].get("reply_ms")) is relayed
        # An event without an id is shorter than the chunk it comes from, and no chunk is cut.
        shortest = 30 if run["server"].endswith("ids=0") else 150
        assert shortest < run["extra"]["token_bytes"]
        # The model says nothing before its first gap is over.
        assert run["first_ms"]["p50"] >= 20


def _relayed(server: str, round_: int, us: float, p99: float, pace: float = 1) -> Run:
    extra = {"token_us": us, "token_bytes": us, "kept_pace": pace}
    first = {"p50": p99 - 1, "p99": p99}
    run = Run(server, 200, round_, streams=9, steady=True, first_ms=first)
    return replace(run, extra=extra)


def test_a_relay_is_compared_within_each_round() -> None:
    ours, node = "chatsvc /v1", "express (Node 20)"
    runs = [
        *(_relayed(MODEL, 0, 2, 40), _relayed(MODEL, 1, 4, 50)),
        *(_relayed(ours, 0, 10, 60), _relayed(ours, 1, 20, 90, 0.5)),
        *(_relayed(node, 0, 5, 70), _relayed(node, 1, 40, 70)),
    ]
    table = tokens(runs, [MODEL, ours, node], 200)
    model, mine, theirs = (dict(zip(table.head, line)) for line in table.lines)
    # 10 ÷ 5 and 20 ÷ 40; there is no nginx.
    assert (mine["÷ express"], mine["÷ nginx"]) == ("1.25", DASH)
    assert theirs["÷ express"] == DASH
    assert mine["÷ model's"] == "5.00"
    assert mine["less the model's"] == "30.0 / 30.0"
    assert model["less the model's"] == DASH
    (doubt,) = doubts(runs)
    where, _, why = doubt.partition(": ")
    assert where == f"{ours} at 200, round 2"
    assert why.startswith("tokens came at 50% of the model's pace")


@pytest.mark.parametrize("wrong", ["--replies", "--shards", "--seconds", "--hour"])
def test_a_shard_of_nothing_is_refused(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    assert main(["shard", wrong, "0", *QUIETLY, "--out", str(tmp_path)]) == 1
    assert f"{wrong}" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--doors", "/nowhere"], ["--tokens", "4"]])
def test_a_work_that_can_not_be_measured_is_named(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    assert main(["relay", *TINY, *wrong, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert wrong[-1] in said and "FAILED" in said


@pytest.mark.thorough
def test_a_reply_that_a_relay_does_not_bring_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    kit.ensure("model")
    # It answers only what OpenAI's clients ask, and hangs up on the rest.
    command = f"sh -c 'exec {kit.MODEL} {{port}} 20' {{model}}"
    who = ["--server", command, "--name", "it", "--lenient", "--peers", ""]
    assert main(["relay", *who, *TINY, "--out", str(tmp_path)]) == 1
    assert "FAILED: it /api/chat at 20" in capsys.readouterr().out
    only = ["--doors", "/v1/chat/completions"]
    assert main(["relay", *who, *only, *TINY, "--out", str(tmp_path)]) == 0


@pytest.mark.thorough
def test_another_store_is_compared_in_the_same_rounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("gcc", "taskset")
    from .__main__ import main

    small = ["--streams", "20", "--length", "6", "--rounds", "1", *QUIETLY]
    where = ["--peers", "", "--store", "memory", "--out", str(tmp_path)]
    assert main(["table", *small, *where]) == 0
    runs = json.loads((tmp_path / "table.json").read_text())["runs"]
    assert [run["server"] for run in runs] == ["chatsvc", "chatsvc+memory"]
    assert "chatsvc+memory ÷ chatsvc at 20: " in capsys.readouterr().out
