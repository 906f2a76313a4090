"""The codec of the AI SDK's UI message stream, version 1 (PROTOCOL.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from chatsvc.model import End
from chatsvc.replies import PartItem
from chatsvc.requests.ui_messages import Continued
from chatsvc.transports.codec import MixedCodec
from chatsvc.transports.sse import json_event
from chatsvc.transports.ui_parts import UIParts, delta_prefix, delta_rest
from chatsvc.transports.ui_replay import earlier_steps

_STEP = json_event({"type": "start-step"})


def _first_block(text: str) -> bytes:
    return delta_prefix(0) + delta_rest(text)


class UIChunks(MixedCodec):
    """The codec of one message in parts, with one delta for all that is out of a text.

    The message's id is the reply's, by which the reply can be stopped; or, if the reply goes on with
    a message of the page's (`continued`), that message's. With `replay` the chunks are for a page
    that may not have the message: the steps that it had before come first.
    """

    __slots__ = ("_message_id", "_parts", "_replayed")
    transport = "ui"
    headers: ClassVar[Mapping[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}
    joins = True
    marks_end = False  # `useChat` takes any end of the body for the end of the message
    holds = False

    def __init__(
        self,
        reply_id: str,
        continued: Continued | None = None,
        *,
        replay: bool = False,
    ) -> None:
        # Most replies have one block of text, whose events then differ by their text alone.
        super().__init__(_first_block, probe_times_us=())
        continued = continued or Continued()
        self._message_id = continued.message or reply_id
        self._replayed = continued.parts if replay else []
        self._parts = UIParts(continued.calls(), continued.taken)

    def first(self) -> list[bytes]:
        """Return the start of the message, and that of a step unless earlier ones come before it."""
        start = json_event({"type": "start", "messageId": self._message_id})
        return [start] if self._replayed else [start, _STEP]

    def past(self) -> list[bytes]:
        """Return the earlier steps of the message, if they are replayed, and a new step."""
        if not self._replayed:
            return []
        return [*earlier_steps(self._replayed), _STEP]

    def events(self, position: int, run: Sequence[str]) -> list[bytes]:
        """See `Codec.events`. The first text of a block, with a new `prefix`, begins the block."""
        return self._parts.text("".join(run))

    def part_events(self, items: Sequence[PartItem]) -> list[bytes]:
        """See `MixedCodec.part_events`."""
        block = self._parts.block
        events = self._parts.events(items)
        if self._parts.block != block:
            self.prefix, self.tail = delta_prefix(self._parts.block), delta_rest
        return events

    def end(self, end: End) -> list[bytes]:
        """See `UIParts.end`."""
        return self._parts.end(end)

    def sent_away(self) -> None:
        """Return None: `useChat` resumes a body that breaks off, and no other."""
