"""Prompts as they are kept with a reply: as JSON in bytes, and after its end the question alone.

The values that JSON is read into take several times the room of their bytes, so they live only
while a request is read and while a backend's request is made of them.
"""

from __future__ import annotations

import msgspec

from chatsvc.model import Message, Prompt

_prompts = msgspec.json.Decoder(Prompt)


class KeptPrompt:
    """The prompt of a reply, for as long as the reply is kept; all that keep it share one object.

    `json` is the `Prompt` as JSON: the whole of it while the reply runs, and from `drop` on the
    question, which is the text of the last message of a user. Two are equal if their `json` is.
    """

    __slots__ = ("_question", "json")

    def __init__(self, json: bytes, question: bytes | None = None) -> None:
        self.json = json
        self._question = question  # as JSON; None while nobody has looked for it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptPrompt) and other.json == self.json

    def __hash__(self) -> int:
        raise TypeError("what a KeptPrompt holds changes when its reply ends")

    def __repr__(self) -> str:
        """Return how much it holds: the text itself is nobody's business in a log."""
        return f"<KeptPrompt of {len(self.json)} bytes>"

    @property
    def size(self) -> int:
        """The bytes of memory that it takes, beside the object itself."""
        question = self._question
        if question is None or question is self.json:
            return len(self.json)
        return len(self.json) + len(question)

    def read(self) -> Prompt:
        """Return the prompt; after `drop` it has the question as its only message."""
        return _prompts.decode(self.json)

    @property
    def question_json(self) -> bytes:
        """The `Prompt` as JSON that is left after `drop`; without a message if none can be read."""
        if self._question is None:
            try:
                prompt = self.read()
            except (msgspec.MsgspecError, ValueError, RecursionError):
                # A node of another version may have written anything.
                prompt = Prompt(())
            self._question = keep(prompt).question_json
        return self._question

    @property
    def question(self) -> str | None:
        """The text of the last message of a user, or None if there is no such message."""
        messages = _prompts.decode(self.question_json).messages
        return messages[0].content if messages else None

    def drop(self) -> None:
        """Let go of all but the question: the reply has its end."""
        self.json = self.question_json


def keep(prompt: Prompt) -> KeptPrompt:
    """Return a prompt as it is kept.

    Its JSON is that of `msgspec`: nodes of other versions read it, and the digest by which a
    repeated request is known is made of it.
    """
    json = msgspec.json.encode(prompt)
    left = _question_of(prompt)
    # Most prompts are one message: the same bytes then stand for both.
    return KeptPrompt(json, json if left == prompt else msgspec.json.encode(left))


def _question_of(prompt: Prompt) -> Prompt:
    """Return the prompt that has nothing but the text of the last message of a user."""
    for message in reversed(prompt.messages):
        if message.role == "user":
            return Prompt((Message("user", message.content),))
    return Prompt(())
