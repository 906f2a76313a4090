"""Certificates for tests, of an authority of their own."""

from __future__ import annotations

from pathlib import Path

import trustme


class Pems:
    """Files `chain.pem` and `key.pem` in a folder, and `ca.pem` for clients that trust them."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.flags = ("--ssl-certfile", str(self.chain), "--ssl-keyfile", str(self.key))
        self.renew()

    def renew(self, *, chain: bool = True, key: bool = True, rsa: bool = False) -> None:
        """Write the files of a new certificate, or one of them, so that they don't fit."""
        kind = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
        issued = self._authority.issue_cert("localhost", "127.0.0.1", key_type=kind)
        if chain:
            pems = (pem.bytes() for pem in issued.cert_chain_pems)
            self.chain.write_bytes(b"".join(pems))
        if key:
            issued.private_key_pem.write_to_path(str(self.key))
