"""The settings of the backend.

It holds the group "Backend". Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    COUNT,
    HEADERS,
    JSON_OBJECT,
    MODELS,
    TEMPERATURE,
    TIMEOUT,
    URL,
    choice_format,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True)
class BackendSettings:
    """What answers, and how a model is asked."""

    group: ClassVar[str] = "Backend"

    backend: str = setting(
        "echo",
        text_format("NAME", "a backend's name or package.module:function"),
        "what answers: echo, openai, local or package.module:function",
    )
    context_headers: tuple[str, ...] = setting(
        (),
        HEADERS,
        "headers of requests that a backend of your own may know, as X-Tenant; repeatable",
    )
    openai_url: str = setting(
        "http://127.0.0.1:8080/v1",
        URL,
        "the server behind openai, with its /v1",
        secret=True,
    )
    openai_model: str = setting(
        "", text_format("NAME", "a model's name"), "the model to ask it for"
    )
    openai_models: tuple[str, ...] = setting(
        (),
        MODELS,
        "the models that a request may choose instead, or * for any; repeatable",
    )
    openai_forward: str = setting(
        "yes",
        choice_format("yes", "no"),
        "whether all members of a request go on to that server, or only the usual",
    )
    openai_timeout: float = setting(
        60.0, TIMEOUT, "seconds between two bytes of a model's server"
    )
    openai_continue: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether that server continues an assistant's message that is not whole",
    )
    openai_cumulative: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether that server sends the whole text so far each time",
    )
    openai_think_tags: str = setting(
        "no",
        choice_format("no", "yes"),
        "whether <think>…</think> in a model's text is reasoning",
    )
    openai_extra: str = setting(
        "{}", JSON_OBJECT, "further members of a model's request, as a JSON object"
    )
    model: str = setting("", text_format("FILE", "a file"), "the GGUF file of local")
    system: str = setting(
        "", text_format("TEXT", "a text"), "the system message before a conversation"
    )
    temperature: float | None = setting(
        None, TEMPERATURE, "how freely a model chooses its words"
    )
    max_tokens: int | None = setting(
        None, COUNT, "tokens that a model's answer may have"
    )
