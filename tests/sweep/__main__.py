"""Sends every file of a folder, and built hostile ones, through a real node: `make sweep DATA=...`.

Each file must end visibly, and no process may die or fill memory; the last line of the output is JSON.
"""

import argparse
import json
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sweep.built import Built
from sweep.compare import compare_alone, compare_built, compare_sent
from sweep.explained import explain
from sweep.hostile_headers import hostile_headers
from sweep.hostile_pixels import hostile_pixels
from sweep.memory import DECODING, Watch, serve_of_this_process, watching
from sweep.offers import offer_of
from sweep.records import Outcome, Sent, await_ends, outcome_of, send_and_look
from sweep.senders import Sender, echo, missing_programs

from ich_node.demo.node import DemoNode, running_node
from ich_node.demo.pacs import stand_in_pacs
from ich_node.network import adjust_pynetdicom
from ich_node.store.files import Archive

MOST_MB = {"receive": 300, DECODING: 1074}  # the latter is 1 GiB
FIRST_SEED = 660_000  # of the built studies
PATIENCE_S = 240  # without any change in the node


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What came of a sweep; peaks in MB and processes by their kind."""

    outcomes: list[Outcome]
    troubles: list[str]
    peaks_mb: dict[str, float]
    processes: dict[str, int]

    @property
    def faults(self) -> list[str]:
        """Everything that was wrong, a line each; files of one folder with the same fault share one."""
        same: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for one in self.outcomes:
            if one.fault:
                folder, _, file = one.name.rpartition("/")
                same[folder, one.said, one.fault].append(file)
        lines = [
            f"{folder}: {', '.join(files)}: {said}, {fault}" for (folder, said, fault), files in same.items()
        ]
        return lines + self.troubles


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep, print, and return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of DICOM files with its expected.tsv")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the node's folder there")
    chosen = parser.parse_args(arguments)
    if missing := missing_programs():
        print(f"the sweep needs DCMTK (Debian package dcmtk): no {', '.join(missing)}", file=sys.stderr)
        return 2
    adjust_pynetdicom()
    warnings.simplefilter("ignore")  # pydicom's, of the odd UIDs that are sent on purpose
    with TemporaryDirectory() as folder:
        swept = sweep(chosen.data, chosen.keep or Path(folder))
    print_report(swept)
    return 1 if swept.faults else 0


def sweep(data: Path, folder: Path) -> Swept:
    """Send what can be sent, explain the rest, and see how all of it ended."""
    paths = [path for path in sorted(data.rglob("*")) if path.is_file() and path.parent != data]
    offers = {path: offer_of(path, data) for path in paths}
    explained = [explain(path, data) for path, offer in offers.items() if offer is None]
    # those of one study follow each other, so that it is closed once
    to_send = sorted((offer for offer in offers.values() if offer), key=lambda offer: offer.study_uid)
    with (
        stand_in_pacs(folder / "pacs") as pacs,
        running_node(folder / "node", pacs_port=pacs.port) as node,
        watching(serve_of_this_process()) as watch,
    ):
        with Sender(node.port) as peer:
            sent = [send_and_look(node, peer, offer) for offer in to_send]
            built = [(study, _send_built(node, peer, study)) for study in _built()]
        of_files, of_built = _outcomes(node, sent, built)
        troubles = watch.troubles() + _troubles(node, watch)
    return Swept(
        outcomes=[*compare_sent(of_files, sent, data), *of_built, *compare_alone(explained, data)],
        troubles=troubles,
        peaks_mb=dict(watch.peaks_mb),
        processes={kind: len(numbers) for kind, numbers in watch.processes.items()},
    )


def _send_built(node: DemoNode, peer: Sender, study: Built) -> list[Sent]:
    sent = [send_and_look(node, peer, one) for one in study.offers()]
    peer.release()
    return sent


def _built() -> Iterator[Built]:
    yield from hostile_headers(FIRST_SEED)
    yield from hostile_pixels(FIRST_SEED + 1000)


def _outcomes(
    node: DemoNode, sent: Sequence[Sent], built: Sequence[tuple[Built, Sequence[Sent]]]
) -> tuple[list[Outcome], list[Outcome]]:
    studies = await_ends(node, patience_s=PATIENCE_S)
    archive = Archive(node.folder / "storage", reserve_mb=0)
    of_built = [
        outcome
        for study, parts in built
        for outcome in compare_built([outcome_of(one, studies, archive) for one in parts], study)
    ]
    return [outcome_of(one, studies, archive) for one in sent], of_built


def _troubles(node: DemoNode, watch: Watch) -> list[str]:
    found = [] if echo(node.port) else ["the node does not answer C-ECHO at the end"]
    for kind, most in MOST_MB.items():
        if kind not in watch.peaks_mb:
            found.append(f"{kind}: no such process was seen, so its memory was not measured")
        elif watch.peaks_mb[kind] >= most:
            found.append(f"{kind}: {watch.peaks_mb[kind]:.0f} MB at its peak, and {most} is the most")
    return found


def print_report(swept: Swept) -> None:
    """Print counts by outcome, peaks by process, every fault, and one line of JSON."""
    counts = Counter((one.sender, one.said) for one in swept.outcomes)
    print(f"{'files':>6}  {'sender':<10}  outcome")
    for (sender, said), count in sorted(counts.items()):
        print(f"{count:>6}  {sender:<10}  {said}")
    print(f"\n{'MB':>6}  {'seen':>4}  process")
    for kind, peak in sorted(swept.peaks_mb.items()):
        print(f"{peak:>6.0f}  {swept.processes[kind]:>4}  {kind}")
    print(*("", *(f"FAULT {line}" for line in swept.faults)), sep="\n")
    found = {
        "files": len(swept.outcomes),
        "outcomes": dict(sorted(Counter(one.said for one in swept.outcomes).items())),
        "peak_mb": {kind: round(peak) for kind, peak in sorted(swept.peaks_mb.items())},
        "processes": swept.processes,
        "faults": len(swept.faults),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    raise SystemExit(main())
