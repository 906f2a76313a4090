"""Tests that the README is true: its examples run, and its tables are complete."""

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from chatsvc.settings import Settings, flag, variable

from .conftest import require
from .readme import README, blocks

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    """The port of a service that runs as the README starts it."""
    command = [sys.executable, "-m", "chatsvc", "--port", "0", "--pace", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        line = service.stdout.readline()
        try:
            yield line.strip().rpartition(":")[2]
        finally:
            service.terminate()


def written(folder: Path, example: str) -> str:
    """Write an example to a file and return its path."""
    file = folder / "readme_answers.py"
    file.write_text(example)
    return str(file)


def run(script: str, port: str) -> str:
    """Run an example in a shell, against the service on `port`, and return its output."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script.replace("127.0.0.1:3000", f"127.0.0.1:{port}")],
        capture_output=True,
        env=environment,
        timeout=30,
        check=True,
    )
    return done.stdout.decode()


def test_events_come_as_shown(port: str) -> None:
    require("curl")
    [example] = blocks("sh", "curl -N http://127.0.0.1:3000/api/chat -H 'Content")
    out = run(example, port)
    [shown] = [text for text in README.read_text().split("```") if "\n: t=" in text]

    def shape(stream: str) -> str:
        return re.sub(r"id: [\w-]{22}:|t=\d+", "", stream).strip()

    assert shape(out) == shape(shown)


def test_other_representations(port: str) -> None:
    require("curl")
    [example] = blocks("sh", "Accept: text/plain")
    text, whole, poll = (run(line, port) for line in example.strip().splitlines())
    assert text == "hi"
    assert '"text":"hi"' in whole
    assert '"state":"done"' in whole
    assert '"state":"running"' in poll


def test_the_example_that_repeats_a_key_gets_one_reply(port: str) -> None:
    require("curl", "python3")
    [example] = blocks("sh", "Idempotency-Key: $key")
    out = run(example, port)
    assert out.count("data: [DONE]") == 2
    assert len(set(re.findall(r"id: ([\w-]{22}):", out))) == 1


def test_the_example_that_shares_a_reply_shows_it_by_its_token(port: str) -> None:
    require("curl", "python3")
    [example] = blocks("sh", "/share")
    question, _, body = run(example, port).partition("}")
    assert question == '{"question":"你好"'
    [token] = set(re.findall(r"id: ([\w-]{22}):", body))
    with urlopen(f"http://127.0.0.1:{port}/api/shared/{token}/question") as answer:
        assert answer.status == 200
    assert "data: 好" in body
    assert "data: [DONE]" in body


def test_ask_prints_the_reply(port: str) -> None:
    [example] = [text for text in blocks("sh", "chatsvc ask") if "$key" not in text]
    assert run(example, port).strip() == "你好"


def test_the_files_of_a_deployment_are_printed(port: str, tmp_path: Path) -> None:
    [example] = blocks("sh", "chatsvc deploy systemd")
    run(f"cd {tmp_path}\n{example}", port)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert len(written) == example.count("chatsvc deploy ")
    unit = written["chatsvc.service"]
    assert "--port 9000" in unit
    assert "--store redis://127.0.0.1/0" in unit
    assert "server 10.0.0.2:3000 " in written["chatsvc.conf"]
    assert "alert: ChatsvcDown" in written["chatsvc-alerts.yml"]


def test_doctor_finds_all_well(port: str) -> None:
    [example] = blocks("sh", "chatsvc doctor")
    assert run(example, port).count(" works") == 6


def test_the_websocket_example_prints_the_reply(port: str) -> None:
    [example] = blocks("python", "websockets")
    done = subprocess.run(
        [sys.executable, "-c", example.replace(":3000", f":{port}")],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.decode().strip() == "你好"


def test_the_openai_example_prints_the_reply(port: str) -> None:
    [example] = blocks("python", "import openai")
    done = subprocess.run(
        [sys.executable, "-c", example.replace(":3000", f":{port}")],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.decode().strip() == "你好"


def test_users_with_keys_are_let_in_until_they_are_withdrawn(tmp_path: Path) -> None:
    require("curl", "python3", "sha256sum")
    [make] = blocks("sh", "keys.toml << END")
    [serve] = blocks("sh", "--api-keys-file keys.toml")
    [use] = blocks("sh", "CHATSVC_API_KEY=$key")
    [by_ticket] = blocks("sh", "ticket=")
    done = subprocess.run(
        ["bash", "-euc", f'{make}\nprintf %s "$key"'],
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    key = f"key={done.stdout.decode()}\n"
    assert (tmp_path / "keys.toml").stat().st_mode & 0o777 == 0o600
    words = serve.split()
    command = [str(BIN / words[0]), *words[1:], "--port", "0", "--pace", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as service:
        assert service.stdout is not None
        port = service.stdout.readline().strip().rpartition(":")[2]
        try:
            asked, streamed = run(key + use, port).split(": t=", 1)
            assert asked.strip() == "你好"
            assert "data: [DONE]" in streamed
            assert "data: [DONE]" in run(key + by_ticket, port)
            (tmp_path / "keys.toml").write_text("")
            service.send_signal(signal.SIGHUP)
            with pytest.raises(subprocess.CalledProcessError) as refused:
                run(key + use.splitlines()[0], port)
            assert b"does not know the key" in refused.value.stderr
        finally:
            service.terminate()


async def test_the_mounted_application_answers(tmp_path: Path) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    [example] = blocks("python", "add_subapp")
    app = runpy.run_path(written(tmp_path, example))["app"]
    async with TestClient(TestServer(app)) as client:
        response = await client.post(
            "/chat/api/chat", json={"message": "hi"}, headers={"Accept": "text/plain"}
        )
        assert await response.text() == "HI"


@pytest.mark.parametrize("name", [setting.name for setting in fields(Settings)])
def test_every_setting_is_in_the_readme(name: str) -> None:
    text = README.read_text()
    assert f"`{flag(name)}`" in text or f"`{variable(name)}`" in text


def test_prometheus_finds_the_metrics_where_the_command_puts_them() -> None:
    [example] = blocks("sh", "--admin-port 9000")
    [scrape] = blocks("yaml", "scrape_configs")
    assert "targets: ['127.0.0.1:9000']" in scrape
    words = example.replace("9000", "0").split()
    command = [str(BIN / words[0]), *words[1:], "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        main, metrics = service.stdout.readline(), service.stdout.readline()
        try:
            assert "http://127.0.0.1:" in main
            with urlopen(metrics.rpartition(" ")[2].strip()) as answer:
                assert b"chatsvc_build_info" in answer.read()
        finally:
            service.terminate()


def test_a_unix_socket_is_asked_as_the_readme_says(tmp_path: Path) -> None:
    require("curl")
    [example] = blocks("sh", "curl --unix-socket")
    path = str(tmp_path / "chatsvc.sock")
    command = [str(BIN / "chatsvc"), "--uds", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == f"chatsvc is running on unix:{path}\n"
        try:
            script = example.replace("/run/chatsvc/chatsvc.sock", path)
            assert script != example
            assert run(script, "") == "ready\n"
        finally:
            service.terminate()


def test_the_command_asks_the_function_that_the_readme_names(tmp_path: Path) -> None:
    [function] = blocks("python", "# doorman.py")
    [example] = blocks("sh", "--authorize")
    (tmp_path / "doorman.py").write_text(function)
    words = example.split()
    command = [str(BIN / words[0]), *words[1:], "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as service:
        assert service.stdout is not None
        url = service.stdout.readline().strip().rpartition(" ")[2]
        try:
            request = Request(url, headers={"Cookie": "session=a-long-secret"})
            with urlopen(request) as answer:
                assert answer.status == 200
            with pytest.raises(HTTPError, match="401"):
                urlopen(url)
        finally:
            service.terminate()


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
