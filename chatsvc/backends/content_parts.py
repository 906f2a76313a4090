"""The parts that model servers make contents, annotations and images of, as pieces of a reply. Pure.

Servers agree on a part's `type` alone, if at all: what it holds stands under several names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatsvc.backends.errors import UNREADABLE
from chatsvc.model import File, Reasoning, Source
from chatsvc.problems import BackendFailed

IMAGE_PARTS = frozenset({"image_url", "image", "output_image"})
"""The types of parts that may hold an image."""

OTHER_PARTS = IMAGE_PARTS | {
    *("reference", "references", "citation", "redacted_thinking"),
    *("audio", "input_audio", "output_audio", "file", "document", "tool_use"),
}
"""The types of parts of a content that are neither text nor reasoning that can be read.

Any other type that is not in `TEXT_PARTS` is one of them if its part has no text: Mistral alone has
`tool_reference` and `tool_file` besides, and the next model has another.
"""

TEXT_PARTS = frozenset({"text", "output_text"})
"""The types of parts that are text: one in which none can be read fails the answer."""

REASONING_PARTS = frozenset({"thinking", "reasoning"})
"""The types of parts of a content that hold what the model thinks."""

IMAGE_TYPES = {
    **dict.fromkeys(("jpg", "jpeg"), "image/jpeg"),
    **{name: f"image/{name}" for name in ("png", "gif", "webp", "avif", "bmp")},
    "svg": "image/svg+xml",
}
"""The media type of an image by the last part of its name, in lower case."""

ANY_IMAGE = "image/*"
"""The media type of an image of which no more is known."""


def read_text(value: object) -> str | None:
    """Return the text that a decoded member stands for, or None for one that holds nothing.

    Raises `BackendFailed` for one of a kind that can't be read.
    """
    if not value:
        return None
    if isinstance(
        value, str
    ):  # a number of `chunk_conversion.loads` is one: it stands as it stood
        return str.__str__(value)
    raise BackendFailed(UNREADABLE)


def read_content(
    value: object,
) -> tuple[str | None, list[str | Reasoning] | None, list[Any]]:
    """Return the text of a content; or its texts and reasoning; and its parts that are neither.

    It is a text, or a list of parts, which are texts or objects with a type; or one such object. The
    second is None where there is no reasoning, else the first is. Raises as `read_text`.
    """
    if isinstance(value, dict):
        value = [value] if value else None
    if not isinstance(value, list):
        return read_text(value), None, []
    found: list[str | Reasoning] = []
    others: list[Any] = []
    for part in value:
        if not isinstance(part, dict):
            found.append(read_text(part) or "")
            continue
        kind = part.get("type")
        if kind in REASONING_PARTS:
            found.append(_reasoning(part))
        elif kind in OTHER_PARTS:
            others.append(part)
        elif part.get("text") is None and isinstance(part.get("refusal"), str):
            found.append(part["refusal"])
        elif "text" in part:
            found.append(read_text(part["text"]) or "")
        elif isinstance(kind, str) and kind and kind not in TEXT_PARTS:
            others.append(part)
        else:
            raise BackendFailed(UNREADABLE)
    texts = [each for each in found if isinstance(each, str)]
    if len(texts) == len(found):
        return "".join(texts), None, others
    return None, found, others


def _reasoning(part: dict[str, Any]) -> Reasoning:
    signature = part.get("signature")
    members = (part.get(n) for n in ("thinking", "reasoning", "text", "summary"))
    return Reasoning(
        next(filter(None, map(words_of, members)), ""),
        str.__str__(signature) if isinstance(signature, str) and signature else None,
    )


def words_of(value: object) -> str:
    """Return what is text in a value: itself, or the texts of a list's items, which may be objects.

    Of an object the member `text` or `summary` counts.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return "".join(words_of(each) for each in value if not isinstance(each, list))
    if isinstance(value, dict):
        text = value.get("text") or value.get("summary")
        return str.__str__(text) if isinstance(text, str) else ""
    return ""


def besides_of(members: dict[str, Any]) -> Iterator[Source | File]:
    """Yield the sources and files among a message's members, which are extras as well."""
    yield from sources_of(members.get("annotations"))
    yield from files_of(members.get("images"))
    yield from files_of(members.get("content"))


def sources_of(annotations: object) -> Iterator[Source]:
    """Yield the sources among a message's `annotations`: those of type `url_citation`.

    `start` and `end` are as the server counts. An address that is not http or https is left out.
    """
    for each in annotations if isinstance(annotations, list) else []:
        if not isinstance(each, dict) or each.get("type") != "url_citation":
            continue
        named = each.get("url_citation")
        # OpenAI's newer interface has the members beside the type.
        citation = named if isinstance(named, dict) else each
        url, title = citation.get("url"), citation.get("title")
        if not isinstance(url, str) or not _has_scheme(url, "http:", "https:"):
            continue
        start, end = citation.get("start_index"), citation.get("end_index")
        placed = type(start) is int and type(end) is int and 0 <= start <= end
        yield Source(
            url,
            title if isinstance(title, str) and title else None,
            start if placed else None,
            end if placed else None,
        )


def files_of(images: object) -> Iterator[File]:
    """Yield the files among a message's `images`, or among the parts of its content.

    An address that is neither https nor data is left out.
    """
    for each in images if isinstance(images, list) else []:
        if not isinstance(each, dict) or each.get("type", "image") not in IMAGE_PARTS:
            continue
        holder = each.get("image_url", each.get("url"))
        url = holder.get("url") if isinstance(holder, dict) else holder
        if isinstance(url, str) and _has_scheme(url, "https:", "data:"):
            yield File(_media_type(url), url)


def _has_scheme(url: str, *schemes: str) -> bool:
    return url[:6].lower().startswith(schemes)


def _media_type(url: str) -> str:
    if url[:5].lower() == "data:":
        # [RFC 2397] data:[<mediatype>][;base64],<data>
        named = url[5:200].partition(",")[0].partition(";")[0].strip().lower()
        return named if "/" in named else ANY_IMAGE
    path = url[:4096].partition("?")[0].partition("#")[0]
    return IMAGE_TYPES.get(path.rpartition(".")[2].lower(), ANY_IMAGE)
