"""The image of a node and the services around two of them: `chatsvc deploy dockerfile`, `compose`."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from chatsvc.deploy.plan import Plan
from chatsvc.deploy.proxies import HTTP_PORT, nginx_values
from chatsvc.deploy.template import render
from chatsvc.host_names import is_loopback_host
from chatsvc.settings import BadSetting, flag

SUBNET = "10.86.27.0/28"
"""The network of nginx and the nodes, in which each has an address of its own for good."""

PROXY_ADDRESS = "10.86.27.2"
"""The address of nginx in that network."""

NODE_ADDRESSES = ("10.86.27.3", "10.86.27.4")
"""The addresses of the nodes in that network."""

OWN_REDIS = "redis://redis:6379/0"
"""The address of the Redis that compose starts."""

MACHINE = "host.docker.internal"
"""The name by which a container reaches the machine it runs on."""

PROXY_PORT = "8080"
"""The port of nginx in its container, which no user needs a right for."""

LOOPBACK = "127.0.0.1"
"""The address at which a proxy without users is published."""

_MOUNT = "/etc/chatsvc"


def dockerfile(plan: Plan) -> str:
    """Return a Dockerfile for the folder of a clone of chatsvc."""
    return _dockerfile(plan, inline=False)


def _dockerfile(plan: Plan, *, inline: bool) -> str:
    """Return the Dockerfile; `inline` is whether it stands in a compose file, which says the rest."""
    settings = plan.settings
    # What needs `otel` is said by variables alone.
    extras = ["redis", "otel", *(["local"] if settings.backend == "local" else [])]
    scheme = "https" if settings.ssl_certfile else "http"
    url = f"{scheme}://127.0.0.1:{settings.port}/readyz"
    trust = ", context=s._create_unverified_context()" if settings.ssl_certfile else ""
    return render(
        "dockerfile.j2",
        inline=inline,
        extras=extras,
        own_model=settings.backend == "local" and not settings.model,
        port=settings.port,
        left_out=plan.left_out.values(),
        mounts=plan.files,
        code_folder=plan.code_folder,
        words=_words(plan, {}),
        probe=f"import ssl as s, urllib.request as r; r.urlopen({url!r}, timeout=3{trust})",
    )


def _words(plan: Plan, changed: dict[str, str | None]) -> list[str]:
    """Return the flags in a container, where files are mounted; `changed` has other texts."""
    mounted = {name: f"{_MOUNT}/{name}" for name in plan.files}
    # What listens on a container's loopback, nobody else reaches.
    alone = {"host": "0.0.0.0", "uds": None, "uds_mode": None, "app_dir": None}
    return plan.words({**alone, **mounted, **changed})


def compose_file(plan: Plan) -> str:
    """Return a compose file for the folder of a clone of chatsvc."""
    settings, given = plan.settings, plan.flags
    if settings.ssl_certfile:
        raise BadSetting(
            f"{flag('ssl_certfile')} is not for compose: nginx and the nodes have a network of "
            "their own"
        )
    own_redis = not given.get("store") and not given.get("store_file")
    changed: dict[str, str | None] = {}
    if own_redis:
        changed["store"] = OWN_REDIS
    model_host = (
        settings.backend == "openai" and "openai_url" not in plan.left_out
    ) and _is_loopback(settings.openai_url)
    if model_host:
        changed["openai_url"] = _on_the_machine(settings.openai_url)
    words = [*_words(plan, changed), flag("trusted_proxy"), PROXY_ADDRESS]
    closed = not settings.open and not plan.has_users
    if closed:
        words.append(flag("open"))  # only nginx reaches the nodes
    listen = plan.options.listen or (f"{LOOPBACK}:8080" if closed else HTTP_PORT)
    mounts = {f"{_MOUNT}/{name}": path for name, path in plan.files.items()}
    if plan.code_folder:
        mounts["/app"] = plan.code_folder
    nodes = [f"{address}:{settings.port}" for address in NODE_ADDRESSES]
    inside = {**nginx_values(plan, nodes), "listen": PROXY_PORT}
    return render(
        "compose.j2",
        plan=plan,
        words=words,
        dockerfile=_dockerfile(plan, inline=True).rstrip("\n"),
        nginx=render("nginx_http.j2", **inside).rstrip("\n"),
        mounts=mounts,
        left_out=plan.left_out.values(),
        publish_loopback=closed and not plan.options.listen,
        published=f"{listen}:{PROXY_PORT}",
        own_redis=own_redis,
        model_host=model_host,
        proxy_address=PROXY_ADDRESS,
        node_addresses=NODE_ADDRESSES,
        subnet=SUBNET,
    )


def _is_loopback(url: str) -> bool:
    try:
        return is_loopback_host(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _on_the_machine(url: str) -> str:
    """Return the URL of a server on the machine's loopback as a container reaches it."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return urlunsplit(parts._replace(netloc=f"{MACHINE}{port}"))
