"""Authorities and certificates for tests of TLS, as PEM files of one folder; nothing here outlives a test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

import trustme

NODE_NAME, SCANNER_NAME, PACS_NAME = "node.hospital.example", "ct1.hospital.example", "pacs.hospital.example"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A key and its certificate, and in `authority` who signed it."""

    key: Path
    certificate: Path
    authority: Path

    @property
    def fingerprint(self) -> str:
        return sha256(PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()

    def settings(self, **others: Any) -> dict[str, Any]:
        """The section `tls` of who has this identity."""
        files = {"certificate": self.certificate, "key": self.key, "authorities": self.authority}
        return {**{name: str(path) for name, path in files.items()}, **others}

    def options(self) -> list[str]:
        """How a program of DCMTK is given this identity, and the trust in its authority."""
        return ["+tls", str(self.key), str(self.certificate), "+cf", str(self.authority)]


class Authority:
    """Signs; `issue` writes the files of a new identity."""

    def __init__(self, folder: Path, name: str = "hospital") -> None:
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._signs = trustme.CA(organization_name=name)
        self.certificate = self._folder / "authority.pem"
        self._signs.cert_pem.write_to_path(str(self.certificate))
        self.key = self._folder / "authority.key"
        self._signs.private_key_pem.write_to_path(str(self.key))

    def issue(
        self, *names: str, as_: str = "", common_name: str | None = None, days: float = 365
    ) -> Identity:
        """A certificate for names or addresses, good for so many days from now on (below 0: it has ended)."""
        ends = datetime.now(UTC) + timedelta(days=days)
        issued = self._signs.issue_cert(
            *names, common_name=common_name, not_before=ends - timedelta(days=400), not_after=ends
        )
        stem = self._folder / (as_ or (names[0] if names else str(common_name)))
        key, certificate = stem.with_suffix(".key"), stem.with_suffix(".pem")
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        return Identity(key=key, certificate=certificate, authority=self.certificate)
