"""The reader of an OpenAI-compatible server's response: bytes of the body in, text out.

It is the `ResponseReader` that the backends `openai` and `local` hand to `UpstreamClient`. It never
awaits and knows no connection, so it can be tested, and be made faster, on its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chatsvc.backends.errors import TOO_MUCH, UNREADABLE, error_words, redacted
from chatsvc.backends.response import Piece
from chatsvc.eventstream import Comment, EventStreamError, EventStreamParser
from chatsvc.graphemes import join_surrogates
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed, without_tracebacks

END_MARK = "[DONE]"
"""The data of the event behind the last chunk."""

WHOLE_LIMIT_BYTES = 1 << 20
"""The most that a response in one piece of JSON may have; of a stream each event is limited to it.

It is decoded in one go, which takes some 10 ms, and the event loop waits for it.
"""

MOST_MARKS = 16 * 1024
"""The most structural characters, `,:[{` outside strings, that one piece of JSON may have.

A string of a MiB is decoded in milliseconds, but a MiB of empty lists in a fifth of a second. An
answer has a few dozen, or some hundred for each token where their probabilities are asked for.
"""

KNOWN_REASONS = ("length", "content_filter")
"""The `finish_reason`s that are passed on; every other one but `error` becomes `stop`."""


class ChunkReader:
    """The reader of one response: a stream of `chat.completion.chunk` events, or one completion.

    Servers that ignore `"stream": true` answer with a whole completion in JSON, which is read as
    one chunk once its body has ended. See `ResponseReader` for the methods.

    Invariants:

    - Only the choice with index 0 is read; reasoning and tool calls are passed over.
    - No piece holds half of a surrogate pair: a high surrogate at the end of a piece waits for the
      next one.
    - Only what belongs to the answer is progress: text, reasoning, a tool's call, the first
      `finish_reason`. Comments, chunks without a word and parts of an event are not, nor is a
      completion in one piece before it is whole.
    - After a failure only `finish` and `rest` may be used.
    """

    linger_s = 2.0

    def __init__(self, secret: str = "") -> None:
        self.complete = False
        self.failure: BackendFailed | None = None
        self._secret = secret
        self.progress = 0
        self._events = EventStreamParser(limit=WHOLE_LIMIT_BYTES)
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

    def feed(self, data: bytes) -> list[Piece]:
        """See `ResponseReader.feed`."""
        if not self._started:
            start = data.lstrip()
            if not start:
                return []
            self._started = True
            if start[:1] == b"{":  # no event stream begins like that
                self._whole = bytearray()
        texts: list[str] = []
        try:
            if self._whole is not None:
                self._whole += data
                if len(self._whole) > WHOLE_LIMIT_BYTES:
                    raise BackendFailed(TOO_MUCH)
                return []
            for item in self._events.feed(data):
                if isinstance(item, Comment):
                    continue
                if item.data.strip() == END_MARK:
                    self.complete = True
                    break
                texts.append(self._read_chunk(item.data, item.event))
        except EventStreamError:
            self.failure = BackendFailed(TOO_MUCH)
        except BackendFailed as failure:
            self.failure = without_tracebacks(failure)
        return list(filter(None, ["".join(texts)]))

    def end(self) -> list[Piece]:
        """See `ResponseReader.end`."""
        if self._whole is None:
            return []
        try:
            text = self._read_chunk(self._whole.decode("utf-8", "replace"))
            if not self._answered:
                raise BackendFailed("The model's server sent no answer.")
        except BackendFailed as failure:
            self.failure = without_tracebacks(failure)
            return []
        self.complete = True
        return [text] if text else []

    def rest(self) -> list[Piece]:
        """See `ResponseReader.rest`: half a surrogate pair becomes U+FFFD."""
        rest, self._high = ["\ufffd"] if self._high else [], ""
        return rest

    def _read_chunk(self, data: str, event: str = "message") -> str:
        if len(data) > MOST_MARKS and _marks(data) > MOST_MARKS:
            raise BackendFailed(TOO_MUCH)
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            if event == "error":
                raise self._reported(data) from None
            raise BackendFailed(UNREADABLE) from error
        if not isinstance(chunk, dict):
            raise BackendFailed(UNREADABLE)
        if chunk.get("error") or event == "error":
            raise self._reported(error_words(chunk))
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        choices = chunk.get("choices")
        texts: list[str] = []
        for choice in choices if isinstance(choices, list) else []:
            if not isinstance(choice, dict) or choice.get("index", 0) not in (0, None):
                continue
            self._answered = True
            texts += _texts(choice)
            if _has_words(choice):
                self.progress += 1
            if (reason := choice.get("finish_reason")) is not None:
                if reason == "error":
                    raise self._reported("")
                if self._reason is None:
                    self.progress += 1
                self._reason = reason if reason in KNOWN_REASONS else "stop"
        return self._join("".join(texts))

    def _reported(self, words: str) -> BackendFailed:
        return BackendFailed(redacted(words, self._secret) or "The model failed.")

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


def _has_words(choice: Mapping[str, Any]) -> bool:
    """Return whether a choice has anything of an answer, if only reasoning or a tool's call."""
    if choice.get("text"):
        return True
    return any(
        value
        for name in ("delta", "message")
        if isinstance(part := choice.get(name), dict)
        for member, value in part.items()
        if member != "role"
    )


def _marks(data: str) -> int:
    """Return how many structural characters of JSON are in `data`, outside its strings.

    Of what is not JSON any number may come out. The work is linear in the length, and each pass is
    one of C: without escaped backslashes and quotes, every other part between quotes is a string.
    """
    plain = data.replace("\\\\", "").replace('\\"', "")
    parts = plain.split('"', 2 * MOST_MARKS)
    outside = "".join(parts[::2])
    return sum(outside.count(mark) for mark in ",:[{")
