"""How long our certificates and those of the authorities are good for. Reads the files that `[tls]` names.

Apart from `tls`: the receiver does without the 10 MB that parsing takes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from ich_node.errors import UsageError
from ich_node.log import logger
from ich_node.settings.sections import Tls
from ich_node.tls import content_of


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate in one of our files."""

    key: str  # of the settings: certificate or authorities
    file: str
    name: str
    ends_at: datetime


def days_left(certificate: Certificate, *, now: datetime) -> float:
    """Days until it ends; below 0 where it has ended."""
    return (certificate.ends_at - now) / timedelta(days=1)


def certificates_in(files: Tls) -> list[Certificate]:
    """Our certificates and the authorities', in the order of their files; raises UsageError."""
    named = (("certificate", files.certificate), ("authorities", files.authorities))
    return [one for key, file in named if file for one in _certificates(key, file)]


def warn_of_ends(files: Tls, *, now: datetime) -> None:
    """Log which certificates have ended or are about to."""
    try:
        found = certificates_in(files)
    except UsageError as error:
        logger().error("tls.not_readable", error=str(error))
        return
    for one in found:
        left = days_left(one, now=now)
        if left < files.warn_days:
            log = logger().bind(certificate=one.name, days=int(left), error=f"see tls.{one.key}")
            (log.error if left < 0 else log.warning)("certificate.ends")


def _certificates(key: str, file: str) -> list[Certificate]:
    try:
        found = x509.load_pem_x509_certificates(content_of(key, file))
    except ValueError as error:
        raise UsageError(f"tls.{key}: {file} holds no certificate that can be read (PEM)") from error
    return [
        Certificate(
            key=key,
            file=file,
            name=one.subject.rfc4514_string() or "(no name)",
            ends_at=one.not_valid_after_utc,
        )
        for one in found
    ]
