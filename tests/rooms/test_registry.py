"""Which bundle serves: the first one, through the gate, and back; exactly one at any moment."""

import threading
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
from learning import NOW, settings_of, tiny_bundle
from sqlalchemy import select, text

from ich_node.core.gate import Judgment, KeptAside
from ich_node.core.states import BundleState
from ich_node.errors import Collision, PromotionRefused, RetrainingFailed, UsageError
from ich_node.retraining.bundle_folders import identity_of
from ich_node.retraining.evidence import Evidence, evidence_of
from ich_node.retraining.registry import gate, promote, register_first, rollback
from ich_node.settings.sections import GATE_MINIMUM_PATIENTS
from ich_node.settings.tree import Settings
from ich_node.store.bundles import NewBundle, ServingBundle, add_bundle, list_bundles, serving
from ich_node.store.database import Database
from ich_node.store.tables import bundles
from ich_node.vocabulary import Location

LOW = 4  # patients: enough for the evidence of these tests, far below what is shipped
PLACES = {Location.DEEP: 0.8, Location.LOBAR: 0.1, Location.SUBTENTORIAL: 0.1}


def patient(number: int, *, present: bool, before: float, after: float) -> KeptAside:
    return KeptAside(
        subject=f"s{number}",
        present=present,
        location=Location.DEEP if present else None,
        champion=Judgment(score=before, locations=PLACES),
        challenger=Judgment(score=after, locations=PLACES),
    )


def evidence_against(champion_sha256: str, *, after: float = 0.9) -> Evidence:
    patients = (
        patient(1, present=True, before=0.9, after=after),
        patient(2, present=True, before=0.8, after=0.8),
        patient(3, present=False, before=0.1, after=0.1),
        patient(4, present=False, before=0.2, after=0.05),
    )
    return Evidence(champion_sha256=champion_sha256, champion_low=0.5, challenger_low=0.5, patients=patients)


def candidate(database: Database, folder: Path, name: str, evidence: Evidence | None) -> str:
    """Register a tiny bundle as a candidate; returns its identity."""
    bundle = tiny_bundle(folder / name)
    metrics = {} if evidence is None else {"evidence": evidence.to_json()}
    new = NewBundle(name=name, sha256=identity_of(bundle), folder=bundle, metrics=metrics, gate={})
    with database.transaction() as connection:
        add_bundle(connection, new, now=NOW)
    return new.sha256


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    tiny_bundle(tmp_path / "tiny")
    return settings_of(database, tmp_path)


@pytest.fixture
def first(database: Database, settings: Settings) -> ServingBundle:
    return register_first(database, settings, now=NOW)


def states(database: Database) -> dict[str, BundleState]:
    with database.transaction() as connection:
        return {bundle.name: bundle.state for bundle in list_bundles(connection)}


def serving_name(database: Database) -> str:
    with database.transaction() as connection:
        return serving(connection).name


def test_before_the_first_start_nothing_serves_and_that_is_said(database):
    with database.transaction() as connection, pytest.raises(UsageError, match="ich-node migrate"):
        serving(connection)


def test_the_configured_bundle_serves_a_new_installation_from_a_copy_of_its_own(first, tmp_path):
    assert first.name == "tiny"
    assert first.folder == (tmp_path / "storage" / "bundles" / "tiny").absolute()
    assert identity_of(first.folder) == first.sha256 == identity_of(tmp_path / "tiny")
    assert (first.gate_lowered, first.gate_minimum, first.notes) == (False, None, ())


def test_a_later_start_changes_nothing_even_with_another_setting(database, settings, first, tmp_path):
    tiny_bundle(tmp_path / "other", low=0.4)

    again = register_first(database, settings.model_copy(update={"bundle": str(tmp_path / "other")}), now=NOW)

    assert again == first
    assert states(database) == {"tiny": BundleState.SERVING}


def test_processes_that_start_together_register_one_bundle(database, settings):
    found: list[ServingBundle] = []
    threads = [
        threading.Thread(target=lambda: found.append(register_first(database, settings, now=NOW)))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 4
    assert len(set(found)) == 1
    assert states(database) == {"tiny": BundleState.SERVING}


@pytest.mark.parametrize("spoil", ["weights.safetensors", "manifest.json"])
def test_a_bundle_that_is_not_whole_is_not_registered(database, settings, tmp_path, spoil):
    with (tmp_path / "tiny" / spoil).open("ab") as file:
        file.write(b"x")

    with pytest.raises(RetrainingFailed, match="tiny"):
        register_first(database, settings, now=NOW)

    assert states(database) == {}


def test_a_bundle_that_is_nowhere_is_named(database, settings):
    with pytest.raises(UsageError, match="nowhere"):
        register_first(database, settings.model_copy(update={"bundle": "nowhere"}), now=NOW)


def test_too_thin_evidence_refuses_and_says_so_and_nothing_changes(database, first, tmp_path):
    candidate(database, tmp_path, "next", evidence_against(first.sha256))

    with pytest.raises(PromotionRefused, match="too thin: 4 patients kept aside, at least 100 are needed"):
        promote(database, "next", minimum_patients=GATE_MINIMUM_PATIENTS, now=NOW)

    assert states(database) == {"tiny": BundleState.SERVING, "next": BundleState.CANDIDATE}


def test_a_lowered_gate_lets_it_in_and_every_report_says_so_until_it_is_rolled_back(
    database, first, tmp_path
):
    sha256 = candidate(database, tmp_path, "next", evidence_against(first.sha256))

    promoted = promote(database, "next", minimum_patients=LOW, now=NOW)

    assert (promoted.name, promoted.sha256) == ("next", sha256)
    assert (promoted.gate_lowered, promoted.gate_minimum) == (True, LOW)
    assert promoted.notes == (
        "The gate was lowered for this model: 4 kept-aside patients asked for, not 100.",
    )
    assert states(database) == {"tiny": BundleState.RETIRED, "next": BundleState.SERVING}

    back = rollback(database, now=NOW)

    assert back == first
    assert states(database) == {"tiny": BundleState.SERVING, "next": BundleState.RETIRED}


def test_a_worse_candidate_is_refused_however_low_the_gate(database, first, tmp_path):
    candidate(database, tmp_path, "worse", evidence_against(first.sha256, after=0.3))

    with pytest.raises(PromotionRefused, match="worse in sensitivity"):
        promote(database, "worse", minimum_patients=2, now=NOW)

    assert serving_name(database) == "tiny"


def test_a_verdict_is_never_stale(database, first, tmp_path):
    candidate(database, tmp_path, "next", evidence_against(first.sha256))

    assert gate(database, "next", minimum_patients=LOW).allowed
    assert not gate(database, "next", minimum_patients=GATE_MINIMUM_PATIENTS).allowed


def test_a_candidate_that_was_compared_with_another_bundle_is_refused(database, first, tmp_path):
    candidate(database, tmp_path, "one", evidence_against(first.sha256))
    candidate(database, tmp_path, "two", evidence_against(first.sha256))
    promote(database, "one", minimum_patients=LOW, now=NOW)

    with pytest.raises(PromotionRefused, match="not compared with one"):
        promote(database, "two", minimum_patients=LOW, now=NOW)

    assert serving_name(database) == "one"


def test_what_cannot_be_judged_or_does_not_exist_is_refused_with_words(database, first, tmp_path):
    candidate(database, tmp_path, "unjudged", None)

    for name, words in (
        ("unjudged", "never compared"),
        ("absent", "no bundle is named"),
        ("tiny", "serves already"),
    ):
        with pytest.raises(UsageError, match=words):
            promote(database, name, minimum_patients=LOW, now=NOW)


def test_a_bundle_that_changed_on_the_disk_is_not_promoted(database, first, tmp_path):
    candidate(database, tmp_path, "next", evidence_against(first.sha256))
    with (tmp_path / "next" / "weights.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x00\x01\x02\x03")

    with pytest.raises(RetrainingFailed, match="cannot be loaded"):
        promote(database, "next", minimum_patients=LOW, now=NOW)

    assert serving_name(database) == "tiny"


def test_a_rollback_to_a_bundle_that_is_no_longer_whole_is_refused(database, first, tmp_path):
    candidate(database, tmp_path, "next", evidence_against(first.sha256))
    promote(database, "next", minimum_patients=LOW, now=NOW)
    (first.folder / "weights.safetensors").unlink()

    with pytest.raises(RetrainingFailed, match="tiny"):
        rollback(database, now=NOW)

    assert serving_name(database) == "next"


def test_each_rollback_goes_one_further_back_and_ends_at_the_first(database, first, tmp_path):
    second = candidate(database, tmp_path, "second", evidence_against(first.sha256))
    candidate(database, tmp_path, "third", evidence_against(second))
    with pytest.raises(UsageError, match="nothing to go back to"):
        rollback(database, now=NOW)
    promote(database, "second", minimum_patients=LOW, now=NOW)
    promote(database, "third", minimum_patients=LOW, now=NOW + timedelta(hours=1))

    assert rollback(database, now=NOW).name == "second"
    assert rollback(database, now=NOW).name == "tiny"
    with pytest.raises(UsageError, match="nothing to go back to"):
        rollback(database, now=NOW)
    # what was rolled back may come again, through the gate
    assert promote(database, "second", minimum_patients=LOW, now=NOW).name == "second"
    assert rollback(database, now=NOW).name == "tiny"


def test_the_database_itself_lets_only_one_serve(database, first, tmp_path):
    candidate(database, tmp_path, "next", None)

    with pytest.raises(Collision), database.transaction() as connection:
        connection.execute(text("update bundles set state = 'serving'"))

    with database.transaction() as connection:
        found = connection.execute(select(bundles.c.name).where(bundles.c.state == BundleState.SERVING)).all()
    assert [name for (name,) in found] == ["tiny"]


def test_evidence_comes_back_from_the_database_as_it_was(database, first, tmp_path):
    given = evidence_against(first.sha256)
    without_places = replace(given.patients[3], challenger=Judgment(score=0.1 + 0.2))
    given = replace(given, patients=(*given.patients[:3], without_places))
    candidate(database, tmp_path, "next", given)

    with database.transaction() as connection:
        kept = next(bundle for bundle in list_bundles(connection) if bundle.name == "next")

    assert evidence_of(kept.metrics) == given
    assert asdict(given.verdict(LOW)) == asdict(evidence_of(kept.metrics).verdict(LOW))


def test_evidence_that_cannot_be_read_is_no_evidence():
    with pytest.raises(RetrainingFailed, match="cannot be read"):
        evidence_of({"evidence": {"patients": [{"subject": "s"}]}})
