"""The answer that chunks add up to: its pieces, and when and how it has finished. Pure.

Servers say the same text twice, in the members of old and new interfaces, and say that they have
finished when they haven't. Here stands what counts. PROTOCOL.md section 1 has what the pieces become.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from chatsvc.backends.call_pieces import call_piece
from chatsvc.backends.chunk_values import Choice, Chunk, Delta
from chatsvc.backends.content_parts import besides_of, words_of
from chatsvc.backends.cumulative import Cumulative
from chatsvc.backends.extras import Extras
from chatsvc.backends.finish_reasons import FAILURES, linger_s, read_reason
from chatsvc.backends.text_places import TextPlaces
from chatsvc.backends.think_tags import ThinkTags
from chatsvc.graphemes import join_surrogates
from chatsvc.model import Extra, Piece, Reasoning, Usage


class AnswerPieces:
    """The answer of one response, as far as its chunks have come.

    - `progress`, `linger_s`: as in `chatsvc.backends.response.ResponseReader`.
    - `reason`: the `finish_reason` of an answer that has finished, else None.
    - `began`: whether there was a choice, if only an empty one.
    - `usage`: the last usage that a chunk has reported, or None.
    - `places`: the places in the server's text (see `TextPlaces`).

    With `cumulative` each text is the whole one so far. With `think_tags` reasoning is looked for in
    the text; while nobody knows which of the two it is, it is `undecided`, until `decide`.

    Invariants:

    - Of one chunk first comes its reasoning, then its text, its calls, sources, files and extras. Only
      a list of parts has an order of its own. What the first chunk of the answer, and those before,
      say of all of it (extras of the chunk and the choice) stands before everything.
    - Texts come from the members `delta`. Only as long as these have given none they come from
      `message` or from `text`, whichever of the two gives some first: what the others repeat is
      passed over. The same holds for what stands beside the text.
    - A `reason` that more of the answer follows, in a later chunk, is None again.
    - Extras and usage follow something of the answer: before it, the request may be sent again.
    - No text holds half of a surrogate pair; in other pieces it may be cut in two.
    """

    def __init__(self, *, cumulative: bool = False, think_tags: bool = False) -> None:
        self.progress = 0
        self.reason: str | None = None
        self.linger_s = linger_s(words=False)
        self.began = False
        self.usage: dict[str, Any] | None = None
        self._cumulative = Cumulative() if cumulative else None
        self._tags = ThinkTags() if think_tags else None
        self.places = TextPlaces()
        self._source = ""  # the member that gives the text
        self._side_source = ""  # the member that gives what stands beside the text
        self._texts: list[str] = []  # behind `_pieces`, since `take`
        self._pieces: list[Piece] = []
        self._leading = 0  # how many of them stand before all text
        self._high = ""  # the first half of a surrogate pair
        self._passed_usage: dict[str, Any] | None = None
        self._reasoned = False  # reasoning came in a member of its own
        self._extras = Extras()
        self._refuses = False  # a refusal has begun
        self._besides: set[Piece] = set()  # those that were also extras

    @property
    def plain(self) -> bool:
        r"""Whether a text without `\r` may be passed on at once; only `places` must learn of it."""
        plain = self._tags is None and self._cumulative is None and self.reason is None
        waiting = self._texts or self._pieces or self._high or self.places.ends_open
        return plain and not waiting and self.usage is self._passed_usage

    @property
    def undecided(self) -> bool:
        """Whether pieces are held because it isn't known yet whether the text is reasoning."""
        return self._tags is not None and self._tags.undecided

    def add(self, chunk: Chunk) -> tuple[Any, str | None] | None:
        """Add what a chunk holds; of its choices only the one with index 0 counts.

        Returns None, or the failure that it reports: an error's JSON and a `BackendFailed.reason`, or
        None if only the JSON says it. Raises `BackendFailed` for a text that should be cumulative.
        """
        if usage := chunk.any_usage():
            self.usage = usage
        extras, progress = self._extras, self.progress
        extras.add_chunk(chunk)
        failure = None
        for choice in chunk.choices or ():
            if choice.index:
                continue
            extras.add_choice(choice)
            delta, message = choice.delta, choice.message
            words = delta is not None and self._add_delta(delta)
            if message is not None or choice.text:
                words = self._add_other(choice) or words
            extras.add_parts(delta, message)
            failure = self._end_choice(choice, words)
            if failure is not None:
                break
        if extras.waiting and self.progress:
            if not progress:
                self._pieces[:0] = states = extras.take_states()
                self._leading = len(states)
            for extra in extras.take():
                self._put(extra)
        return failure

    def add_text(self, text: str, reasoning: bool) -> None:
        """Add what a chunk holds that has nothing but a text, or nothing but `reasoning`.

        The last chunk must have been like it. Raises as `add`.
        """
        if not text:
            return
        if reasoning:
            self._add_reasoning_text(text)
        else:
            self._add_text(text)
        self.progress += 1
        self.reason = None

    def take(self, *, last: bool = False) -> list[Piece]:
        """Return the pieces since the last call. After the `last` one a finish has the usage."""
        texts, pieces = self._texts, self._pieces
        if not pieces and self.usage is self._passed_usage:
            if not texts:
                return pieces
            self._texts = []
            return list[Piece](texts) if len(texts) == 1 else ["".join(texts)]
        if not self.progress or self.undecided:
            return []
        self._flush()
        passed = self.usage is self._passed_usage or (last and self.reason is not None)
        if self.usage and not passed:
            self._passed_usage = self.usage
            self._pieces.append(Usage(self.usage))
        self._pieces, pieces = [], self._pieces
        self._leading = 0
        return pieces

    def decide(self) -> None:
        """Let the text that was undecided be the answer's; it is the next that `take` returns."""
        if self._tags is not None:
            self._put_found(True, self._tags.decide())

    def rest(self) -> list[Piece]:
        """Return, once, what was held back: of half a surrogate pair U+FFFD."""
        high, self._high = self._high, ""
        if high and self._tags is not None:
            self._put_found(self._tags.undecided, self._tags.feed("\ufffd"))
        elif high:
            self._texts.append("\ufffd")
        if self._tags is not None:
            self._put_found(self._tags.undecided, self._tags.end())
        return self.take(last=True)

    # ------------------------------------------------------------------ choices

    def _end_choice(self, choice: Choice, words: bool) -> tuple[Any, str | None] | None:
        """Note that a choice is read, which added to the answer if `words`; return as `add`."""
        self.began = True
        if words:
            self.progress += 1
            self.reason = None
        if choice.error:
            return {"error": choice.error}, None
        if choice.finish_reason:
            reason = read_reason(choice.finish_reason)
            if reason in FAILURES:
                return f"finish_reason: {choice.finish_reason}", FAILURES[reason]
            if reason is not None:
                if self.reason is None and not words:
                    self.progress += 1
                self.reason = reason
                self.linger_s = linger_s(words)
        return None

    def _add_delta(self, delta: Delta) -> bool:
        """Add a delta; return whether it adds to the answer."""
        text = delta.content
        if delta.refusal or delta.has_side():
            adds = delta.adds()
            if adds:
                self._side_source = "delta"
            return self._add_all(delta, "delta", has_text=True, has_side=True) or adds
        if not text:
            return False
        self._source = "delta"
        self._add_text(text)
        return True

    def _add_other(self, choice: Choice) -> bool:
        """Add a `message` or `text`; return whether the choice adds to the answer there."""
        message = choice.message
        words = False
        if message is not None:
            has_side = message.adds() and self._side_source != "delta"
            if has_side:
                self._side_source = "message"
                words = not self._source
            has_text = self._source in ("", "message")
            if self._add_all(message, "message", has_text=has_text, has_side=has_side):
                return True
        if choice.text and self._source in ("", "text"):
            self._source = "text"
            self._add_text(choice.text)
            return True
        return words

    def _add_all(
        self, part: Delta, source: str, *, has_text: bool, has_side: bool
    ) -> bool:
        """Add the text of a delta or message, what stands beside it, or both, in their order.

        Returns whether there was text to add.
        """
        texts = 0
        if has_side:
            self._add_reasoning(part)
        for each in [*(part.mixed or ()), part.content or ""]:
            if isinstance(each, Reasoning):
                if has_side:
                    self._put_reasoning(each)
            elif each and has_text:
                self._source = source
                self._add_text(each)
                texts += 1
        if part.refusal and has_text:
            self._source = source
            self._add_refusal(part.refusal)
            texts += 1
        if has_side:
            self._add_side(part)
        return texts > 0

    # ------------------------------------------------------------------ text

    def _add_text(self, text: str) -> None:
        if not text.isascii() or self._high:
            # JSON escapes in UTF-16, and a server that cuts its text there sends half a code point.
            if self._cumulative is None:
                text = self._high + text
            half = "\ud800" <= text[-1] <= "\udbff"
            self._high = text[-1] if half else ""
            text = join_surrogates(text[:-1] if half else text)
        if self._cumulative is not None:
            text = self._cumulative.new_text(text)
        if text:
            self.places.add(text)
            if self._tags is None:
                self._texts.append(text)
            else:
                self._put_found(self._tags.undecided, self._tags.feed(text))

    def _add_refusal(self, text: str) -> None:
        if not self._refuses:
            self._refuses = True
            self.decide()
            self._put(Extra({"refusal": ""}))  # the text behind it is one
        self._add_text(text)

    def _put_found(self, was_undecided: bool, found: list[str | Reasoning]) -> None:
        if was_undecided:
            # What came beside the text while nobody knew what it is stands behind it.
            self._pieces[self._leading : self._leading] = found
            return
        for piece in found:
            if isinstance(piece, str):
                self._texts.append(piece)
            else:
                self._put_reasoning(piece)

    # ------------------------------------------------------------------ beside the text

    def _add_reasoning(self, delta: Delta) -> None:
        # Some servers send both members, with the same text.
        text = delta.reasoning_content or delta.reasoning
        if text:
            self._reasoned = True
        elif delta.reasoning_details and not self._reasoned:
            details = (each for each in delta.reasoning_details if type(each) is dict)
            text = "".join(map(words_of, details))
        if text:
            self._add_reasoning_text(text)

    def _add_reasoning_text(self, text: str) -> None:
        if self._cumulative is not None:
            text = self._cumulative.new("reasoning", text)
        if text:
            self._put_reasoning(Reasoning(text))

    def _put_reasoning(self, piece: Reasoning) -> None:
        self.decide()
        pieces = self._pieces
        if not self._texts and pieces and piece.signature is None:
            last = pieces[-1]
            if type(last) is Reasoning and last.signature is None:
                pieces[-1] = Reasoning(last.text + piece.text)
                return
        self._put(piece)

    def _add_side(self, delta: Delta) -> None:
        """Add the calls, sources and files of a delta."""
        for piece in map(call_piece, delta.tool_calls or ()):
            if piece.arguments and self._cumulative is not None:
                text = self._cumulative.new((piece.index, piece.id), piece.arguments)
                piece = replace(piece, arguments=text)
            self.decide()
            self._put(piece)
        removed = 0 if self._tags is None else self._tags.removed
        for each in besides_of(delta.others or {}):
            if each not in self._besides:
                self._besides.add(each)
                self._put(self.places.of(each, removed))

    def _put(self, piece: Piece) -> None:
        self._flush()
        self._pieces.append(piece)

    def _flush(self) -> None:
        if self._texts:
            self._pieces.append("".join(self._texts))
            self._texts = []
