"""Studies and deliveries that wait, as rows."""

from datetime import UTC, datetime

from ich_node.store.database import Connection, Database
from ich_node.store.deliveries import add_deliveries
from ich_node.store.readings import Report, add_report
from ich_node.store.studies import NewInstance, add_instance

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def add_study(connection: Connection, number: int, *, instance: int = 1, handicap_s: int = 0) -> int:
    new = NewInstance(
        study_uid=f"1.2.{number}",
        series_uid="1.2.3",
        sop_instance_uid=f"1.2.{number}.{instance}",
        sop_class_uid="1.2",
        transfer_syntax_uid="1.2",
        patient_id="",
        accession_number="",
        sha256="00",
        bytes=1,
        file=f"{number}/{instance}",
        association_id=None,
        handicap_s=handicap_s,
    )
    return add_instance(connection, new, in_use=True, now=NOW)


def queue_studies(database: Database, count: int) -> None:
    with database.transaction() as connection:
        for number in range(count):
            add_study(connection, number)
        connection.exec_driver_sql(
            "update studies set state = 'ready', "
            "ready_at = first_instance_at, next_attempt_at = first_instance_at"
        )


def queue_deliveries(database: Database, count: int) -> None:
    with database.transaction() as connection:
        for number in range(count):
            study_id = add_study(connection, number)
            report_id = add_report(
                connection,
                Report(
                    kind="SR",
                    study_id=study_id,
                    revision=1,
                    sop_class_uid="1.2",
                    sop_instance_uid=f"1.2.3.{number}",
                    series_uid="1.2.3",
                    content=b"report",
                    created_at=NOW,
                ),
            )
            add_deliveries(connection, report_id, ["pacs"], now=NOW)
