"""Deterministic UIDs: the same study read by the same bundle gets the same UIDs, on every attempt."""

import hashlib


def derive(
    installation_uid: str, study_uid: str, series_uid: str, bundle_sha256: str, *, kind: str, revision: int
) -> str:
    """Derive the UID of one object of a reading from all arguments; `kind` tells its objects apart."""
    return uid_from(installation_uid, study_uid, series_uid, bundle_sha256, kind, str(revision))


def uid_from(*words: str) -> str:
    """Derive a UID below 2.25 from the first 128 bits of a SHA-256 over all words (PS3.5 B.2).

    At most 44 characters, so it always fits VR UI.
    """
    digest = hashlib.sha256("|".join(words).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
