"""Tests that the README is true: its examples run as written, and its tables are complete.

They run through the installed command, from a folder that is empty but for what the examples write.
"""

from __future__ import annotations

import ast
import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from chatsvc.settings import Settings, flag, variable

from .conftest import require
from .loopback import free_port
from .readme import BLOCKS, README, EmptyFolder, Service, blocks
from .scripted_upstream import DONE, Upstream, chunk, head


@pytest.fixture
def folder(tmp_path: Path) -> EmptyFolder:
    return EmptyFolder(tmp_path / "empty")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that runs as the README starts it first, with a quicker pace."""
    folder = EmptyFolder(tmp_path_factory.mktemp("service"))
    with folder.serving("chatsvc", "--pace", "0.01") as service:
        yield service


def test_events_come_as_shown(folder: EmptyFolder, service: Service) -> None:
    require("curl")
    [example] = blocks("sh", "curl -N http://127.0.0.1:3000/api/chat -H 'Content")
    out = folder.run(example, service.port)
    [shown] = [text for text in README.read_text().split("```") if "\n: t=" in text]

    def shape(stream: str) -> str:
        return re.sub(r"id: [\w-]{22}:|t=\d+", "", stream).strip()

    assert shape(out) == shape(shown)


def test_other_representations(folder: EmptyFolder, service: Service) -> None:
    require("curl")
    [example] = blocks("sh", "Accept: text/plain")
    lines = example.strip().splitlines()
    text, whole, poll = (folder.run(line, service.port) for line in lines)
    assert text == "hi"
    assert '"text":"hi"' in whole
    assert '"state":"done"' in whole
    assert '"state":"running"' in poll


def test_the_example_that_repeats_a_key_gets_one_reply(
    folder: EmptyFolder, service: Service
) -> None:
    require("curl", "python3")
    [example] = blocks("sh", "Idempotency-Key: $key")
    out = folder.run(example, service.port)
    assert out.count("data: [DONE]") == 2
    assert len(set(re.findall(r"id: ([\w-]{22}):", out))) == 1


def test_the_example_that_shares_a_reply_shows_it_by_its_token(
    folder: EmptyFolder, service: Service
) -> None:
    require("curl", "python3")
    [example] = blocks("sh", "/share")
    question, _, body = folder.run(example, service.port).partition("}")
    assert question == '{"question":"你好"'
    [token] = set(re.findall(r"id: ([\w-]{22}):", body))
    with urlopen(f"{service.url}/api/shared/{token}/question") as answer:
        assert answer.status == 200
    assert "data: 好" in body
    assert "data: [DONE]" in body


def test_ask_prints_the_reply(folder: EmptyFolder, service: Service) -> None:
    [example] = [text for text in blocks("sh", "chatsvc ask") if "$key" not in text]
    assert folder.run(example, service.port).strip() == "你好"


def test_the_files_of_a_deployment_are_printed(folder: EmptyFolder) -> None:
    [example] = blocks("sh", "chatsvc deploy systemd")
    folder.run(example)
    written = {file.name: file.read_text() for file in folder.path.iterdir()}
    assert len(written) == example.count("chatsvc deploy ")
    unit = written["chatsvc.service"]
    assert "--port 9000" in unit
    assert "--store redis://127.0.0.1/0" in unit
    assert "server 10.0.0.2:3000 " in written["chatsvc.conf"]
    assert "alert: ChatsvcDown" in written["chatsvc-alerts.yml"]


def test_doctor_finds_all_well(folder: EmptyFolder, service: Service) -> None:
    [example] = blocks("sh", "chatsvc doctor")
    assert folder.run(example, service.port).count(" works") == 6


def test_the_websocket_example_prints_the_reply(
    folder: EmptyFolder, service: Service
) -> None:
    [example] = blocks("python", "websockets")
    assert printed(folder, example, service) == "你好"


def test_the_openai_example_prints_the_reply(
    folder: EmptyFolder, service: Service
) -> None:
    [example] = blocks("python", "import openai")
    assert printed(folder, example, service) == "你好"


def printed(folder: EmptyFolder, example: str, service: Service) -> str:
    """Run a client in Python, and return what it prints."""
    folder.write(example.replace(":3000", f":{service.port}"), "client.py")
    return folder.run("python client.py").strip()


async def test_the_command_asks_the_server_that_the_readme_names(
    folder: EmptyFolder,
) -> None:
    [example] = blocks("sh", "--backend openai")
    upstream = Upstream([head() + chunk("Hello!") + chunk(finish_reason="stop") + DONE])
    async with upstream.running() as url:
        assert "http://127.0.0.1:8080/v1" in example
        example = example.replace("http://127.0.0.1:8080/v1", url)
        assert await asyncio.to_thread(answer_of, folder, example) == "Hello!"
    assert [asked["model"] for asked in upstream.requests] == ["some-model"]


def answer_of(folder: EmptyFolder, example: str) -> str:
    """Start a service by an example, and ask it once."""
    with folder.serving(example) as service:
        ask = "chatsvc ask --url http://127.0.0.1:3000 hi"
        return folder.run(ask, service.port).strip()


def test_users_with_keys_are_let_in_until_they_are_withdrawn(
    folder: EmptyFolder,
) -> None:
    require("curl", "python3", "sha256sum")
    [make] = blocks("sh", "keys.toml << END")
    [serve] = blocks("sh", "--api-keys-file keys.toml")
    [use] = blocks("sh", "CHATSVC_API_KEY=$key")
    [by_ticket] = blocks("sh", "ticket=")
    key = folder.run(f'{make}\nprintf %s "$key"')
    keys = folder.path / "keys.toml"
    assert keys.stat().st_mode & 0o777 == 0o600
    given = f"key={key}\n"
    with folder.serving(serve, "--pace", "0") as service:
        asked, streamed = folder.run(given + use, service.port).split(": t=", 1)
        assert asked.strip() == "你好"
        assert "data: [DONE]" in streamed
        assert "data: [DONE]" in folder.run(given + by_ticket, service.port)
        keys.write_text("")
        service.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            folder.run(given + use.splitlines()[0], service.port)
        assert b"does not know the key" in refused.value.stderr


def test_the_mounted_application_answers(folder: EmptyFolder) -> None:
    require("curl")
    [example] = blocks("python", "add_subapp")
    port = free_port()
    assert example.count("port=8080") == 1
    folder.write(example.replace("port=8080", f"port={port}"), "mounted.py")
    ask = (
        "python mounted.py & trap 'kill $!; wait $! || true' EXIT\n"
        f"curl -s --retry 30 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}"
        "/chat/api/chat -H 'Accept: text/plain' -H 'Content-Type: application/json'"
        """ -d '{"message": "hi"}'"""
    )
    assert folder.run(ask, timeout=60).endswith("HI")


@pytest.mark.parametrize("name", [setting.name for setting in fields(Settings)])
def test_every_setting_is_in_the_readme(name: str) -> None:
    text = README.read_text()
    assert f"`{flag(name)}`" in text or f"`{variable(name)}`" in text


def test_prometheus_finds_the_metrics_where_the_command_puts_them(
    folder: EmptyFolder,
) -> None:
    [example] = blocks("sh", "--admin-port 9000")
    [scrape] = blocks("yaml", "scrape_configs")
    assert "targets: ['127.0.0.1:9000']" in scrape
    with folder.serving(example.replace("9000", "0")) as service:
        metrics = service.next_line().rpartition(" ")[2]
        with urlopen(metrics) as answer:
            assert b"chatsvc_build_info" in answer.read()


def test_a_unix_socket_is_asked_as_the_readme_says(folder: EmptyFolder) -> None:
    require("curl")
    [example] = blocks("sh", "curl --unix-socket")
    path = str(folder.path / "chatsvc.sock")
    with folder.serving(f"chatsvc --uds {path}") as service:
        assert service.line == f"chatsvc is running on unix:{path}"
        script = example.replace("/run/chatsvc/chatsvc.sock", path)
        assert script != example
        assert folder.run(script) == "ready\n"


def test_the_command_asks_the_function_that_the_readme_names(
    folder: EmptyFolder,
) -> None:
    [function] = blocks("python", "# doorman.py")
    [example] = blocks("sh", "--authorize")
    folder.write(function)
    with folder.serving(example) as service:
        request = Request(service.url, headers={"Cookie": "session=a-long-secret"})
        with urlopen(request) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError, match="401"):
            urlopen(service.url)


def test_every_example_is_run_by_a_test() -> None:
    """A test gets an example by `blocks("language", "what it holds")`."""
    asked: set[tuple[str, str]] = set()
    for file in Path(__file__).parent.rglob("*.py"):
        if "blocks(" not in (source := file.read_text()):
            continue
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "blocks":
                language, holding = map(ast.literal_eval, call.args)
                asked.add((language, holding))
    missing = [
        text
        for language, text in BLOCKS
        if not any(language == each and holding in text for each, holding in asked)
    ]
    assert missing == []


def test_every_dependency_is_justified() -> None:
    import configparser

    config = configparser.ConfigParser()
    config.read(README.parent / "setup.cfg")
    wanted = config["options"]["install_requires"]
    wanted += config["options.extras_require"]["redis"]
    wanted += config["options.extras_require"]["local"]
    table = README.read_text().partition("## What it stands on")[2]
    for line in wanted.strip().splitlines():
        name = re.split(r"[ ><=;\[]", line.strip())[0]
        assert name in table, f"the README does not say why there is {name}"
