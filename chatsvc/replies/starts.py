"""The starts of the last minute: how many replies each account has begun on this node.

Time is cut into slots of `SLOT_S` seconds, and a start counts from its moment until `MINUTE_S`
after the end of its slot. So an account never begins more than its limit within any minute, and a
start counts for 65 s at most. A Redis counts those of all nodes in the same way (`create.lua`).

Invariants:

- An account takes at most 13 numbers, whatever it does.
- It is forgotten by the next start of any account once its own count no more.
- At most `MOST_ACCOUNTS` are known; beyond that the one that has begun none for longest goes.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from chatsvc.client_limits import MINUTE_S

SLOT_S = 5
"""Seconds of a slot, in which starts are counted together."""

SLOTS = MINUTE_S // SLOT_S
"""The slots of a minute: a start counts in its own slot and in as many after it."""

MOST_ACCOUNTS = 100_000
"""Accounts that are known at most: some 40 MB."""


class Starts:
    """The counts of starts by account. `now` returns the seconds of a clock that never jumps."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # From account to the number of its starts in each slot; the account that has begun a reply
        # last is the last.
        self._accounts: OrderedDict[str, dict[int, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of accounts that are known."""
        return len(self._accounts)

    def wait_s(self, account: str, most: int) -> int:
        """Return the seconds after which an account may begin another reply; 0 stands for now.

        `most` is how many it may begin in a minute; 0: no limit.
        """
        slots = self._accounts.get(account)
        if slots is None or not most:
            return 0
        now = self._now()
        self._forget_slots(slots, now)
        too_many = sum(slots.values()) - most + 1
        for slot, count in slots.items():
            if too_many <= 0:
                break
            too_many -= count
            if too_many <= 0:
                return math.ceil((slot + SLOTS + 1) * SLOT_S - now)
        return 0

    def add(self, account: str) -> int:
        """Count a start of an account now, and return its slot."""
        now = self._now()
        self._forget_accounts(now)
        slots = self._accounts.setdefault(account, {})
        self._accounts.move_to_end(account)
        self._forget_slots(slots, now)
        slot = int(now // SLOT_S)
        slots[slot] = slots.get(slot, 0) + 1
        return slot

    def take_back(self, account: str, slot: int) -> None:
        """Count one start less in a slot: what was counted there has begun no reply."""
        slots = self._accounts.get(account, {})
        if slots.get(slot):
            slots[slot] -= 1

    def _forget_slots(self, slots: dict[int, int], now: float) -> None:
        for slot in [each for each in slots if not _counts(each, now)]:
            del slots[slot]

    def _forget_accounts(self, now: float) -> None:
        """Forget the accounts, from the oldest on, whose last start counts no more."""
        while self._accounts:
            oldest = next(iter(self._accounts))
            counts = any(_counts(slot, now) for slot in self._accounts[oldest])
            if counts and len(self._accounts) < MOST_ACCOUNTS:
                return
            self._accounts.popitem(last=False)


def _counts(slot: int, now: float) -> bool:
    """Return whether the starts of a slot still count."""
    return now < (slot + SLOTS + 1) * SLOT_S
