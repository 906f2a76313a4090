"""Requests are parsed in linear time, or within limits, whatever is in them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from aiohttp.test_utils import make_mocked_request
from babel import negotiate_locale
from yarl import URL

from chatsvc.cursor import parse_cursor
from chatsvc.host_names import host_of
from chatsvc.model import ABILITIES
from chatsvc.problems import BadJson, BadText, InvalidRequest, Problem
from chatsvc.requests.chat import digest, make_prompt, parse_chat, read_frame
from chatsvc.requests.openai import parse_completion
from chatsvc.requests.ui import parse_turn
from chatsvc.requests.values import Caller, RequestLimits
from chatsvc.settings import Settings
from chatsvc.web import parsing
from chatsvc.web.negotiation import (
    MAX_SUBTAGS,
    MAX_VALUES,
    accepted_languages,
    accepts_gzip,
    cookie,
    negotiate,
    parse_weights,
)
from chatsvc.web.origin import Origins
from chatsvc.web.proxies import TrustedProxies

from .linear import assert_linear_at

NO_LIMIT = RequestLimits(10**9, takes=ABILITIES)

Make = Callable[[int], str]

# ---------------------------------------------------------------------- JSON

JSON: dict[str, Make] = {
    "open lists": lambda n: "[" * n,
    "open objects": lambda n: '{"a":' * (n // 5),
    "a deep list that is ignored": lambda n: (
        '{"message":"a","x":' + "[" * (n // 2) + "]" * (n // 2) + "}"
    ),
    "many deep lists": lambda n: (
        '{"x":[' + ("[" * 400 + "]" * 400 + ",") * (n // 801) + '1],"message":1}'
    ),
    "a huge number": lambda n: '{"message":' + "1" * n + "}",
    "a huge number that is ignored": lambda n: '{"x":' + "1" * n + ',"message":"a"}',
    "a huge number of an option": lambda n: (
        '{"messages":[{"role":"user","content":"a"}],"x":' + "1" * n + "}"
    ),
    "a huge fraction": lambda n: '{"x":0.' + "1" * n + ',"message":1}',
    "a huge exponent": lambda n: '{"x":1e' + "1" * n + ',"message":1}',
    "a huge number and exponent": lambda n: f'{{"x":{"1" * n}e-{n},"message":1}}',
    "many numbers": lambda n: (
        '{"x":[' + ("1" * 400 + ",") * (n // 401) + '1],"message":1}'
    ),
    "a long key": lambda n: '{"' + "k" * n + '":1,"message":1}',
    "a long key of an option": lambda n: (
        '{"messages":[{"role":"user","content":"a"}],"' + "k" * n + '":1}'
    ),
    "many members": lambda n: (
        "{" + "".join(f'"k{i}":1,' for i in range(n // 10)) + '"message":1}'
    ),
    "many options": lambda n: (
        '{"messages":[{"role":"user","content":"a"}]'
        + "".join(f',"k{i}":1' for i in range(n // 10))
        + "}"
    ),
    "a key again and again": lambda n: (
        "{" + '"message":"a",' * (n // 14) + '"message":1}'
    ),
    "an unknown key again and again": lambda n: (
        "{" + '"k":1,' * (n // 6) + '"message":1}'
    ),
    "an error at the end": lambda n: '{"message":"' + "a" * n + '"} x',
    "an error after many lines": lambda n: '{"message":1,' + "\n" * n + "x}",
    "an error after wide characters": lambda n: '{"message":"' + "好" * (n // 3) + '"',
    "escapes": lambda n: '{"message":"' + "\\u0061" * (n // 6) + '","messages":1}',
    "backslashes": lambda n: '{"message":"' + "\\\\" * (n // 2) + '","messages":1}',
    "pairs of surrogates": lambda n: (
        '{"message":"' + "\\ud83d\\ude00" * (n // 12) + '","messages":1}'
    ),
    "lone surrogates": lambda n: '{"message":"' + "\\ud83d" * (n // 6) + '"}',
    "a lone surrogate at the end": lambda n: (
        '{"message":"' + "\\\\\\ude0" * (n // 7) + '\\udead"}'
    ),
    "messages": lambda n: (
        '{"messages":['
        + '{"role":"user","content":""},' * (n // 29)
        + '{"role":"user","content":1}]}'
    ),
    "parts": lambda n: (
        '{"id":"a","messages":[{"role":"user","content":[],"parts":['
        + '{"type":"text","text":"a"},' * (n // 27)
        + '{"type":"text"}]}]}'
    ),
    "contents": lambda n: (
        '{"messages":[{"role":"user","content":['
        + '{"type":"text","text":"a"},' * (n // 27)
        + '{"type":"text","text":"b"}]}]}'
    ),
    "blanks": lambda n: " " * n + "x",
    "blanks between": lambda n: '{"x":[' + " 1 ," * (n // 4) + '1],"message":1}',
}
"""Bodies that cost much, by their length in bytes."""

CALLER = Caller()

PARSERS: dict[str, Callable[[str], object]] = {
    "chat": lambda body: digest(make_prompt(parse_chat(body.encode()), NO_LIMIT)),
    "frame": lambda text: read_frame(text, CALLER, NO_LIMIT),
    "completion": lambda body: parse_completion(body.encode(), NO_LIMIT),
    "turn": lambda body: parse_turn(body.encode(), NO_LIMIT),
}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("name", JSON)
def test_json_takes_linear_time(name: str, parser: str) -> None:
    def work(body: str) -> None:
        with contextlib.suppress(Problem):
            PARSERS[parser](body)

    assert_linear_at(work, JSON[name], 128 * 1024)


@pytest.mark.parametrize("name", JSON)
def test_what_is_wrong_with_json_costs_no_more_than_what_is_right(name: str) -> None:
    """What is refused is read once more, to say why; that may not be the costly part."""
    body = JSON[name](500_000)
    right = '{"messages":[' + '{"role":"user","content":"a"},' * 16_000
    right += '{"role":"user","content":"a"}]}'

    def work(body: str) -> None:
        with contextlib.suppress(BadJson, BadText, InvalidRequest):
            make_prompt(parse_chat(body), NO_LIMIT)

    assert_linear_at(work, lambda size: body if size > 1 else right, 1)


# ---------------------------------------------------------------------- headers

HEADERS: dict[str, Make] = {
    "commas": lambda n: "," * n,
    "semicolons": lambda n: "a/b" + ";" * n,
    "a long weight": lambda n: "a;q=0." + "0" * n + "1",
    "many weights": lambda n: "a;q=0.5;" * (n // 8),
    "values": lambda n: ",".join(f"a{i}/b;q=0.1" for i in range(n // 13)),
    "equals signs": lambda n: "a;" + "=" * n,
    "blanks": lambda n: " " * n,
    "subtags": lambda n: "a-" * (n // 2) + "a",
    "languages with subtags": lambda n: "a-b-c-d-e-f," * (n // 12),
    "one long value": lambda n: "a" * n,
    "a long cursor": lambda n: "a" * 22 + ":1" + "0" * n,
    "cookies": lambda n: "a=b; " * (n // 5),
    "no cookies": lambda n: "a b;" * (n // 4),
    "quotes": lambda n: 'a="b;' * (n // 5),
}
"""Headers that cost much, by their length in bytes."""


def _language(header: str) -> str | None:
    return negotiate_locale(accepted_languages(header), ["en", "zh"], sep="-")


def _cursor(header: str) -> None:
    with contextlib.suppress(Problem):
        parse_cursor(header)


def _forwarded(header: str) -> bool:
    headers = {"X-Forwarded-Host": header, "Host": "a"}
    request = make_mocked_request("GET", "/", headers=headers)
    return Origins(Settings(), TrustedProxies(())).is_own(request, "http://b")


def _host(header: str) -> None:
    with contextlib.suppress(ValueError):
        host_of(header)


HEADER_PARSERS: dict[str, Callable[[str], object]] = {
    "Host": _host,
    "Accept": lambda header: negotiate.__wrapped__(header, parsing.MEDIA_TYPES),
    "Accept-Language": _language,
    "Accept-Encoding": accepts_gzip,
    "Cookie": lambda header: cookie(header, "chatsvc_language"),
    "Last-Event-ID": _cursor,
    "X-Forwarded-Host": _forwarded,
}


@pytest.mark.parametrize("parser", HEADER_PARSERS)
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_takes_linear_time(name: str, parser: str) -> None:
    assert_linear_at(HEADER_PARSERS[parser], HEADERS[name], 8 * 1024)


def test_the_first_values_of_a_header_count() -> None:
    header = "a," * 1000
    assert len(parse_weights(header)) == MAX_VALUES
    many = ",".join(["a/b"] * (MAX_VALUES - 1) + ["text/plain"])
    assert negotiate(many, parsing.MEDIA_TYPES) == "text/plain"
    assert negotiate(f"a/b,{many}", parsing.MEDIA_TYPES) is None


def test_the_first_subtags_of_a_language_count() -> None:
    header = "zh-" + "a-" * 4000 + "a"
    languages = accepted_languages(header)
    assert len(languages) == MAX_SUBTAGS
    assert languages[-1] == "zh"
    assert len(accepted_languages(f"{header}," * 1000)) == MAX_SUBTAGS * MAX_VALUES
    assert _language(header) == "zh"


# ---------------------------------------------------------------------- queries

QUERIES: dict[str, Make] = {
    "ampersands": lambda n: "&" * n,
    "equals signs": lambda n: "=" * n,
    "letters that are escaped": lambda n: "message=" + "%41" * (n // 3),
    "percent signs": lambda n: "message=" + "%" * n,
    "no UTF-8": lambda n: "message=" + "%FF" * (n // 3),
    "parameters": lambda n: "a=1&" * (n // 4),
    "messages": lambda n: "message=1&" * (n // 10),
    "plus signs": lambda n: "message=" + "+" * n,
    "a long wait": lambda n: "wait=" + "1" * n,
    "a small wait": lambda n: "wait=0." + "0" * n + "1",
    "a long position": lambda n: "after=" + "1" * n,
}
"""Queries that cost much, by their length in bytes."""


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_takes_linear_time(name: str) -> None:
    match_info = {"reply": "a" * 22}

    def work(query: str) -> None:
        path = f"/api/chat?{query}"
        for read in (parsing.read_get_chat, parsing.read_get_reply):
            request = make_mocked_request("GET", path, match_info=match_info)
            request._rel_url = URL(path, encoded=True)  # yarl remembers URLs
            with contextlib.suppress(Problem, KeyError):  # there are no settings
                read(request)

    assert_linear_at(work, QUERIES[name], 16 * 1024)
