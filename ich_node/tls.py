"""DICOM over TLS by the BCP 195 profile (PS3.15 Annex B; RFC 8996, RFC 9325), each side with a certificate.

Reads the files that `[tls]` names; connects only to learn why a handshake failed.
"""

import hashlib
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from ssl import (
    CERT_REQUIRED,
    OP_NO_COMPRESSION,
    OP_NO_RENEGOTIATION,
    OP_NO_TICKET,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    SSLCertVerificationError,
    SSLContext,
    SSLError,
    SSLSocket,
    TLSVersion,
)
from typing import Any

from ich_node.errors import UsageError
from ich_node.log import logger
from ich_node.settings.sections import RemoteEntity, Tls

# RFC 9325 4.2: forward secrecy and authenticated encryption; 4.5: level 2 lets no key below 112 bits through
SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_ALERT_WITHIN_S = 1.0  # in TLS 1.3 a peer looks at our certificate after the handshake has ended for us
_FINGERPRINT = re.compile("[0-9a-f]{64}")  # SHA-256
MOST_NAMES = 3  # of a peer's certificate, in a message
_OTHER_NAME = (62, 64)  # verify codes of OpenSSL: not for this host name, not for this address
_UNSIGNED = (
    "is not signed by an authority in tls.authorities: if it is to be trusted, add its authority there"
)
_VERIFY_WORDS = {
    9: "is not valid yet: compare the clocks",
    10: "has expired",
    18: "is signed by itself, and not in tls.authorities: if it is to be trusted, add it there",
    19: _UNSIGNED,
    20: _UNSIGNED,
    21: _UNSIGNED,
    26: "is not made for this side of a connection (extended key usage)",
    66: "has a key that is too short",
}
_HANDSHAKE_WORDS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate: give it one",
    "WRONG_VERSION_NUMBER": "it speaks no TLS there",
    "HTTP_REQUEST": "it speaks no TLS there",
    "UNSUPPORTED_PROTOCOL": "it offers only versions of TLS before 1.2",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it wants another version of TLS than 1.2 or 1.3",
    "NO_SHARED_CIPHER": "it offers no cipher suite of BCP 195",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it found no cipher suite of BCP 195, or wants another certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust who signed our certificate: give it our authority",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it finds our certificate expired: compare the clocks",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate and got none",
}


@dataclass(frozen=True, kw_only=True)
class PeerCertificate:
    """What the certificate of a peer says, verified: its names and the SHA-256 of it, in small hex digits."""

    names: tuple[str, ...]
    sha256: str

    @classmethod
    def of(cls, connection: SSLSocket) -> "PeerCertificate":
        """Of a connection after its handshake; raises OSError where the peer is gone."""
        encoded, parsed = connection.getpeercert(binary_form=True), connection.getpeercert()
        if not encoded or not parsed:
            raise SSLError("no certificate")
        return cls(names=_names(parsed), sha256=hashlib.sha256(encoded).hexdigest())

    def is_meant_by(self, entry: str) -> bool:
        """Whether an entry of the settings names this certificate, by a name of it or by its fingerprint."""
        plain = entry.replace(":", "").lower()
        if _FINGERPRINT.fullmatch(plain):
            return plain == self.sha256  # such a name an authority would sign for anybody
        return entry.lower() in {name.lower() for name in self.names}


def _names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The DNS names; only where there is none the common name (RFC 9525 no longer takes it for one)."""
    subject = (pair for part in certificate.get("subject", ()) for pair in part)
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    names = names or [value for kind, value in subject if kind == "commonName"]
    return tuple(name for name in names if name.isprintable())  # they go to the database and the terminal


@dataclass(frozen=True, kw_only=True)
class _Contexts:
    accepting: SSLContext
    calling: SSLContext
    asking: SSLContext


class Credentials:
    """Our certificate and whom we trust; files that changed are read again with the next connection.

    Where the new files are wrong the old ones go on to serve, and the log says it.
    """

    def __init__(self, files: Tls) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamps: list[object] = []
        self._contexts: _Contexts | None = None

    def accepting(self) -> SSLContext:
        """For who calls us; raises UsageError where no good files were seen yet."""
        return self._current().accepting

    def calling(self) -> SSLContext:
        """For whom we call; raises UsageError where no good files were seen yet."""
        return self._current().calling

    def asking(self) -> SSLContext:
        """To ask a peer for its name, no matter which; raises UsageError likewise."""
        return self._current().asking

    def _current(self) -> _Contexts:
        with self._lock:
            stamps = [_stamp(file) for file in self._files.paths]
            if self._contexts is not None and stamps == self._stamps:
                return self._contexts
            try:
                contexts = _load(self._files)
            except UsageError as error:
                if self._contexts is None:
                    raise
                logger().error("tls.not_reloaded", error=str(error))
                contexts = self._contexts
            else:
                if self._contexts is not None:
                    logger().info("tls.reloaded")
            self._stamps, self._contexts = stamps, contexts
            return contexts


def credentials_of(files: Tls) -> Credentials | None:
    """Credentials where the settings name files, else None."""
    return Credentials(files) if files.certificate else None


def _stamp(file: str) -> object:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _load(files: Tls) -> _Contexts:
    accepting = _context(files, PROTOCOL_TLS_SERVER)
    # a ticket would be the only thing that we send before the peer asks; nobody resumes
    accepting.num_tickets = 0
    accepting.options |= OP_NO_TICKET
    asking = _context(files, PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    return _Contexts(accepting=accepting, calling=_context(files, PROTOCOL_TLS_CLIENT), asking=asking)


def _context(files: Tls, side: int) -> SSLContext:
    context = SSLContext(side)
    context.minimum_version = TLSVersion.TLSv1_2
    context.verify_mode = CERT_REQUIRED
    context.set_ciphers(SUITES)
    context.options |= OP_NO_COMPRESSION | OP_NO_RENEGOTIATION
    for key, file in zip(("certificate", "key", "authorities"), files.paths, strict=True):
        content_of(key, file)  # ssl does not say which of them it cannot read
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    except (SSLError, ValueError) as error:
        raise UsageError(f"tls.certificate, tls.key: {_file_words(error)}") from error
    try:
        context.load_verify_locations(files.authorities)
    except (SSLError, ValueError) as error:
        raise UsageError(f"tls.authorities: {_file_words(error)}") from error
    return context


def content_of(key: str, file: str) -> bytes:
    """The content of the file that a key of the settings names; raises UsageError."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"tls.{key}: {file} cannot be read ({error.strerror})") from error


def _no_passphrase() -> bytes:
    raise UsageError("tls.key: it is protected by a passphrase, and nobody is there to type one; remove it")


def _file_words(error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return f"no PEM that can be used ({getattr(error, 'reason', None) or type(error).__name__})"


def handshake_words(error: OSError) -> str:
    """Why a handshake failed, about the other side (`it`)."""
    if isinstance(error, SSLCertVerificationError):
        return f"its certificate {_verify_words(error)}"
    if isinstance(error, TimeoutError):
        return "it does not end the handshake in time"
    if isinstance(error, SSLError) and error.reason in _HANDSHAKE_WORDS:
        return _HANDSHAKE_WORDS[error.reason]
    if isinstance(error, ConnectionError) or "EOF" in type(error).__name__:
        return "it hangs up in the handshake"
    return f"the handshake failed ({getattr(error, 'reason', None) or type(error).__name__})"


def _verify_words(error: SSLCertVerificationError) -> str:
    return _VERIFY_WORDS.get(error.verify_code, f"fails: {error.verify_message}")


def trouble_with(remote: RemoteEntity, credentials: Credentials, *, timeout_s: float) -> str | None:
    """Connect to learn in words why TLS with a peer fails; None where it does not, or nobody answers."""
    where = f"{remote.name} at {remote.host}:{remote.port}"
    try:
        _greet(remote, credentials.calling(), timeout_s)
    except _NobodyThere:
        return None
    except SSLCertVerificationError as error:
        if error.verify_code not in _OTHER_NAME:
            return f"the certificate of {where} {_verify_words(error)}"
        names = " or ".join(_names_of(remote, credentials, timeout_s)[:MOST_NAMES]) or "no name"
        return f"the certificate of {where} is not for {remote.tls_host}, but for {names}: set tls_name to it"
    except OSError as error:
        return f"no TLS with {where}: {handshake_words(error)}"
    return None


class _NobodyThere(Exception):
    """There is no connection to shake hands over."""


def _greet(remote: RemoteEntity, context: SSLContext, timeout_s: float) -> PeerCertificate:
    """Shake hands, and wait a moment for what the peer says of our certificate."""
    try:
        plain = socket.create_connection((remote.host, remote.port), timeout=timeout_s)
    except OSError as error:
        raise _NobodyThere from error
    with plain, context.wrap_socket(plain, server_hostname=remote.tls_host) as secured:
        secured.settimeout(_ALERT_WITHIN_S)
        with suppress(TimeoutError):
            secured.recv(1)
        return PeerCertificate.of(secured)


def _names_of(remote: RemoteEntity, credentials: Credentials, timeout_s: float) -> tuple[str, ...]:
    try:
        return _greet(remote, credentials.asking(), timeout_s).names
    except (OSError, _NobodyThere):
        return ()
