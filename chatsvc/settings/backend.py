"""The settings of the backend.

It holds the group "Backend". Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chatsvc.setting_formats import (
    COUNT,
    FOLDER,
    HEADERS,
    JSON_OBJECT,
    MODELS,
    PATH,
    TEMPERATURE,
    TIMEOUT,
    URL,
    choice_format,
    text_format,
)
from chatsvc.settings.definition import setting


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """What answers, and how a model is asked."""

    group: ClassVar[str] = "Backend"

    backend: str = setting(
        "echo",
        text_format("NAME", "a backend's name or package.module:function"),
        "echo, openai, local or package.module:function",
    )
    app_dir: str = setting(
        "",
        FOLDER,
        "the folder of your functions' modules",
        shown="the current one",
    )
    context_headers: tuple[str, ...] = setting(
        (), HEADERS, "headers of requests that your function may know; repeatable"
    )
    openai_url: str = setting(
        "http://127.0.0.1:8080/v1",
        URL,
        "the server; key: OPENAI_API_KEY",
        secret=True,
    )
    openai_model: str = setting(
        "", text_format("MODEL", "a model's name"), "the model to ask it for"
    )
    openai_models: tuple[str, ...] = setting(
        (), MODELS, "models that a request may choose, or * for any; repeatable"
    )
    openai_forward: str = setting(
        "yes",
        choice_format("yes", "no"),
        "pass on all members of a request, not only the usual",
    )
    openai_timeout: float = setting(
        60.0, TIMEOUT, "seconds between two bytes of a model's server"
    )
    openai_continue: str = setting(
        "no",
        choice_format("no", "yes"),
        "the server continues an assistant's message",
    )
    openai_cumulative: str = setting(
        "no",
        choice_format("no", "yes"),
        "the server sends the whole text so far each time",
    )
    openai_think_tags: str = setting(
        "no",
        choice_format("no", "yes"),
        "what stands in <think>…</think> is reasoning",
    )
    openai_extra: str = setting(
        "{}", JSON_OBJECT, "more members of a model's request, as an object"
    )
    model: str = setting(
        "", PATH, "the GGUF file of local", shown="SmolLM2, if installed"
    )
    system: str = setting(
        "", text_format("TEXT", "a text"), "the system message before a conversation"
    )
    temperature: float | None = setting(
        None,
        TEMPERATURE,
        "how freely a model chooses its words",
        shown="the model's own",
    )
    max_tokens: int | None = setting(
        None,
        COUNT,
        "tokens that a model's answer may have",
        shown="the model's own",
    )
