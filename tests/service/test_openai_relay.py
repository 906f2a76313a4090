"""OpenAI's Python client over `/v1` of a service and a scripted model, beside the same without the service.

What the model is asked and what the client ends up with must be the same (PROTOCOL.md section 5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import openai
import pydantic
import pytest

from chatsvc.replies.calls import joined_members
from tests.model_turns import Turn, called, turn

from .relaying import relayed

Case = Callable[[openai.AsyncOpenAI], Awaitable[Any]]

MODEL = "gpt-any"
HELLO = [{"role": "user", "content": "Hello"}]
OWN = ("id", "created")
"""The members of a completion that are each server's own."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Weather(pydantic.BaseModel):
    """The arguments of the tool, for the client's helpers."""

    town: str


class Answer(pydantic.BaseModel):
    """A structured answer."""

    steps: list[str]
    result: int


def plain(completion: Any) -> Any:
    """Return a completion without what is each server's own."""
    members = completion.model_dump(mode="json", warnings=False)
    return {name: value for name, value in members.items() if name not in OWN}


async def both(case: Case, *turns: Turn) -> tuple[Any, list[dict[str, Any]]]:
    """Run a case with a client of the model's server and with one of the service; see `relayed`."""

    async def run(url: str) -> Any:
        asking = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
        async with asking as client:
            return await case(client)

    return await relayed(run, *turns)


async def streamed(client: openai.AsyncOpenAI, **request: Any) -> Any:
    """Return what the client's stream helper makes of a stream, and the kinds of its events."""
    request = {"stream_options": {"include_usage": True}, **request}
    kinds: list[str] = []
    async with client.chat.completions.stream(model=MODEL, **request) as stream:
        async for event in stream:
            # How many there are of each depends on how the text is cut.
            if event.type != "chunk" and event.type not in kinds:
                kinds.append(event.type)
        try:
            return kinds, plain(await stream.get_final_completion())
        except openai.ContentFilterFinishReasonError as error:
            return kinds, str(error)
        except openai.LengthFinishReasonError as error:
            return kinds, plain(error.completion)


async def whole(client: openai.AsyncOpenAI, **request: Any) -> Any:
    """Return a completion that was asked for without a stream."""
    return plain(await client.chat.completions.create(model=MODEL, **request))


@pytest.mark.parametrize("form", [streamed, whole])
@pytest.mark.parametrize(
    "said",
    [
        {"content": "Hello, wörld!\n 👨‍👩‍👧"},
        {"content": "", "finish": "length"},
        {"content": "No", "finish": "content_filter"},
        {"content": "Yes", "reasoning_content": "Let me see.\nYes."},
        {"reasoning_content": "Nothing to say."},
        {"refusal": "I can't do that."},
        {
            "content": "As A says.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {
                        "url": "https://a.example/",
                        "title": "A",
                        "start_index": 3,
                        "end_index": 4,
                    },
                    "index": 0,
                }
            ],
        },
        {
            "content": "See.",
            "images": [
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AAAA"},
                    "index": 0,
                }
            ],
        },
        {
            "content": "Yes",
            "reasoning_content": "Hm",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Hm",
                    "signature": "s",
                    "index": 0,
                }
            ],
        },
        {
            "content": None,
            "audio": {"id": "a", "data": "AAAA", "transcript": "Hi", "expires_at": 1},
        },
    ],
    ids=lambda said: "-".join(said),
)
async def test_what_a_model_says(
    form: Callable[..., Any], said: dict[str, Any]
) -> None:
    async def case(client: openai.AsyncOpenAI) -> Any:
        return await form(client, messages=HELLO)

    made, _ = await both(case, turn(**said))
    completion = made[1] if form is streamed else made
    if isinstance(completion, str):
        assert "content filter" in completion
        return
    message = completion["choices"][0]["message"]
    for name, value in said.items():
        if name != "finish" and value:
            assert message[name] == value


@pytest.mark.parametrize("form", [streamed, whole])
async def test_options_and_images_go_to_the_model(form: Callable[..., Any]) -> None:
    async def case(client: openai.AsyncOpenAI) -> Any:
        return await form(
            client,
            messages=[
                {"role": "developer", "content": "Be short."},
                {
                    "role": "user",
                    "name": "ann",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {
                            "type": "image_url",
                            "image_url": {
                                "url": "data:image/png;base64,AAAA",
                                "detail": "low",
                            },
                        },
                    ],
                },
            ],
            seed=7,
            temperature=0.5,
            logit_bias={"1": 2},
            reasoning_effort="low",
            metadata={"a": "b"},
            extra_body={"provider": {"order": ["x"]}},
        )

    _, requests = await both(case, turn("A cat."))
    assert requests[0]["messages"][1]["content"][1]["image_url"]["detail"] == "low"
    assert requests[0]["provider"] == {"order": ["x"]}


@pytest.mark.parametrize("form", [streamed, whole])
async def test_tools_over_two_turns(form: Callable[..., Any]) -> None:
    calls = (
        called("call_1", "weather", {"town": "Bern"}),
        called("call_2", "weather", {"town": "Zürich"}, extra_content={"g": {"s": "x"}}),
    )  # fmt: skip

    async def case(client: openai.AsyncOpenAI) -> Any:
        messages: list[Any] = [*HELLO]
        seen = []
        for _ in range(2):
            made = await form(client, messages=messages, tools=[WEATHER])
            seen.append(made)
            message = (made[1] if form is streamed else made)["choices"][0]["message"]
            # As the client's users send it back: what is null there is left out.
            messages.append({n: v for n, v in message.items() if v is not None})
            for call in message.get("tool_calls") or ():
                messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
                )
        return seen

    first = turn(None, *calls, reasoning_content="I must look.")
    _, requests = await both(case, first, turn("It is sunny."))
    assert [m["role"] for m in requests[1]["messages"]] == [
        *("user", "assistant", "tool", "tool")
    ]
    assert requests[1]["messages"][1]["tool_calls"][1]["extra_content"] == {"g": {"s": "x"}}  # fmt: skip
    assert requests[1]["messages"][1]["reasoning_content"] == "I must look."


async def test_a_call_of_a_custom_tool_and_members_that_nobody_knows() -> None:
    sql = {"type": "custom", "custom": {"name": "sql"}}
    custom = {
        "id": "call_1",
        "type": "custom",
        "custom": {"name": "sql", "input": "SELECT *\nFROM t", "dialect": "x"},
        "status": "done",
    }
    other = called("call_2", "weather", {"town": "Bern"}, status="done", at=[1])
    other["function"]["strict"] = True

    async def case(client: openai.AsyncOpenAI) -> Any:
        create: Any = client.chat.completions.create
        request = {"model": MODEL, "messages": HELLO, "tools": [sql, WEATHER]}
        calls: dict[int, list[dict[str, Any]]] = {}
        async for chunk in await create(**request, stream=True):
            for call in chunk.choices[0].delta.tool_calls or ():
                piece = call.model_dump(exclude_unset=True, warnings=False)
                calls.setdefault(piece.pop("index"), []).append(piece)
        whole = plain(await create(**request))
        return [
            [*map(joined_members, calls.values())],
            whole["choices"][0]["message"]["tool_calls"],
        ]

    made, _ = await both(case, turn(None, custom, other))
    assert made == [[custom, other], [custom, other]]


async def test_functions_of_the_older_interface() -> None:
    function = {"name": "weather", "arguments": '{"town": "Bern"}'}

    async def case(client: openai.AsyncOpenAI) -> Any:
        create: Any = client.chat.completions.create
        request = {
            "model": MODEL,
            "messages": HELLO,
            "functions": [WEATHER["function"]],
            "function_call": "auto",
        }
        chunks = [each async for each in await create(**request, stream=True)]
        deltas = [chunk.choices[0].delta.function_call for chunk in chunks]
        arguments = "".join((each and each.arguments) or "" for each in deltas)
        names = [each.name for each in deltas if each and each.name]
        reason = chunks[-1].choices[0].finish_reason
        return [arguments, names, reason, plain(await create(**request))]

    made, _ = await both(case, turn(None, function_call=function, finish="function_call"))  # fmt: skip
    assert made[:3] == [function["arguments"], ["weather"], "function_call"]


@pytest.mark.parametrize("form", ["stream", "parse"])
@pytest.mark.parametrize(
    "said",
    [
        {"content": '{"steps": ["one", "two"], "result": 3}'},
        {"refusal": "I won't."},
    ],
    ids=["content", "refusal"],
)
async def test_structured_output(form: str, said: dict[str, Any]) -> None:
    async def case(client: openai.AsyncOpenAI) -> Any:
        request: dict[str, Any] = {"messages": HELLO, "response_format": Answer}
        if form == "stream":
            return await streamed(client, **request)
        made = await client.chat.completions.parse(model=MODEL, **request)
        return plain(made)

    made, requests = await both(case, turn(**said))
    message = (made[1] if form == "stream" else made)["choices"][0]["message"]
    if "content" in said:
        assert message["parsed"] == {"steps": ["one", "two"], "result": 3}
    else:
        assert (message["parsed"], message["refusal"]) == (None, "I won't.")
    assert requests[0]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("form", ["stream", "parse"])
async def test_parsed_arguments(form: str) -> None:
    tools: Sequence[Any] = [openai.pydantic_function_tool(Weather, name="weather")]

    async def case(client: openai.AsyncOpenAI) -> Any:
        request: dict[str, Any] = {"messages": HELLO, "tools": tools}
        if form == "stream":
            return await streamed(client, **request)
        made = await client.chat.completions.parse(model=MODEL, **request)
        return plain(made)

    call = called("call_1", "weather", {"town": "Bern"})
    made, _ = await both(case, turn("I look it up.", call))
    message = (made[1] if form == "stream" else made)["choices"][0]["message"]
    parsed = message["tool_calls"][0]["function"]["parsed_arguments"]
    assert parsed == {"town": "Bern"}


async def test_a_structured_answer_that_is_cut_raises_as_it_does_directly() -> None:
    async def case(client: openai.AsyncOpenAI) -> Any:
        with pytest.raises(openai.LengthFinishReasonError) as cut:
            await client.chat.completions.parse(
                model=MODEL,
                messages=HELLO,  # type: ignore[arg-type]
                response_format=Answer,
            )
        return plain(cut.value.completion)

    await both(case, turn('{"steps": [', finish="length"))


async def test_usage_only_where_it_is_asked_for() -> None:
    async def case(client: openai.AsyncOpenAI) -> Any:
        used = []
        for options in ({}, {"stream_options": {"include_usage": True}}):
            create: Any = client.chat.completions.create
            stream = await create(model=MODEL, messages=HELLO, stream=True, **options)
            used.append([each.usage async for each in stream if each.usage])
        return [[each.model_dump() for each in one] for one in used]

    made, _ = await both(case, turn("Hi"))
    assert made[0] == []
    assert made[1][0]["completion_tokens_details"]["reasoning_tokens"] == 5
