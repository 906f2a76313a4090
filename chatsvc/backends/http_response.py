"""The parser of one HTTP/1.1 response: bytes of a connection in, the bytes of its content out.

It is httptools' parser (llhttp, which aiohttp uses as well) with limits on what is not content. It
never awaits and knows no connection.
"""

from __future__ import annotations

from typing import Any

import httptools

from chatsvc.tracebacks import without_tracebacks

MOST_FIELDS = 128
"""The fields that the head of a response, or its trailer, may have."""

FRAMING_LIMIT_BYTES = 16 * 1024
"""The most bytes in a row without content and without the end of a field: a field may be as long,
or the extension of a chunk. They are counted by whole calls of `feed`."""

KEPT_FIELDS = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-type",
        "keep-alive",
        "retry-after",
        "transfer-encoding",
    }
)
"""The names, in lower case, of the fields of a head that are kept."""


class HttpResponse:
    """One response as it arrives, interim responses before it left out (RFC 9110 section 15.2).

    - `begun`: whether anything of a response has come.
    - `headed`: whether the head has come; `status` and `fields` are its own then, the latter by
      names in lower case, where `KEPT_FIELDS` has them.
    - `content`: what has come of the content, still encoded; set it to b"" when it is taken.
    - `complete`: whether the response has come to its end.
    - `reusable`: whether another response may follow on its connection, once it is complete.
    - `broken`: whether what came is no HTTP, or more than the limits; nothing more is fed then.

    Call `close` when nothing more is fed, or it stays in a cycle with httptools' parser.
    """

    __slots__ = (
        "_field_count",
        "_framing_bytes",
        "_parser",
        "_parts",
        "begun",
        "broken",
        "complete",
        "content",
        "fields",
        "headed",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self.begun = False
        self.headed = False
        self.status = 0
        self.fields: dict[str, str] = {}
        self.content = b""
        self.complete = False
        self.reusable = False
        self.broken = False
        self._parts = 0  # fields and heads, of interim responses and trailers, too
        self._field_count = 0  # of the present head or trailer
        self._framing_bytes = 0
        self._parser: Any = httptools.HttpResponseParser(self)
        # What aiohttp's parser allows in responses, too: there are servers that send it.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def close(self) -> None:
        """Let go of the parser; what has come stays."""
        self._parser = None

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the connection; the attributes tell what they were."""
        parts = self._parts
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            without_tracebacks(error)
            self.broken = True
            return
        if self.content:
            self._framing_bytes = 0
        elif self._parts != parts or self.complete:
            self._framing_bytes = 0
            self.broken = self._field_count > MOST_FIELDS
        else:
            self._framing_bytes += len(data)
            self.broken = self._framing_bytes > FRAMING_LIMIT_BYTES

    @property
    def ends_with_connection(self) -> bool:
        """Whether the response has no length of its own, once headed (RFC 9112 section 6.3)."""
        coding = self.fields.get("transfer-encoding", "")
        return "content-length" not in self.fields and "chunked" not in coding.lower()

    # ------------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        """Note that a response begins, perhaps an interim one."""
        self.begun = True
        self._parts += 1
        self._field_count = 0
        if self.complete:  # what follows is the answer to no request
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field, and keep it if it is one of `KEPT_FIELDS`."""
        self._parts += 1
        self._field_count += 1
        if not self.headed:
            key = name.decode("latin-1").lower()
            if key in KEPT_FIELDS:
                self.fields[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the head, unless it is that of an interim response."""
        if self.headed:
            return
        self._field_count = 0
        status = self._parser.get_status_code()
        if status >= 200:
            self.status, self.headed = status, True
        else:
            self.fields.clear()

    def on_body(self, body: bytes) -> None:
        """Keep content."""
        if not self.complete:
            self.content += body

    def on_message_complete(self) -> None:
        """Note the end of the response, unless it is that of an interim one."""
        if self.headed and not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
