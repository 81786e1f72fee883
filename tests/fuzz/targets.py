"""What is fuzzed, through the node's own doors; what leaves a target but a declared reason is a finding."""

import io
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import atheris
from fuzz import seeds
from fuzz.mutations import Mutated, mutate
from rich.console import Console

from ich_node.analysis.explain import explain_folder
from ich_node.analysis.files import read_file, read_headers
from ich_node.core.completion import heads_of, key_of
from ich_node.core.grounds import Rules
from ich_node.dicom.codestreams import announced
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.part10 import pixels_of, read_data_set, split
from ich_node.dicom.values import IDENTITY, quietly, text
from ich_node.errors import UnreadableInstance
from ich_node.intake.accept import Peer, Received, describe

# the small series is long enough by these: by the node's own it would be declined before it is assembled
RULES = Rules(minimum_slices=3, minimum_span_mm=20.0)
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
PEER = Peer(ae_title="FUZZ", address="127.0.0.1")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One way in; `run` gets the input and a folder for its files, `longest` is in bytes."""

    run: Callable[[bytes, Path], None]
    longest: int


def headers(content: bytes, folder: Path) -> None:
    """Read bytes as the receiver does, then as the worker does."""
    warnings.simplefilter("ignore")  # as in the receiver
    for received, dataset in _received(content):
        try:
            header = read_data_set(dataset, received.transfer_syntax_uid)
            new = describe(received, header, sha256="0" * 64, size=len(dataset))
        except UnreadableInstance:
            continue
        _storable(new.patient_id, new.accession_number, new.study_uid, new.sop_instance_uid)
    with suppress(UnreadableInstance):
        pixels_of(content)
    path = folder / "0.dcm"
    path.write_bytes(content)
    try:
        dataset = read_file(path, pixels=False)
        facts = instance_facts(dataset)
    except UnreadableInstance:
        return
    with quietly():
        _storable(*(text(dataset, keyword) for keyword in IDENTITY))
    heads_of([facts], RULES)


def _received(content: bytes) -> list[tuple[Received, bytes]]:
    """What a C-STORE may have brought: the data set of a file, or the bytes by themselves in any syntax."""
    try:
        meta, dataset = split(content)
    except UnreadableInstance:
        told = [("1.2", "1.2.3", syntax, content) for syntax in SYNTAXES]
    else:
        told = [(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid, bytes(dataset))]
    return [
        (
            Received(
                sop_class_uid=sop_class,
                sop_instance_uid=instance,
                transfer_syntax_uid=syntax,
                peer=PEER,
                association_id=None,
            ),
            dataset,
        )
        for sop_class, instance, syntax, dataset in told
    ]


def _storable(*texts: str) -> None:
    for one in texts:
        one.encode()  # what is no text cannot be written to the database, nor be printed


def series(content: bytes, folder: Path) -> None:
    """Mutate a series, read it from disk, choose, assemble and look at it, and tell what became of it."""
    drawn = drawn_series(content)
    write_series(drawn.mutated, folder)
    if drawn.early:
        heads = heads_of([one.facts for one in read_headers(folder.iterdir()).instances], RULES)
        json.dumps([key_of(heads), *(head.to_dict() for head in heads)], allow_nan=False)
        return
    explanation = explain_folder(folder, RULES, trust_headers=drawn.trust_headers)
    json.loads(explanation.to_json(), parse_constant=_no_json)
    page = io.StringIO()
    explanation.render(Console(file=page, width=120))
    _storable(page.getvalue())


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A series and how it is read: by its headers before all of it came, or whole."""

    mutated: Mutated
    early: bool
    trust_headers: bool


def drawn_series(content: bytes) -> Drawn:
    """Draw all there is to draw out of an input."""
    provider = atheris.FuzzedDataProvider(content)
    images = provider.PickValueInList(list(seeds.series()))
    return Drawn(
        mutated=mutate(images, provider),
        early=provider.ConsumeIntInRange(0, 3) == 3,
        trust_headers=provider.ConsumeBool(),
    )


def write_series(mutated: Mutated, folder: Path) -> None:
    """Write the files of a series, in place of those of the one before."""
    for old in folder.iterdir():
        old.unlink()
    for number, file in enumerate(mutated.files):
        (folder / f"{number}.dcm").write_bytes(file)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON (RFC 8259)")


def codestreams(content: bytes, folder: Path) -> None:
    """Read what a compressed frame announces of itself."""
    announced(content)


TARGETS = {
    "headers": Target(run=headers, longest=seeds.LARGEST),
    "series": Target(run=series, longest=4096),
    "codestreams": Target(run=codestreams, longest=1 << 17),
}
