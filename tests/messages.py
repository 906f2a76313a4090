"""Conversations in OpenAI's form, with members and parts that nobody knows, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

IMAGE: dict[str, Any] = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
}
"""A part that is an image."""

texts = st.text(max_size=8)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=5,
)
"""Any JSON."""

KNOWN = frozenset(
    {"role", "content", "tool_calls", "function_call", "tool_call_id", "name", "type"}
    | {"text", "image_url", "input_audio", "file", "messages", "options", "message"}
    | {"model", "stream", "stream_options", "n"}
)
"""The names that mean something; all others are unknown."""

unknown_names = texts.filter(lambda name: name not in KNOWN)

json_objects = st.dictionaries(unknown_names, json_values, max_size=3)
"""Unknown members."""


def _with(
    known: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have known members, some of the optional ones, and unknown ones."""
    return st.builds(
        lambda more, members: {**more, **members},
        json_objects,
        st.fixed_dictionaries(known, optional=optional),
    )


parts = st.one_of(
    _with({"type": st.just("text"), "text": texts}),
    _with({"type": st.just("image_url"), "image_url": _with({"url": texts})}),
    _with(
        {
            "type": st.just("input_audio"),
            "input_audio": _with({"data": texts, "format": texts}),
        }
    ),
    _with({"type": st.just("file"), "file": _with({"file_id": texts})}),
    _with({"type": st.just("file"), "file": _with({"file_data": texts})}),
    _with({"type": unknown_names}),
)
"""Parts of a message's content."""

contents = texts | st.lists(parts, max_size=3)
calls = st.none() | st.lists(_with({"id": texts}), max_size=2)

openai_messages: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _with(
        {
            "role": st.sampled_from(["system", "developer", "user"]),
            "content": contents,
        },
        name=texts,
    ),
    _with(
        {"role": st.just("assistant")},
        content=st.none() | contents,
        tool_calls=calls,
        function_call=json_values,
        reasoning_content=texts,
    ),
    _with({"role": st.just("tool"), "tool_call_id": texts, "content": contents}),
    _with(
        {"role": st.just("function"), "name": texts, "content": st.none() | contents}
    ),
)
"""Any message that is well formed."""

messages = st.lists(openai_messages, min_size=1, max_size=4)
"""A conversation."""
