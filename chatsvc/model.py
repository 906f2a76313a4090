"""The values that all rooms share: what is asked of a backend, what it yields, how a reply ends.

Plain immutable values that every room shares. They import nothing of chatsvc. Stores serialise
`Prompt` and `End` with msgspec, so their field names are part of what is kept: a renamed field
makes records of running nodes unreadable.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec.structs import replace

ABILITIES = frozenset({"tools", "images", "audio", "files", "response_format"})
"""What a backend may take beside text, by the names that its attribute `takes` uses.

`tools` are tools with their calls and results, `images`, `audio` and `files` the parts of a message's
content, and `response_format` is a form that the answer must have (PROTOCOL.md section 2).
"""


def may_choose(model: object, models: Collection[str]) -> bool:
    """Return whether a request may choose a model, of which it gives the name, among `models`.

    `*` among them is any. What is no name chooses nothing.
    """
    return isinstance(model, str) and bool(model) and ("*" in models or model in models)


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation: its author's role, its text, and all else that was sent with it.

    `role` is `system`, `developer`, `user`, `assistant`, `tool` or `function` (PROTOCOL.md section 2).
    `content` is the text as it was received, of any length that the request's limits allow: that of
    all parts of type `text` if there are parts, "" if there is none. `members` are the other members,
    by their names and as they came, for example `tool_calls`, `tool_call_id` and `name`; also the
    message's `content` where it is no text: OpenAI's list of parts, or None. `without_content` is
    whether the message had no member `content`.

    A message of a role and a text is kept as older versions keep it, and these ignore all else.
    """

    role: str
    content: str
    members: dict[str, Any] = {}
    without_content: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the message in OpenAI's form, equal to what was received."""
        if self.without_content:
            return {"role": self.role, **self.members}
        return {"role": self.role, "content": self.content, **self.members}


class Prompt(msgspec.Struct, frozen=True):
    """The input of a backend: a conversation, and how to answer it.

    `messages` are the turns, oldest first. `written` is the text that the reply already has, empty
    for a new reply: a backend whose `resumes` is true continues behind it. `options` are further
    parameters of an OpenAI request by their names, for example `temperature` or `tools`; backends that
    don't speak OpenAI's protocol ignore those that don't change what is asked.
    """

    messages: tuple[Message, ...]
    written: str = ""
    options: dict[str, Any] = {}


class Context(msgspec.Struct, frozen=True):
    """What a backend may know of the request beside the conversation.

    `user` is the name of the user who asked, "" where the service does not authorize requests.
    `reply` is the reply's id. `chat` is the id that an AI SDK's page gave the chat, else "".
    `options` are those of the `Prompt`. `headers` are the request's headers that `--context-headers`
    names, by the names that stand there; those that the request didn't have are missing.
    """

    user: str = ""
    reply: str = ""
    chat: str = ""
    options: dict[str, Any] = {}
    headers: dict[str, str] = {}


class PromptInContext(Prompt, frozen=True):
    """A prompt as `Backend.stream` gets it: with the context of its request.

    The prompt that is kept has no `context`: nodes of older versions read it, and its digest, by which
    a repeated request is known, must not depend on where it came from.

    `json` is that prompt as JSON, without `written` and `context`, or empty where nobody keeps it. A
    backend that may need the prompt once more, to ask a server again, keeps these bytes, which are
    there anyway, rather than the values, which take several times their room.

    `trace` are the headers of W3C Trace Context by which a request to a model's server belongs to the
    reply's trace; empty where nobody collects traces.
    """

    context: Context = Context()
    json: bytes = b""
    trace: dict[str, str] = {}


class Finish(msgspec.Struct, frozen=True):
    """The optional piece of a backend's stream that says why the text ended, and what it cost.

    `reason` is `stop`, `length`, `content_filter` or `tool_calls` (PROTOCOL.md section 1), or what
    else the backend says, in at most 100 printable characters. Calls of tools that are open end with
    it. `usage` is OpenAI's usage object as the backend counted it, or None where it counts nothing;
    what JSON can't hold of it is left out.
    """

    reason: str = "stop"
    usage: dict[str, Any] | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """A piece of what a model thinks before it answers, or calls a tool.

    Pieces that follow each other are one part; answer text or a call ends it. `signature` is the
    model's opaque proof of its reasoning, which must come back to it unchanged: it ends the part too.
    """

    text: str = ""
    signature: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool, or more of one: `arguments` are text, JSON only once they are complete.

    `id` names the call. A piece with the id of an earlier one continues it. Without an id the piece
    continues the call that had the same `index`, if it has one, else the latest, unless it names a
    tool: then it begins a call, which gets an id. `name` is the tool's. `metadata` is opaque, a
    signature for example, and must come back to the model unchanged.

    `type` is OpenAI's type of the call: the arguments of a `custom` one are plain text. `more` are
    further members of the call in OpenAI's form, by name; under `function` or `custom`, in an object,
    further members of that. Those of later pieces continue them (see
    `chatsvc.replies.calls.joined_members`).
    """

    id: str = ""
    name: str = ""
    arguments: str = ""
    metadata: Any = None
    index: int | None = None
    type: str = "function"
    more: dict[str, Any] = {}


class ToolResult(msgspec.Struct, frozen=True):
    """The result of the call `id`, any JSON; `error` is whether the call failed. It ends the call."""

    id: str
    result: Any
    error: bool = False


class Source(msgspec.Struct, frozen=True):
    """A source of the answer: its `url` (http or https), and its `title` if that is known.

    `start` and `end` are the positions (code points) of what it supports in the answer's text.
    """

    url: str
    title: str | None = None
    start: int | None = None
    end: int | None = None


class File(msgspec.Struct, frozen=True):
    """A file that the model made, of a `media_type`, at `url` (`https:` or `data:`)."""

    media_type: str
    url: str
    name: str | None = None


class Data(msgspec.Struct, frozen=True):
    """A value of an application's own, any JSON, under a `name`.

    With an `id` it takes the place of the earlier value that has the same name and id.
    """

    name: str
    value: Any
    id: str | None = None


class Extra(msgspec.Struct, frozen=True):
    """Members of a model's answer that no other piece takes, by name, and where they stood.

    `at` is "chunk" or "choice" for members of a `chat.completion.chunk` or of its choice: they say
    how something is, so one whose value equals the last of its name is not written again, unless it
    is one of `FRAGMENTS`. Without `at` they are a delta's, which are fragments: each is written,
    but for one that is empty, or the same boolean, and not the first of its name.
    """

    value: dict[str, Any]
    at: str | None = None


FRAGMENTS = frozenset({"logprobs", "token_ids"})
"""The members of a choice that say something of each piece of text, like those of a delta."""


class Usage(msgspec.Struct, frozen=True):
    """What the reply has used so far, as OpenAI's usage object; a later one takes its place.

    It is the reply's usage unless its `Finish` has one: also of a reply that was stopped.
    """

    usage: dict[str, Any]


SidePiece = Reasoning | ToolCall | ToolResult | Source | File | Data | Extra
"""A piece that belongs beside the answer's text."""

Piece = str | SidePiece | Usage | Finish
"""What a backend yields: text of the answer, something beside it, what it used, or why it ended."""


class End(msgspec.Struct, frozen=True):
    """How a reply ended (PROTOCOL.md section 1).

    `state` is `done`, `stopped` or `failed`. `finish_reason` says more: `stop`, `length`,
    `content_filter` or `tool_calls` when it is done, or what else the backend says, `stopped` or
    `abandoned` when it was stopped, `error` or `interrupted` when it failed. `problem` is the
    problem details object (RFC 9457) of a failed reply, else None. `usage` is OpenAI's usage object
    as the backend counted it, or None where it counts nothing.
    """

    state: str
    finish_reason: str
    problem: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None

    def with_usage(self, usage: dict[str, Any] | None) -> End:
        """Return the same end, with `usage` if it has none of its own."""
        known = self.usage or usage
        return self if known is self.usage else replace(self, usage=known)
