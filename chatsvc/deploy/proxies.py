"""The configurations of proxies before the nodes: `chatsvc deploy nginx` and `caddy`."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.deploy.plan import Plan
from chatsvc.deploy.template import render

HTTP_PORT = "80"
"""The port at which a proxy listens if nothing else is said."""


def nginx_config(plan: Plan) -> str:
    """Return a file for nginx's `http` block."""
    return render("nginx.j2", plan=plan, **nginx_values(plan, plan.nodes))


def nginx_values(plan: Plan, nodes: Sequence[str]) -> dict[str, object]:
    """Return what the template `nginx_http.j2` needs, for nodes at some addresses."""
    return {
        "nodes": nodes,
        "listen": plan.options.listen or HTTP_PORT,
        "names": plan.names,
        "prefix": plan.options.prefix,
        "body_mib": plan.body_mib,
        "tls": bool(plan.settings.ssl_certfile),
    }


def caddyfile(plan: Plan) -> str:
    """Return a Caddyfile.

    Where nothing is said of where it listens, Caddy gets certificates for the names of
    `--allow-host` by itself, and serves them over https.
    """
    listen = plan.options.listen
    host, _, port = listen.rpartition(":")
    names = [
        each
        for name in plan.names
        # Caddy has a pattern for the names below another, and none for that one as well.
        for each in ([name[1:], f"*{name}"] if name.startswith(".") else [name])
    ]
    if not listen and names:
        addresses = names
    else:
        addresses = [f"http://{name}:{port or HTTP_PORT}" for name in names or [""]]
    return render(
        "caddy.j2",
        plan=plan,
        addresses=addresses,
        bind=host.strip("[]"),
        nodes=[_caddy_address(node) for node in plan.nodes],
        prefix=plan.options.prefix,
        tls=bool(plan.settings.ssl_certfile),
    )


def _caddy_address(node: str) -> str:
    return node.replace("unix:", "unix/", 1) if node.startswith("unix:") else node
