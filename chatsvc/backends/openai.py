"""The backend `openai`: any server that speaks OpenAI's `POST /chat/completions` with streaming.

The module builds the request; `chatsvc.backends.upstream` sends it and
`chatsvc.backends.chunks` reads the response.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace
from yarl import URL

from chatsvc.backends.chunks import WHOLE_LIMIT_BYTES, ChunkReader
from chatsvc.backends.errors import TransientFailure
from chatsvc.backends.redaction import Secrets
from chatsvc.backends.refusals import refusal
from chatsvc.backends.request_options import OptionPolicy
from chatsvc.backends.upstream import FIRST_BACKOFF_S, UpstreamClient
from chatsvc.model import ABILITIES, Piece, Prompt, PromptInContext
from chatsvc.problems import BackendFailed
from chatsvc.proxies import basic_authorization

PATH = "/chat/completions"
"""The path behind a server's `/v1`."""


def completions_url(url: str) -> str:
    """Return the URL that completions are asked of, for the URL of a server.

    That ends in the server's `/v1`, or already in `/chat/completions`; its query stays behind the
    path, and a fragment, which no server gets, goes.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith(PATH):
        path += PATH
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


class OpenAIBackend:
    """The backend that asks the OpenAI-compatible server at `url`, as `completions_url` takes it.

    Raises `ValueError` when `url` has a user and there is a key: a request takes one of them.

    - `url`: a user and password before its host are sent by the Basic scheme (RFC 7617).
    - `model`: the model to ask for; "" leaves the choice to the server.
    - `key`: the API key, sent as a bearer token; "" sends none.
    - `timeout`: the longest silence of the server in seconds, as for `UpstreamClient`.
    - `system`: a system message that goes before every conversation; "" for none.
    - `models`, `forward_all`, `temperature`, `max_tokens`: what goes on of a request's options, as
      `OptionPolicy` takes it.
    - `extra`: further members of the request, which win over all but `messages` and `stream`. One
      that is None leaves the member out that would have been sent.
    - `resumes`: whether the server continues an assistant's message that is not whole. vLLM,
      SGLang and llama.cpp do; the vendors' servers begin a new one.
    - `cumulative`: whether each chunk has the whole text so far, as DashScope's do if
      `incremental_output` is false, and not only what is new.
    - `think_tags`: whether what the model thinks stands in its text, between `<think>` and `</think>`.
      A text in which neither tag comes is passed on only at its end.
    - `max_event`: the most bytes that one event of a response may have, or one in a single piece: an
      image comes whole in one.
    - `first_backoff`: the pause before the second attempt, in seconds.

    A server that refuses `stream_options` is asked without it from then on. `server` is the server's
    host and port.
    """

    name = "openai"
    pace = 0.0
    lag = 0.5
    takes = ABILITIES

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key: str = "",
        timeout: float = 60.0,
        system: str = "",
        models: Iterable[str] = (),
        forward_all: bool = True,
        temperature: float | None = None,
        max_tokens: int | None = None,
        extra: Mapping[str, Any] | None = None,
        resumes: bool = False,
        cumulative: bool = False,
        think_tags: bool = False,
        max_event: int = WHOLE_LIMIT_BYTES,
        first_backoff: float = FIRST_BACKOFF_S,
    ) -> None:
        self.resumes = resumes
        self.model = model
        self.cumulative = cumulative
        self.think_tags = think_tags
        self.max_event = max_event
        self.takes_stream_options = True
        self._system = system
        self.models = tuple(models)
        self.policy = OptionPolicy(
            model=model,
            models=self.models,
            forward_all=forward_all,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        self._extra = dict(extra or {})
        self._left_out = tuple(
            name
            for name, value in self._extra.items()
            if value is None and name not in ("messages", "stream")
        )
        address = URL(url)
        authorization = f"Bearer {key}" if key else ""
        self.secrets: Secrets = (key,) if key else ()
        if address.raw_user is not None:
            if key:
                raise ValueError(
                    "the URL of the model's server has a user, and there is a key as well "
                    "(OPENAI_API_KEY): a request takes one of them"
                )
            password = address.password or ""
            authorization = basic_authorization(address.user or "", password)
            address = address.with_user(None)
            token = authorization.removeprefix("Basic ")
            self.secrets = (token, password) if password else (token,)
        self.server = (address.host or "", address.port or 80)
        self._upstream = UpstreamClient(
            completions_url(str(address)),
            accept="text/event-stream",
            headers={"Authorization": authorization} if authorization else {},
            timeout=timeout,
            first_backoff=first_backoff,
            quiet_limit=2 * max_event,
        )

    async def open(self) -> None:
        """See `Backend.open`: make the pool of connections; the server is not asked yet."""
        await self._upstream.open()

    async def close(self) -> None:
        """See `Backend.close`: close all connections."""
        await self._upstream.close()

    def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """See `Backend.stream`; raises as `UpstreamClient.stream` does."""
        return self._upstream.stream(CompletionRequest(self, prompt))

    def stream_to(
        self, prompt: Prompt, take: Callable[[Piece], bool]
    ) -> AsyncGenerator[Piece, None]:
        """See `DirectBackend.stream_to`; raises as `UpstreamClient.stream` does."""
        return self._upstream.stream(CompletionRequest(self, prompt), take)

    def chose_model(self, prompt: Prompt) -> bool:
        """Return whether the client has chosen the model that is asked for."""
        options = prompt.options
        chosen = bool(options) and self.policy.chooses_model(options)
        return chosen and "model" not in self._extra

    def members(
        self, prompt: Prompt, *, with_usage: bool, with_theirs: bool
    ) -> dict[str, Any]:
        """Return the body of a request; what stands further down wins.

        `with_usage` is whether the usage is asked for, `with_theirs` whether `stream_options` of the
        client's own go on then; `extra` may say otherwise.
        """
        messages = [message.as_dict() for message in prompt.messages]
        if self._system:
            messages.insert(0, {"role": "system", "content": self._system})
        continued: dict[str, Any] = {}
        if prompt.written:
            messages.append({"role": "assistant", "content": prompt.written})
            # vLLM and SGLang begin a message anew unless both are set.
            continued = {"continue_final_message": True, "add_generation_prompt": False}
        options = self.policy.apply(prompt.options)
        theirs = options.pop("stream_options", {})
        if with_usage:
            kept = theirs if with_theirs else {}
            options["stream_options"] = {**kept, "include_usage": True}
        members = {
            **continued,
            **options,
            **self._extra,
            "messages": messages,
            "stream": True,
        }
        for name in self._left_out:
            del members[name]
        return members


class CompletionRequest:
    """One request of an `OpenAIBackend` for a completion: a `ModelRequest`.

    Where the server refuses `stream_options` it is sent without those of the client, then without
    any; once that was taken, the backend sends no more of them.

    A request may wait for long, so it keeps neither the prompt nor its first body: that is made at
    once and given away, and each later one is made of the prompt's JSON, which the reply keeps.
    """

    def __init__(self, backend: OpenAIBackend, prompt: Prompt) -> None:
        self._backend = backend
        self._chose_model = backend.chose_model(prompt)
        self._with_usage = backend.takes_stream_options
        options = prompt.options
        self._with_theirs = bool(options) and "stream_options" in backend.policy.apply(
            options
        )
        kept = prompt.json if isinstance(prompt, PromptInContext) else b""
        self._json = kept or msgspec.json.encode(prompt)
        self._written = prompt.written
        self.headers = prompt.trace if isinstance(prompt, PromptInContext) else {}
        self._first_body: bytes | None = self._make_body(prompt)

    def body(self) -> bytes:
        """See `ModelRequest.body`."""
        body, self._first_body = self._first_body, None
        if body is None:
            prompt = msgspec.json.decode(self._json, type=Prompt)
            body = self._make_body(replace(prompt, written=self._written))
        return body

    def _make_body(self, prompt: Prompt) -> bytes:
        members = self._backend.members(
            prompt,
            with_usage=self._with_usage,
            with_theirs=self._with_theirs,
        )
        try:
            return msgspec.json.encode(members)
        except (TypeError, ValueError):
            # A setting may hold what is no Unicode, or a subclass of a type of JSON.
            return json.dumps(members).encode()

    def reader(self) -> ChunkReader:
        """See `ModelRequest.reader`."""
        # A refusal may quote the whole request for quite another reason, so it alone proves nothing.
        if not self._with_usage:
            self._backend.takes_stream_options = False
        return ChunkReader(
            self._backend.secrets,
            chose_model=self._chose_model,
            cumulative=self._backend.cumulative,
            think_tags=self._backend.think_tags,
            limit=self._backend.max_event,
        )

    def refused(
        self, status: int, retry_after_field: str | None, body: bytes
    ) -> BackendFailed:
        """See `ModelRequest.refused`."""
        failure = refusal(
            status,
            retry_after_field,
            body,
            secrets=self._backend.secrets,
            chose_model=self._chose_model,
        )
        named = any(name in body for name in (b"stream_options", b"include_usage"))
        if status not in (400, 422) or not self._with_usage or not named:
            return failure
        self._with_usage = self._with_theirs
        self._with_theirs = False
        return TransientFailure(
            failure.detail,
            reason=failure.reason,
            words=failure.words,
            answer_status=status,
            at_once=True,
        )
