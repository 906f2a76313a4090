"""What a chunk's part of a call becomes."""

from __future__ import annotations

from chatsvc.backends.call_pieces import call_piece
from chatsvc.backends.chunk_values import CallDelta, Custom, Function
from chatsvc.model import ToolCall


def test_a_call_of_a_function() -> None:
    call = CallDelta(1, "c", Function("f", "{}"), {"s": 1}, "function")
    assert call_piece(call) == ToolCall("c", "f", "{}", {"s": 1}, 1)
    assert call_piece(CallDelta()) == ToolCall()


def test_a_custom_is_of_that_type_also_without_it() -> None:
    custom = ToolCall("", "f", "text", type="custom")
    assert call_piece(CallDelta(custom=Custom("f", "text"))) == custom
    assert call_piece(CallDelta(custom=Custom("f", "text"), type="function")) == custom


def test_members_that_a_log_can_not_hold_are_left_out() -> None:
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    call = CallDelta(id="c", others={"deep": deep, "big": 2**70, "a": "x"})
    assert call_piece(call).more == {"big": float(2**70), "a": "x"}
