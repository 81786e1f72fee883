"""Finds what identifies a patient in bytes that must hold nothing of it, in whatever encoding it is."""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, quote_plus

SHORTEST = 6  # octets; shorter ones stand in anything by chance


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A text that identifies somebody, and the codec of the header that it came in."""

    what: str
    text: str
    codec: str = "utf-8"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Where something was found; not the thing itself."""

    what: str
    encoding: str
    place: str


def identity(
    *, name: str, patient_id: str, birth_date: str, accession_number: str, codec: str = "utf-8"
) -> list[Secret]:
    """All that must not be seen of one patient; each part of the name counts by itself."""
    parts = [part.strip() for part in re.split(r"[\^=]", name)]
    secrets = [Secret(what="name", text=part, codec=codec) for part in (name, *parts)]
    secrets += [Secret(what="patient ID", text=patient_id, codec=codec)]
    secrets += [Secret(what="accession number", text=accession_number, codec=codec)]
    secrets += [Secret(what="birth date", text=text) for text in dates(birth_date)]
    return [one for one in secrets if len(one.text.encode(one.codec)) >= SHORTEST]


def dates(birth_date: str) -> list[str]:
    """A DA value in the ways that people and programs write it; what is no date stays as it is."""
    try:
        day = datetime.strptime(birth_date, "%Y%m%d")  # noqa: DTZ007  a day has no zone
    except ValueError:
        return [birth_date]
    ways = "%Y%m%d %Y-%m-%d %Y/%m/%d %Y.%m.%d %d.%m.%Y %d/%m/%Y %d-%m-%Y %m/%d/%Y %m-%d-%Y %d%m%Y %m%d%Y"
    return [day.strftime(way) for way in ways.split()] + [day.strftime("%d %b %Y"), day.strftime("%B %d, %Y")]


def encodings(secret: Secret) -> Iterator[tuple[str, bytes]]:
    """The octets to look for, each with the name of its encoding."""
    text = secret.text
    plain = {"utf-8": text.encode("utf-8"), secret.codec: text.encode(secret.codec)}
    plain |= {f"utf-16{order}": text.encode(f"utf-16{order}") for order in ("le", "be")}
    for codec, octets in plain.items():
        yield codec, octets
        yield f"{codec}, hex", octets.hex().encode()
        yield f"{codec}, HEX", octets.hex().upper().encode()
        yield f"{codec}, hex apart", octets.hex(" ").encode()
        yield f"{codec}, hex with colons", octets.hex(":").encode()
        yield f"{codec}, escaped octets", repr(octets)[2:-1].encode()
        for place in range(3):
            yield f"{codec}, base64 at {place}", _base64(octets, place, b"+/")
            yield f"{codec}, URL's base64 at {place}", _base64(octets, place, b"-_")
        yield f"{codec}, URL", quote(octets, safe="").encode()
        yield f"{codec}, form", quote_plus(octets).encode()
        yield f"{codec}, backwards", octets[::-1]
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "Python", repr(text)[1:-1].encode("utf-8")
    yield "XML", html.escape(text).encode("utf-8")
    yield "XML, numbers", "".join(f"&#{ord(sign)};" for sign in text).encode()
    yield "lower case", text.lower().encode("utf-8")
    yield "upper case", text.upper().encode("utf-8")
    yield "spaces", re.sub(r"[\^=,]+", " ", text).encode("utf-8")


def _base64(octets: bytes, place: int, signs: bytes) -> bytes:
    """What base64 makes of these octets behind `place` others, without what the neighbors have a part in."""
    encoded = base64.b64encode(bytes(place) + octets, signs).rstrip(b"=")
    first = -(-place * 8 // 6)
    last = (place + len(octets)) * 8 // 6
    return encoded[first:last]


class Search:
    """Looks for many secrets at once."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._patterns: dict[bytes, tuple[str, str]] = {}
        for secret in secrets:
            for encoding, octets in encodings(secret):
                if len(octets) >= SHORTEST:
                    self._patterns.setdefault(octets, (secret.what, encoding))

    def in_bytes(self, content: bytes, place: str) -> list[Leak]:
        found = (facts for octets, facts in self._patterns.items() if octets in content)
        return [Leak(what=what, encoding=encoding, place=place) for what, encoding in found]

    def in_names(self, folder: Path) -> list[Leak]:
        """In the paths of all that lies below a folder."""
        names = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
        return self.in_bytes(names.encode("utf-8", "surrogateescape"), f"names below {folder.name}")

    def in_files(self, files: Iterable[Path]) -> list[Leak]:
        return [leak for file in files for leak in self.in_bytes(file.read_bytes(), str(file))]


# who made-up patients of the demo and of the tests are, as far as it is the same in all of them:
# ich_node.demo.ct_images.made_up_patient, outbox.report
MADE_UP = (
    Secret(what="name", text="Phantom^Seed"),
    Secret(what="patient ID", text="PHANTOM-"),
    Secret(what="name", text="Doe^Jane"),
    Secret(what="patient ID", text="P-4711"),
)


def logs_below(folder: Path) -> list[Path]:
    """What looks like a log of ours below a folder; other people's programs write their own."""
    found = []
    for path in folder.rglob("*"):
        named = (
            path.name == "log" or path.suffix in (".log", ".err", ".out") or path.name in ("stderr", "stdout")
        )
        if named and path.is_file() and not any("orthanc" in part for part in path.parts):
            found.append(path)
    return sorted(found)
