"""The file of API keys, and what is said of a bad one."""

from __future__ import annotations

import hashlib
import os
import string
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.client_limits import ClientLimits
from chatsvc.settings import BadSetting
from chatsvc.users.keys import ApiKey
from chatsvc.users.keys_file import LIMIT_MEMBERS, parse_keys, read_keys_file

DIGEST = hashlib.sha256(b"a key of alice's").hexdigest()
ONE = f'[[key]]\nname = "alice"\nsha256 = "{DIGEST}"\n'

NAMES = st.text(min_size=1, max_size=64).filter(
    lambda name: name.isprintable() and name == name.strip()
)
KEYS = st.builds(
    ApiKey,
    name=NAMES,
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
    scopes=st.sampled_from([{"chat"}, {"admin"}, {"chat", "admin"}]).map(frozenset),
    limits=st.builds(
        ClientLimits,
        **dict.fromkeys(LIMIT_MEMBERS.values(), st.none() | st.integers(0, 10**7)),
    ),
)


def written(key: ApiKey) -> str:
    """A key as it stands in a file."""
    name = key.name.replace("\\", "\\\\").replace('"', '\\"')
    lines = ["[[key]]", f'name = "{name}"', f'sha256 = "{key.digest.upper()}"']
    lines += [f"scopes = {sorted(key.scopes)}".replace("'", '"')]
    for member, field in LIMIT_MEMBERS.items():
        value = getattr(key.limits, field)
        if value is not None:
            lines += [f"{member} = {value}"]
    return "\n".join([*lines, ""])


@given(st.lists(KEYS, unique_by=lambda key: key.digest, max_size=4))
def test_what_is_written_is_read(keys: list[ApiKey]) -> None:
    assert parse_keys("\n".join(map(written, keys))) == keys


def test_a_key_may_only_chat_within_the_services_limits_by_default() -> None:
    assert parse_keys(ONE) == [ApiKey("alice", DIGEST)]
    assert parse_keys(ONE)[0].scopes == {"chat"}
    assert parse_keys("") == parse_keys("# none\n") == []


def test_a_user_may_have_several_keys() -> None:
    other = ONE.replace(DIGEST, "1" * 64)
    assert [key.name for key in parse_keys(ONE + other)] == ["alice", "alice"]


BAD = [
    ("name = x", "it is not TOML at line 1, column 8"),
    ('name = "', "it is not TOML at"),
    ("a = " + "[" * 100_000, "it is not TOML"),
    ('name = "alice"', "it takes tables [[key]] alone, not 'name'"),
    (f'[{"k" * 40}]\nname = "alice"', "it takes tables [[key]] alone, not other ones"),
    ('[key]\nname = "alice"', "each key is a table [[key]], with two brackets"),
    ('key = ["alice"]', "each key is a table [[key]], with two brackets"),
    ("[[key]]", "key 1: name takes 1 to 64 printable characters"),
    ('[[key]]\nname = ""', "key 1: name takes 1 to 64"),
    ('[[key]]\nname = " alice"', "key 1: name takes 1 to 64"),
    ('[[key]]\nname = "a\\nb"', "key 1: name takes 1 to 64"),
    (f'[[key]]\nname = "{"a" * 65}"', "key 1: name takes 1 to 64"),
    ("[[key]]\nname = 7", "key 1: name takes 1 to 64"),
    (
        '[[key]]\nname = "alice"',
        "key 1 (alice): sha256 takes the 64 hexadecimal digits",
    ),
    (f'{ONE}[[key]]\nname = "bob"\nsha256 = 7', "key 2 (bob): sha256 takes the 64"),
    (ONE.replace(DIGEST, f"{DIGEST}  -"), "key 1 (alice): sha256 takes the 64"),
    (ONE.replace(DIGEST, "secret-of-alice"), "key 1 (alice): sha256 takes the 64"),
    (
        ONE.replace(DIGEST, hashlib.sha256().hexdigest()),
        "key 1 (alice): sha256 is that of an empty key",
    ),
    (ONE + ONE, "key 2 (alice) has the sha256 of key 1: each key is there once"),
    (
        f"{ONE}scope = []",
        "max_starts, max_readers, max_connections, not 'scope'",
    ),
    (f"{ONE}[key.limits]", "not 'limits'"),
    *[
        (
            f"{ONE}scopes = {scopes}",
            'key 1 (alice): scopes takes a list of "chat", "admin" or both',
        )
        for scopes in ("[]", '"chat"', '["root"]', '["Chat"]', "[1]", '[["chat"]]')
    ],
    *[
        (
            f"{ONE}max_starts = {value}",
            "key 1 (alice): max_starts takes a whole number, 0 or more (0: no limit)",
        )
        for value in ("-1", "true", '"5"', "1.0", "10000001", "[]", "9" * 30)
    ],
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_bad_file_is_refused_in_one_line_that_shows_no_hash(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(BadSetting) as refused:
        read_keys_file(str(file))
    line = str(refused.value)
    assert line.startswith(f"--api-keys-file {file}: ")
    assert said in line
    assert "\n" not in line
    assert DIGEST not in line
    assert "secret" not in line


@given(st.text(st.sampled_from([*string.printable, "é", "\ud800"]), max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for whole in (text, f"{ONE}{text}", f"[[key]]\n{text}"):
        try:
            parse_keys(whole)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            tomllib.loads(whole)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "it is not UTF-8"),
        (b"#" * (16 * 1024 * 1024 + 1), "it has more than 16777216 bytes"),
    ],
)
def test_a_file_of_other_bytes_is_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "keys.toml"
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=said):
        read_keys_file(str(file))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere", "can't read it: No such file or directory"),
        ("/", "can't read it: Is a directory"),
        ("\x00", "can't read it: it is no path"),
    ],
)
def test_a_file_that_can_not_be_read_says_why(path: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        read_keys_file(path)


def test_a_pipe_is_read_once() -> None:
    reader, writer = os.pipe()
    os.write(writer, ONE.encode())
    os.close(writer)
    path = f"/dev/fd/{reader}"
    assert len(read_keys_file(path)) == 1
    with pytest.raises(BadSetting, match="no regular file, and can't be read again"):
        read_keys_file(path, again=True)
    os.close(reader)


def test_a_named_pipe_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys"
    os.mkfifo(path)
    # To open it would wait for ever.
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(BadSetting, match="no regular file, and can't be read again"):
        read_keys_file(str(path), again=True)
