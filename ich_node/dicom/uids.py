"""Deterministic UIDs: the same study read by the same bundle gets the same UIDs, on every attempt."""

import hashlib


def derive(
    installation_uid: str, study_uid: str, series_uid: str, bundle_sha256: str, *, kind: str, revision: int
) -> str:
    """Derive a UID below 2.25 from the first 128 bits of a SHA-256 over all arguments (PS3.5 B.2).

    At most 44 characters, so it always fits VR UI. `kind` tells the objects of one reading apart.
    """
    identity = "|".join((installation_uid, study_uid, series_uid, bundle_sha256, kind, str(revision)))
    digest = hashlib.sha256(identity.encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
