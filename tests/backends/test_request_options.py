"""What goes on of a request's options to a model's server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.backends.request_options import FORWARDED, OptionPolicy
from chatsvc.model import ABILITIES, Message, Prompt
from chatsvc.problems import BackendFailed
from chatsvc.requests.content import request_limits
from chatsvc.requests.conversation import read_conversation
from tests.backends.asking import asked
from tests.messages import json_objects, json_values, messages, openai_messages
from tests.scripted_upstream import DONE, Part, Upstream, chunk, head

STOP = chunk(None, finish_reason="stop")
SCRIPT: list[Part] = [head(), chunk("a"), STOP, DONE]
REFUSED: list[Part] = [head("400 X"), b'{"error": "no stream_options, please"}']


def read(given: list[dict[str, Any]], options: dict[str, Any] | None = None) -> Prompt:
    """Return the prompt of a conversation, for a backend that takes everything."""
    limits = request_limits(10_000, 10_000, takes=ABILITIES, models=())
    return read_conversation(given, limits, options)


# ---------------------------------------------------------------------- options


@given(json_objects)
def test_all_go_on_as_they_came(options: dict[str, Any]) -> None:
    assert OptionPolicy().apply(options) == options


USUAL = {
    "temperature": 0.1,
    "top_p": 0.2,
    "stop": ["x"],
    "seed": 7,
    "max_tokens": 5,
    "tools": [{"type": "function"}],
    "tool_choice": "required",
    "response_format": {"type": "json_object"},
    "logit_bias": {"1": 2},
}


@given(json_objects)
def test_only_the_usual_goes_on_where_not_all_does(others: dict[str, Any]) -> None:
    policy = OptionPolicy(forward_all=False)
    unknown = {name: each for name, each in others.items() if name not in FORWARDED}
    more = {"store": True, "metadata": {}, "stream_options": {"x": 1}, "user": "u"}
    assert policy.apply({**unknown, **more, **USUAL}) == USUAL


@pytest.mark.parametrize("forward_all", [True, False])
@pytest.mark.parametrize(
    ("models", "chosen"), [([], False), (["n"], False), (["n", "m"], True), (["*"], True)]
)  # fmt: skip
def test_a_model_goes_on_if_it_is_listed(
    models: list[str], chosen: bool, forward_all: bool
) -> None:
    policy = OptionPolicy(model="ours", models=models, forward_all=forward_all)
    assert policy.apply({"model": "m"}) == {"model": "m" if chosen else "ours"}
    assert policy.chooses_model({"model": "m"}) is chosen
    assert policy.apply({}) == {"model": "ours"}
    assert not policy.chooses_model({})
    assert policy.apply({"model": ["m"]}) == {"model": "ours"}
    bare = OptionPolicy(models=models, forward_all=forward_all)
    assert bare.apply({"model": "m"}) == ({"model": "m"} if chosen else {})


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"max_tokens": 9}),
        ({"max_tokens": None}, {"max_tokens": 9}),
        ({"max_completion_tokens": None},
         {"max_tokens": 9, "max_completion_tokens": None}),
        ({"max_tokens": 8}, {"max_tokens": 8}),
        ({"max_tokens": 10}, {"max_tokens": 9}),
        ({"max_completion_tokens": 8}, {"max_completion_tokens": 8}),
        ({"max_completion_tokens": 10**30}, {"max_completion_tokens": 9}),
        ({"max_tokens": 5, "max_completion_tokens": 10},
         {"max_tokens": 5, "max_completion_tokens": 9}),
        ({"max_tokens": -1}, {"max_tokens": 9}),
        ({"max_tokens": 0}, {"max_tokens": 9}),
        ({"max_tokens": "100"}, {"max_tokens": 9}),
        ({"max_tokens": True}, {"max_tokens": 9}),
        ({"max_tokens": 9.5}, {"max_tokens": 9}),
        ({"n_predict": -1}, {"n_predict": 9, "max_tokens": 9}),
        ({"n_predict": 4}, {"n_predict": 4, "max_tokens": 9}),
    ],
)  # fmt: skip
def test_the_tokens_are_capped(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert OptionPolicy(max_tokens=9).apply(given) == sent
    assert OptionPolicy().apply(given) == given


@given(json_objects, json_values, json_values)
def test_no_option_lifts_the_cap(
    others: dict[str, Any], one: object, other: object
) -> None:
    options = {**others, "max_tokens": one, "max_completion_tokens": other}
    members = OptionPolicy(max_tokens=9).apply(options)
    limits = [members[name] for name in ("max_tokens", "max_completion_tokens")]
    numbers = [limit for limit in limits if limit is not None]
    assert numbers
    assert all(type(limit) in (int, float) and 0 < limit <= 9 for limit in numbers)


def test_the_temperature_is_a_default() -> None:
    policy = OptionPolicy(temperature=0.5)
    assert policy.apply({}) == {"temperature": 0.5}
    assert policy.apply({"temperature": 1}) == {"temperature": 1}


# ---------------------------------------------------------------------- requests


@settings(max_examples=40)
@given(messages, json_objects, st.sampled_from(["", "Be brief."]))
def test_the_server_gets_what_came(
    given: list[dict[str, Any]], options: dict[str, Any], system: str
) -> None:
    async def run() -> dict[str, Any]:
        upstream = Upstream(SCRIPT)
        assert (await asked(upstream, read(given, options), system=system))[0] == "a"
        [request] = upstream.requests
        return request

    with asyncio.Runner() as runner:
        request = runner.run(run())
    before = [{"role": "system", "content": system}] if system else []
    assert request == {
        **options,
        "messages": before + given,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@given(openai_messages)
def test_a_part_of_a_reply_goes_behind_the_conversation(given: dict[str, Any]) -> None:
    prompt = Prompt(read([given]).messages, written="Once ")
    members = OpenAIBackend("http://h/v1").members(
        prompt, with_usage=False, with_theirs=False
    )
    assert members["messages"] == [given, {"role": "assistant", "content": "Once "}]


async def test_what_the_operator_sets_wins() -> None:
    upstream = Upstream(SCRIPT)
    options = {"model": "m", "temperature": 1, "max_tokens": 100, "top_k": 3, "seed": 1}
    extra = {"max_tokens": 50, "top_k": None, "model": "theirs"}
    await asked(
        upstream,
        Prompt((Message("user", "a"),), options=options),
        model="ours",
        models=["*"],
        max_tokens=9,
        extra=extra,
    )
    [request] = upstream.requests
    assert request == {
        "model": "theirs",
        "temperature": 1,
        "max_tokens": 50,
        "seed": 1,
        "messages": [{"role": "user", "content": "a"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("models", "extra", "reason"),
    [
        (["m"], {}, "refused"),  # the client has chosen it
        ([], {}, "misconfigured"),
        (["m"], {"model": "x"}, "misconfigured"),
    ],
)
async def test_whose_fault_a_model_is_that_there_is_not(
    models: list[str], extra: dict[str, Any], reason: str
) -> None:
    upstream = Upstream([head("404 X"), b'{"error": "no such model"}'])
    prompt = Prompt((Message("user", "a"),), options={"model": "m"})
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "ours", models=models, extra=extra)
        with pytest.raises(BackendFailed) as raised:
            async for _ in backend.stream(prompt):
                pass
        await backend.close()
    assert raised.value.reason == reason


async def test_stream_options_of_a_client_spoil_nothing_for_others() -> None:
    """A server that refuses them is asked for the usage still, also by the next request."""
    upstream = Upstream(REFUSED, SCRIPT, SCRIPT)
    theirs = {"stream_options": {"bogus": 1, "include_usage": True}}
    async with upstream.running() as url, asyncio.timeout(20):
        backend = OpenAIBackend(url, first_backoff=60.0)
        for options in (theirs, {}):
            prompt = Prompt((Message("user", "a"),), options=options)
            assert "a" in [piece async for piece in backend.stream(prompt)]
        await backend.close()
    ours = {"include_usage": True}
    sent = [request["stream_options"] for request in upstream.requests]
    assert sent == [{"bogus": 1, **ours}, ours, ours]


async def test_a_server_that_takes_no_stream_options_gets_none_of_a_client() -> None:
    upstream = Upstream(REFUSED, REFUSED, SCRIPT, SCRIPT)
    theirs = {"stream_options": {"bogus": 1, "include_usage": True}}
    prompt = Prompt((Message("user", "a"),), options=theirs)
    async with upstream.running() as url, asyncio.timeout(20):
        backend = OpenAIBackend(url, first_backoff=60.0)
        for _ in range(2):
            assert "a" in [piece async for piece in backend.stream(prompt)]
        await backend.close()
    sent = [request.get("stream_options") for request in upstream.requests]
    assert sent == [theirs["stream_options"], {"include_usage": True}, None, None]
