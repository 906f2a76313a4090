"""The certificates of the service: what can be used, and how they are exchanged."""

from __future__ import annotations

import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from chatsvc.listening.certificates import (
    Certificates,
    read_certificates,
    read_certificates_again,
)
from chatsvc.settings import BadSetting, Settings

from .pems import Pems


@pytest.fixture
def pems(tmp_path: Path) -> Pems:
    return Pems(tmp_path)


def shown(certificates: Certificates, pems: Pems, host: str | None) -> bytes | None:
    """The certificate that a client is shown in a handshake, without a network."""
    trusting = ssl.create_default_context(cafile=pems.ca)
    trusting.check_hostname = host is not None
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates.context.wrap_bio(theirs, ours, server_side=True)
    client = trusting.wrap_bio(ours, theirs, server_hostname=host)
    for _ in range(5):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return client.getpeercert(binary_form=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", None])
@pytest.mark.parametrize("rsa", [False, True])
def test_a_new_certificate_is_shown_from_then_on(
    pems: Pems, host: str | None, rsa: bool
) -> None:
    """Also one of another kind of key, and to a client that names no host."""
    certificates = Certificates(str(pems.chain), str(pems.key))
    first = shown(certificates, pems, host)
    pems.renew(rsa=rsa)
    assert shown(certificates, pems, host) == first
    certificates.read_again()
    second = shown(certificates, pems, host)
    assert second not in (first, None)
    pems.renew(rsa=not rsa)
    certificates.read_again()
    assert shown(certificates, pems, host) not in (first, second, None)


def test_a_pair_that_does_not_fit_changes_nothing_and_is_one_line(
    pems: Pems, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(str(pems.chain), str(pems.key))
    first = shown(certificates, pems, "localhost")
    caplog.set_level(logging.INFO)
    pems.renew(key=False)
    assert not read_certificates_again(certificates)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "the private key is not that of the certificate" in record.message
    assert shown(certificates, pems, "localhost") == first
    assert not read_certificates_again(certificates, quietly=True)
    assert len(caplog.records) == 1
    pems.renew()
    assert read_certificates_again(certificates)
    assert shown(certificates, pems, "localhost") != first
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_one_file_may_hold_both(pems: Pems, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pems.key.read_bytes() + pems.chain.read_bytes())
    assert shown(Certificates(str(both)), pems, "localhost")


def test_old_versions_of_tls_are_refused(pems: Pems) -> None:
    context = Certificates(str(pems.chain), str(pems.key)).context
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (b"", None, "--ssl-certfile .*: it has no certificate, or there is no private"),
        (b"nonsense", None, "it has no certificate, or there is no private key, in"),
        (None, b"", "--ssl-certfile .*no private key, in PEM"),
        (None, b"nonsense", "no private key, in PEM"),
    ],
)
def test_files_that_hold_something_else(
    pems: Pems, chain: bytes | None, key: bytes | None, words: str
) -> None:
    if chain is not None:
        pems.chain.write_bytes(chain)
    if key is not None:
        pems.key.write_bytes(key)
    with pytest.raises(BadSetting, match=words) as refused:
        Certificates(str(pems.chain), str(pems.key))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rsa", [False, True])
def test_a_key_of_another_certificate(pems: Pems, rsa: bool) -> None:
    pems.renew(chain=False, rsa=rsa)
    with pytest.raises(BadSetting, match="the private key is not that of the"):
        Certificates(str(pems.chain), str(pems.key))


def test_a_file_that_is_missing_is_named(pems: Pems) -> None:
    for name, files in {
        "--ssl-certfile /nowhere": ("/nowhere", str(pems.key)),
        "--ssl-keyfile /nowhere": (str(pems.chain), "/nowhere"),
        "--ssl-certfile /": ("/", ""),
    }.items():
        with pytest.raises(BadSetting, match=f"^{name}: [A-Z]"):
            Certificates(*files)


def test_nobody_is_asked_for_a_passphrase(pems: Pems) -> None:
    key = load_pem_private_key(pems.key.read_bytes(), None)
    pems.key.write_bytes(
        key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    with pytest.raises(BadSetting, match=r"^--ssl-keyfile .*key\.pem: .*a passphrase"):
        Certificates(str(pems.chain), str(pems.key))


def test_settings_that_do_not_go_together(pems: Pems) -> None:
    assert read_certificates(Settings()) is None
    with pytest.raises(BadSetting, match="^--ssl-keyfile needs --ssl-certfile$"):
        read_certificates(Settings(ssl_keyfile=str(pems.key)))
    named = Settings(ssl_certfile=str(pems.chain), ssl_keyfile=str(pems.key))
    assert read_certificates(named)
    with pytest.raises(BadSetting, match="^--ssl-certfile needs a --host"):
        read_certificates(replace(named, uds="x"))
    assert read_certificates(replace(named, uds="x", host=("127.0.0.1",)))
