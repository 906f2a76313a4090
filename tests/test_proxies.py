"""Which proxy the environment has for a server, and which password netrc has."""

from base64 import b64decode
from pathlib import Path

import pytest
from yarl import URL

from chatsvc.proxies import (
    basic_authorization,
    is_loopback,
    netrc_authorization,
    proxy_of,
)

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("LocalHost.", True),
        ("ollama.localhost", True),
        ("[::ffff:127.0.0.1]", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("model.test", False),
    ],
)
def test_the_loopback_interface_has_no_proxy(
    host: str, loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES[:2]:
        monkeypatch.setenv(name, "http://proxy:3128")
    for scheme in ("http", "https", "ws", "wss"):
        url = URL(f"{scheme}://{host}:8080/v1")
        assert is_loopback(url) is loopback
        assert (proxy_of(url) is None) is loopback


@pytest.mark.parametrize(
    ("variable", "value", "url", "shown"),
    [
        (
            "HTTP_PROXY",
            "http://proxy:3128",
            "http://a/",
            "the proxy http://proxy:3128 (HTTP_PROXY)",
        ),
        ("http_proxy", "proxy:80", "ws://a/", "the proxy http://proxy (HTTP_PROXY)"),
        (
            "HTTPS_PROXY",
            "http://u:pw@proxy:3128/",
            "https://a/",
            "the proxy http://proxy:3128 (HTTPS_PROXY)",
        ),
        ("HTTPS_PROXY", "http://proxy:3128", "http://a/", None),
        ("HTTP_PROXY", "", "http://a/", None),
        ("HTTP_PROXY", "http://", "http://a/", None),
    ],
)
def test_the_variables(
    variable: str,
    value: str,
    url: str,
    shown: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    proxy = proxy_of(URL(url))
    assert (None if proxy is None else proxy.shown) == shown


def test_hosts_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "model.test,10.0.0.1")
    assert proxy_of(URL("http://model.test/")) is None
    assert proxy_of(URL("http://10.0.0.1:80/")) is None
    assert proxy_of(URL("http://other.test/")) is not None


def test_passwords_of_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = URL("http://model.test/v1")
    assert netrc_authorization(url) is None  # there is no such file
    file = tmp_path / "netrc"
    file.write_text(
        "machine model.test login ü password p:w\nmachine proxy login a password b\n"
    )
    file.chmod(0o600)
    scheme, _, code = (netrc_authorization(url) or "").partition(" ")
    assert (scheme, b64decode(code).decode()) == ("Basic", "ü:p:w")
    assert netrc_authorization(URL("http://other.test/")) is None
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    proxy = proxy_of(url)
    assert proxy is not None
    assert (proxy.url.user, proxy.url.password) == ("a", "b")
    assert "b" not in proxy.shown.replace("http", "").replace("proxy", "")
    file.write_text("machine")
    assert netrc_authorization(url) is None  # it can't be read


def test_basic() -> None:
    assert basic_authorization("Aladdin", "open sesame") == (
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617 section 2
    )
