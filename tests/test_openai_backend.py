"""The backend `openai` against every oddity and fault of an upstream, as raw bytes."""

import asyncio
import itertools
import json
from base64 import b64encode
from contextlib import aclosing
from traceback import format_exception

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.backends import make_backend
from chatsvc.backends.chunks import ChunkReader
from chatsvc.backends.openai import CompletionRequest, OpenAIBackend, completions_url
from chatsvc.model import (
    Context,
    Finish,
    Message,
    Prompt,
    PromptInContext,
    Reasoning,
)
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from tests.backends.asking import PROMPT, asked, route
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head

pytestmark = pytest.mark.usefixtures("route")

__all__ = ["route"]

STOP = chunk(None, finish_reason="stop")
FAMILY = "👨‍👩‍👧"


def single(data: bytes) -> list[Part]:
    return [data[i : i + 1] for i in range(len(data))]


STREAM = chunk("你") + chunk(f"好 {FAMILY}\n") + chunk(" ") + STOP + DONE


@pytest.mark.parametrize(
    ("script", "text"),
    [
        pytest.param([head(), STREAM], f"你好 {FAMILY}\n ", id="plain"),
        pytest.param([head(), *single(STREAM)], f"你好 {FAMILY}\n ", id="byte by byte"),
        pytest.param(
            [head(), *single(STREAM.replace(b"\n\n", b"\r\n\r\n"))],
            f"你好 {FAMILY}\n ",
            id="CRLF",
        ),
        pytest.param(
            [head(), STREAM.replace(b"data: ", b": ping\n\ndata:")],
            f"你好 {FAMILY}\n ",
            id="comments, no space after data:",
        ),
        pytest.param(
            [
                head(),
                *single(
                    f'data: {{"choices":[{{"delta":{{"content":"{FAMILY}"}}}}]}}'.encode()
                    + b"\n\n"
                ),
                DONE,
            ],
            FAMILY,
            id="UTF-8 cut anywhere",
        ),
        pytest.param(
            [
                head(),
                b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n',
                b'data: {"choices":[{"delta":{"content":"\\ude00b\\ud83d"}}]}\n\n',
                STOP,
                DONE,
            ],
            "a😀b\ufffd",
            id="half characters a chunk",
        ),
        pytest.param(
            [
                head(),
                chunk(None, delta={"role": "assistant", "content": None}),
                chunk(None, delta={"reasoning_content": "hm", "role": "assistant"}),
                chunk(None, delta={"reasoning": "hm"}),
                chunk("a"),
                chunk("X", index=1),
                chunk(None, delta={}),
                b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n',
                b'data: {"id": 1}\n\n',
                STOP,
                DONE,
            ],
            "a",
            id="null, reasoning, other choices, no choices",
        ),
        pytest.param(
            [head(), chunk(None, delta={"refusal": "I won't."}), STOP, DONE],
            "I won't.",
            id="a refusal is the model's text",
        ),
        pytest.param(
            [head(), chunk([{"type": "text", "text": "a"}]), STOP], "a", id="parts"
        ),
        pytest.param([head(), chunk("a"), DONE, HANG], "a", id="[DONE] is enough"),
        pytest.param([head(), chunk("a"), STOP], "a", id="finish_reason is enough"),
        pytest.param(
            [head(kind="application/json"), b' {"choices": [{"message": {"content":']
            + [b' "ab"}, "finish_reason": "stop"}]}'],
            "ab",
            id="plain JSON although a stream was asked for",
        ),
        pytest.param([head(), STOP, DONE], "", id="an empty answer"),
    ],
)
async def test_oddities(script: list[Part], text: str) -> None:
    got, finish, failure = await asked(Upstream(script))
    assert (got, failure) == (text, "")
    assert finish is not None and finish.reason == "stop"


BROKE = "The model's server broke off."


@pytest.mark.parametrize(
    ("script", "text", "failure"),
    [
        pytest.param([head(), chunk("a")], "a", BROKE, id="neither finish nor [DONE]"),
        pytest.param(
            [head(more="Transfer-Encoding: chunked\r\n"), b"ff\r\n" + chunk("a")],
            "a",
            BROKE,
            id="cut in a chunk",
        ),
        pytest.param(
            [head(), chunk("a"), b'data: {"error": {"message": "out of memory"}}\n\n']
            + [HANG],
            "a",
            "The model's server failed: try again.",
            id="an error in a 200's stream",
        ),
        pytest.param(
            [head(), b"event: error\ndata: no luck\n\n", HANG],
            "",
            "The model's server failed: try again.",
            id="an error event",
        ),
        pytest.param(
            [head(kind="application/json"), b'{"error": "bad"}'],
            "",
            "The model's server failed: try again.",
            id="an error as a 200's JSON",
        ),
        pytest.param(
            [head(), chunk("a"), b"data: {oops\n\n", HANG],
            "a",
            "The model's server sent what can't be read.",
            id="no JSON",
        ),
        pytest.param(
            [head(kind="application/json"), b"{}"],
            "",
            "The model's server sent no answer.",
            id="JSON without an answer",
        ),
        pytest.param(
            [head(kind="text/html"), b"<html>hello</html>"],
            "",
            "The model's server sent a web page, not a stream: look at --openai-url.",
            id="a page",
        ),
        pytest.param(
            [head("400 Bad Request", "application/json")]
            + [b'{"error": {"message": "exceeds the context", "code": 400}}'],
            "",
            "The model's server refused with 400: exceeds the context",
            id="400 in the upstream's words",
        ),
        pytest.param(
            [
                head("422 X", "application/json"),
                b'{"detail": [{"msg": "no such model"}]}',
            ],
            "",
            "The model's server refused with 422: no such model",
            id="422 as a list",
        ),
        pytest.param(
            [head("401 No", "text/plain"), b"key s3cret\nis\nwrong"],
            "",
            "This service can't use its model's server: tell whoever runs the service.",
            id="401 in words of our own",
        ),
        pytest.param(
            [head("500 X", "text/html"), b"<html>long page</html>"],
            "",
            "The model's server failed: try again.",
            id="500 with a page",
        ),
        pytest.param(
            [head("500 X", "application/json"), b"[" * 100_000],
            "",
            None,
            id="500 with nonsense",
        ),
        pytest.param(
            [head("307 X", more="Location: http://127.0.0.1:1/\r\n")],
            "",
            "This service can't use its model's server: tell whoever runs the service.",
            id="a redirect is not followed",
        ),
        pytest.param(
            [head(), b"data: " + b"x" * (1 << 20), HANG],
            "",
            "The model's server sent more than can be kept.",
            id="a line without end",
        ),
        pytest.param([], "", "The model's server can't be reached.", id="no answer"),
    ],
)
async def test_faults(script: list[Part], text: str, failure: str | None) -> None:
    got, finish, detail = await asked(Upstream(script), key="s3cret")
    assert (got, finish) == (text, None)
    assert detail and (failure is None or detail == failure)
    assert len(detail) < 600


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([HANG], id="no head"),
        pytest.param([head(), HANG], id="no first byte"),
        pytest.param([head(), chunk("a"), HANG], id="in the middle"),
    ],
)
async def test_silence_is_a_failure(script: list[Part]) -> None:
    _, finish, detail = await asked(Upstream(script), timeout=0.1)
    assert finish is None and ("silent" in detail or "in time" in detail)


async def test_comments_alone_do_not_keep_a_silent_upstream_going() -> None:
    upstream = Upstream([head(), *[b": ping\n\n"] * 10, HANG])
    _, _, detail = await asked(upstream, timeout=0.1)
    assert "silent" in detail


@pytest.mark.parametrize(
    "first",
    [
        [head("429 X", more="Retry-After: 0\r\n")],
        [head("503 X"), b"busy"],
        [],
        [head()],
    ],
)
async def test_before_the_first_piece_it_is_asked_again(first: list[Part]) -> None:
    upstream = Upstream(first, first, [head(), STREAM])
    assert await asked(upstream) == (f"你好 {FAMILY}\n ", Finish("stop"), "")
    assert len(upstream.requests) == 3


async def test_after_the_first_piece_it_is_not_asked_again() -> None:
    upstream = Upstream([head(), chunk("a")], [head(), STREAM])
    assert await asked(upstream) == ("a", None, BROKE)
    assert len(upstream.requests) == 1


async def test_a_long_retry_after_is_a_failure_at_once() -> None:
    upstream = Upstream([head("429 X", more="Retry-After: 3600\r\n"), b"quota"])
    assert (await asked(upstream))[2].startswith("The model is busy")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
async def test_the_finish(reason: str) -> None:
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n'
    script = [head(), chunk("a"), chunk(None, finish_reason=reason), usage, DONE]
    _, finish, _ = await asked(Upstream(script))
    assert finish == Finish(reason, {"total_tokens": 3})


async def test_the_request() -> None:
    upstream = Upstream([head(), STREAM])
    prompt = Prompt(
        (Message("user", "你好"),), written="Once ", options={"top_p": 1, "n": 2}
    )
    await asked(
        upstream,
        prompt,
        model="m",
        key="s3cret",
        system="Be brief.",
        temperature=0.5,
        max_tokens=9,
        extra={"n": 1, "messages": "no"},
    )
    assert upstream.heads[0].startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert "Authorization: Bearer s3cret\r\n" in upstream.heads[0]
    assert upstream.requests[0] == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 9,
        "top_p": 1,
        "n": 1,
        "continue_final_message": True,
        "add_generation_prompt": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "你好"},
            {"role": "assistant", "content": "Once "},
        ],
    }


@pytest.mark.parametrize(
    ("url", "asked_for"),
    [
        ("http://h/v1", "http://h/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h", "http://h/chat/completions"),
        ("http://h/v1?api-version=1&a=%2F", "http://h/v1/chat/completions?api-version=1&a=%2F"),
        ("http://h/a/chat/completions", "http://h/a/chat/completions"),
        ("http://h/a/chat/completions/?b=c", "http://h/a/chat/completions?b=c"),
        ("http://h/v1#part", "http://h/v1/chat/completions"),
        ("http://u:p@h:1/chat/completion", "http://u:p@h:1/chat/completion/chat/completions"),
    ],
)  # fmt: skip
def test_the_url(url: str, asked_for: str) -> None:
    assert completions_url(url) == asked_for


async def test_the_query_is_sent() -> None:
    upstream = Upstream([head(), STREAM])
    async with upstream.running() as url:
        backend = OpenAIBackend(f"{url}?api-version=2024-10-21")
        async for _ in backend.stream(PROMPT):
            pass
        await backend.close()
    path = "/v1/chat/completions?api-version=2024-10-21"
    assert upstream.heads[0].startswith(f"POST {path} HTTP/1.1\r\n")


async def test_a_member_that_is_null_is_left_out() -> None:
    upstream = Upstream([head(), STREAM])
    extra = {"stream_options": None, "temperature": None, "top_k": None, "seed": 1}
    extra |= {"messages": None, "stream": None}
    prompt = Prompt((Message("user", "a"),), options={"temperature": 1, "n": None})
    await asked(upstream, prompt, extra=extra)
    [members] = upstream.requests
    messages = [{"role": "user", "content": "a"}]
    assert members == {"seed": 1, "n": None, "stream": True, "messages": messages}


REFUSED_OPTIONS: list[Part] = [
    head("422 X", "application/json"),
    b'{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}',
]


async def twice(upstream: Upstream) -> list[str]:
    """Ask a server two questions; return the texts, or the details of failures."""
    got = []
    async with upstream.running() as url, asyncio.timeout(20):
        backend = OpenAIBackend(url, first_backoff=60.0)  # it must not matter
        for _ in range(2):
            try:
                pieces = [p async for p in backend.stream(PROMPT) if isinstance(p, str)]
                got.append("".join(pieces))
            except BackendFailed as error:
                got.append(error.detail)
        await backend.close()
    return got


async def test_a_server_that_refuses_stream_options() -> None:
    script: list[Part] = [head(), chunk("a"), STOP, DONE]
    upstream = Upstream(REFUSED_OPTIONS, script)
    assert await twice(upstream) == ["a", "a"]
    with_options = ["stream_options" in members for members in upstream.requests]
    assert with_options == [True, False, False]


async def test_a_refusal_that_only_quotes_them_proves_nothing() -> None:
    refused: list[Part] = [head("400 X"), b"no: {stream_options: {}, messages: []}"]
    upstream = Upstream(refused, refused, refused)
    first, second = await twice(upstream)
    assert first == second and first.startswith("The model's server refused with 400")
    with_options = ["stream_options" in members for members in upstream.requests]
    assert with_options == [True, False, True, False]


async def test_a_page_is_not_asked_for_again() -> None:
    upstream = Upstream([head(kind="text/html"), b"<!DOCTYPE html><html>"])
    await asked(upstream)
    assert len(upstream.requests) == 1


async def test_an_error_in_the_stream_is_not_asked_for_again() -> None:
    upstream = Upstream([head(), b'data: {"code":500,"msg":"no luck"}\n\n'])
    await asked(upstream)
    assert len(upstream.requests) == 1


async def test_what_the_log_needs_of_a_failure() -> None:
    upstream = Upstream([head("503 X"), b"key s3cret: queue full"])
    async with upstream.running() as url:
        backend = OpenAIBackend(url, key="s3cret", first_backoff=0.0)
        with pytest.raises(BackendFailed) as raised:
            async for _ in backend.stream(PROMPT):
                pass
        await backend.close()
    failure = raised.value
    assert (failure.reason, failure.words) == ("busy", "key …: queue full")
    assert (failure.answer_status, failure.attempts) == (503, 3)
    assert failure.host == url.split("/")[2]


@pytest.mark.parametrize(
    "finish", ['"finish_reason":""', '"finish_reason":"null"', '"finish_reason":"stop"']
)
async def test_silence_behind_a_finish_that_is_none(finish: str) -> None:
    """Longer than `LINGER_S`, which is counted behind a finish that came alone."""
    early = f'data: {{"choices":[{{"delta":{{"content":"a"}},{finish}}}]}}\n\n'
    script: list[Part] = [head(), early.encode(), 2.5, chunk("b"), STOP, DONE]
    assert await asked(Upstream(script)) == ("ab", Finish("stop"), "")


async def test_text_behind_a_finish_goes_on() -> None:
    script: list[Part] = [head(), chunk("a"), STOP, 0.1, chunk("b"), STOP, DONE]
    assert await asked(Upstream(script)) == ("ab", Finish("stop"), "")


@pytest.mark.parametrize(
    ("script", "pieces"),
    [
        pytest.param([HANG], 0, id="before the head"),
        pytest.param([head(), HANG], 0, id="before the first token"),
        pytest.param([head(), chunk("a"), chunk("b"), HANG], 1, id="between tokens"),
        pytest.param([head(), chunk("a"), HANG], 2, id="waiting in the middle"),
    ],
)
async def test_stop_closes_the_upstream_at_whatever_stage(
    script: list[Part], pieces: int
) -> None:
    upstream = Upstream(script)
    got = asyncio.Event()
    async with upstream.running() as url:
        backend = OpenAIBackend(url)

        async def read() -> None:
            count = 0
            async with aclosing(backend.stream(PROMPT)) as stream:
                async for _ in stream:
                    count += 1
                    got.set()
                    if count == pieces:
                        return

        task = asyncio.create_task(read())
        await upstream.asked.wait()
        if pieces:
            await got.wait()
        if pieces != 1:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(upstream.left.wait(), 10)
        assert upstream.open == 0
        await backend.close()


async def test_the_key_is_nowhere_but_in_its_header(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    backend = OpenAIBackend("http://127.0.0.1:1/v1", key="s3cret", first_backoff=0.0)
    with pytest.raises(BackendFailed) as raised:
        async for _ in backend.stream(PROMPT):
            pass
    await backend.close()
    assert "s3cret" not in repr(backend) + str(raised.value) + caplog.text


async def test_a_key_that_the_server_quotes_is_not_shown() -> None:
    for script in (
        [head("400 X", "application/json"), b'{"error": "no such key: s3cret"}'],
        [head("400 X", "text/plain"), b"no such key: s3cret"],
        [
            head(),
            b'data: {"error": {"code": 400, "message": "no such key: s3cret"}}\n\n',
        ],
    ):
        _, _, detail = await asked(Upstream(script), key="s3cret")
        assert detail.endswith("no such key: …")


USER = "anna:päss%20%40word"
BASIC = b64encode("anna:päss @word".encode()).decode()


@pytest.mark.parametrize("quoted", [BASIC, "päss @word"])
async def test_the_password_of_the_url_is_nowhere_but_in_its_header(
    quoted: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    refusal = f"no user has {quoted} here".encode()
    upstream = Upstream([head("403 Forbidden", "text/plain"), refusal])
    async with upstream.running() as url:
        named = url.replace("//", f"//{USER}@")
        backend = make_backend(Settings(backend="openai", openai_url=named))
        with pytest.raises(BackendFailed) as raised:
            async for _ in backend.stream(PROMPT):
                pass
        await backend.close()
    assert f"Authorization: Basic {BASIC}\r\n" in upstream.heads[0]
    assert raised.value.words == "no user has … here"
    shown = "".join(format_exception(raised.value)) + caplog.text
    assert all(word not in shown for word in (BASIC, "päss", "p%C3%A4ss", "anna"))


def test_a_key_and_a_user_in_the_url_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="OPENAI_API_KEY") as raised:
        OpenAIBackend("http://anna:s3cret@127.0.0.1:1/v1", key="another")
    assert "s3cret" not in str(raised.value) and "another" not in str(raised.value)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=30), st.lists(st.integers(1, 400), max_size=5))
def test_any_text_at_any_cuts(text: str, cuts: list[int]) -> None:
    """JSON escapes in UTF-16, so a piece may be half a code point."""
    units = text.encode("utf-16-le", "surrogatepass")
    pieces = [
        units[i : i + 2].decode("utf-16-le", "surrogatepass")
        for i in range(0, len(units), 2)
    ]
    body = b"".join(chunk(piece) for piece in pieces) + STOP + DONE
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    parts = [body[a:b] for a, b in itertools.pairwise(edges)]

    async def run() -> tuple[str, Finish | None, str]:
        return await asked(Upstream([head(), *parts]))

    with asyncio.Runner() as runner:
        got, _, failure = runner.run(run())
    expected = units.decode("utf-16-le", "replace")
    assert (got, failure) == (expected, "")


# ------------------------------------------------------------------ the reader alone


def test_the_reader_needs_no_connection() -> None:
    reader = ChunkReader()
    assert list(reader.feed(chunk("a") + chunk("b")[:9])) == ["a"]
    assert list(reader.feed(chunk("b")[9:] + STOP)) == ["b"]
    assert (reader.finish, reader.complete) == (Finish("stop"), False)
    assert list(reader.feed(b'data: {"usage": {"total_tokens": 3}}\n\n' + DONE)) == []
    assert (reader.finish, reader.complete) == (
        Finish("stop", {"total_tokens": 3}),
        True,
    )


def test_what_brings_nothing_is_no_progress() -> None:
    reader = ChunkReader()
    assert list(reader.feed(b"\n: ping\n\n")) == []
    assert reader.progress == 0
    assert list(reader.feed(chunk(None) + chunk("") + b"data: {}\n\n")) == []
    assert reader.progress == 0
    thought = chunk(None, delta={"reasoning": "hm"})
    assert list(reader.feed(thought)) == [Reasoning("hm")]
    assert reader.progress == 1


def test_text_before_an_error_in_the_same_bytes_is_yielded() -> None:
    reader = ChunkReader()
    assert reader.feed(chunk("a") + b'data: {"error": "no"}\n\n') == ["a"]
    assert reader.failure is not None and reader.failure.words == "no"


def test_a_setting_that_is_no_unicode_is_sent_escaped() -> None:
    backend = OpenAIBackend("http://127.0.0.1/v1", system="\udcff", model="é")
    body = CompletionRequest(backend, Prompt((Message("user", "你"),))).body()
    assert body.isascii()
    sent = json.loads(body)
    assert (sent["model"], sent["messages"][0]["content"]) == ("é", "\udcff")
    assert sent["messages"][1] == {"role": "user", "content": "你"}


async def test_a_request_is_made_again_of_what_is_kept() -> None:
    """After a refusal, and where a connection that was kept has broken, in the same words."""
    asked = Prompt((Message("user", "你"),), "so far", {"seed": 7, "stream_options": {"x": 1}})  # fmt: skip
    json_ = msgspec.json.encode(msgspec.structs.replace(asked, written=""))
    backend = OpenAIBackend("http://127.0.0.1/v1", "m", resumes=True)
    in_context = PromptInContext(asked.messages, asked.written, asked.options, Context(), json_)  # fmt: skip
    for prompt in (asked, in_context):
        request = CompletionRequest(backend, prompt)
        first = request.body()
        assert request.body() == first == request.body()
        assert msgspec.json.decode(first)["messages"][-1]["content"] == "so far"
        request.refused(400, None, b"stream_options")
        again = msgspec.json.decode(request.body())
        assert again == {**msgspec.json.decode(first), "stream_options": {"include_usage": True}}  # fmt: skip


@given(
    st.lists(
        st.builds(
            Message,
            st.sampled_from(["user", "assistant"]),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        min_size=1,
        max_size=4,
    ).map(tuple)
)
def test_the_second_body_is_the_first(messages: tuple[Message, ...]) -> None:
    backend = OpenAIBackend("http://127.0.0.1/v1", "m")
    request = CompletionRequest(backend, Prompt(messages, options={"seed": 1 << 53}))
    assert request.body() == request.body()
