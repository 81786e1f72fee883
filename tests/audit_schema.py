"""Judges audit messages by the schema of PS3.15 A.5.1."""

from pathlib import Path

from lxml import etree

_SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).parent / "dicom/audit_message.rng"))


def parsed(message: str) -> etree._Element:
    """A message that the schema lets through; fails the test where it does not."""
    root = etree.fromstring(message.encode("utf-8"))
    _SCHEMA.assertValid(root)
    return root


def is_valid(message: str) -> bool:
    return bool(_SCHEMA.validate(etree.fromstring(message.encode("utf-8"))))
