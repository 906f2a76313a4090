"""What `chatsvc deploy` takes: the kinds of files, and flags beside those of `chatsvc serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from chatsvc.host_names import normal_host
from chatsvc.setting_formats import PATH, ValueFormat
from chatsvc.settings import setting

KINDS = {
    "systemd": "a unit: save it as /etc/systemd/system/chatsvc.service",
    "compose": "two nodes, Redis and nginx: save it as compose.yaml in a clone",
    "dockerfile": "the image of a node: save it as Dockerfile in a clone",
    "nginx": "nginx before the nodes: save it in /etc/nginx/conf.d",
    "caddy": "Caddy before the nodes: save it as /etc/caddy/Caddyfile",
    "grafana": "a dashboard for /metrics: import it in Grafana",
    "alerts": "alerts for /metrics: name it under rule_files in Prometheus",
}
"""The kinds of files by their names, and how each is used, in one line."""


def _port(text: str) -> str:
    if not re.fullmatch("[0-9]{1,5}", text, re.ASCII) or not 0 < int(text) < 65536:
        raise ValueError
    return str(int(text))


def _host_and_port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host[-1] == "]")):
        raise ValueError
    if "%" in host:  # nginx knows no zones of IPv6
        raise ValueError
    host = normal_host(host)
    return f"[{host}]:{_port(port)}" if ":" in host else f"{host}:{_port(port)}"


def _node(text: str) -> str:
    if text.startswith("unix:"):
        if not re.fullmatch(r"unix:/[\w./@+-]+", text, re.ASCII):
            raise ValueError
        return text
    return _host_and_port(text)


def _listen(text: str) -> str:
    return _host_and_port(text) if ":" in text else _port(text)


def _path_prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if not re.fullmatch(r"(?:/[\w.~-]+)*", prefix, re.ASCII) or "/." in prefix:
        raise ValueError
    return prefix


def _job(text: str) -> str:
    if not re.fullmatch(r"[\w.:/-]{1,100}", text, re.ASCII):
        raise ValueError
    return text


NODE = ValueFormat(
    "HOST:PORT",
    "the address of a node, as 10.0.0.1:3000, or a socket, as unix:/run/chatsvc.sock",
    _node,
)
"""The format of a node's address; an IPv6 address stands in brackets."""
LISTEN = ValueFormat(
    "PORT", "a port, as 80, or an address with one, as 127.0.0.1:8080", _listen
)
"""The format of where a proxy listens: a port of all addresses, or one address and its port."""
PATH_PREFIX = ValueFormat("PATH", "a path, as /chat", _path_prefix)
"""The format of the beginning of a path, without its last slash; empty for the root."""
JOB = ValueFormat("NAME", "the name of a job in Prometheus, as chatsvc", _job)
"""The format of the label `job` of the service's metrics."""


@dataclass(frozen=True)
class DeploySettings:
    """The settings of `chatsvc deploy` that say what stands around the service."""

    group: ClassVar[str] = "Deployment"

    node: tuple[str, ...] = setting(
        (), NODE, "nginx, caddy: a node; repeatable", shown="by --host, --port, --uds"
    )
    listen: str = setting(
        "", LISTEN, "nginx, caddy, compose: where the proxy listens", shown="80"
    )
    prefix: str = setting(
        "", PATH_PREFIX, "nginx, caddy, compose: the path that people reach it below"
    )
    program: str = setting(
        "",
        PATH,
        "systemd: the command chatsvc, where it is installed",
        shown="this one",
    )
    job: str = setting("chatsvc", JOB, "grafana, alerts: the job's name in Prometheus")
