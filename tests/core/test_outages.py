"""How far apart a destination that is away is tried, and from when on it counts as away."""

from datetime import UTC, datetime, timedelta

from ich_node.core.outages import Outage, ProbePolicy, after_failure, is_away

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = ProbePolicy(away_after=3, first_s=5, longest_s=60)


def _failures(number: int, jitter: float = 0.0) -> list[Outage]:
    outages: list[Outage] = []
    for index in range(number):
        before = outages[-1] if outages else None
        now = NOW + timedelta(minutes=index)
        outages.append(after_failure(before, "pacs", "no answer", POLICY, now=now, jitter=jitter))
    return outages


def test_the_pause_doubles_from_when_the_destination_counts_as_away_up_to_the_longest():
    outages = _failures(8)

    pauses = [
        (one.probe_at - NOW - timedelta(minutes=index)).total_seconds() for index, one in enumerate(outages)
    ]
    assert pauses == [5, 5, 10, 20, 40, 60, 60, 60]
    assert [is_away(one, POLICY) for one in outages] == [False, False, *[True] * 6]


def test_an_outage_remembers_when_it_began():
    assert {one.since for one in _failures(5)} == {NOW}


def test_jitter_stretches_the_pause_by_a_quarter_at_most():
    (first,) = _failures(1, jitter=1.0)

    assert first.probe_at == NOW + timedelta(seconds=6.25)
