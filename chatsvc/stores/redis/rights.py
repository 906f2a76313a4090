"""The rights of the user of Redis: whether it may do all that the store does.

Redis refuses a command only when it is sent, and most are sent only for a reply, or when a node
has died. This module finds out at the start, so that the service refuses to start and says why.
"""

from __future__ import annotations

from chatsvc.stores.base import StoreMisconfigured
from chatsvc.stores.redis.commands import Commands
from chatsvc.stores.redis.connect import FAILURES, is_refusal
from chatsvc.stores.redis.keys import Keys
from chatsvc.stores.redis.scripts import RIGHTS


async def check_rights(commands: Commands, keys: Keys, node: str) -> None:
    """Try all commands of the store, on one key for each hash tag, which is deleted at once.

    Raises `StoreMisconfigured` when the user lacks a right, and `StoreUnavailable` when Redis
    can't be reached or refuses the trial itself (`Commands.refusal` says which).
    """
    missing: list[str] = []
    for tag in keys.tags:
        for name in await commands.run(RIGHTS, [tag.rights(node)]):
            if name not in missing:
                missing.append(name)
    try:
        # A node loads the scripts only when Redis has none, as after a restart of Redis.
        await commands.load(RIGHTS)
    except FAILURES as error:
        if is_refusal(error):
            missing.append("script|load")
    if missing:
        rights = " ".join(f"+{name.lower()}" for name in missing)
        raise StoreMisconfigured(f"the user of Redis lacks the rights {rights}")
