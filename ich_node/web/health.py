"""What the node says of its own health, as JSON: each room, since when, and why."""

import json
from datetime import UTC, datetime
from typing import Any

from ich_node.core.rooms import ROOMS, judge
from ich_node.errors import Collision, DatabaseAway
from ich_node.store.database import Database
from ich_node.store.rooms import list_signs


def health(database: Database) -> tuple[bool, bytes]:
    """Whether all rooms are well, and the whole as JSON."""
    try:
        with database.reading() as connection:
            signs = list_signs(connection)
    except (Collision, DatabaseAway) as error:
        unknown = {"ok": False, "since": None, "why": "not known: the database is away"}
        return False, _encoded({"ok": False, "database": str(error), "rooms": dict.fromkeys(ROOMS, unknown)})
    judged = judge(signs, now=datetime.now(UTC))
    well = all(one.well for one in judged)
    rooms = {
        one.room: {"ok": one.well, "since": one.since.isoformat() if one.since else None, "why": one.why}
        for one in judged
    }
    return well, _encoded({"ok": well, "database": "ok", "rooms": rooms})


def _encoded(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, indent=1).encode()
