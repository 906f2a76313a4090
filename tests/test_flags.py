"""What `--help` says of flags: groups, kinds of values, defaults, and what the environment says."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import click
import pytest

from chatsvc.client.ask import AskSettings
from chatsvc.client.doctor import DoctorSettings
from chatsvc.flags import WIDTH, options, variables_text, write_flags
from chatsvc.settings import Settings, default_text, flag, setting_groups

COMMANDS = [Settings, AskSettings, DoctorSettings]


def written(kind: Any, environment: dict[str, str]) -> str:
    """The flags of a command as help shows them."""
    formatter = click.HelpFormatter(width=WIDTH - 2)
    write_flags(formatter, kind, {"-h": "help"}, environment)
    return formatter.getvalue()


@pytest.mark.parametrize("kind", COMMANDS)
def test_each_flag_is_one_line_of_its_group(kind: Any) -> None:
    lines = [line for line in written(kind, {}).splitlines() if line]
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles == [*(f"{group.title}:" for group in setting_groups(kind)), "Help:"]
    assert len(lines) == len(titles) + len(fields(kind)) + 1
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_setting_is_in_one_group(kind: Any) -> None:
    names = [each.name for group in setting_groups(kind) for each in group.settings]
    assert sorted(names) == sorted(each.name for each in fields(kind))


@pytest.mark.parametrize("kind", COMMANDS)
def test_no_kind_of_value_is_the_end_of_the_flag_and_nothing_more(kind: Any) -> None:
    """`--max-per-client CLIENT` says nothing; `--max-seconds SECONDS` has the unit in its name."""
    kinds = {"HOST", "PORT", "[HOST:]PORT", "SECONDS", "ORIGIN", "HEADER", "URL"}
    kinds |= {"MODEL", "MODE", "PATH", "N", "SIZE", "NAME", "CIDR", "JSON", "TEXT"}
    kinds |= {"HEADER,…", "MODEL,…", "FUNCTION", "LEVEL", "COLOUR"}
    for option in options(kind):
        assert isinstance(option, click.Option)
        metavar = option.metavar or ""
        assert metavar in kinds or "|" in metavar, option.opts


def test_defaults_are_shown_as_people_write_them() -> None:
    shown = {each.name: default_text(each) for each in fields(Settings)}
    assert shown["host"] == "127.0.0.1"
    assert shown["max_reply"] == "256KiB"
    assert shown["max_files"] == "4MiB"
    assert shown["uds_mode"] == "660"
    assert shown["keep"] == "300"
    assert shown["pace"] == "0.1 for echo, 0 for others"
    assert shown["open"] == shown["uds"] == shown["allow_origin"] == ""
    assert "default )" not in written(Settings, {})


def test_a_variable_that_is_set_is_not_taken_for_the_default() -> None:
    environment = {
        "CHATSVC_KEEP": "7",
        "CHATSVC_OPEN": "yes",
        "CHATSVC_STORE": "redis://anna:s3cret@h",
        "CHATSVC_API_KEYS": "s3cret-keys-of-users",
        "CHATSVC_PORT": "tcp://10.0.0.1:3000",
        "CHATSVC_SYSTEM": "a\x1b[31m" + "x" * 1000,
    }
    out = " ".join(written(Settings, environment).split())
    assert "(default 300; CHATSVC_KEEP is '7')" in out
    assert "(CHATSVC_OPEN is 'yes')" in out
    assert "(default memory; CHATSVC_STORE is set)" in out
    assert "(CHATSVC_API_KEYS is set)" in out
    assert "(default 3000)" in out
    assert "s3cret" not in out
    assert "\x1b" not in out
    assert "x" * 100 not in out


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_rule_of_the_variables_names_a_flag_of_the_command(kind: Any) -> None:
    text = variables_text(kind)
    found = re.search(r"that of (--[a-z-]+) is CHATSVC_([A-Z_]+)\.", text)
    assert found is not None
    assert found[1] == flag(found[2].lower())
    assert found[1] in [name for option in options(kind) for name in option.opts]
    assert ("yes or no" in text) is (kind is not DoctorSettings)
