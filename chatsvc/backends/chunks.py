"""What a server that speaks OpenAI says: the text in its chunks, its words in an error's body."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chatsvc.graphemes import join_surrogates
from chatsvc.problems import BackendFailed


class ChunkReader:
    """Reads chunks, and what is like one: a whole completion.

    `told` makes of the upstream's words what may be passed on.
    """

    def __init__(self, told: Callable[[str], str]) -> None:
        self.finish: str | None = None
        self.usage: dict[str, Any] | None = None
        self.done = False
        self.answered = False
        self._told = told
        self._high = ""  # the first half of a pair of surrogates

    def text_of(self, data: str, event: str = "message") -> str:
        """Give the text in a chunk. Raises BackendFailed for an error and for no JSON."""
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            if event == "error":
                raise BackendFailed(self._told(data) or "The model failed.") from error
            raise BackendFailed(
                "The model's server sent what can't be read."
            ) from error
        if not isinstance(chunk, dict):
            raise BackendFailed("The model's server sent what can't be read.")
        if chunk.get("error") or event == "error":
            raise BackendFailed(self._told(words_of(chunk)) or "The model failed.")
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = usage
        choices = chunk.get("choices")
        text = ""
        for choice in choices if isinstance(choices, list) else []:
            if not isinstance(choice, dict) or choice.get("index", 0) not in (0, None):
                continue
            self.answered = True
            text += "".join(_texts(choice))
            if (reason := choice.get("finish_reason")) is not None:
                if reason == "error":
                    raise BackendFailed("The model failed.")
                known = reason in ("length", "content_filter")
                self.finish = reason if known else "stop"
        return self._joined(text)

    def rest(self) -> str:
        """Give what was held back and will have no second half."""
        rest, self._high = "\ufffd" if self._high else "", ""
        return rest

    def _joined(self, text: str) -> str:
        # JSON escapes in UTF-16, and a server that cuts there sends half a character.
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return join_surrogates(text)


def _texts(choice: Mapping[str, Any]) -> Iterator[str]:
    """Give a choice's texts: of its delta, its message, or (completions) its own."""
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


def words_of(body: object) -> str:
    """Give what an error's body says, wherever it says it."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(words_of, body[:5])))
    if isinstance(body, dict):
        for name in ("error", "message", "detail", "msg", "errors", "title"):
            if words := words_of(body.get(name)):
                return words
    return ""
