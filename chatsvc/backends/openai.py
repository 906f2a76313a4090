"""The backend `openai`: any server that speaks OpenAI's `POST /chat/completions` with streaming.

The module builds the request; `chatsvc.backends.upstream` sends it and
`chatsvc.backends.chunks` reads the response.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from yarl import URL

from chatsvc.backends.chunks import ChunkReader
from chatsvc.backends.upstream import FIRST_BACKOFF_S, UpstreamClient
from chatsvc.model import Finish, Prompt


class OpenAIBackend:
    """The backend that asks the OpenAI-compatible server at `url`, which ends in its `/v1`.

    Raises `ValueError` when `url` has a user and there is a key: a request takes one of them.

    - `url`: a user and password before its host are sent by the Basic scheme (RFC 7617).
    - `model`: the model to ask for; "" leaves the choice to the server.
    - `key`: the API key, sent as a bearer token; "" sends none.
    - `timeout`: the longest silence of the server in seconds, as for `UpstreamClient`.
    - `system`: a system message that goes before every conversation; "" for none.
    - `temperature`, `max_tokens`: defaults of the request's members of that name; None for none.
    - `extra`: further members of the request, which win over all but `messages` and `stream`.
    - `resumes`: whether the server continues an assistant's message that is not whole. vLLM,
      SGLang and llama.cpp do; the vendors' servers begin a new one.
    - `first_backoff`: the pause before the second attempt, in seconds.
    """

    name = "openai"
    pace = 0.0
    lag = 0.5

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key: str = "",
        timeout: float = 60.0,
        system: str = "",
        temperature: float | None = None,
        max_tokens: int | None = None,
        extra: Mapping[str, Any] | None = None,
        resumes: bool = False,
        first_backoff: float = FIRST_BACKOFF_S,
    ) -> None:
        self.resumes = resumes
        self.model = model
        self._system = system
        self._defaults: dict[str, Any] = {"model": model} if model else {}
        if temperature is not None:
            self._defaults["temperature"] = temperature
        if max_tokens is not None:
            self._defaults["max_tokens"] = max_tokens
        self._extra = dict(extra or {})
        address = URL(url)
        authorization, secrets = "", [key]
        if key:
            authorization = f"Bearer {key}"
        if address.raw_user is not None:
            if key:
                raise ValueError(
                    "the URL of the model's server has a user, and there is a key as well "
                    "(OPENAI_API_KEY): a request takes one of them"
                )
            password = address.password or ""
            token = b64encode(f"{address.user}:{password}".encode()).decode()
            authorization, secrets = f"Basic {token}", [token, password]
        self._upstream = UpstreamClient(
            f"{str(address.with_user(None)).rstrip('/')}/chat/completions",
            accept="text/event-stream",
            headers={"Authorization": authorization} if authorization else {},
            secrets=secrets,
            timeout=timeout,
            first_backoff=first_backoff,
        )

    async def open(self) -> None:
        """See `Backend.open`: make the pool of connections; the server is not asked yet."""
        await self._upstream.open()

    async def close(self) -> None:
        """See `Backend.close`: close all connections."""
        await self._upstream.close()

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """See `Backend.stream`; raises as `UpstreamClient.stream` does."""
        body = json.dumps(self._request(prompt)).encode()
        return self._upstream.stream(body, ChunkReader)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        """Return the body of the request; what stands further down wins."""
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if self._system:
            messages.insert(0, {"role": "system", "content": self._system})
        continued: dict[str, Any] = {}
        if prompt.written:
            messages.append({"role": "assistant", "content": prompt.written})
            # vLLM and SGLang begin a message anew unless both are set.
            continued = {"continue_final_message": True, "add_generation_prompt": False}
        return {
            "stream_options": {"include_usage": True},
            **continued,
            **self._defaults,
            **prompt.options,
            **self._extra,
            "messages": messages,
            "stream": True,
        }
