"""TLS: the certificate and private key that the service shows now.

They are in PEM files (RFC 7468), which are read again while connections go on.
"""

from __future__ import annotations

import logging
import ssl

from chatsvc.settings import BadSetting, Settings, flag

logger = logging.getLogger("chatsvc")

_MISMATCHES = {
    "KEY_VALUES_MISMATCH",
    "KEY_TYPE_MISMATCH",
    "NO_CERTIFICATE_ASSIGNED",
}
"""OpenSSL's reasons for refusing a private key that is another certificate's."""


class Certificates:
    """The certificate chain in the file `certfile`, with the private key in `keyfile`.

    An empty `keyfile` stands for `certfile`. `context` is for `loop.create_server`.

    Raises `BadSetting` when the files can't be used.
    """

    def __init__(self, certfile: str, keyfile: str = "") -> None:
        self._certfile, self._keyfile = certfile, keyfile
        self._current = self.context = _load(certfile, keyfile)
        # To load another certificate into the same context would leave one of another kind of key
        # (RSA, ECDSA) beside it. OpenSSL calls this for each handshake, with a name or without.
        self.context.sni_callback = self._choose

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        if self._current is not context:
            connection.context = self._current

    def read_again(self) -> None:
        """Read the files again, for the handshakes to come; connections go on.

        Raises `BadSetting` when they can't be used: what was good stays.
        """
        self._current = _load(self._certfile, self._keyfile)


def read_certificates(settings: Settings) -> Certificates | None:
    """Return the certificates that the settings name, or None.

    Raises `BadSetting` when they can't be used.
    """
    if not settings.ssl_certfile:
        if settings.ssl_keyfile:
            raise BadSetting(f"{flag('ssl_keyfile')} needs {flag('ssl_certfile')}")
        return None
    if not settings.hosts:
        raise BadSetting(
            f"{flag('ssl_certfile')} needs a {flag('host')}: a Unix socket has no TLS"
        )
    return Certificates(settings.ssl_certfile, settings.ssl_keyfile)


def read_certificates_again(
    certificates: Certificates, *, quietly: bool = False
) -> bool:
    """Read certificates again; return whether they could be used.

    What comes of it is logged, but with `quietly`.
    """
    try:
        certificates.read_again()
    except BadSetting as error:
        if not quietly:
            logger.error("the certificate stays as it is: %s", error)
        return False
    if not quietly:
        logger.info("the certificate has been read again")
    return True


def _load(certfile: str, keyfile: str) -> ssl.SSLContext:
    files = [("ssl_certfile", certfile)]
    if keyfile:
        files.append(("ssl_keyfile", keyfile))
    for name, path in files:  # OpenSSL doesn't say which of them it can't read
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise BadSetting(f"{flag(name)} {path}: {error.strerror}") from None

    def refuse_passphrase() -> str:
        raise BadSetting(
            f"{flag(name)} {path}: the private key has a passphrase, which nobody is asked for"
        )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certfile, keyfile or None, refuse_passphrase)
    except ssl.SSLError as error:
        raise BadSetting(f"{flag('ssl_certfile')} {certfile}: {_why(error)}") from None
    except OSError as error:
        raise BadSetting(
            f"{flag('ssl_certfile')} {certfile}: {error.strerror}"
        ) from None
    return context


def _why(error: ssl.SSLError) -> str:
    """Return in words why OpenSSL refuses a certificate or its private key."""
    reason = error.reason or ""
    if reason in _MISMATCHES:
        return "the private key is not that of the certificate"
    if reason == "NO_START_LINE" or "PEM" in str(error):
        return "it has no certificate, or there is no private key, in PEM"
    return reason.replace("_", " ").lower() or str(error)
