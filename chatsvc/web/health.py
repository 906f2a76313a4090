"""`/healthz`, `/readyz` and `/metrics`: for whoever runs the service."""

from __future__ import annotations

from aiohttp import web

from chatsvc.problems import Draining, StoreUnavailable
from chatsvc.web.app_keys import REPLIES, service
from chatsvc.web.metrics import METRICS


async def healthz(request: web.Request) -> web.Response:
    """The process lives."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """New replies are welcome. Raises `Draining`, `StoreUnavailable`."""
    replies = service(request)[REPLIES]
    if replies.admission.draining:
        raise Draining(retry_after=1)
    if not replies.store.ready():
        raise StoreUnavailable(retry_after=1)
    return web.Response(text="ready\n")


async def metrics(request: web.Request) -> web.Response:
    """In the exposition format of Prometheus."""
    app = service(request)
    return app[METRICS].exposition(lambda: app[REPLIES].running)


def add_health(app: web.Application) -> None:
    """The three routes."""
    app.router.add_get("/healthz", healthz, name="healthz")
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
