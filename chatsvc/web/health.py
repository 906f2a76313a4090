"""The endpoints for operators: `/healthz`, `/readyz` and `/metrics` (PROTOCOL.md section 2)."""

from __future__ import annotations

from aiohttp import web

from chatsvc.problems import Draining, StoreUnavailable
from chatsvc.web.app_keys import REPLIES, service
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
    app = service(request)
    return app[METRICS].exposition(lambda: app[REPLIES].running)


def add_health(app: web.Application) -> None:
    """Add the three endpoints to an application."""
    app.router.add_get("/healthz", healthz, name="healthz")
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
