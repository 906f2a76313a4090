"""An agent's loop over `/v1`: it ends up with what it ends up with directly (PROTOCOL.md section 5)."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.conftest import require_module
from tests.model_turns import called, turn

from .relaying import relayed

pytestmark = pytest.mark.thorough  # importing the package takes seconds


class Forecast(BaseModel):
    """The agent's answer."""

    town: str
    degrees: int


OWN = ("timestamp", "provider_response_id", "provider_url", "run_id", "conversation_id")
"""The members of an agent's messages that are of each run's own."""


def without_own(value: Any) -> Any:
    """Return JSON without the members that are of each run's own, at any depth."""
    if isinstance(value, dict):
        return {n: without_own(v) for n, v in value.items() if n not in OWN}
    return [*map(without_own, value)] if isinstance(value, list) else value


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_reasoning_and_a_structured_answer(streamed: bool) -> None:
    require_module("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessagesTypeAdapter
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def run(url: str) -> Any:
        client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
        provider = OpenAIProvider(openai_client=client)
        model = OpenAIChatModel("gpt-any", provider=provider)
        agent = Agent(model, output_type=Forecast, instructions="Be exact.")
        ran: list[str] = []

        async def weather(town: str) -> str:
            """Return the weather of a town."""
            ran.append(town)
            return f"sunny in {town}"

        agent.tool_plain(weather)

        if streamed:
            async with agent.run_stream("How warm is it?") as result:
                output = await result.get_output()
                messages = result.all_messages()
                usage = result.usage
        else:
            whole = await agent.run("How warm is it?")
            output, messages, usage = whole.output, whole.all_messages(), whole.usage
        await client.close()
        dumped = ModelMessagesTypeAdapter.dump_python(messages, mode="json")
        return [
            ran,
            output.model_dump(),
            without_own(dumped),
            [usage.input_tokens, usage.output_tokens, usage.requests],
        ]

    turns = (
        turn(
            None,
            called("call_1", "weather", {"town": "Bern"}),
            called("call_2", "weather", {"town": "Zürich"}),
            reasoning_content="I must look.",
        ),
        turn(None, called("call_3", "final_result", {"town": "Bern", "degrees": 20})),
    )
    made, requests = await relayed(run, *turns)
    assert made[0] == ["Bern", "Zürich"]
    assert made[1] == {"town": "Bern", "degrees": 20}
    assert len(requests) == 2
    assert [message["role"] for message in requests[1]["messages"]][-3:] == [
        *("assistant", "tool", "tool")
    ]
