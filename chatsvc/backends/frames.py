"""The quick way of chunks that differ from the last one in nothing but a piece of text. Pure.

Nearly every chunk of a model's stream does: its id, model and fingerprint are those of the chunk before.
What is around the text need not be decoded then, and that is most of the work.
"""

from __future__ import annotations

import re

import msgspec

from chatsvc.backends.chunk_values import Chunk

UNUSED_FRAMES = 16
"""How many frames more are made than used: some servers change a member in every chunk."""

_TEXT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
_REASONING = re.compile(rb'"reasoning(?:_content)?":\s*("(?:[^"\\]|\\.)*")')

_PADDING = b',"obfuscation":"'

_decode_text = msgspec.json.Decoder(str).decode
_FIELD, _BLANK = b"data: ", b"\n\n"
_NONE: tuple[bytes, ...] = ()  # what no bytes start with


class Frames:
    """The last chunk's bytes around its text, of one response.

    `text_of` returns the text of a chunk that has the same bytes around it, `event_text` that of the
    event of such a chunk, and `reasoning` is whether that is reasoning, else it is the answer's. `note`
    makes the frame of a chunk that was decoded.

    Invariants:

    - A chunk whose text `text_of` returns would be decoded to the chunk that the frame was made of,
      with this text in the place of the other.
    - Such a chunk has no line end in it.
    """

    __slots__ = (
        "_before",
        "_begin",
        "_behind",
        "_end",
        "_event_before",
        "_event_begin",
        "_event_behind",
        "_event_end",
        "_padded",
        "_unused",
        "reasoning",
    )

    def __init__(self) -> None:
        self.reasoning = False
        self._before: bytes | tuple[bytes, ...] = _NONE  # while there is no frame
        self._behind = b""
        # The same of an event, from `data: ` to its blank line. Without padding alone.
        self._event_before: bytes | tuple[bytes, ...] = _NONE
        self._event_behind = b""
        self._event_begin = self._event_end = 0
        self._begin = 0  # where the text's JSON begins
        self._end = 0  # where it ends, counted from the end of the chunk: negative
        self._padded = False  # the chunks have padding of random length
        self._unused = 0

    def text_of(self, data: bytes) -> str | None:
        """Return the text of a chunk that fits the frame, else None; it may be empty."""
        if self._padded:
            data = _without_padding(data)
        if not (data.startswith(self._before) and data.endswith(self._behind)):
            return None
        try:
            # It is one text or no JSON: a structure of any other kind would be.
            text = _decode_text(data[self._begin : self._end])
        except msgspec.DecodeError:
            return None
        self._unused = 0
        return text

    def event_text(self, event: bytes) -> str | None:
        """Return the text of the one event that these bytes are if it fits the frame, else None.

        A chunk with padding never does.
        """
        if not (
            event.startswith(self._event_before) and event.endswith(self._event_behind)
        ):
            return None
        try:
            text = _decode_text(event[self._event_begin : self._event_end])
        except msgspec.DecodeError:
            return None
        self._unused = 0
        return text

    def note(self, data: bytes, chunk: Chunk) -> None:
        """Make the frame of a chunk, if it has nothing but a text that adds to the answer."""
        if self._unused > UNUSED_FRAMES:
            return
        self._before = self._event_before = _NONE
        choices = chunk.choices
        if not choices or len(choices) > 1 or chunk.error or b"\n" in data:
            return
        [choice] = choices
        delta = choice.delta
        if (
            choice.index
            or delta is None
            or choice.finish_reason
            or choice.message is not None
            or choice.text
            or choice.error
            # They are of this text, however equal the next chunk's are.
            or choice.logprobs is not None
            or choice.token_ids is not None
            or delta.refusal is not None
        ):
            return
        text: str | None
        if delta.content and not delta.has_side():
            text, pattern = delta.content, _TEXT
        elif not (delta.content or delta.tool_calls or delta.has_more()):
            text, pattern = delta.reasoning_content or delta.reasoning, _REASONING
        else:
            return
        self._padded = type(chunk.obfuscation) is str
        if self._padded:
            data = _without_padding(data)
        found = [*pattern.finditer(data)]
        # Another such member, wherever it stands, might be the one that was decoded.
        if len(found) != 1 or not text or _decode_text(found[0][1]) != text:
            return
        begin, end = found[0].span(1)
        # With the quotes: JSON lets white space stand around a text, even a line end.
        self._before, self._behind = data[: begin + 1], data[end - 1 :]
        self._begin, self._end = begin, end - len(data)
        if not self._padded:
            self._event_before = _FIELD + self._before
            self._event_behind = self._behind + _BLANK
            self._event_begin = self._begin + len(_FIELD)
            self._event_end = self._end - len(_BLANK)
        self.reasoning = pattern is _REASONING
        self._unused += 1


def _without_padding(data: bytes) -> bytes:
    """Return a chunk without the member `obfuscation`, if it stands last, as with OpenAI."""
    begin = data.rfind(_PADDING)
    end = data.find(b'"', begin + len(_PADDING))
    return data[:begin] + b"}" if begin > 0 and data[end:] == b'"}' else data
