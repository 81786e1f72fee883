"""The benchmarks still run: a tiny case of each, whose figures are numbers above zero."""

import math

from benchmarks.__main__ import print_table
from benchmarks.analysis import measure_networks, measure_preparation, measure_training
from model_builders import TINY, tiny_bundle


def test_every_measurement_gives_figures_and_a_table(tmp_path, capsys):
    found = {
        "preparation": measure_preparation(tmp_path, slices=2, side=96, tries=1),
        "networks": measure_networks(tiny_bundle(tmp_path / "bundle"), [], slices=2, side=64),
        "training": {"tiny": measure_training(TINY, batch=2, side=64)},
    }

    for title, table in found.items():
        print_table(title, table)
        assert all(math.isfinite(f) and f > 0 for row in table.values() for f in row.values()), table
    assert found["preparation"].keys() == {"uncompressed", "JPEG-LS", "JPEG 2000"}
    assert "prepare_ratio" in capsys.readouterr().out
