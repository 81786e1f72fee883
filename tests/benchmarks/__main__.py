"""Measure the node against peers and limits: `make bench`; tables first, the last line is JSON."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from benchmarks.analysis import PAPERS_ENCODER, measure_networks, measure_preparation, measure_training
from benchmarks.arrival import measure_arrival
from benchmarks.latency import find_heads, measure_alone, measure_at_once, running_site
from benchmarks.reception import measure_hanging_up, measure_idling, measure_reception, storescu_is_there
from benchmarks.web import measure_web

BUNDLES = Path(__file__).parents[2] / "model/bundles"
SLICES = 40
STUDIES_A_WAY, FIRST_SEED = 10, 880_000
HEADS, OBJECTS, ALONE, ALONE_OF_RARE, AT_ONCE = 4, 600, 16, 1, 20
Table = dict[str, dict[str, float]]


def main() -> None:
    """Print every table as soon as it is measured, then one line of JSON."""
    torch.set_num_threads(os.cpu_count() or 1)
    product_side = 8192 if torch.cuda.is_available() else 2048
    bundle = next((path.parent for path in sorted(BUNDLES.glob("*/manifest.json"))), None)
    with TemporaryDirectory() as name:
        folder = Path(name)
        reception = _shown(measure_reception(folder)) if storescu_is_there() else {}
        idling = _shown({"idling": measure_idling(folder), "hanging up": measure_hanging_up(folder)})
        latency, web = _from_slice_to_report(bundle, folder) if bundle else ({}, {})
        arrival = _shown({"arrival": measure_arrival(folder, studies=STUDIES_A_WAY, first_seed=FIRST_SEED)})
        analysis = _shown({"preparation": measure_preparation(folder, slices=SLICES)})
        networks = measure_networks(bundle, [PAPERS_ENCODER], slices=SLICES, side=product_side)
        analysis |= _shown({"networks": networks})
        training = {"our encoder": measure_training("hybrid_lite0_vit192", batch=32, side=product_side)}
        analysis |= _shown({"training": training})
    everything = {
        "reception": reception | idling,
        "analysis": analysis,
        "latency": arrival | latency,
        "web": web,
    }
    print(json.dumps(everything))


def _shown(tables: dict[str, Table]) -> dict[str, Table]:
    for title, table in tables.items():
        print_table(title, table)
    return tables


def _from_slice_to_report(bundle: Path, folder: Path) -> tuple[dict[str, Table], Table]:
    """Latencies at one study and at twenty at once, and then what a scrape of that node costs."""
    heads = find_heads(bundle, folder, each=HEADS)
    with running_site(folder) as site:
        alone, stages = measure_alone(site, heads, each=ALONE, few=ALONE_OF_RARE, objects=OBJECTS)
        conditions = {
            "one scanner": {"images_per_s": site.per_s, "objects": OBJECTS, "quiet_s": site.quiet_s}
            | {"cores": os.cpu_count() or 1, "load": os.getloadavg()[2], "alone_s": heads.alone_s}
        }
        found = _shown(
            {"conditions": conditions, "latency, 1 at a time": alone, "stages, 1 at a time": stages}
        )
        busy, busy_stages, throughput = measure_at_once(site, heads, studies=AT_ONCE, objects=OBJECTS)
        found |= _shown(
            {
                f"latency, {AT_ONCE} at once": busy,
                f"stages, {AT_ONCE} at once": busy_stages,
                f"throughput, {AT_ONCE} at once": throughput,
            }
        )
        web = measure_web(site.node)
    print_table("web", web)
    return found, web


def print_table(title: str, table: Table) -> None:
    """Print one line a row, each figure under its name."""
    if not table:
        return
    names = list(next(iter(table.values())))
    width = max(len(row) for row in (title, *table))
    print(f"{title:<{width}}  {'  '.join(f'{name:>14}' for name in names)}")
    for row, figures in table.items():
        print(f"{row:<{width}}  {'  '.join(f'{figures[name]:>14.3f}' for name in names)}")
    print(flush=True)


if __name__ == "__main__":
    main()
