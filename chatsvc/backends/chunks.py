"""The reader of an OpenAI-compatible server's response: bytes of the body in, pieces out.

It is the `ResponseReader` that the backends `openai` and `local` hand to `UpstreamClient`. It never
awaits and knows no connection. `chatsvc.backends.chunk_values` has the values of its chunks, and
`chatsvc.backends.answer_pieces` puts them together.
"""

from __future__ import annotations

from typing import Any

from chatsvc.backends.answer_pieces import AnswerPieces
from chatsvc.backends.chunk_conversion import MOST_MARKS, convert, is_cut, loads, marks
from chatsvc.backends.chunk_values import Chunk, ChunkDecoder
from chatsvc.backends.errors import TOO_MUCH, UNREADABLE, is_error
from chatsvc.backends.frames import Frames
from chatsvc.backends.quick_events import Item, QuickEvents
from chatsvc.backends.redaction import Secrets, log_words
from chatsvc.backends.refusals import PAGE, reported_error
from chatsvc.eventstream import BOM
from chatsvc.model import Finish, Piece
from chatsvc.problems import BackendFailed

END_MARKS = ("[DONE]", '"[DONE]"')
"""The data of the event behind the last chunk."""

WHOLE_LIMIT_BYTES = 1 << 20
"""The most that a response in one piece of JSON may have by default; of a stream each event is limited
to it.

It is decoded in one go, which takes some 10 ms, and the event loop waits for it.
"""

UNDECIDED_LIMIT_BYTES = 16 << 20
"""The most of a body that is read while it isn't known whether its text is reasoning: then it counts
as the answer's."""

STRAY_LIMIT_BYTES = 4096
"""The most that a line outside of the format may have to be read as an error. The first line of a
response in JSON is one: the rest of it may never come."""


class ChunkReader:
    """The reader of one response: a stream of `chat.completion.chunk` events, or one completion.

    Servers that ignore `"stream": true` answer with a whole completion in JSON, which is read as
    one chunk once its body has ended. See `ResponseReader` for the methods. `secrets` are those
    of the request, and `chose_model` is whether the user chose the model that was asked for:
    both decide who reads the words of an error. With `cumulative` each chunk has the whole text so
    far, not what it adds. With `think_tags` reasoning is also looked for in the text, see
    `chatsvc.backends.think_tags`. `limit` is the most bytes of an event, and of whole JSON.

    Invariants:

    - Only the choice with index 0 is read.
    - No text of the answer holds half of a surrogate pair: a high surrogate at the end of a piece
      waits for the next one.
    - Only what belongs to the answer is progress: text, reasoning, a tool's call, the first
      `finish_reason`. Comments, chunks without a word and parts of an event are not, nor is a
      completion in one piece before it is whole.
    - How the body is cut into `data` changes nothing.
    - After a failure only `finish` and `rest` may be used.
    """

    def __init__(
        self,
        secrets: Secrets = (),
        *,
        chose_model: bool = False,
        cumulative: bool = False,
        think_tags: bool = False,
        limit: int = WHOLE_LIMIT_BYTES,
    ) -> None:
        self.complete = False
        self.failure: BackendFailed | None = None
        self._secrets = secrets
        self._chose_model = chose_model
        self._answer = AnswerPieces(cumulative=cumulative, think_tags=think_tags)
        self._events = QuickEvents(limit)
        self._limit = limit
        self._head: bytes | None = b""  # until it is known what the body is
        # The body so far, if it is one piece of JSON.
        self._whole: bytearray | None = None
        self._had_line = False  # of whole JSON: its first line
        self._frames = Frames()
        self._decoder = ChunkDecoder()
        self._goes_on = (
            False  # what comes next may be the answer's text and nothing else
        )
        self._size = 0  # bytes of the body, if it is not yet known what the text is

    @property
    def progress(self) -> int:
        """See `ResponseReader.progress`."""
        return self._answer.progress

    @property
    def linger_s(self) -> float:
        """See `ResponseReader.linger_s`."""
        return self._answer.linger_s

    @property
    def finish(self) -> Finish | None:
        """See `ResponseReader.finish`; `[DONE]` without a `finish_reason` counts as `stop`."""
        reason = self._answer.reason
        if reason is None and not self.complete:
            return None
        return Finish(reason or "stop", self._answer.usage)

    def feed(self, data: bytes) -> list[Piece]:
        """See `ResponseReader.feed`."""
        text = None
        # A chunk that fits the frame has no line end in it, so there is no other event in the bytes;
        # to cut them at line ends would cost more than to find the text.
        if (
            data.startswith(b"data: ")
            and data.endswith(b"\n\n")
            and self._events.between_events
            and len(data) <= self._limit
        ):
            text = self._frames.text_of(data[6:-2])
        if text is not None:
            self._add_text(text)
        else:
            self._read(data)
        if self._answer.undecided:
            self._size += len(data)
            if self._size > UNDECIDED_LIMIT_BYTES:
                self._answer.decide()
        # Until then the reply may be stopped, and its usage is the last that was passed on.
        pieces = self._answer.take(last=self.complete)
        self._goes_on = (
            self._answer.plain
            and not self._frames.reasoning
            and self._events.between_events
            and not self.complete
            and self.failure is None
        )
        return pieces

    def next_text(self, data: bytes) -> str | None:
        """See `ResponseReader.next_text`.

        Nearly always the bytes are one event, whose chunk differs from the last in its text alone.
        """
        if self._goes_on and len(data) <= self._limit:
            text = self._frames.event_text(data)
            if text and "\r" not in text:
                self._answer.places.length += len(text)
                return text
        return None

    def end(self) -> list[Piece]:
        """See `ResponseReader.end`: whole JSON is read now, and an event without its blank line."""
        if self._whole is not None:
            self._read_whole(bytes(self._whole))
        else:
            # An event that is half here is none: the server broke off.
            self._read_items(
                [
                    (data, event)
                    for data, event in self._events.end()
                    if event == "error" or not is_cut(data)
                ]
            )
        return self._answer.take(last=True)

    def rest(self) -> list[Piece]:
        """See `ResponseReader.rest`: half a surrogate pair becomes U+FFFD."""
        return self._answer.rest()

    # ------------------------------------------------------------------ bytes

    def _read(self, data: bytes) -> None:
        if self._head is not None:
            data = self._begin(self._head + data)
        if self._whole is not None:
            self._feed_whole(self._whole, data)
        elif data and self.failure is None:
            self._read_items(self._events.feed(data))

    def _begin(self, head: bytes) -> bytes:
        """Return the bytes to go on with, once it is clear what the body is; else b""."""
        if BOM.startswith(head):  # or its beginning
            self._head = head
            return b""
        start = head.removeprefix(BOM).lstrip()
        if not start:
            # Blank lines are nothing in any format, and the parser has no memory of them.
            self._head = b""
            return head
        self._head = None
        if start[:1] in (b"{", b"["):  # no event stream begins like that
            self._whole = bytearray()
            return start
        if start[:1] == b"<":
            text = start.decode("utf-8", "replace")
            self._fail(self._unreadable(text, PAGE, "misconfigured"))
        return head

    def _feed_whole(self, whole: bytearray, data: bytes) -> None:
        whole += data
        if len(whole) > self._limit:
            self._fail(BackendFailed(TOO_MUCH))
        elif not self._had_line and b"\n" in data:
            self._had_line = True
            self._read_stray(bytes(whole[: STRAY_LIMIT_BYTES + 1]).split(b"\n")[0])

    # ------------------------------------------------------------------ JSON

    def _read_items(self, items: list[Item]) -> None:
        for data, event in items:
            if event:
                self._read_event(data, event)
            else:
                self._read_stray(data)
            if self.complete or self.failure is not None:
                return
        if self._events.too_long:
            self._fail(BackendFailed(TOO_MUCH))

    def _read_event(self, data: bytes, event: str) -> None:
        """Read the data of an event, the quick way if it is a chunk as most are."""
        if data == b"[DONE]":  # before two decoders refuse it: each reply has one
            self.complete = True
            return
        if event != "error" and len(data) <= MOST_MARKS:
            if (text := self._frames.text_of(data)) is not None:
                self._add_text(text)
                return
            chunk = self._decoder.decode(data)
            # What `base_resp` says is for `is_error`.
            if (
                chunk is not None
                and not chunk.error
                and chunk.base_resp is None
                and chunk.choices
            ):
                self._add(chunk)
                self._frames.note(data, chunk)
                return
        self._read_unusual(data.decode("utf-8", "replace"), event)

    def _add_text(self, text: str) -> None:
        """Add the text of a chunk that fits the frame."""
        try:
            self._answer.add_text(text, self._frames.reasoning)
        except BackendFailed as error:
            self._fail_as(error)

    def _read_unusual(self, text: str, event: str = "message") -> None:
        """Read the data of an event, or a whole body, whatever it is."""
        plain_text = text.strip()
        if plain_text in END_MARKS:
            self.complete = True
            return
        if event != "error" and not plain_text.startswith(("{", "[")):
            return  # it holds no object
        if len(text) > MOST_MARKS and marks(text) > MOST_MARKS:
            self._fail(BackendFailed(TOO_MUCH))
            return
        try:
            self._read_object(loads(plain_text), event)
        except (BackendFailed, ValueError, RecursionError):
            if event == "error":
                self._fail(self._reported(text))
            else:
                self._fail(self._unreadable(text))

    def _read_object(self, chunk: Any, event: str) -> None:
        if isinstance(chunk, list):  # an error may come so; a chunk never does
            chunk = next((item for item in chunk if isinstance(item, dict)), {})
            chunk = chunk if is_error(chunk) else {}
        if event == "error" or (isinstance(chunk, dict) and is_error(chunk)):
            self._fail(self._reported(chunk))
        if not isinstance(chunk, dict) or self.failure is not None:
            return
        self._add(convert(chunk))

    def _add(self, chunk: Chunk) -> None:
        try:
            failure = self._answer.add(chunk)
        except BackendFailed as error:
            self._fail_as(error)
            return
        if failure is not None:
            self._fail(self._reported(*failure))

    def _read_whole(self, body: bytes) -> None:
        text = body.decode("utf-8", "replace")
        self._read_unusual(text)
        if self.failure is None and not self._answer.began:
            self._fail(self._unreadable(text, "The model's server sent no answer."))
        self.complete = self.failure is None

    def _read_stray(self, line: bytes) -> None:
        """Read a line that is in no event: nothing but an error is taken from it."""
        line = line.rstrip()
        if not (8 <= len(line) <= STRAY_LIMIT_BYTES and line.endswith(b"}")):
            return  # no object with a member
        try:
            error = loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return
        if isinstance(error, dict) and is_error(error):
            self._fail(self._reported(error))

    # ------------------------------------------------------------------ failures

    def _fail(self, failure: BackendFailed) -> None:
        if self.failure is None:
            self.failure = failure

    def _fail_as(self, error: BackendFailed) -> None:
        # A new one: the traceback of this one would hold the reader.
        self._fail(
            BackendFailed(error.detail, reason="misconfigured", answer_status=200)
        )

    def _reported(self, error: object, reason: str | None = None) -> BackendFailed:
        return reported_error(
            error, secrets=self._secrets, chose_model=self._chose_model, reason=reason
        )

    def _unreadable(
        self, text: str, detail: str = UNREADABLE, reason: str = "broken"
    ) -> BackendFailed:
        """Return the failure of a text that is not what is due: the log has its beginning."""
        words = log_words(text[:4096], self._secrets)
        return BackendFailed(detail, reason=reason, words=words, answer_status=200)
