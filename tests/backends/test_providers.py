"""The streams of servers that are in use, in the shape in which their sources show them.

Texts, ids and times are our own; members, their order and what is null or missing are theirs.
"""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.model import Finish
from tests.backends.asking import asked
from tests.scripted_upstream import Part, Upstream, head

ID = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m"'


def stream(*events: str, done: bool = True) -> bytes:
    """Return a stream of events, given by their data, with its last mark if `done`."""
    ends = ["[DONE]"] if done else []
    return "".join(f"data: {data}\n\n" for data in [*events, *ends]).encode()


USAGE = '"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}'
COUNTED = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}

CASES: dict[str, tuple[bytes, str, Finish, dict[str, Any]]] = {
    # llamastack/llama-stack, tests/integration/recordings/responses/ff3271401fb4.json
    "Azure": (
        stream(
            '{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":'
            '[{"prompt_index":0,"content_filter_results":{}}]}',
            '{"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,'
            f'"role":"assistant"}},"finish_reason":null,"index":0,"logprobs":null}}],{ID}}}',
            '{"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},'
            f'"delta":{{"content":"Hi"}},"finish_reason":null,"index":0,"logprobs":null}}],{ID}}}',
            '{"choices":[{"content_filter_results":{},"delta":{},"finish_reason":"stop",'
            f'"index":0,"logprobs":null}}],{ID},"usage":null}}',
            f'{{"choices":[],{ID},{USAGE}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # https://github.com/open-webui/computer/issues/224, https://github.com/noho/dayu-agent/issues/45
    "Gemini": (
        stream(
            '{"choices":[{"delta":{"content":"<thought>hm","extra_content":{"google":'
            f'{{"thought":true}}}},"role":"assistant"}},"index":0}}],{ID}}}',
            '{"choices":[{"delta":{"content":"H","role":"assistant"},"index":0}],'
            f"{ID}"
            ',"usage":{"completion_tokens":1,"prompt_tokens":9,"total_tokens":10}}',
            '{"choices":[{"delta":{"content":"i","role":"assistant"},"index":0}],'
            f"{ID},{USAGE}}}",
            '{"choices":[{"delta":{"content":"","extra_content":{"google":'
            '{"thought_signature":"EjQ="}},"role":"assistant"},"finish_reason":"stop","index":0}],'
            f"{ID},{USAGE}}}",
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # vercel/ai, packages/mistral/src/__fixtures__/mistral-reasoning.chunks.txt
    "Mistral": (
        stream(
            f'{{{ID},"choices":[{{"index":0,"delta":{{"role":"assistant","content":[{{"type":'
            '"thinking","thinking":[{"type":"text","text":"hm"}]}]},"finish_reason":null}]}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"content":[{{"type":"text","text":"H"}}]}},'
            '"finish_reason":null}]}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"content":"i"}},"finish_reason":null}}]}}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"content":""}},"finish_reason":"stop"}}],'
            f"{USAGE}}}",
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # https://openrouter.ai/docs/api-reference/streaming
    "OpenRouter": (
        b": OPENROUTER PROCESSING\n\n" * 3
        + stream(
            '{"id":"gen-1","provider":"P","model":"m","object":"chat.completion.chunk","created":'
            '1790000000,"choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":'
            '"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]},"finish_reason":null,'
            '"native_finish_reason":null,"logprobs":null}]}',
            '{"id":"gen-1","provider":"P","model":"m","object":"chat.completion.chunk","created":'
            '1790000000,"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},'
            '"finish_reason":null,"native_finish_reason":null,"logprobs":null}]}',
            '{"id":"gen-1","provider":"P","model":"m","object":"chat.completion.chunk","created":'
            '1790000000,"choices":[{"index":0,"delta":{"role":"assistant","content":""},'
            '"finish_reason":"stop","native_finish_reason":"end_turn","logprobs":null}]}',
            '{"id":"gen-1","provider":"P","model":"m","object":"chat.completion.chunk","created":'
            '1790000000,"choices":[{"index":0,"delta":{"role":"assistant","content":""},'
            f'"finish_reason":null,"native_finish_reason":null}}],{USAGE}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # vercel/ai, packages/groq/src/__fixtures__/groq-json-tool-call.chunks.txt, groq-text.chunks.txt
    "Groq": (
        stream(
            f'{{{ID},"system_fingerprint":"fp_1","choices":[{{"index":0,"delta":{{"role":"assistant",'
            '"content":""},"logprobs":null,"finish_reason":null}],"x_groq":{"id":"req_1","seed":1}}',
            f'{{{ID},"system_fingerprint":"fp_1","choices":[{{"index":0,"delta":{{"content":"Hi"}},'
            '"logprobs":null,"finish_reason":null}]}',
            f'{{{ID},"system_fingerprint":"fp_1","choices":[{{"index":0,"delta":{{}},"logprobs":null,'
            f'"finish_reason":"stop"}}],"x_groq":{{"id":"req_1",{USAGE}}}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # mlflow/mlflow, tests/gateway/providers/test_togetherai.py
    "Together": (
        stream(
            '{"id":"1","object":"chat.completion.chunk","created":1790000000,"choices":[{"index":0,'
            '"text":"H","logprobs":null,"finish_reason":null,"seed":null,"delta":{"token_id":39,'
            '"role":"assistant","content":"H","tool_calls":null}}],"model":"m","usage":null}',
            '{"id":"1","object":"chat.completion.chunk","created":1790000000,"choices":[{"index":0,'
            '"text":"i","logprobs":null,"finish_reason":"length","seed":5,"delta":{"token_id":72,'
            f'"role":"assistant","content":"i","tool_calls":null}}}}],"model":"m",{USAGE}}}',
        ),
        "Hi",
        Finish("length", COUNTED),
        {},
    ),
    # vercel/ai, packages/deepseek/src/chat/__fixtures__/deepseek-v4-sampling-live.chunks.txt
    "DeepSeek": (
        b": keep-alive\n\n"
        + stream(
            f'{{{ID},"system_fingerprint":"a","choices":[{{"index":0,"delta":{{"role":"assistant",'
            '"content":null,"reasoning_content":""},"logprobs":null,"finish_reason":null}],"usage":null}',
            f'{{{ID},"system_fingerprint":"a","choices":[{{"index":0,"delta":{{"content":null,'
            '"reasoning_content":"hm"},"logprobs":null,"finish_reason":null}],"usage":null}',
            f'{{{ID},"system_fingerprint":"a","choices":[{{"index":0,"delta":{{"content":"Hi",'
            '"reasoning_content":null},"logprobs":null,"finish_reason":null}],"usage":null}',
            f'{{{ID},"system_fingerprint":"a","choices":[{{"index":0,"delta":{{"content":"",'
            f'"reasoning_content":null}},"logprobs":null,"finish_reason":"length"}}],{USAGE}}}',
        ),
        "Hi",
        Finish("length", COUNTED),
        {},
    ),
    # vercel/ai, packages/alibaba/src/__fixtures__/alibaba-text.chunks.txt
    "DashScope": (
        stream(
            '{"choices":[{"delta":{"content":"","role":"assistant"},"index":0,"logprobs":null,'
            f'"finish_reason":null}}],"usage":null,"system_fingerprint":null,{ID}}}',
            '{"choices":[{"finish_reason":null,"logprobs":null,"delta":{"content":"Hi"},"index":0}],'
            f'"usage":null,"system_fingerprint":null,{ID}}}',
            '{"choices":[{"finish_reason":"stop","delta":{"content":""},"index":0,"logprobs":null}],'
            f'"usage":null,"system_fingerprint":null,{ID}}}',
            f'{{"choices":[],{USAGE},"system_fingerprint":null,{ID}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # https://dev.to/multigrid/streaming-output-in-qwen-dashscope-and-openai-compatible-endpoints-43eo
    # says that each event has the whole answer so far unless incremental output is asked for.
    "DashScope, cumulative": (
        stream(
            f'{{"choices":[{{"delta":{{"content":"H","role":"assistant"}},"index":0,"logprobs":null,'
            f'"finish_reason":"null"}}],"usage":null,"system_fingerprint":null,{ID}}}',
            f'{{"choices":[{{"delta":{{"content":"Hi"}},"index":0,"logprobs":null,'
            f'"finish_reason":"null"}}],"usage":null,"system_fingerprint":null,{ID}}}',
            f'{{"choices":[{{"delta":{{"content":"Hi"}},"index":0,"logprobs":null,'
            f'"finish_reason":"stop"}}],{USAGE},"system_fingerprint":null,{ID}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {"cumulative": True},
    ),
    # vercel/ai, packages/moonshotai/src/__fixtures__/moonshotai-stream-choice-usage.chunks.txt
    "Moonshot": (
        stream(
            f'{{{ID},"choices":[{{"index":0,"delta":{{"role":"assistant","content":""}},'
            '"finish_reason":null}],"system_fingerprint":"fpv0_1"}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"reasoning_content":"hm"}},'
            '"finish_reason":null}],"system_fingerprint":"fpv0_1"}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"content":"Hi"}},"finish_reason":null}}],'
            '"system_fingerprint":"fpv0_1"}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop",{USAGE}}}],'
            '"system_fingerprint":"fpv0_1"}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # https://github.com/vllm-project/vllm/issues/27572
    # vllm-project/vllm, vllm/entrypoints/openai/chat_completion/protocol.py
    "vLLM": (
        stream(
            f'{{{ID},"choices":[{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,'
            '"finish_reason":null}],"prompt_token_ids":null}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"reasoning":"hm"}},"logprobs":null,'
            '"finish_reason":null,"token_ids":null}]}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"content":"Hi"}},"logprobs":null,'
            '"finish_reason":null,"token_ids":null}]}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"content":""}},"logprobs":null,'
            '"finish_reason":"stop","stop_reason":null,"token_ids":null}]}',
            f'{{{ID},"choices":[],{USAGE}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # sgl-project/sglang, python/sglang/srt/entrypoints/openai/protocol.py
    "SGLang": (
        stream(
            f'{{{ID},"choices":[{{"index":0,"delta":{{"role":"assistant","content":"",'
            '"reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,'
            '"matched_stop":null}],"usage":null}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"role":null,"content":"Hi",'
            '"reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"",'
            '"matched_stop":null}],"usage":null}',
            f'{{{ID},"choices":[{{"index":0,"delta":{{"role":null,"content":null,'
            '"reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"stop",'
            '"matched_stop":151645}],"usage":null}',
            f'{{{ID},"choices":[],{USAGE}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # ollama/ollama, openai/openai.go
    "Ollama": (
        stream(
            f'{{{ID},"system_fingerprint":"fp_ollama","choices":[{{"index":0,"delta":{{"role":'
            '"assistant","content":"","reasoning":"hm"},"finish_reason":null}]}',
            f'{{{ID},"system_fingerprint":"fp_ollama","choices":[{{"index":0,"delta":{{"role":'
            '"assistant","content":"Hi"},"finish_reason":null}]}',
            f'{{{ID},"system_fingerprint":"fp_ollama","choices":[{{"index":0,"delta":{{"role":'
            '"assistant","content":""},"finish_reason":"stop"}]}',
            f'{{{ID},"system_fingerprint":"fp_ollama","choices":[],{USAGE}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
    # https://github.com/lmstudio-ai/lmstudio-js/issues/320
    "LM Studio": (
        stream(
            f'{{{ID},"system_fingerprint":"m","choices":[{{"index":0,"delta":{{"role":"assistant",'
            '"content":"Hi"},"logprobs":null,"finish_reason":null}]}',
            f'{{{ID},"system_fingerprint":"m","choices":[{{"index":0,"delta":{{}},"logprobs":null,'
            '"finish_reason":"stop"}]}',
        ),
        "Hi",
        Finish("stop"),
        {},
    ),
    # ggml-org/llama.cpp, tools/server/tests/unit/test_chat_completion.py
    "llama.cpp": (
        stream(
            '{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],'
            f'"system_fingerprint":"b1-1",{ID}}}',
            '{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Hi"}}],'
            f'"system_fingerprint":"b1-1",{ID}}}',
            '{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],'
            f'"system_fingerprint":"b1-1",{ID}}}',
            f'{{"choices":[],"system_fingerprint":"b1-1",{ID},{USAGE},"timings":{{"prompt_n":1}}}}',
        ),
        "Hi",
        Finish("stop", COUNTED),
        {},
    ),
}  # fmt: skip
"""The body of each server's stream, its text and finish, and what its backend is made with."""


@pytest.mark.parametrize("server", CASES)
@pytest.mark.parametrize("size", [1 << 20, 50, 1], ids=["whole", "in parts", "by byte"])
async def test_a_server(server: str, size: int) -> None:
    body, text, finish, options = CASES[server]
    parts: list[Part] = [body[i : i + size] for i in range(0, len(body), size)]
    got = await asked(Upstream([head(), *parts]), **options)
    assert got == (text, finish, "")
