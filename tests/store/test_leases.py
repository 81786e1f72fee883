"""What a process held that died on this machine is free at once; of others nobody knows, and they keep it."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

from queued import NOW, add_study, queue_deliveries, queue_studies

from ich_node.store import writer
from ich_node.store.arrivals import ask_early
from ich_node.store.claims import claim_early, claim_study
from ich_node.store.deliveries import claim_delivery
from ich_node.store.leases import free_leases_of_the_dead
from ich_node.store.studies import mark_ready
from ich_node.store.writer import Writer, this_process

LATER = NOW + timedelta(seconds=1)


def _dead() -> Writer:
    """A process of this machine that lives no more."""
    program = "from ich_node.store.writer import this_process; print(this_process().holder('work'))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return Writer.from_holder(said.strip())


def _claims(database, holder):
    with database.transaction() as connection:
        claim = claim_study(connection, holder=holder, lease_s=60, now=LATER)
        parcel = claim_delivery(connection, "pacs", holder=holder, lease_s=60, now=LATER)
    return claim is not None, parcel is not None


def test_what_the_dead_held_can_be_claimed_at_once(database):
    queue_deliveries(database, 1)
    with database.transaction() as connection:
        assert mark_ready(connection, 1, quiet_since=NOW, by_deadline=True, now=NOW)
    assert _claims(database, _dead().holder("work")) == (True, True)
    assert _claims(database, "next") == (False, False)

    assert free_leases_of_the_dead(database, now=LATER) == 2

    assert _claims(database, "next") == (True, True)


def test_an_early_reading_that_died_with_its_worker_is_asked_for_again(database):
    with database.transaction() as connection:
        study_id = add_study(connection, 1)
        assert ask_early(connection, study_id, "key", evidence=[], now=NOW)
        assert claim_early(connection, holder=_dead().holder("work"), lease_s=60, now=LATER)

    free_leases_of_the_dead(database, now=LATER)

    with database.transaction() as connection:
        assert claim_early(connection, holder="next", lease_s=60, now=LATER)


def test_what_the_living_those_elsewhere_and_the_unknown_hold_is_left_to_them(database):
    elsewhere = replace(_dead(), host="elsewhere")
    queue_studies(database, 3)
    for holder in (this_process().holder("work"), elsewhere.holder("work"), "elsewhere:4711:pacs"):
        with database.transaction() as connection:
            assert claim_study(connection, holder=holder, lease_s=60, now=LATER)

    assert free_leases_of_the_dead(database, now=LATER) == 0


def test_machines_of_one_name_do_not_take_each_other_for_dead(tmp_path, monkeypatch):
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(writer, "_MACHINE", machine)
    twin = writer._this_process.__wrapped__(this_process().pid)
    on_twin = replace(twin, boot="0b-0b", started=1)

    assert twin.host.split("@")[0] == this_process().host.split("@")[0]
    assert Writer.from_holder(on_twin.holder("work")) == on_twin
    assert Writer.from_name(on_twin.new_name()) == on_twin
    assert not on_twin.is_known_to_be_dead()
