"""`openai`: any server that speaks OpenAI's `POST /chat/completions` with `stream: true`.

What always holds:

- The upstream's connection is closed when the generator is, at whatever stage; only a
  body that was read to its end gives its connection back for the next reply.
- Nothing is asked twice once a piece of the answer has been given.
- The key goes into one header and nowhere else: what the upstream says is told without it.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp

from chatsvc.backends.chunks import ChunkReader, words_of
from chatsvc.eventstream import Comment, EventStreamError, EventStreamParser
from chatsvc.model import Finish, Prompt
from chatsvc.problems import BackendFailed

ATTEMPTS = 3
"""How often a question is put in all, as long as nothing of an answer was given."""

FIRST_BACKOFF = 0.5
"""Seconds before the second attempt; before each further one, twice as many."""

_LONGEST_RETRY_AFTER = 20.0  # seconds; a user would not wait longer
_CONNECT = 10.0  # seconds
_EVENTS_FACTOR = 5  # comments keep a silent upstream going for so many timeouts
_AFTER_FINISH = 2.0  # seconds in which the usage may follow the finish_reason
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_ERROR_LIMIT = 64 * 1024  # bytes of an error's body that are read
_WHOLE_LIMIT = 8 << 20  # bytes of an answer in one piece
_TOLD = 500  # characters of the upstream's words that are passed on


class _Refused(BackendFailed):
    """A failure that another attempt may mend, `retry_after` seconds later at best."""


class OpenAIBackend:
    """Asks the server at `url`, which ends in its `/v1`, for `model`.

    `timeout` is in seconds, between two bytes. `system` goes before the conversation,
    `extra` into the request, over all but the messages. With `resumes` a reply that was
    cut is carried on: the last message is the assistant's, holds what there is of it, and
    is to be continued. vLLM, SGLang and llama.cpp do so; the vendors' servers begin anew.
    """

    name = "openai"
    pace = 0.0
    lag: float | None = 0.5

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
        first_backoff: float = FIRST_BACKOFF,
    ) -> None:
        self.resumes = resumes
        self.model = model
        self._url = url.rstrip("/") + "/chat/completions"
        self._key = key
        self._timeout = timeout
        self._system = system
        self._first_backoff = first_backoff
        self._fixed: dict[str, Any] = {"model": model} if model else {}
        if temperature is not None:
            self._fixed["temperature"] = temperature
        if max_tokens is not None:
            self._fixed["max_tokens"] = max_tokens
        self._extra = dict(extra or {})
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool of connections."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=None,
                sock_connect=min(_CONNECT, self._timeout),
                sock_read=self._timeout,
            )
            # The store bounds how many replies run; another bound here would make
            # the ones above it wait without a word.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=True
            )

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """Give the model's text as it comes, then how it finished.

        Raises BackendFailed, in the upstream's words where it has some.
        """
        await self.open()
        body = json.dumps(self._body(prompt)).encode()
        attempt, given = 0, False
        while True:
            attempt += 1
            try:
                async with aclosing(self._attempt(body)) as pieces:
                    async for piece in pieces:
                        given = True
                        yield piece
                return
            except _Refused as error:
                wait = error.retry_after
                late = wait is not None and wait > _LONGEST_RETRY_AFTER
                if given or late or attempt >= ATTEMPTS:
                    raise BackendFailed(error.detail) from error
                jitter = 0.5 + random.random() / 2
                backoff = self._first_backoff * 2.0 ** (attempt - 1) * jitter
                await asyncio.sleep(max(wait or 0.0, backoff))

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if self._system:
            messages.insert(0, {"role": "system", "content": self._system})
        carried_on: dict[str, Any] = {}
        if prompt.written:
            messages.append({"role": "assistant", "content": prompt.written})
            carried_on = {
                "continue_final_message": True,
                "add_generation_prompt": False,
            }
        return {
            "stream_options": {"include_usage": True},
            **carried_on,
            **self._fixed,
            **prompt.options,
            **self._extra,
            "messages": messages,
            "stream": True,
        }

    async def _attempt(self, body: bytes) -> AsyncGenerator[str | Finish, None]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            # Compressed events arrive in lumps, if at all before the end.
            "Accept-Encoding": "identity",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if self._session is None:
            raise BackendFailed("The backend is closed.")
        try:
            # A redirect would carry the conversation, and perhaps the key, elsewhere.
            response = await self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            )
        except TimeoutError as error:
            raise BackendFailed("The model's server did not answer in time.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Refused("The model's server can't be reached.") from error
        try:
            if response.status != 200:
                raise await self._refusal(response)
            async with aclosing(self._answer(response)) as pieces:
                async for piece in pieces:
                    yield piece
        except TimeoutError as error:
            raise BackendFailed("The model's server fell silent.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Refused("The model's server broke off.") from error
        except EventStreamError as error:
            raise BackendFailed(
                "The model's server sent more than can be kept."
            ) from error
        finally:
            # Closes what is not at its end; what is has gone back to the pool already.
            response.close()

    async def _answer(
        self, response: aiohttp.ClientResponse
    ) -> AsyncGenerator[str | Finish, None]:
        content, parser, answer = (
            response.content,
            EventStreamParser(),
            ChunkReader(self._told),
        )
        clock = asyncio.get_running_loop().time
        last_event = clock()
        begun = False
        while True:
            patience = self._timeout
            if answer.finish is not None:
                patience = min(patience, _AFTER_FINISH)
            else:
                patience = min(
                    patience, last_event + _EVENTS_FACTOR * self._timeout - clock()
                )
            try:
                async with asyncio.timeout(patience):
                    chunk = await content.readany()
            except (TimeoutError, aiohttp.ClientError, OSError):
                if answer.finish is None:
                    # What came is the reply's, its half character too.
                    if rest := answer.rest():
                        yield rest
                    raise
                break
            if not chunk:
                break
            if not begun and not (start := chunk.lstrip()):
                continue
            if not begun and start[:1] == b"{":  # no event stream begins like that
                if text := await self._whole(content, chunk, answer):
                    yield text
                yield Finish(answer.finish or "stop", answer.usage)
                return
            begun = True
            for item in parser.feed(chunk):
                if isinstance(item, Comment):
                    continue
                last_event = clock()
                if item.data.strip() == "[DONE]":
                    answer.done = True
                    break
                if text := answer.text_of(item.data, item.event):
                    yield text
            if answer.done:
                break
        if rest := answer.rest():
            yield rest
        if answer.finish is None and not answer.done:
            raise _Refused("The model's server broke off.")
        yield Finish(answer.finish or "stop", answer.usage)

    async def _whole(
        self, content: aiohttp.StreamReader, chunk: bytes, answer: ChunkReader
    ) -> str:
        """Give the text of an answer in one piece, which begins with `chunk`."""
        body = bytearray(chunk)
        while chunk := await content.readany():
            body += chunk
            if len(body) > _WHOLE_LIMIT:
                raise BackendFailed("The model's server sent more than can be kept.")
        text = answer.text_of(body.decode("utf-8", "replace"))
        if not answer.answered:
            raise BackendFailed("The model's server sent no answer.")
        return text + answer.rest()

    async def _refusal(self, response: aiohttp.ClientResponse) -> BackendFailed:
        raw = bytearray()
        try:
            while len(raw) < _ERROR_LIMIT and (
                chunk := await response.content.readany()
            ):
                raw += chunk
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the status is enough
        text = raw[:_ERROR_LIMIT].decode("utf-8", "replace")
        try:
            words = words_of(json.loads(text))
        except (ValueError, RecursionError):
            # A page is of no use to the user, a line of text may be.
            words = "" if text.lstrip().startswith("<") else text
        told = f"The model's server refused with {response.status}"
        detail = f"{told}: {self._told(words)}" if words.strip() else f"{told}."
        if response.status not in _RETRIED:
            return BackendFailed(detail)
        return _Refused(
            detail, retry_after=_retry_after(response.headers.get("Retry-After"))
        )

    def _told(self, words: str) -> str:
        """Give the upstream's words in one line, short, and without the key."""
        line = " ".join(words.split())
        if self._key:
            line = line.replace(self._key, "…")
        return line if len(line) <= _TOLD else line[:_TOLD] + "…"


def _retry_after(value: str | None) -> int | None:
    # [RFC 9110 10.2.3] "Retry-After = HTTP-date / delay-seconds"
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return int(value.strip()[:9])
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0, round(moment.timestamp() - time.time()))
