"""The reader of an OpenAI-compatible server's response: bytes of the body in, text out.

It is the `ResponseReader` that the backends `openai` and `local` hand to `UpstreamClient`. It never
awaits and knows no connection, so it can be tested, and be made faster, on its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chatsvc.backends.errors import ServerError, error_words
from chatsvc.eventstream import Comment, EventStreamError, EventStreamParser
from chatsvc.graphemes import join_surrogates
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed

END_MARK = "[DONE]"
"""The data of the event behind the last chunk."""

WHOLE_LIMIT_BYTES = 8 << 20
"""The most that a response in one piece of JSON may have; of a stream each event is limited."""

KNOWN_REASONS = ("length", "content_filter")
"""The `finish_reason`s that are passed on; every other one but `error` becomes `stop`."""

UNREADABLE = "The model's server sent what can't be read."
"""The detail of the failure when a chunk is not a JSON object."""

TOO_MUCH = "The model's server sent more than can be kept."
"""The detail of the failure when an event or a whole completion breaks its limit."""


class ChunkReader:
    """The reader of one response: a stream of `chat.completion.chunk` events, or one completion.

    Servers that ignore `"stream": true` answer with a whole completion in JSON, which is read as
    one chunk once its body has ended. See `ResponseReader` for the methods.

    Invariants:

    - Only the choice with index 0 is read; reasoning and tool calls are passed over.
    - No piece holds half of a surrogate pair: a high surrogate at the end of a piece waits for the
      next one.
    - After an exception from `feed` or `end` only `finish` and `rest` may be used.
    """

    def __init__(self) -> None:
        self.complete = False
        self.progress = 0
        self._events = EventStreamParser()
        self._whole: bytearray | None = (
            None  # the body so far, if it is one piece of JSON
        )
        self._started = False
        self._answered = False  # there was a choice
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._high = ""  # the first half of a surrogate pair

    @property
    def finish(self) -> Finish | None:
        """See `ResponseReader.finish`; `[DONE]` without a `finish_reason` counts as `stop`."""
        if self._reason is None and not self.complete:
            return None
        return Finish(self._reason or "stop", self._usage)

    def feed(self, data: bytes) -> Iterator[str]:
        """See `ResponseReader.feed`."""
        if not self._started:
            start = data.lstrip()
            if not start:
                return
            self._started = True
            if start[:1] == b"{":  # no event stream begins like that
                self._whole = bytearray()
        if self._whole is not None:
            self.progress += 1
            self._whole += data
            if len(self._whole) > WHOLE_LIMIT_BYTES:
                raise BackendFailed(TOO_MUCH)
            return
        try:
            for item in self._events.feed(data):
                if isinstance(item, Comment):
                    continue
                self.progress += 1
                if item.data.strip() == END_MARK:
                    self.complete = True
                    return
                if text := self._read_chunk(item.data, item.event):
                    yield text
        except EventStreamError as error:
            raise BackendFailed(TOO_MUCH) from error

    def end(self) -> str:
        """See `ResponseReader.end`."""
        if self._whole is None:
            return ""
        text = self._read_chunk(self._whole.decode("utf-8", "replace"))
        if not self._answered:
            raise BackendFailed("The model's server sent no answer.")
        self.complete = True
        return text

    def rest(self) -> str:
        """See `ResponseReader.rest`: half a surrogate pair becomes U+FFFD."""
        rest, self._high = "\ufffd" if self._high else "", ""
        return rest

    def _read_chunk(self, data: str, event: str = "message") -> str:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            if event == "error":
                raise ServerError(data) from error
            raise BackendFailed(UNREADABLE) from error
        if not isinstance(chunk, dict):
            raise BackendFailed(UNREADABLE)
        if chunk.get("error") or event == "error":
            raise ServerError(error_words(chunk))
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        choices = chunk.get("choices")
        text = ""
        for choice in choices if isinstance(choices, list) else []:
            if not isinstance(choice, dict) or choice.get("index", 0) not in (0, None):
                continue
            self._answered = True
            text += "".join(_texts(choice))
            if (reason := choice.get("finish_reason")) is not None:
                if reason == "error":
                    raise ServerError("")
                self._reason = reason if reason in KNOWN_REASONS else "stop"
        return self._join(text)

    def _join(self, text: str) -> str:
        # JSON escapes in UTF-16, and a server that cuts its text there sends half a code point.
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return join_surrogates(text)


def _texts(choice: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a choice: of its delta, its message, and its own as in completions."""
    for name in ("delta", "message"):
        part = choice.get(name)
        if not isinstance(part, dict):
            continue
        content = part.get("content")
        if isinstance(content, list):  # typed parts
            for item in content:
                if isinstance(item, dict) and isinstance(item.get("text"), str):
                    yield item["text"]
        # A refusal is the model's answer, in its own words.
        for value in (content, part.get("refusal")):
            if isinstance(value, str):
                yield value
    if isinstance(choice.get("text"), str):
        yield choice["text"]
