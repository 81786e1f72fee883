"""Measure the node against peers and limits: `make bench`; tables first, the last line is JSON."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from benchmarks.analysis import PAPERS_ENCODER, measure_networks, measure_preparation, measure_training
from benchmarks.arrival import measure_arrival
from benchmarks.reception import measure_hanging_up, measure_idling, measure_reception, storescu_is_there

BUNDLES = Path(__file__).parents[2] / "model/bundles"
SLICES = 40
STUDIES_A_WAY, FIRST_SEED = 10, 880_000


def main() -> None:
    """Print every table, then one line of JSON."""
    torch.set_num_threads(os.cpu_count() or 1)
    product_side = 8192 if torch.cuda.is_available() else 2048
    bundle = next((path.parent for path in sorted(BUNDLES.glob("*/manifest.json"))), None)
    with TemporaryDirectory() as folder:
        analysis = {
            "preparation": measure_preparation(Path(folder), slices=SLICES),
            "networks": measure_networks(bundle, [PAPERS_ENCODER], slices=SLICES, side=product_side),
            "training": {
                "our encoder": measure_training("hybrid_lite0_vit192", batch=32, side=product_side),
            },
        }
        reception = measure_reception(Path(folder)) if storescu_is_there() else {}
        idling = {"idling": measure_idling(Path(folder)), "hanging up": measure_hanging_up(Path(folder))}
        latency = {"arrival": measure_arrival(Path(folder), studies=STUDIES_A_WAY, first_seed=FIRST_SEED)}
    for title, table in (analysis | reception | idling | latency).items():
        print_table(title, table)
    everything = {"reception": reception | idling, "analysis": analysis, "latency": latency, "web": {}}
    print(json.dumps(everything))


def print_table(title: str, table: dict[str, dict[str, float]]) -> None:
    """Print one line a row, each figure under its name."""
    names = list(next(iter(table.values())))
    width = max(len(row) for row in (title, *table))
    print(f"{title:<{width}}  {'  '.join(f'{name:>14}' for name in names)}")
    for row, figures in table.items():
        print(f"{row:<{width}}  {'  '.join(f'{figures[name]:>14.3f}' for name in names)}")
    print()


if __name__ == "__main__":
    main()
