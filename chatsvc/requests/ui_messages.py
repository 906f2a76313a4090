"""Messages of the AI SDK's pages as messages in OpenAI's form (PROTOCOL.md section 5).

A page's message is a list of parts. One of the assistant holds all that came of an answer, with the
tools that were called and their results, in steps: a step becomes a message of the assistant, then one
of the role `tool` for each result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chatsvc.problems import InvalidRequest

DENIED = "The call was denied."
"""The result of a call that the page's user did not allow, unless a reason was given."""

_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}
"""OpenAI's name of an audio format, where it is not the subtype of the media type."""

_SCHEMES = ("data:", "https:", "http:")

Part = dict[str, Any]
"""A part of a page's message, as it came; its `type` is a string."""


class Continued(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a page has already, which the stream of its next reply has to fit.

    `message` is the id of the assistant's message that the reply goes on with, and `parts` what that
    has so far; they are empty where the reply begins a message. `taken` has the ids of all calls of
    tools in the page's other messages.
    """

    message: str = ""
    parts: list[Part] = []
    taken: list[str] = []

    def calls(self) -> list[str]:
        """Return the ids of the calls in `parts`."""
        return call_ids(self.parts)


_continued = msgspec.json.Decoder(Continued)


def encode_continued(continued: Continued) -> str:
    """Return the text as which a store keeps this with the reply: "" if there is nothing in it."""
    if continued == Continued():
        return ""
    return msgspec.json.encode(continued).decode()


def decode_continued(text: str) -> Continued:
    """Return what `encode_continued` made a text of; nothing, if another version wrote it."""
    try:
        return _continued.decode(text) if text else Continued()
    except (msgspec.MsgspecError, RecursionError):
        return Continued()


def tool_name(part: Part) -> str | None:
    """Return the name of the tool that a part calls, or None if it is no call."""
    if part["type"] == "dynamic-tool":
        name = part.get("toolName")
        return name if isinstance(name, str) else ""
    return part["type"][5:] if part["type"].startswith("tool-") else None


def call_ids(parts: list[Part]) -> list[str]:
    """Return the ids of the calls of tools among some parts."""
    ids = (part.get("toolCallId") for part in parts if tool_name(part) is not None)
    return [id for id in ids if isinstance(id, str)]


def chatsvc_metadata(part: Part, member: str, name: str) -> Any:
    """Return what the service has put under a name into a part's metadata, or None."""
    metadata = part.get(member)
    ours = metadata.get("chatsvc") if isinstance(metadata, dict) else None
    return ours.get(name) if isinstance(ours, dict) else None


def to_openai(
    role: str, parts: list[Part], place: str, takes: frozenset[str], *, last: bool
) -> list[dict[str, Any]]:
    """Return the messages, in OpenAI's form, that a page's message is for a model.

    `place` names the message, `takes` has what the backend takes, of `chatsvc.model.ABILITIES`. Parts
    that are for the page alone, and parts that are not known, are passed over. A call without a result
    is left out, unless it is in the last step of the `last` message: there the backend may run it.

    Raises `InvalidRequest` for a part that is malformed, or that the backend does not take.
    """
    reader = _PartReader(place, takes)
    placed = list(enumerate(parts))
    if role != "assistant":
        return [{"role": role, "content": reader.content(placed)}]
    steps: list[list[tuple[int, Part]]] = [[]]
    for index, part in placed:
        if part["type"] == "step-start":
            steps.append([])
        else:
            steps[-1].append((index, part))
    while len(steps) > 1 and not steps[-1]:
        steps.pop()
    return [
        message
        for number, step in enumerate(steps, 1)
        for message in reader.step(step, open_calls=last and number == len(steps))
    ]


class _PartReader:
    """A reader of the parts of the message at `place`, for a backend that takes `takes`."""

    def __init__(self, place: str, takes: frozenset[str]) -> None:
        self._place = place
        self._takes = takes

    def content(self, parts: list[tuple[int, Part]]) -> str | list[Part]:
        """Return the `content` that texts and files are: a string if there are no files."""
        found: list[Part] = []
        for index, part in parts:
            if part["type"] == "text":
                found.append({"type": "text", "text": self._text(index, part, "text")})
            elif part["type"] == "file":
                found.append(self._file(index, part))
        if all(part["type"] == "text" for part in found):
            return "".join(part["text"] for part in found)
        return found

    def step(
        self, parts: list[tuple[int, Part]], *, open_calls: bool
    ) -> Iterator[dict[str, Any]]:
        """Yield the messages of a step of the assistant's.

        `open_calls` is whether calls without a result are among them.
        """
        content = self.content(parts)
        members: dict[str, Any] = {}
        if isinstance(content, list):
            # It comes back as what it came in: images that a model makes are no part of its content.
            images = [part for part in content if part["type"] == "image_url"]
            content = [part for part in content if part["type"] != "image_url"]
            members["images"] = images
            if all(part["type"] == "text" for part in content):
                content = "".join(part["text"] for part in content)
        members |= self._reasoning(parts)
        calls, results = [], []
        for index, part in parts:
            name = tool_name(part)
            if name is None or part.get("state") == "input-streaming":
                continue
            id = self._text(index, part, "toolCallId")
            result = self._result(index, part)
            if result is not None:
                results.append({"role": "tool", "tool_call_id": id, "content": result})
            if result is not None or open_calls:
                self._require("tools", index)
                calls.append(_call(id, name, part))
        if calls:
            members["tool_calls"] = calls
        # An answer that was stopped before its first character is nothing; many models refuse it.
        if content or calls or members.get("images"):
            message = {
                "role": "assistant",
                "content": content or None if calls else content,
            }
            yield {**message, **members}
        yield from results

    def _reasoning(self, parts: list[tuple[int, Part]]) -> dict[str, Any]:
        """Return the members that hold what the model thought, and its signatures of that."""
        texts: list[str] = []
        signed: list[dict[str, Any]] = []
        for index, part in parts:
            if part["type"] != "reasoning":
                continue
            text = self._text(index, part, "text")
            texts.append(text)
            signature = chatsvc_metadata(part, "providerMetadata", "signature")
            if isinstance(signature, str):
                detail = {"index": len(signed), "type": "reasoning.text", "text": text}
                signed.append({**detail, "signature": signature})
        members: dict[str, Any] = {}
        if reasoning := "".join(texts):
            members["reasoning_content"] = reasoning
        if signed:
            members["reasoning_details"] = signed
        return members

    def _result(self, index: int, part: Part) -> str | None:
        """Return the text of a call's result, or None if it has none."""
        state, approval = part.get("state"), part.get("approval")
        approval = approval if isinstance(approval, dict) else {}
        if state == "output-available":
            output = part.get("output")
            return output if isinstance(output, str) else _json(output)
        if state == "output-error":
            return self._text(index, part, "errorText")
        if state == "output-denied" or (
            state == "approval-responded" and approval.get("approved") is False
        ):
            reason = approval.get("reason")
            return reason if isinstance(reason, str) and reason else DENIED
        return None

    def _file(self, index: int, part: Part) -> Part:
        """Return a file as a part of OpenAI's: an image, audio, or any other file."""
        url = self._text(index, part, "url")
        if not url[:6].lower().startswith(_SCHEMES):
            raise InvalidRequest(
                f"{self._place}.parts[{index}].url must begin with data:, https: or http:."
            )
        kind, _, subtype = self._text(index, part, "mediaType").lower().partition("/")
        subtype = subtype.partition(";")[0]
        head, comma, data = url.partition(",")
        encoded = (
            comma and head[:5].lower() == "data:" and head[-7:].lower() == ";base64"
        )
        if kind == "image":
            self._require("images", index)
            return {"type": "image_url", "image_url": {"url": url}}
        if kind == "audio" and encoded:
            self._require("audio", index)
            format = _AUDIO_FORMATS.get(subtype, subtype)
            return {
                "type": "input_audio",
                "input_audio": {"data": data, "format": format},
            }
        self._require("files", index)
        name = part.get("filename")
        if not isinstance(name, str) or not name:
            name = f"file-{index + 1}.{subtype or 'bin'}"
        return {"type": "file", "file": {"filename": name, "file_data": url}}

    def _text(self, index: int, part: Part, name: str) -> str:
        text = part.get(name)
        if not isinstance(text, str):
            place = f"{self._place}.parts[{index}].{name}"
            raise InvalidRequest(f"{place} must be a string.")
        return text

    def _require(self, ability: str, index: int) -> None:
        if ability not in self._takes:
            raise InvalidRequest(
                f"{self._place}.parts[{index}] must be text: the backend takes no {ability}."
            )


def _call(id: str, name: str, part: Part) -> dict[str, Any]:
    """Return a call as a member of `tool_calls`."""
    # What is no JSON stands under `rawInput` in some versions; as a string it is some.
    given = part.get("input")
    arguments = part.get("rawInput", {}) if given is None else given
    metadata, kind, more = (
        chatsvc_metadata(part, "callProviderMetadata", member)
        for member in ("metadata", "type", "more")
    )
    member, tool = "function", {"name": name, "arguments": _json(arguments)}
    if kind == "custom":
        text = arguments if isinstance(arguments, str) else _json(arguments)
        member, tool = kind, {"name": name, "input": text}
    more = more if isinstance(more, dict) else {}
    others = more.get(member)
    tool = {**others, **tool} if isinstance(others, dict) else tool
    kind = kind if isinstance(kind, str) else member
    call = {**more, "id": id, "type": kind, member: tool}
    if metadata is not None:
        call["extra_content"] = metadata
    return call


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
