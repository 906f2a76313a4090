"""What a client may ask (PROTOCOL.md section 2)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.kept_prompt import keep
from chatsvc.model import Message, Prompt
from chatsvc.problem import Problem
from chatsvc.problems import BadJson, BadText, InvalidRequest, TooLarge
from chatsvc.requests.chat import (
    ChatRequest,
    check_key,
    digest,
    make_prompt,
    parse_chat,
    parse_frame,
    scoped_key,
)
from chatsvc.requests.values import SHARED_CHARACTERS, Caller, RequestLimits

LIMIT = 1000
LIMITS = RequestLimits(LIMIT)

ROLES = ("system", "developer", "user", "assistant")
"""The roles of messages that need no other member."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.text(max_size=200))
def test_a_message_comes_through_as_it_is(text: str) -> None:
    body = json.dumps({"message": text})
    expected = (Message("user", text),)
    assert make_prompt(parse_chat(body.encode()), LIMITS).messages == expected
    assert make_prompt(parse_frame(body), LIMITS).messages == expected
    plain = json.dumps({"message": text}, ensure_ascii=False)
    assert make_prompt(parse_chat(plain.encode()), LIMITS).messages == expected


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.text(max_size=20)), min_size=1))
def test_a_conversation_comes_through_in_order(turns: list[tuple[str, str]]) -> None:
    body = json.dumps(
        {"messages": [{"role": r, "content": c, "name": "x"} for r, c in turns]}
    )
    asked = make_prompt(parse_chat(body.encode()), LIMITS)
    assert [(m.role, m.content) for m in asked.messages] == turns


def test_unknown_fields_are_ignored_and_an_empty_message_is_valid() -> None:
    asked = parse_chat(b' {"temperature": 0.5, "message": "", "x": [{}, null]} ')
    assert make_prompt(asked, LIMITS).messages == (Message("user", ""),)


@pytest.mark.parametrize(
    ("body", "problem", "detail"),
    [
        (b"", BadJson, "not JSON"),
        (b"{", BadJson, "not JSON"),
        (b"hello", BadJson, "not JSON"),
        (b'{"message": "a"} x', BadJson, "not JSON"),
        (b"{'message': 'a'}", BadJson, "not JSON"),
        (b'{"message": "a\nb"}', BadJson, "not JSON"),
        (b'{"message": NaN}', BadJson, "not JSON"),
        (b'{"message": "a", "x": Infinity}', BadJson, "not JSON"),
        (b'{"message": 1, ', BadJson, "not JSON"),
        (b"[" * 100_000, BadJson, "nested"),
        (b'{"x": ' * 100_000, BadJson, "nested"),
        (b'\xef\xbb\xbf{"message": "a"}', BadJson, "BOM"),
        ('{"message": "a"}'.encode("utf-16"), BadText, "UTF-8"),
        ('{"message": "a"}'.encode("utf-16-le"), BadJson, "not JSON"),
        (b'{"message": "\xff"}', BadText, "UTF-8"),
        (b'{"message": "\xed\xa0\x80"}', BadText, "UTF-8"),
        (b'{"message": "\\ud800"}', BadText, "surrogate"),
        (b'{"message": "\\udc00\\ud800"}', BadText, "surrogate"),
        (b'{"messages": [{"role": "user", "content": "\\ud83d"}]}', BadText, "surr"),
        (b'{"message": "\\uD83D\\uD83D\\uDE00"}', BadText, "surrogate"),
        (b'{"message": "\\ud83d\\ude00\\ude00"}', BadText, "surrogate"),
        (b'{"message": "\\\\\\ud83d"}', BadText, "surrogate"),
        (b'{"message": "\\ud83d\\\\\\ude00"}', BadText, "surrogate"),
        (b'{"message": 1, "x": "\\udfff"}', BadText, "surrogate"),
        (b'{"message": 1, "x": "\\\\ud83d"}', InvalidRequest, r"\$\.message"),
        (b'{"message": 1, "x": "\\ud83d\\ude00"}', InvalidRequest, r"\$\.message"),
        (b"null", InvalidRequest, "object"),
        (b"[]", InvalidRequest, "object"),
        (b"{}", InvalidRequest, '"message"'),
        (b'{"message": null}', InvalidRequest, '"message"'),
        (b'{"message": 5}', InvalidRequest, r"\$\.message"),
        (b'{"message": 1%b}' % (b"0" * 5000), InvalidRequest, r"\$\.message"),
        (b'{"message": {"a": 1}}', InvalidRequest, r"\$\.message"),
        (b'{"messages": []}', InvalidRequest, "at least one"),
        (b'{"messages": "a"}', InvalidRequest, r"\$\.messages"),
        (b'{"messages": [{"role": "user"}]}', InvalidRequest, "content"),
        (
            b'{"messages": [{"role": "user", "content": ["a"]}]}',
            InvalidRequest,
            r"messages\[0\]\.content\[0\] must be a part",
        ),
        (
            b'{"messages": [{"role": "tool", "content": "a"}]}',
            InvalidRequest,
            r"messages\[0\]\.role must not be tool",
        ),
    ],
)
def test_what_is_wrong_is_said(
    body: bytes, problem: type[Problem], detail: str
) -> None:
    with pytest.raises(problem, match=detail):
        make_prompt(parse_chat(body), LIMITS)


def test_a_surrogate_in_text_that_was_decoded_already_is_told() -> None:
    with pytest.raises(BadText, match="surrogate"):
        parse_frame('{"message": "\ud800"}')


@given(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()))
def test_whatever_comes_is_a_prompt_or_a_problem(body: bytes) -> None:
    try:
        assert make_prompt(parse_chat(body), LIMITS).messages
    except (BadJson, BadText, InvalidRequest):
        pass


@pytest.mark.parametrize(
    "text", ["a" * LIMIT, "好" * (LIMIT // 3), "👍" * (LIMIT // 4)]
)
def test_the_limit_counts_bytes_of_utf8(text: str) -> None:
    assert make_prompt(ChatRequest(message=text), LIMITS).messages[0].content == text
    with pytest.raises(TooLarge, match="1000 bytes"):
        make_prompt(ChatRequest(message=text + "你"), LIMITS)


def test_a_long_reply_may_come_back() -> None:
    said = {"role": "assistant", "content": "好" * LIMIT}
    asked = ChatRequest(messages=[said, {"role": "user", "content": "and then?"}])
    assert make_prompt(asked, LIMITS).messages[0].as_dict() == said
    for role in ("user", "system"):
        with pytest.raises(TooLarge):
            make_prompt(ChatRequest(messages=[{**said, "role": role}]), LIMITS)


@pytest.mark.parametrize("key", ["a", "!~", "x" * 128])
def test_an_idempotency_key_is_visible_ascii(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "a\n", "é", "\x7f", "\0"])
def test_another_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="128 visible ASCII"):
        check_key(key)


visible = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128
)
callers = st.builds(
    Caller,
    st.sampled_from(["", "ann"]),
    st.sampled_from(["", "127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "fe80::1%eth0"]),
    st.sampled_from(["", "connection"]),
)


@given(visible, callers, visible, callers)
def test_keys_are_one_where_they_mean_one_reply(
    one: str, here: Caller, other: str, there: Caller
) -> None:
    for key in (one, other):
        known = scoped_key(key, here), scoped_key(key, there)
        if here.user or len(key) >= SHARED_CHARACTERS:
            assert known[0] == key
        else:
            # No client can send it as a key of its own.
            with pytest.raises(InvalidRequest):
                check_key(known[0])
        if here.user == there.user:
            shared = len(key) >= SHARED_CHARACTERS or bool(here.user)
            assert (known[0] == known[1]) == (shared or here.place == there.place)
    if one != other:
        assert scoped_key(one, here) != scoped_key(other, there)


def test_an_address_is_the_same_by_ipv4_and_ipv6() -> None:
    assert Caller(client="::ffff:192.0.2.1").place == Caller(client="192.0.2.1").place
    assert Caller(client="2001:db8:0::1").place == Caller(client="2001:db8::1").place
    assert Caller(client="192.0.2.1", connection="c").place == "c"
    assert Caller().place == ""


def test_a_frame_reads_and_stops() -> None:
    frame = parse_frame('{"read": "abc", "after": 7}')
    assert (frame.read, frame.after, frame.stop, frame.key) == ("abc", 7, None, "")
    assert parse_frame('{"stop": "abc"}').stop == "abc"
    assert parse_frame('{"message": "a", "key": "k"}').key == "k"
    with pytest.raises(InvalidRequest, match="after"):
        parse_frame('{"read": "abc", "after": "7"}')


turns = st.lists(
    st.builds(Message, st.sampled_from(ROLES), st.text(max_size=5)), max_size=4
).map(tuple)


@given(turns, turns)
def test_a_digest_tells_requests_apart(
    one: tuple[Message, ...], other: tuple[Message, ...]
) -> None:
    assert (digest(keep(Prompt(one))) == digest(keep(Prompt(other)))) == (one == other)
