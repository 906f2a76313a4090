"""Words of model servers: what users may not read is taken out, what they need stays."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.redaction import LONGEST_QUOTE, log_words, public_words
from tests.linear import assert_linear


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens (prompt: 5000/4096).",
        "messages.0.content: field required; see gpt-4.1-mini and meta-llama/Llama-3.1-8B",
        "temperature must be <= 2 and/or top_p in [0, 1]; image/png is not taken.",
        "'max_tokens' is too large: 1e9. Use max_completion_tokens, e.g. 4096.",
        "模型不支持该参数：temperature。",
        "The time was 12:30:45, the ratio 3:2 and max_tokens:4096; std::bad_alloc.",
    ],
)
def test_what_a_user_needs_stays(words: str) -> None:
    assert public_words(words, ()) == words


@pytest.mark.parametrize(
    ("words", "public"),
    [
        ("key s3cret wrong", "key … wrong"),
        ("key sk-proj-abc***wxyz wrong", "key … wrong"),
        ("bad Authorization: Bearer abc.def", "bad Authorization: …"),
        ("no AIzaSyD-1234567890 here", "no … here"),
        ("no model at /root/models/llama-7b.gguf.", "no model at …"),
        ("in ~/models/x or ./x/y", "in … or …"),
        (r"in C:\models\llama.gguf now", "in … now"),
        ("File vllm/engine/llm.py failed", "File … failed"),
        ("see https://docs.example/errors?x=1 please", "see … please"),
        ("upstream 10.0.0.5:8000 is down", "upstream … is down"),
        ("upstream [::1]:8000 and fe80::1:2 are down", "upstream … and … are down"),
        ("vllm.prod.svc.cluster.local said no", "… said no"),
        ("gpu-7:8000 and localhost said no", "… and … said no"),
        ("api.openai.com said no", "… said no"),
        ("a\n  b\tc\x07", "a b c\ufffd"),
    ],
)
def test_keys_paths_and_hosts_go(words: str, public: str) -> None:
    assert public_words(words, ("s3cret",)) == public


def test_the_log_may_have_all_but_the_key() -> None:
    assert log_words("s3cret\nat /etc/x on gpu-7:8000", ("s3cret",)) == (
        "… at /etc/x on gpu-7:8000"
    )


@pytest.mark.parametrize("cut", range(LONGEST_QUOTE * 2 - 30, LONGEST_QUOTE * 2 + 5))
def test_a_cut_shows_no_part_of_what_is_taken_out(cut: int) -> None:
    paths = ("/" + "x" * 28 + " ") * 40  # each becomes one character and a space
    words = public_words(paths[:cut] + " gpu-7.internal.example:8000/secret tail", ())
    assert "gpu" not in words and "internal" not in words


@given(st.text(), st.text(max_size=5))
def test_any_words(words: str, secret: str) -> None:
    secrets = (secret,) if secret else ()
    for shown in (log_words(words, secrets), public_words(words, secrets)):
        assert len(shown) <= LONGEST_QUOTE + 1
        assert shown.isprintable()


@pytest.mark.parametrize(
    "unit", ["a.", "/a", "a:", "sk-", "*", "[:", "1.", "http://", "a/", ":a", " ", "\\"]
)
def test_the_time_is_linear_in_the_words(unit: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        words = unit * length
        return lambda: public_words(words, ())

    assert_linear(prepare)
