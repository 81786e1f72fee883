"""The short way to add an image against the long one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from ich_node.core.states import StudyState
from ich_node.store.database import Database
from ich_node.store.studies import NewInstance, add_another, add_instance
from ich_node.store.tables import history, instances, studies

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)


def image(study: int, number: int) -> NewInstance:
    return NewInstance(
        study_uid=f"1.2.{study}",
        series_uid="1.2.9",
        sop_instance_uid=f"1.2.{study}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        patient_id="P",
        accession_number="A",
        sha256=f"{study}{number}" * 32,
        bytes=7,
        file=f"{study}/{number}",
        association_id=None,
    )


@pytest.mark.parametrize("handicap_s", [0, 10_000_000])
def test_the_short_way_writes_what_the_long_way_writes(database: Database, handicap_s: int) -> None:
    second = [replace(image(study, 2), handicap_s=handicap_s) for study in (1, 2)]
    with database.transaction() as connection:
        numbers = [add_instance(connection, image(study, 1), in_use=True, now=NOW) for study in (1, 2)]
        short = add_another(connection, second[0], now=LATER)
        add_instance(connection, second[1], in_use=True, now=LATER)

        of_both = [
            [
                [tuple(value for name, value in row._mapping.items() if name not in own) for row in rows]
                for rows in (
                    connection.execute(select(studies).where(studies.c.id == number)).all(),
                    connection.execute(select(instances).where(instances.c.study_id == number)).all(),
                    connection.execute(select(history).where(history.c.study_id == number)).all(),
                )
            ]
            for number in numbers
            for own in [{"id", "study_id", "study_uid", "sop_instance_uid", "sha256", "file"}]
        ]

    assert short == numbers[0]
    assert of_both[0] == of_both[1]
    assert len(of_both[0][1]) == 2


@pytest.mark.parametrize(
    ("other", "of_study"),
    [
        ({"study_uid": "1.2.77"}, {}),  # nothing came of it yet
        ({"patient_id": "Q"}, {}),
        ({"own_object": True}, {}),
        ({"sop_instance_uid": "1.2.1.1"}, {}),  # came before, with other bytes
        ({}, {"state": StudyState.FINISHED}),
        ({}, {"forgotten_at": NOW}),
    ],
)
def test_whatever_else_it_is_the_short_way_writes_nothing(
    database: Database, other: dict[str, object], of_study: dict[str, object]
) -> None:
    with database.transaction() as connection:
        add_instance(connection, image(1, 1), in_use=True, now=NOW)
        if of_study:
            connection.execute(update(studies).values(of_study))
        before = connection.execute(select(studies)).all()

        added = add_another(connection, replace(image(1, 2), **other), now=LATER)  # type: ignore[arg-type]

        after = connection.execute(select(studies)).all()
        kept = connection.execute(select(instances.c.sop_instance_uid)).scalars().all()

    assert added is None
    assert after == before
    assert kept == ["1.2.1.1"]
