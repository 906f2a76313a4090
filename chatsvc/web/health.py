"""The endpoints for operators: `/healthz`, `/readyz` and `/metrics` (PROTOCOL.md section 2).

`/metrics` may stand on a port of its own, so it is added by itself.
"""

from __future__ import annotations

from aiohttp import web

from chatsvc.problems import Draining, StoreUnavailable
from chatsvc.web.app_keys import PUBLIC_METRICS, REPLIES, service
from chatsvc.web.metrics import METRICS


async def healthz(request: web.Request) -> web.Response:
    """Answer `GET /healthz` with 200: the process lives."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Answer `GET /readyz` with 200 while new replies can be started.

    Raises `Draining` or `StoreUnavailable` when they can't.
    """
    replies = service(request)[REPLIES]
    if replies.admission.draining:
        raise Draining(retry_after=1)
    if not replies.ready():
        raise StoreUnavailable(retry_after=1)
    return web.Response(text="ready\n")


async def metrics(request: web.Request) -> web.Response:
    """Answer `GET /metrics` in the exposition format of Prometheus."""
    return service(request)[METRICS].exposition()


def add_health(app: web.Application) -> None:
    """Add `/healthz` and `/readyz` to an application."""
    app.router.add_get("/healthz", healthz, name="healthz")
    app.router.add_get("/readyz", readyz)


def add_metrics(app: web.Application, *, public: bool) -> None:
    """Add `/metrics` to an application.

    It is for everybody if it is `public` or the service has no users, else for the scope `admin`.
    """
    app[PUBLIC_METRICS] = public
    app.router.add_get("/metrics", metrics)
