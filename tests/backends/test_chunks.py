"""The reader of chunks against what servers really send: bytes in, text, finish or failure out."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.chunk_conversion import convert, loads
from chatsvc.backends.chunk_values import Chunk, decode
from chatsvc.backends.chunks import ChunkReader
from chatsvc.model import Finish, Piece
from tests.backends.test_chunk_pieces import fed
from tests.scripted_upstream import DONE, chunk

STOP = chunk(None, finish_reason="stop")

UNREADABLE = "The model's server sent what can't be read."
PAGE = "The model's server sent a web page, not a stream: look at --openai-url."


def event(choice: str) -> bytes:
    """Return the event of a chunk with one choice of index 0, whose other members are given."""
    return b'data: {"choices":[{"index":0,%b}]}\n\n' % choice.encode()


def read(
    *parts: bytes, clean: bool = True, **options: Any
) -> tuple[str, str | None, str]:
    """Return the text, the finish's reason and the failure's detail of a body that comes in parts.

    `clean` is whether the body comes to its end; else it stays open.
    """
    reader = ChunkReader(**options)
    pieces: list[Piece] = []
    for part in parts:
        if reader.complete or reader.failure is not None:
            break
        pieces += fed(reader, part)
    if clean and not reader.complete and reader.failure is None:
        pieces += reader.end()
    pieces += reader.rest()
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    if reader.failure is not None:
        return text, None, reader.failure.detail
    return text, reader.finish.reason if reader.finish is not None else None, ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(
            event('"text":"Hi","delta":{"content":"Hi"}') * 2, "HiHi", id="text, delta"
        ),
        pytest.param(
            event('"delta":{"content":"Hi"},"message":{"content":"Hi"}')
            + event('"delta":{"content":"!"},"message":{"content":"Hi!"}'),
            "Hi!",
            id="a message that accumulates beside the deltas",
        ),
        pytest.param(
            event('"delta":{"role":"assistant"},"message":{"content":""}')
            + event('"delta":{"content":"Hi"},"message":{"content":"Hi"}'),
            "Hi",
            id="a message that accumulates from a role on",
        ),
        pytest.param(
            event('"delta":{"content":"Hi"}')
            + event('"message":{"content":"Hi"},"delta":{}'),
            "Hi",
            id="the whole message beside the last delta",
        ),
        pytest.param(
            event('"delta":{"content":"Hi"}') + event('"message":{"content":"Hi"}'),
            "Hi",
            id="the whole message instead of the last delta",
        ),
        pytest.param(
            event('"delta":{"content":"Hi"}') + event('"text":"Hi"'),
            "Hi",
            id="the whole text instead of the last delta",
        ),
        pytest.param(
            event('"text":"H"')
            + event('"text":"i"')
            + event('"message":{"content":"Hi"}'),
            "Hi",
            id="the whole message behind texts",
        ),
        pytest.param(
            event('"message":{"content":"H"}') + event('"message":{"content":"i"}'),
            "Hi",
            id="messages alone",
        ),
        pytest.param(event('"text":"H"') + event('"text":"i"'), "Hi", id="texts alone"),
        pytest.param(
            event('"message":{"content":"Hi"},"text":"Hi"'), "Hi", id="message, text"
        ),
        pytest.param(
            event('"text":"Hi","delta":{"content":""}'), "Hi", id="text, empty delta"
        ),
        pytest.param(
            event('"delta":{"reasoning_content":"hm"}') + event('"text":"Hi"'),
            "Hi",
            id="text behind thoughts",
        ),
    ],
)
def test_a_text_is_said_once(body: bytes, text: str) -> None:
    assert read(body, STOP) == (text, "stop", "")


@pytest.mark.parametrize(
    "finish",
    ['""', '"null"', "false", "0", "null", "[]", "{}", '"None"', '"stop"', '"length"'],
)
def test_a_finish_that_is_none_or_early(finish: str) -> None:
    early = event(f'"delta":{{"content":"a"}},"finish_reason":{finish}')
    later = event('"delta":{"content":"b"}')
    reader = ChunkReader()
    assert reader.feed(early) == ["a"]
    assert reader.feed(later) == ["b"]
    assert reader.finish is None
    assert read(early, later, STOP) == ("ab", "stop", "")
    # Nothing comes after it any more: the server broke off.
    assert read(early, later) == ("ab", None, "")


@pytest.mark.parametrize(
    "more",
    [
        '"delta":{"content":"b"}',
        '"delta":{"reasoning":"hm"}',
        '"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}',
        '"delta":{"function_call":{"arguments":"{}"}}',
        '"text":"b"',
    ],
)
def test_more_of_the_answer_withdraws_a_finish(more: str) -> None:
    reader = ChunkReader()
    reader.feed(STOP)
    assert reader.finish == Finish("stop")
    reader.feed(event(more))
    assert reader.finish is None


@pytest.mark.parametrize(
    "nothing", ['"delta":{}', '"delta":{"content":""}', '"text":""']
)
def test_nothing_withdraws_no_finish(nothing: str) -> None:
    reader = ChunkReader()
    reader.feed(STOP + event(nothing) + b'data: {"usage":{"a":1}}\n\n')
    assert reader.finish == Finish("stop", {"a": 1})


def test_how_long_something_may_follow_a_finish() -> None:
    reader = ChunkReader()
    reader.feed(chunk("a", finish_reason="stop"))
    assert (reader.finish, reader.linger_s, reader.progress) == (Finish("stop"), 10, 1)
    reader.feed(chunk("b", finish_reason="stop"))
    assert (reader.finish, reader.linger_s, reader.progress) == (Finish("stop"), 10, 2)
    reader.feed(STOP)
    assert (reader.finish, reader.linger_s) == (Finish("stop"), 2)


LAST = event('"delta":{"content":"b"},"finish_reason":"stop"')


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r", b"\r\n"])
def test_a_clean_end_dispatches_what_is_pending(ending: bytes) -> None:
    last = LAST.rstrip() + ending
    assert read(chunk("a"), last) == ("ab", "stop", "")
    # Without a clean end nothing is known of what may follow.
    assert read(chunk("a"), last, clean=False) == ("a", None, "")
    assert read(chunk("a"), DONE.rstrip() + ending) == ("a", "stop", "")
    reader = ChunkReader()
    reader.feed(chunk("a") + STOP + b'data: {"choices":[],"usage":{"a":1}}' + ending)
    reader.end()
    assert reader.finish == Finish("stop", {"a": 1})
    failure = read(b"event: error\ndata: no luck" + ending)[2]
    assert failure.startswith("The model's server failed")


@pytest.mark.parametrize("cut", range(7, len(LAST) - 3))
def test_an_event_that_was_cut_is_none(cut: int) -> None:
    assert read(chunk("a"), LAST[:cut]) == ("a", None, "")


@pytest.mark.parametrize(
    "nothing",
    [
        b"data:\n\n",
        b"data\n\n",
        b"event: ping\ndata: ping\n\n",
        b"data: null\n\n",
        b"data: true\n\n",
        b"data: 5\n\n",
        b'data: "hello"\n\n',
        b"data: []\n\n",
        b"data: [1]\n\n",
        b"data: [{}]\n\n",
        b"data: {}\n\n",
        b'data: {"type":"ping"}\n\n',
        b'data: {"choices":null}\n\n',
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[null,5]}\n\n',
        b'data: {"code":0,"msg":"success"}\n\n',
        b'data: {"code":5}\n\n',
        b'data: {"code":"200","message":"OK","choices":[]}\n\n',
        b'data: {"base_resp":{"status_code":0,"status_msg":""}}\n\n',
        b'data: {"error":null,"success":true}\n\n',
        b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n',
        b"event: done\nid: 5\nretry: 5\n\n",
        b"{not json}\n\n",
        b'{"id":"1"}\n\n',
        b"hello\n\n",
    ],
)
def test_what_holds_no_object_and_is_no_error_is_passed_over(nothing: bytes) -> None:
    assert read(chunk("a") + nothing + chunk("b"), STOP) == ("ab", "stop", "")
    quoted = b'data: "[DONE]"\n\n'
    assert read(chunk("a") + nothing + quoted, clean=False) == ("a", "stop", "")


@pytest.mark.parametrize(
    "number", ["5", "0", "2024", "3.5", "-1", "1e5", "1.50", "0.10", "9" * 400]
)
def test_numbers_stand_as_they_stood(number: str) -> None:
    for choice in (
        f'"delta":{{"content":{number}}}',
        f'"message":{{"content":{number}}}',
        f'"text":{number}',
        f'"delta":{{"content":[{{"type":"text","text":{number}}}]}}',
        f'"delta":{{"content":[{number}]}}',
    ):
        assert read(event(choice), STOP) == (number, "stop", "")


@pytest.mark.parametrize(
    "content",
    [
        *("true", '{"a":1}', '[{"value":"a"}]', "[true]", '[{"text":{"a":1}}]'),
        *('[{"type":"text","value":"a"}]', '[{"type":""}]'),
    ],
)
def test_content_that_can_not_be_read_is_a_failure(content: str) -> None:
    body = event(f'"delta":{{"content":{content}}}')
    assert read(chunk("a") + body, STOP) == ("a", None, UNREADABLE)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('[{"type":"text","text":"a"},{"type":"text","text":"b"}]', "ab"),
        ('[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]', ""),
        ('[{"type":"reasoning","text":"hm"},{"type":"text","text":"a"}]', "a"),
        ('[{"type":"thinking","text":"hm"}]', ""),
        ('["a","b"]', "ab"),
        ('{"type":"text","text":"a"}', "a"),
        ('[{"type":"refusal","refusal":"no"}]', "no"),
        ('[{"type":"reference","reference_ids":[1]}]', ""),
        ('[{"type":"output_text","text":"a"}]', "a"),
        ("[]", ""),
        ("false", ""),
    ],
)
def test_parts(content: str, text: str) -> None:
    assert read(event(f'"delta":{{"content":{content}}}'), STOP) == (text, "stop", "")


def test_thoughts_are_progress_and_no_text() -> None:
    for thought in (
        '"delta":{"content":[{"type":"thinking","thinking":"hm"}]}',
        '"delta":{"content":"hm","extra_content":{"google":{"thought":true}}}',
        '"delta":{"reasoning_details":[{"text":"hm"}]}',
        '"delta":{"reasoning":{"text":"hm"}}',
        '"message":{"reasoning":"hm"}',
    ):
        reader = ChunkReader()
        pieces = reader.feed(event(thought))
        assert pieces and not any(isinstance(piece, str) for piece in pieces)
        assert reader.progress == 1


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        *((name, "length") for name in ("length", "max_tokens", "MAX_TOKENS")),
        *((name, "length") for name in ("model_length", "max-tokens")),
        *((name, "content_filter") for name in ("SAFETY", "sensitive")),
        *((name, "content_filter") for name in ("content-filter", "content_filter")),
        *((name, "stop") for name in ("stop", "STOP", "end_turn", "eos")),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("something_new", "something_new"),
        ("Something New", "Something New"),
    ],
)
def test_how_an_answer_finished(finish: str, reason: str) -> None:
    assert read(chunk("a") + chunk(None, finish_reason=finish)) == ("a", reason, "")


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("insufficient_system_resource", "busy"),
        *((name, "broken") for name in ("network_error", "abort", "cancelled")),
        ("error", "broken"),
        ("ABORT", "broken"),
    ],
)
def test_a_finish_that_is_a_failure(finish: str, reason: str) -> None:
    reader = ChunkReader()
    assert reader.feed(chunk("a", finish_reason=finish)) == ["a"]
    assert reader.failure is not None
    assert (reader.failure.reason, finish in reader.failure.words) == (reason, True)


TOLD = "The model's server refused the request: "
BROKEN = "The model's server failed: try again."
BUSY = "The model is busy: wait a moment, then try again."
MISCONFIGURED = (
    "This service can't use its model's server: tell whoever runs the service."
)

ERRORS = [
    ('{"object":"error","message":"too long","type":"BadRequestError","code":400}', TOLD + "too long"),
    ('{"object":"error","message":"no luck","code":500}', BROKEN),
    ('{"detail":"no luck"}', BROKEN),
    ('{"detail":[{"type":"missing","msg":"too long"}]}', TOLD + "too long"),
    ('{"type":"error","error":{"type":"overloaded_error","message":"full"}}', BUSY),
    ('{"type":"error","error":{"type":"invalid_request_error","message":"too long"}}', TOLD + "too long"),
    ('{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}', MISCONFIGURED),
    ('{"base_resp":{"status_code":1026,"status_msg":"too long"}}', TOLD + "too long"),
    ('{"base_resp":{"status_code":1002,"status_msg":"too many"}}', BUSY),
    ('{"base_resp":{"status_code":1000,"status_msg":"no luck"}}', BROKEN),
    ('{"code":401,"msg":"wrong key"}', MISCONFIGURED),
    ('{"code":"InvalidApiKey","message":"wrong key","request_id":"1"}', MISCONFIGURED),
    ('{"code":"DataInspectionFailed","message":"too long"}', TOLD + "too long"),
    ('{"error":"no luck"}', BROKEN),
    ('{"error":{"message":"no luck","code":502}}', BROKEN),
    ('{"error":{"message":"slow down","type":"rate_limit_exceeded"}}', BUSY),
    ('{"error":{"message":"pay","code":"insufficient_quota","type":"insufficient_quota"}}', MISCONFIGURED),
    ('{"error":{"message":"no such model","code":"model_not_found"}}', MISCONFIGURED),
    ('{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}', TOLD + "too long"),
    ('{"error":true,"message":"no luck"}', BROKEN),
    ('{"error":{}, "errors":[{"message":"no luck"}]}', BROKEN),
    ('{"success":false,"errors":[{"code":7003,"message":"no luck"}]}', BROKEN),
    ('{"error_code":336002,"error_msg":"no luck"}', BROKEN),
    ('[{"error":{"code":400,"message":"too long","status":"INVALID_ARGUMENT"}}]', TOLD + "too long"),
]  # fmt: skip
"""Errors as servers word them, and what the user reads."""


@pytest.mark.parametrize(("error", "detail"), ERRORS)
def test_errors_of_every_shape(error: str, detail: str) -> None:
    data = error.encode()
    forms = {
        "an event": b"data: %b\n\n" % data,
        "an event with a type": b"event: error\ndata: %b\n\n" % data,
    }
    if error.startswith("{"):
        forms["a line"] = b"%b\n\n" % data
    for name, form in forms.items():
        assert read(chunk("a") + form, clean=False) == ("a", None, detail), name
    assert read(data)[2] == detail
    # As the first line the connection need not end for it, however it is cut.
    if error.startswith("{"):
        assert read(*single(data + b"\n"), clean=False)[2] == detail


def single(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize(
    "error", ['"error":{"message":"x","code":429}', '"base_resp":{"status_code":1002}']
)
def test_an_error_beside_choices(error: str) -> None:
    body = f'data: {{"choices":[{{"delta":{{"content":"b"}}}}],{error}}}\n\n'
    assert read(chunk("a") + body.encode()) == ("a", None, BUSY)


@pytest.mark.parametrize(
    "member",
    ['"detail":"x"', '"code":5,"msg":"x"', '"type":"error"', '"base_resp":{"status_code":0}'],
)  # fmt: skip
@pytest.mark.parametrize("content", ['"b"', "5"], ids=["quick", "exact"])
def test_what_is_no_error_beside_choices(member: str, content: str) -> None:
    body = f'data: {{"choices":[{{"delta":{{"content":{content}}}}}],{member}}}\n\n'
    text = content.strip('"')
    assert read(chunk("a") + body.encode(), STOP) == ("a" + text, "stop", "")


def test_the_error_of_a_choice() -> None:
    body = event('"delta":{"content":""},"error":{"code":429,"message":"x"}')
    reader = ChunkReader()
    reader.feed(chunk("a") + body)
    assert reader.failure is not None
    assert (reader.failure.reason, reader.failure.words) == ("busy", "x")


def test_the_words_are_for_the_log_without_the_key() -> None:
    reader = ChunkReader(("s3cret",))
    reader.feed(b'data: {"error":{"message":"key s3cret\\nat /etc/x is wrong"}}\n\n')
    assert reader.failure is not None
    assert reader.failure.words == "key … at /etc/x is wrong"
    assert reader.failure.answer_status == 200


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html>", b"\xef\xbb\xbf\n <html>", b"<?xml ?>", b"\n\n<a>"]
)
def test_a_page(page: bytes) -> None:
    assert read(page) == read(*single(page)) == ("", None, PAGE)


@pytest.mark.parametrize(
    "whole", ["{}", '{"choices":[]}', '{"choices":5}', "[]", "{", "[DONE]", '{"a":1}x']
)
def test_json_without_an_answer(whole: str) -> None:
    text, finish, detail = read(whole.encode())
    assert (text, finish) == ("", None)
    assert detail in (UNREADABLE, "The model's server sent no answer.")


def test_a_completion_in_one_piece() -> None:
    whole = b'\xef\xbb\xbf\n{"choices":[{"message":{"content":5},"finish_reason":"MAX_TOKENS"}]}'
    assert read(whole) == read(*single(whole)) == ("5", "length", "")


def test_cumulative_texts() -> None:
    body = chunk("") + chunk("你") + chunk("你") + chunk("你好") + chunk("你好") + STOP
    assert read(body, cumulative=True) == ("你好", "stop", "")
    halves = chunk("a\ud83d") + chunk("a😀") + chunk("a😀b\ud83d")
    assert read(halves, STOP, cumulative=True) == ("a😀b\ufffd", "stop", "")
    for other in ("b", "a"):
        text, _, failure = read(chunk("ab") + chunk(other), STOP, cumulative=True)
        assert (text, "--openai-cumulative" in failure) == ("ab", True)


# ------------------------------------------------------------------ laws

words = st.text(st.characters(exclude_categories=()), max_size=8)
content = st.one_of(words, st.none(), st.integers(), st.floats(allow_nan=False))
deltas = st.dictionaries(
    st.sampled_from(["content", "refusal", "reasoning", "role"]),
    st.one_of(words, st.none()),
)
choices = st.fixed_dictionaries(
    {},
    optional={
        "delta": st.one_of(deltas, st.none()),
        "message": deltas,
        "text": st.one_of(words, st.none()),
        "index": st.sampled_from([0, 1, None]),
        "finish_reason": st.sampled_from([None, "", "stop", "length", "x"]),
    },
)
chunks = st.fixed_dictionaries(
    {"choices": st.lists(choices, max_size=3)},
    optional={"usage": st.dictionaries(words, st.integers()), "id": words},
)


def looked_at(made: Chunk) -> object:
    """Return what the reader takes of a chunk."""
    return [
        (
            choice.finish_reason or None,
            [
                delta and (delta.content or "", delta.refusal or "", delta.has_more())
                for delta in (choice.delta, choice.message)
            ],
            choice.text or "",
        )
        for choice in made.choices or []
        if not choice.index
    ], made.any_usage()


@given(chunks)
def test_the_quick_way_gives_what_the_exact_one_gives(value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    assert looked_at(decode(text.encode())) == looked_at(convert(loads(text)))


pieces = st.one_of(
    chunks.map(lambda c: b"data: %b\n\n" % json.dumps(c).encode()),
    st.sampled_from([b": ping\n\n", b"data: {}\n\n", b"\n", b"data:\r\n\r\n", DONE]),
    st.sampled_from([b'{"error":"no"}\n', b'data: {"error":"no"}\n\n', b"data: {\n\n"]),
    st.binary(max_size=20),
)


@given(st.lists(pieces, max_size=6), st.lists(st.integers(0, 600), max_size=6))
def test_the_cuts_change_nothing(parts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(parts)
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    cut = [body[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*cut) == read(body) == read(*single(body))


SECOND = chunk("b")
SEVERAL_LINES = b'data: {"choices":[{"index":0,%b"delta":{"content":"%b"}}]}\n\n'


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([SECOND + SECOND], id="two events"),
        pytest.param([SECOND[:-2] + b"\n" + SECOND], id="one line for each"),
        pytest.param([SECOND.replace(b'"b"', b'"b"\n')], id="a line behind the text"),
        pytest.param([SECOND.replace(b'"b"', b'"b"\n\n')], id="an end behind the text"),
        pytest.param([SECOND.replace(b'"b"', b'\r"b"')], id="a line before the text"),
        pytest.param([SECOND.replace(b'"b"', b'"b\nb"')], id="a line in the text"),
        pytest.param([SECOND.replace(b'"b"', b'"b\n\nb"')], id="an end in the text"),
        pytest.param([SECOND.replace(b"data: ", b"data:")], id="without a space"),
        pytest.param([b"data: ", SECOND], id="behind half a line"),
        pytest.param([b"data: x\n", SECOND], id="behind half an event"),
        pytest.param([b"event: error\n", SECOND], id="behind a type"),
        pytest.param([b": x", SECOND], id="behind half a comment"),
        pytest.param(
            [SEVERAL_LINES % (b"\ndata: ", b"b"), SEVERAL_LINES % (b"\n", b"c")],
            id="several lines",
        ),
    ],
)
def test_only_what_is_one_event_is_read_as_one(parts: list[bytes]) -> None:
    """The quick way of a chunk that fits the frame of the one before gives what the exact way does."""
    assert read(chunk("a"), *parts) == read(*single(b"".join([chunk("a"), *parts])))


@pytest.mark.parametrize("limit", [len(SECOND) - 1, len(SECOND)])
def test_a_chunk_that_fits_the_frame_is_limited_too(limit: int) -> None:
    longer = SECOND.replace(b'"b"', b'"bbbbbbbbbb"')
    text, _, failure = read(chunk("a"), longer, limit=limit)
    assert text == "a"
    assert failure


@pytest.mark.parametrize("mark", [b'"[DONE]"', b"[DONE]", b" [DONE] "])
def test_the_mark_of_the_end(mark: bytes) -> None:
    assert read(chunk("a"), STOP, b"data: " + mark + b"\n\n") == ("a", "stop", "")
