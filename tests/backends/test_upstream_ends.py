"""Every response ends within its documented time, its connection closed, nothing left running.

`asked` checks the last two. The guard of ten seconds stands for "for ever": each script would go on
until the client leaves.
"""

import asyncio
import itertools
from collections.abc import Iterable
from contextlib import aclosing

import pytest

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish, Message, Prompt
from chatsvc.problems import BackendFailed
from tests.backends.asking import PROMPT, asked, route
from tests.loopback import listening
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head

pytestmark = pytest.mark.usefixtures("route")

__all__ = ["route"]

TIMEOUT_S = 0.2
"""The timeout of the backend; the parts below come faster."""

STOP = chunk(None, finish_reason="stop")
SILENT = "The model's server fell silent."
IN_TIME = "The model's server did not answer in time."


def for_ever(*parts: bytes) -> Iterable[Part]:
    """Return the parts again and again, each a while after the one before."""
    return itertools.chain.from_iterable(
        (part, 0.02) for part in itertools.cycle(parts)
    )


async def ended(script: Iterable[Part]) -> tuple[str, Finish | None, str]:
    async with asyncio.timeout(10):
        return await asked(Upstream(script), timeout=TIMEOUT_S)


TEXTLESS = {
    "comments": b": ping\n\n",
    "empty objects": b"data: {}\n\n",
    "deltas of no words": chunk("") + chunk(None) + chunk(None, delta={"role": "a"}),
    "other choices": chunk("b", index=1),
    "usage": b'data: {"choices": [], "usage": {"total_tokens": 1}}\n\n',
    "blank lines": b"\n",
    "a slow event": b"data: ",
    "a line": b"x",
}


@pytest.mark.parametrize("quiet", TEXTLESS)
@pytest.mark.parametrize("before", [b"", chunk("a")], ids=["before", "between"])
@pytest.mark.sampled
async def test_no_words_for_ever(quiet: str, before: bytes) -> None:
    script = itertools.chain([head() + before], for_ever(TEXTLESS[quiet]))
    text, finish, detail = await ended(script)
    assert (text, finish, detail) == ("a" if before else "", None, SILENT)


async def test_a_completion_that_never_is_whole() -> None:
    script = itertools.chain([head() + b'{"a": "'], for_ever(b"x"))
    assert await ended(script) == ("", None, SILENT)


@pytest.mark.parametrize(
    "more",
    [
        *(pytest.param([part], id=name) for name, part in TEXTLESS.items()),
        pytest.param([STOP], id="finishes"),
    ],
)
@pytest.mark.sampled
async def test_the_finish_and_then_for_ever(more: list[bytes]) -> None:
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n'
    script = itertools.chain([head(), chunk("a") + STOP + usage], for_ever(*more))
    text, finish, detail = await ended(script)
    assert (text, detail) == ("a", "")
    assert finish is not None and finish.reason == "stop"


async def test_the_finish_and_then_a_flood() -> None:
    flood = itertools.repeat(b":\n" * 32768)
    script = itertools.chain([head(), chunk("a") + STOP], flood)
    assert await ended(script) == ("a", Finish("stop"), "")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(for_ever(b"HTTP/1.1 102 Processing\r\n\r\n"), id="interim"),
        pytest.param(
            itertools.chain([head()[:-2]], for_ever(b"x")), id="a field's name"
        ),
        pytest.param(
            itertools.chain(
                [head()[:-2]], for_ever(*(b"%d: x\r\n" % i for i in range(99)))
            ),
            id="fields",
        ),
    ],
)
async def test_a_head_without_end(script: Iterable[Part]) -> None:
    _, finish, detail = await ended(script)
    assert finish is None
    assert detail in (IN_TIME, "The model's server can't be reached.")


async def test_a_refusal_without_end() -> None:
    script = itertools.chain([head("400 X"), b"no "], for_ever(b"x"))
    _, _, detail = await ended(script)
    assert detail.startswith("The model's server refused with 400: no xx")


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_a_server_that_does_not_take_the_request() -> None:
    """A conversation may be larger than the buffers of both kernels."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    prompt = Prompt((Message("user", "x" * (32 << 20)),))
    async with listening(hang) as port, asyncio.timeout(10):
        backend = OpenAIBackend(f"http://127.0.0.1:{port}/v1", timeout=TIMEOUT_S)
        with pytest.raises(BackendFailed, match="did not answer in time"):
            async for _ in backend.stream(prompt):
                pass
        await backend.close()


async def test_words_keep_it_going() -> None:
    """Reasoning is progress: ten timeouts of it are no silence."""
    thought = chunk(None, delta={"reasoning_content": "hm"})
    thoughts = itertools.islice(for_ever(thought), int(2 * 10 * TIMEOUT_S / 0.02))
    script = [head(), *thoughts, chunk("a"), STOP, DONE]
    async with asyncio.timeout(60):
        got = await asked(Upstream(script), timeout=TIMEOUT_S)
    assert got == ("a", Finish("stop"), "")


async def test_more_than_a_response_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.backends.answer.RESPONSE_LIMIT_BYTES", 1 << 18)
    thought = chunk(None, delta={"reasoning_content": "hm" * 1000})
    upstream = Upstream(itertools.chain([head()], itertools.repeat(thought)))
    _, finish, detail = await asked(upstream)
    assert (finish, detail) == (None, "The model's server sent more than can be kept.")


@pytest.mark.parametrize(
    "part", [HANG, b"data: {}\n\n", b":\n" * 10_000], ids=["silent", "slow", "flood"]
)
async def test_stopping_closes_the_connection(part: Part) -> None:
    upstream = Upstream(itertools.chain([head()], itertools.repeat(part)))
    async with upstream.running() as url:
        backend = OpenAIBackend(url)

        async def read() -> None:
            async with aclosing(backend.stream(PROMPT)) as pieces:
                async for _ in pieces:
                    pass

        task = asyncio.create_task(read())
        await upstream.asked.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        await asyncio.wait_for(upstream.left.wait(), 10)
        assert upstream.open == 0
        await backend.close()
