"""The bundle that ships: small, whole, and honest about what it was trained on."""

from pathlib import Path

import pytest

from model.bundle import load_bundle

BUNDLES = sorted((Path(__file__).parents[2] / "model" / "bundles").glob("*/manifest.json"))


def test_one_bundle_ships():
    assert len(BUNDLES) == 1


@pytest.mark.parametrize("manifest", BUNDLES, ids=lambda path: path.parent.name)
def test_the_shipped_bundle_loads_and_tells_where_it_comes_from(manifest):
    folder = manifest.parent

    bundle = load_bundle(folder)

    validation = bundle.manifest.metrics["validation"]
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 25_000_000
    assert bundle.manifest.name == folder.name
    assert set(bundle.manifest.training["sources"]) == {"yulin", "phe-sich", "synthetic-phantom"}
    assert "no licence" in bundle.manifest.licence
    assert validation["subject"]["auc"] >= 0.98
    assert validation["slice"]["sensitivity"] >= 0.95
    assert bundle.manifest.study_thresholds.low < bundle.manifest.study_thresholds.high
