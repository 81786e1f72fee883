"""What the doctor says about one thing."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, whether it is well, and in words what was seen or what to do."""

    subject: str
    passed: bool
    words: str
