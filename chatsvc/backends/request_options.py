"""The options of a client's request, as an operator lets them through to a model's server.

It holds which of them go on, what the operator's own settings make of them, and in which order they
win (PROTOCOL.md section 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatsvc.model import may_choose

FORWARDED = frozenset(
    {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"}
    | {"temperature", "top_p", "top_k", "min_p", "logit_bias"}
    | {"frequency_penalty", "presence_penalty", "repetition_penalty", "repeat_penalty"}
    | {"stop", "max_tokens", "max_completion_tokens", "response_format", "seed"}
)
"""The options that go on where not all do; a `model` that may be chosen does besides."""

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""OpenAI's names for the tokens that an answer may have, of which a request has one at most."""

LLAMA_TOKEN_LIMIT = "n_predict"
"""The name that llama.cpp has for it, which wins there over OpenAI's."""


class OptionPolicy:
    """An operator's settings for the options of requests.

    - `model`: the model to ask for where the request chooses none; "" leaves it to the server.
    - `models`: the names of the models that a request may choose, `*` for any.
    - `forward_all`: whether all options go on; else only those in `FORWARDED`.
    - `temperature`: the default of the option of that name; None for none.
    - `max_tokens`: the default and the most of `TOKEN_LIMITS`; None for none.
    """

    def __init__(
        self,
        *,
        model: str = "",
        models: Iterable[str] = (),
        forward_all: bool = True,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.models = frozenset(models)
        self._forward_all = forward_all
        self._most_tokens = max_tokens
        self._defaults: dict[str, Any] = {"model": model} if model else {}
        if temperature is not None:
            self._defaults["temperature"] = temperature

    def chooses_model(self, options: Mapping[str, Any]) -> bool:
        """Return whether the options of a request name a model that it may choose."""
        return may_choose(options.get("model"), self.models)

    def apply(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of a request to the server, for the options of a client's request."""
        members: dict[str, Any] = {}
        if options:
            members = {
                name: value
                for name, value in options.items()
                if self._forward_all or name in FORWARDED
            }
            members.pop("model", None)
            if self.chooses_model(options):
                members["model"] = options["model"]
        if self._most_tokens is not None:
            self._limit_tokens(members, self._most_tokens)
        return {**self._defaults, **members}

    def _limit_tokens(self, members: dict[str, Any], most: int) -> None:
        for name in (*TOKEN_LIMITS, LLAMA_TOKEN_LIMIT):
            if members.get(name) is not None:
                members[name] = _at_most(most, members[name])
        # OpenAI refuses a request that has both.
        if all(members.get(name) is None for name in TOKEN_LIMITS):
            members[TOKEN_LIMITS[0]] = most


def _at_most(most: int, given: Any) -> Any:
    """Return the number that is given, or `most` if that is less or it is no number of tokens.

    To some servers a negative one, or 0, means that there is no limit.
    """
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return min(given, most) if is_number and given > 0 else most
