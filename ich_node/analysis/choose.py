"""Chooses the series to read of one study: headers first, then pixels as far as the choice needs them.

Reads files; decodes in this process unless somebody else does (`analysis.decoding`); loads no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from pydicom.dataset import Dataset

from ich_node.analysis.files import FoundInstance, read_file
from ich_node.core.conclusion import ends_not_covered
from ich_node.core.grounds import Rules
from ich_node.core.instances import InstanceFacts
from ich_node.core.selection import Look, Selection, choose
from ich_node.dicom.values import ODD_VALUE, quietly
from ich_node.dicom.volume import AssembledSeries, assemble_stack
from ich_node.errors import CannotJudge, UnreadableInstance
from ich_node.vocabulary import Reason
from model.brain import BrainEvidence, brain_evidence

Looked = tuple[Look, AssembledSeries | None]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The selection of one study; chosen candidates as volumes by key; files by SOP Instance UID."""

    selection: Selection
    paths: dict[str, Path]
    series: dict[str, AssembledSeries] = field(default_factory=dict)


class LookAt(Protocol):
    """Decodes one candidate and looks for a brain, here or in another process."""

    def __call__(
        self, members: Sequence[InstanceFacts], paths: dict[str, Path], rules: Rules, *, trust_headers: bool
    ) -> Looked: ...


def choose_series(
    found: Sequence[FoundInstance],
    rules: Rules | None = None,
    *,
    trust_headers: bool = False,
    look: LookAt | None = None,
) -> Choice:
    """Choose among the instances of one study, looking at pixels until none could change the choice.

    `trust_headers`: values are not checked for being HU, and a brain window counts as a picture of the head.
    `look`: who decodes, this process if nobody else.
    """
    look = look or look_at
    rules = rules or Rules()
    facts = _with_contents(found)
    paths = {one.facts.sop_instance_uid: one.path for one in reversed(found)}
    by_uid = {fact.sop_instance_uid: fact for fact in facts}
    looks: dict[str, Look] = {}
    series: dict[str, AssembledSeries] = {}
    selection = choose(facts, rules)
    while selection.wanted is not None:
        candidate = next(one for one in selection.candidates if one.key == selection.wanted)
        members = [by_uid[uid] for uid in candidate.instances]
        looks[candidate.key], assembled = look(members, paths, rules, trust_headers=trust_headers)
        if assembled is not None:
            series[candidate.key] = assembled
        selection = choose(facts, rules, looks)
        # of a twin that was put back a volume is kept: the others may turn out no better
        kept = {one.key for one in selection.candidates if one.chosen or one.is_twin}
        series = {key: volume for key, volume in series.items() if key in kept}
    return Choice(selection=selection, paths=paths, series=series)


def look_at(
    members: Sequence[InstanceFacts], paths: dict[str, Path], rules: Rules, *, trust_headers: bool
) -> Looked:
    """Decode one candidate and look for a brain; the one place where received pixels are decoded."""

    def load(sop_instance_uid: str) -> Dataset:
        try:
            return read_file(paths[sop_instance_uid], pixels=True)
        except UnreadableInstance as fault:
            full = isinstance(fault.__cause__, MemoryError)
            raise CannotJudge(Reason.TOO_LARGE if full else Reason.UNDECODABLE) from fault

    try:
        assembled = assemble_stack(members, load, rules=rules, trust_headers=trust_headers)
    except CannotJudge as fault:
        return Look(holds_brain=None, reasons=(fault.reason,)), None
    evidence = brain_evidence(assembled.volume, windowed=trust_headers)
    not_covered = ends_not_covered(evidence.first_share, evidence.last_share)
    assembled = replace(assembled, extent=replace(assembled.extent, not_covered=not_covered))
    sees = _sees_brain(evidence, assembled, rules)
    return Look(holds_brain=sees, cut_off=bool(not_covered)), assembled


def _sees_brain(evidence: BrainEvidence, assembled: AssembledSeries, rules: Rules) -> bool | None:
    """Judge by the whole where there is a whole; a few slices can show a brain but not that there is none."""
    if evidence.holds_brain:
        return True
    extent = assembled.extent
    if extent.slices >= rules.minimum_slices and extent.covered_mm >= rules.minimum_span_mm:
        return False
    return True if 2 * evidence.brain_slices > len(assembled.volume.hu) else None


def _with_contents(found: Sequence[FoundInstance]) -> list[InstanceFacts]:
    """Tell contents apart where one SOP Instance UID came more than once; elsewhere no pixel is read."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.facts.sop_instance_uid] = counts.get(one.facts.sop_instance_uid, 0) + 1
    return [
        replace(one.facts, content_key=_pixel_hash(one.path))
        if counts[one.facts.sop_instance_uid] > 1
        else one.facts
        for one in found
    ]


def _pixel_hash(path: Path) -> str:
    try:
        with quietly():
            # not converted: it may claim to be anything
            pixels = getattr(read_file(path, pixels=True).get_item("PixelData"), "value", None)
    except (UnreadableInstance, *ODD_VALUE):
        return ""
    return sha256(pixels if isinstance(pixels, bytes) else b"").hexdigest()
