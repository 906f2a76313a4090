"""What ends in a running service with an API key that is withdrawn (PROTOCOL.md section 9)."""

from __future__ import annotations

from aiohttp import web

from chatsvc.problems import Unauthorized
from chatsvc.users.current_keys import Withdrawal
from chatsvc.web.app_keys import REPLIES
from chatsvc.web.disconnects import CLIENTS
from chatsvc.web.sockets import SOCKETS


def end_withdrawn(app: web.Application, withdrawal: Withdrawal) -> None:
    """End what rests on withdrawn keys: WebSockets with 4401, other answers by breaking them off.

    The running replies of the users who have no key left are stopped.
    """
    for connection, key in list(app[SOCKETS].items()):
        if key in withdrawal.keys:
            connection.dismiss(Unauthorized())
    app[CLIENTS].cut(withdrawal.keys)
    if withdrawal.users:
        app[REPLIES].stop_ended()
