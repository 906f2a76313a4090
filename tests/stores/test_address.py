"""Addresses of Redis: what they say, what is refused and how, and that no password is shown."""

from __future__ import annotations

import re
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import chatsvc.serve
from chatsvc.cli import main
from chatsvc.settings import BadSetting, Settings
from chatsvc.stores import check_store_name, make_store, with_store_file_read
from chatsvc.stores.address import SCHEMES, RedisAddress, parse_address
from chatsvc.stores.redis import RedisStore
from chatsvc.stores.redis.connect import connect

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://", RedisAddress("single", False, (("localhost", 6379),))),
        ("redis://h/3", RedisAddress("single", False, (("h", 6379),), database=3)),
        ("redis://h?db=3", RedisAddress("single", False, (("h", 6379),), database=3)),
        ("rediss://[::1]:1/", RedisAddress("single", True, (("::1", 1),))),
        (
            "redis://me:a%40b%2F%23%3F@h",
            RedisAddress(
                "single", False, (("h", 6379),), username="me", password="a@b/#?"
            ),
        ),
        (
            "redis://:x@h",
            RedisAddress("single", False, (("h", 6379),), password="x"),
        ),
        (
            "redis://h?username=me&password=a%26b",
            RedisAddress(
                "single", False, (("h", 6379),), username="me", password="a&b"
            ),
        ),
        (
            "redis+sentinel://a,[::1]:5/my%2Fmaster/2?sentinel_password=x",
            RedisAddress(
                "sentinel",
                False,
                (("a", 26379), ("::1", 5)),
                "my/master",
                2,
                sentinel_password="x",
            ),
        ),
        (
            "rediss+sentinel://a/m?ssl_ca_certs=/c.pem",
            RedisAddress(
                "sentinel",
                True,
                (("a", 26379),),
                "m",
                tls_options={"ssl_ca_certs": "/c.pem"},
            ),
        ),
        (
            "redis+cluster://a:1,b/0",
            RedisAddress("cluster", False, (("a", 1), ("b", 6379))),
        ),
        (
            "rediss+cluster://a?ssl_cert_reqs=none",
            RedisAddress(
                "cluster",
                True,
                (("a", 6379),),
                tls_options={"ssl_cert_reqs": "none", "ssl_check_hostname": False},
            ),
        ),
        (
            "rediss://a?ssl_check_hostname=No",
            RedisAddress(
                "single",
                True,
                (("a", 6379),),
                tls_options={"ssl_check_hostname": False},
            ),
        ),
    ],
)
def test_an_address_says(text: str, address: RedisAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("redis+sentinel://h/m?ssl=true", "redis+sentinel:// * ssl is not known*rediss+sentinel://"),
        ("redis+cluster://h?ssl=true", "ssl is not known*rediss+cluster://"),
        ("redis://h?ssl_ca_certs=/x", "ssl_ca_certs is not known*rediss://"),
        ("rediss://h?ssl=true", "ssl_ca_certs*ssl is not known"),
        ("redis://h?socket_timeout=5", "db, username, password: socket_timeout is not known"),
        ("redis+cluster://h?db=1", "db is not known"),
        ("redis://h?sentinel_password=x", "sentinel_password is not known"),
        ("redis://h?db", "db has a value"),
        ("redis://h?db=1&db=2", "once"),
        ("redis://h/1?db=2", "database once"),
        ("redis://h/x", "a number"),
        ("redis://h/1/2", "ends with its database"),
        ("redis+cluster://h/1", "/0 in a Cluster"),
        ("redis+sentinel://h", "/mymaster"),
        ("redis://a,b", "redis+sentinel://"),
        ("redis://h:0", "a port from 1 to 65535"),
        ("redis://h:65536", "a port from 1 to 65535"),
        ("redis://h:x", "a port from 1 to 65535"),
        ("redis://h\n", "host:port"),
        ("redis+cluster://", "host:port"),
        ("redis+cluster://a,", "host:port"),
        ("redis://::1", "in []"),
        ("redis://h#1", "%23"),
        ("redis://a:b@h?password=c", "not both"),
        ("rediss://h?ssl_cert_reqs=never", "required, optional, none"),
        ("rediss://h?ssl_check_hostname=maybe", "yes or no"),
        ("rediss://h?ssl_check_hostname=yes&ssl_cert_reqs=none", "no ssl_check"),
        ("rediss://h?ssl_keyfile=/k", "ssl_certfile"),
        ("redis", "takes memory or redis://"),
        ("unix:///run/redis.sock", "not 'unix'"),
        ("redi://h", "not 'redi'"),
    ],
)  # fmt: skip
def test_what_is_not_used_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="^takes ") as refused:
        check_store_name(text)
    assert all(word in str(refused.value) for word in says.split("*"))


MISTYPED = [
    "rediss:/user:{}@h/0",
    "redis:user:{}@h",
    "redi://user:{}@h",
    "REDIS://user:{}@h",
    "redis//user:{}@h",
    "redis;//user:{}@h",
    "user:{}@h:6379",
    ":{}@h",
    "{}@h",
    "redis+sentinels://:{}@h/m",
    "redis://user:{}@h:port",
    "redis://user:{}@h/x",
    "redis://user:{}@",
    "redis://user:{}/@h/0",
    "redis://user:{}#1@h/0",
    "redis://user:{}?1@h/0",
    "redis://user:?{}@h/0",
    "redis://user:#{}@h/0",
    "redis://user:/{}@h/0",
    "redis://user:{}",
    "redis://{}:@h:x",
    "redis://h?{}",
    "redis://h?{}=",
    "redis://h?passwort={}",
    "redis://h?password={}&password=x",
    "redis://h/0/{}",
    "redis+sentinel://user:{}@h",
    "redis+cluster://user:{}@h/3",
    "redis+cluster://user:{}@h,,",
    " redis://user:{}@h",
    "redis://user:{}@h ",
    "redis://user:{}@h\n",
    "redis://user:a b {}@h h",
    "http://user:{}@h",
    "rediss://user:{}@h?ssl=true",
]


@pytest.mark.parametrize("text", MISTYPED)
@pytest.mark.parametrize("by", ["flag", "word", "variable", "file", "other", "host"])
def test_no_message_shows_the_password_of_a_mistyped_address(
    text: str,
    by: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, words = text.format(PASSWORD), []
    if by == "flag":
        words = ["--store", address]
    elif by == "variable":
        monkeypatch.setenv("CHATSVC_STORE", address)
    elif by == "file":
        (tmp_path / "address").write_text(address)
        words = ["--store-file", str(tmp_path / "address")]
        if address.strip() != address:
            return  # white space around an address is none of it
    elif "@" not in address or any(space in address for space in " \n"):
        return  # it looks like no address: any word may be a password
    elif by == "word":
        words = ["serve", address]
    elif by == "other":
        words = ["--port", address]
    else:
        # This one gets as far as to serve; the logs of this process stay as they are.
        monkeypatch.setattr(chatsvc.serve, "set_up_logs", lambda settings: None)
        words = ["--host", f"--store={address}"]
    assert main(words) == (1 if by == "host" else 2)
    out, errors = capsys.readouterr()
    assert out == "" and errors
    assert PASSWORD not in errors


@given(
    st.text(string.printable, max_size=12),
    st.text(string.printable, max_size=12),
    st.sampled_from([*SCHEMES, "redi", "", "rediss:", "http"]),
    st.sampled_from(["://", ":/", ":", "//", "/", ""]),
)
@example("?", "", "redis", "://")
def test_no_refusal_shows_any_part_of_a_password(
    before: str, behind: str, scheme: str, separator: str
) -> None:
    text = f"{scheme}{separator}{before}{PASSWORD}{behind}@h"
    try:
        parsed = check_store_name(text)
    except ValueError as error:
        assert PASSWORD not in f"{error} {error!r}"
        assert error.__cause__ is None
    else:
        assert PASSWORD not in repr(parse_address(parsed)).replace(
            f"username={before}", ""
        ) or PASSWORD in str(parse_address(parsed).username)


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(list(SCHEMES)))
def test_any_user_and_password_can_be_written(
    user: str, password: str, scheme: str
) -> None:
    try:
        authority = f"{quote(user, safe='')}:{quote(password, safe='')}"
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    path = "/m" if "sentinel" in scheme else ""
    address = parse_address(f"{scheme}://{authority}@h{path}")
    assert (address.username, address.password) == (user, password)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_repr_shows_the_password(scheme: str) -> None:
    path = "/m?sentinel_password=hunter3" if "sentinel" in scheme else ""
    text = f"{scheme}://me:{PASSWORD}@h{path}"
    address = parse_address(text)
    client = connect(address, 1.0)
    store = RedisStore(text, keep=60)
    pool = getattr(client, "connection_pool", None)
    manager = getattr(pool, "sentinel_manager", None)
    shown = [Settings(store=text), address, client, store, pool, manager]
    shown += [vars(store), vars(store._commands)]
    shown += [] if pool is None else [pool.connection_kwargs]
    assert "hunter" not in repr(shown)


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_for_tls_that_cant_be_used_is_refused_at_once(
    name: str, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    settings = Settings(store=f"rediss://:{PASSWORD}@h?{name}={file}")
    with pytest.raises(ValueError, match=f"takes a file for {name}") as refused:
        make_store(settings)
    assert PASSWORD not in str(refused.value)


def test_the_address_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "address"
    file.write_text(f"\n redis://:{PASSWORD}@h/1 \n")
    settings = with_store_file_read(Settings(store_file=str(file)))
    assert (settings.store, settings.store_file) == (f"redis://:{PASSWORD}@h/1", "")
    assert isinstance(make_store(Settings(store_file=str(file))), RedisStore)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "takes memory or"),
        (b"\xff", "UTF-8"),
        (b"redis://h" + b" " * 5000, "4096 bytes"),
        (b"redis://h\nredis://i", "host:port"),
        (b"redis://:hunter2@h?ssl=true", "ssl is not known"),
    ],
)
def test_a_file_that_holds_none_is_refused(
    content: bytes | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "address"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSetting, match=r"^--store-file takes ") as refused:
        with_store_file_read(Settings(store_file=str(file)))
    assert says in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_a_store_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="one is enough") as refused:
        with_store_file_read(Settings(store=f"redis://:{PASSWORD}@h", store_file="/f"))
    assert not re.search(PASSWORD, str(refused.value))
