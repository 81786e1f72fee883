"""Queues the studies that count as whole. Touches only the database."""

from datetime import datetime

from ich_node.core.completion import Completion, decide
from ich_node.log import logger
from ich_node.store.arrivals import arrivals
from ich_node.store.database import Database
from ich_node.store.studies import mark_ready


def close_complete_studies(database: Database, *, now: datetime, quiet_s: float, deadline_s: float) -> int:
    """Queue every study whose senders are gone and silent, or whose deadline has passed; returns how many."""
    with database.transaction() as connection:
        closed = 0
        for study_id, arrival in arrivals(connection, now=now):
            decision = decide(arrival, now=now, quiet_s=quiet_s, deadline_s=deadline_s)
            if decision is Completion.WAIT:
                continue
            by_deadline = decision is Completion.DEADLINE
            queued = mark_ready(
                connection,
                study_id,
                quiet_since=arrival.last_instance_at,
                by_deadline=by_deadline,
                cut_short=not arrival.is_whole(now=now, quiet_s=quiet_s),
                now=now,
            )
            if queued:
                closed += 1
                logger().info("study.completed", study=study_id, reason=decision.value)
    return closed
