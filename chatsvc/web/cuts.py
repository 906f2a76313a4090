"""The connections that the service ends because of what came over them: their number and their log."""

from __future__ import annotations

import logging

from chatsvc.web.metric_families import LabelledFigures

logger = logging.getLogger("chatsvc.web")


class Cuts:
    """The count, by reason, and the log of connections that are ended because of their other end."""

    def __init__(self, count: LabelledFigures) -> None:
        self._count = count

    def note(self, reason: str, client: object, request_id: str = "") -> None:
        """Count and log a connection; its other end, at the address `client`, may be a proxy.

        `request_id` is what the answer calls the request that was cut, "" without an answer.
        """
        self._count.labels(reason).inc()
        data = {"reason": reason, "client": client}
        if request_id:
            data["request_id"] = request_id
        logger.info("a connection was cut", extra={"data": data})
