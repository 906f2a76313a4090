"""A GGUF file of random weights: a real model for the real llama.cpp, in half a megabyte.

The model writes nonsense, unless a grammar leaves it no choice.
"""

import itertools
from pathlib import Path

import gguf
import numpy as np

_WIDTH, _LAYERS, _HEADS, _INNER = 64, 1, 2, 64


PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""A template that knows neither reasoning nor tools."""

FULL_TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}
{% endfor %}
{%- for m in messages %}<|{{ m.role }}|>
{%- if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}
{{- m.content or "" }}
{%- for call in m.tool_calls or [] %}
<fn>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</fn>
{%- endfor %}<|end|>
{% endfor %}
{%- if add_generation_prompt %}<|assistant|>
{% endif %}"""
"""A template that shows llama.cpp how the model reasons, `<think>`, and calls a tool, `<fn>`."""

CALLING = '\n<fn>{"'
"""What makes a model with the full template begin a call: the grammar leaves it no other choice."""


def write_tiny_model(
    path: Path, template: str = PLAIN_TEMPLATE, habit: str = ""
) -> None:
    """Write a llama of one layer to `path`, whose tokens are the 256 bytes.

    With a `habit`, an ASCII text, each of its characters is followed by the next one, as far as a
    grammar lets it.
    """
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % n for n in range(256)]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)
    random = np.random.default_rng(1)

    def tensor(name: str, *shape: int) -> None:
        values = random.normal(0, 0.1, shape).astype(np.float32)
        if habit and name.endswith(("attn_output.weight", "ffn_down.weight")):
            values *= 0  # the last token alone decides
        writer.add_tensor(name, values)

    embeddings = random.normal(0, 0.1, (len(tokens), _WIDTH)).astype(np.float32)
    outputs = random.normal(0, 0.1, (len(tokens), _WIDTH)).astype(np.float32)
    for before, after in itertools.pairwise(habit.encode()):
        outputs[3 + after] += 30 * embeddings[3 + before]
    writer.add_tensor("token_embd.weight", embeddings)
    writer.add_tensor("output.weight", outputs)
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}.{norm}.weight", np.ones(_WIDTH, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"{block}.{part}.weight", _WIDTH, _WIDTH)
        tensor(f"{block}.ffn_gate.weight", _INNER, _WIDTH)
        tensor(f"{block}.ffn_up.weight", _INNER, _WIDTH)
        tensor(f"{block}.ffn_down.weight", _WIDTH, _INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def grammar(text: str) -> str:
    """Return a GBNF grammar that leaves a model nothing but `text`."""
    escaped = "".join(
        f"\\U{ord(character):08X}" if not character.isalnum() else character
        for character in text
    )
    return f'root ::= "{escaped}"'
