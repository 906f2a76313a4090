"""The keys that are good now, and what ends when they are read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatsvc.client_limits import ClientLimits
from chatsvc.settings import BadSetting, Settings
from chatsvc.users.current_keys import (
    CurrentKeys,
    Withdrawal,
    has_keys,
    read_keys,
    read_keys_again,
    report_keys,
)
from chatsvc.users.keys import ApiKey, KeyRing, digest_of

ALICE = ApiKey("alice", "a" * 64)
ALICES_OTHER = ApiKey("alice", "b" * 64)
BOB = ApiKey("bob", "c" * 64)
BOTH = frozenset({"chat", "admin"})


def replaced(
    before: list[ApiKey], after: list[ApiKey]
) -> tuple[CurrentKeys, list[Withdrawal]]:
    """Keys that were replaced, and what the listener was told."""
    told: list[Withdrawal] = []
    keys = CurrentKeys(KeyRing(before))
    keys.on_withdrawal(told.append)
    keys.replace(KeyRing(after))
    return keys, told


@pytest.mark.parametrize(
    ("after", "ended", "users"),
    [
        ([ALICES_OTHER, BOB], {ALICE.digest}, set()),
        ([BOB], {ALICE.digest, ALICES_OTHER.digest}, {"alice"}),
        ([], {ALICE.digest, ALICES_OTHER.digest, BOB.digest}, {"alice", "bob"}),
        # Another user's now, and one that may not chat any more.
        ([ALICE, ALICES_OTHER, ApiKey("eve", BOB.digest)], {BOB.digest}, {"bob"}),
        (
            [ALICE, ALICES_OTHER, ApiKey("bob", BOB.digest, frozenset({"admin"}))],
            {BOB.digest},
            {"bob"},
        ),
    ],
)
def test_what_ends(after: list[ApiKey], ended: set[str], users: set[str]) -> None:
    keys, told = replaced([ALICE, ALICES_OTHER, BOB], after)
    assert told == [Withdrawal(frozenset(ended), frozenset(users))]
    assert keys.ended_users == users


@pytest.mark.parametrize(
    "after",
    [
        [ALICE],
        [ALICE, BOB],
        [ApiKey("alice", ALICE.digest, BOTH, ClientLimits(starts=1))],
    ],
)
def test_what_lasts_is_not_told(after: list[ApiKey]) -> None:
    keys, told = replaced([ALICE], after)
    assert not told
    assert not keys.ended_users
    assert list(keys.ring) == after


def test_a_user_who_gets_a_key_again_has_not_ended() -> None:
    keys, _ = replaced([ALICE, BOB], [BOB])
    keys.replace(KeyRing([]))
    assert keys.ended_users == {"alice", "bob"}
    keys.replace(KeyRing([ALICES_OTHER]))
    assert keys.ended_users == {"bob"}


def test_the_variable_and_the_file_may_be_given_together(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(f'[[key]]\nname = "alice"\nsha256 = "{ALICE.digest}"\n')
    settings = Settings(api_keys="x" * 16, api_keys_file=str(file))
    digest = digest_of("x" * 16)
    assert list(read_keys(settings)) == [ApiKey(f"key-{digest[:8]}", digest), ALICE]
    file.write_text(f'[[key]]\nname = "alice"\nsha256 = "{digest}"\n')
    with pytest.raises(BadSetting, match=r"key 1 \(alice\) is in CHATSVC_API_KEYS"):
        read_keys(settings)


def test_a_pipe_of_keys_is_read_once_and_the_keys_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = os.pipe()
    os.write(writer, f'[[key]]\nname = "alice"\nsha256 = "{ALICE.digest}"\n'.encode())
    os.close(writer)
    settings = Settings(api_keys_file=f"/dev/fd/{reader}")
    assert list(read_keys(settings)) == [ALICE]
    assert read_keys_again(settings) is None
    os.close(reader)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "the API keys stay as they are: --api-keys-file" in record.message


def test_how_many_keys_there_are_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    report_keys(KeyRing([ALICE, ALICES_OTHER, BOB]))
    report_keys(KeyRing())
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("INFO", "API keys: 3, of users: 2"),
        ("WARNING", "there is no API key: nobody is let in"),
    ]


def test_only_what_names_a_key_or_a_file_makes_a_service_with_keys() -> None:
    assert not has_keys(Settings())
    assert not has_keys(Settings(api_keys=" \n"))
    assert has_keys(Settings(api_keys="x"))
    assert has_keys(Settings(api_keys_file="x"))
