"""The benchmarks still run: a tiny case of each, whose figures are numbers above zero."""

import math

import pytest
from benchmarks import reception
from benchmarks.__main__ import BUNDLES, print_table
from benchmarks.analysis import measure_networks, measure_preparation, measure_training
from benchmarks.latency import find_heads, measure_alone, measure_at_once, running_site
from benchmarks.receivers import ours_on_sqlite, pynetdicom_in_memory
from benchmarks.web import measure_web
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


@pytest.mark.peer
def test_reception_is_measured_by_what_was_stored(tmp_path, dcmtk, monkeypatch, capsys):
    few = {"pynetdicom in memory": pynetdicom_in_memory, "ours, SQLite": ours_on_sqlite}
    monkeypatch.setattr(reception, "receivers", lambda: few)

    found = reception.measure_reception(tmp_path, images=6, side=32, tries=1, at_once=(2,))

    (table,) = found.values()
    print_table("reception", table)
    assert [row["stored"] for row in table.values()] == [6, 6, 6]
    assert all(math.isfinite(f) and f >= 0 for row in table.values() for f in row.values()), table


def test_twenty_silent_associations_cost_little_and_end_by_the_setting(tmp_path, monkeypatch):
    """Beside stock pynetdicom, which looks at each a thousand times a second."""
    few = {"pynetdicom in memory": pynetdicom_in_memory, "ours, SQLite": ours_on_sqlite}
    monkeypatch.setattr(reception, "receivers", lambda: few)

    idle = reception.measure_idling(tmp_path, seconds=1, node=False)
    (ended,) = reception.measure_hanging_up(tmp_path, idle_timeout_s=1.5).values()

    shares = {name: row["core_share"] for name, row in idle.items()}
    assert shares["ours, SQLite, 20 idle"] < 0.25 * shares["pynetdicom in memory, 20 idle"]
    assert 1.0 < ended["ended_s"] < 10


@pytest.mark.timeout(600)
def test_every_outcome_has_its_latency_its_stages_and_a_scrape_its_cost(tmp_path):
    """A tenth of a study at a pace that no scanner has; the figures are those of a real node all the same."""
    bundle = next(iter(BUNDLES.glob("*/manifest.json"))).parent
    heads = find_heads(bundle, tmp_path, each=1, size=256, doubtful=False)

    with running_site(tmp_path, per_s=500.0, quiet_s=2.0) as site:
        alone, stages = measure_alone(site, heads, each=1, few=1, objects=60)
        busy, _, throughput = measure_at_once(site, heads, studies=2, objects=60)
        web = measure_web(site.node, tries=3)

    assert {"positive", "negative", "declined", "ignored"} <= alone.keys() == stages.keys()
    assert sum(row["studies"] for row in busy.values()) == throughput["all"]["studies"] == 2
    for outcome, row in alone.items():
        assert sum(stages[outcome].values()) - stages[outcome]["receive"] == pytest.approx(
            row["p50_s"], abs=0.05
        )
    assert stages["positive"]["predict"] > 0
    assert web["/metrics"]["bytes"] > web["/health"]["bytes"] > 0
    for table in (alone, busy, throughput, web):
        assert all(math.isfinite(f) and f >= 0 for row in table.values() for f in row.values()), table
