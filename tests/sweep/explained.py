"""What `ich-node explain` says of the files that no sender can offer, one file at a time."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweep.records import Outcome

WITHIN_S = 120


def explain(path: Path, data: Path) -> Outcome:
    """Explain one file in a folder of its own; a fault where that gives no answer, or not exactly one."""
    with TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        command = [sys.executable, "-m", "ich_node", "explain", folder, "--json"]
        done = subprocess.run(command, check=False, capture_output=True, timeout=WITHIN_S)
    said, fault = "explained: nothing", f"explain ended with {done.returncode}"
    if done.returncode in (0, 3):
        said, fault = _said(json.loads(done.stdout))
    return Outcome(name=str(path.relative_to(data)), sender="explain", said=said, fault=fault)


def _said(told: dict[str, Any]) -> tuple[str, str]:
    found = [("unreadable", one["reason"]) for one in told["unreadable"]]
    found += [(study["verdict"], study["reason"]) for study in told["studies"]]
    words = [" ".join(word for word in one if word) for one in found]
    fault = "" if len(words) == 1 else f"{len(words)} outcomes instead of one"
    return f"explained: {', '.join(words) or 'nothing'}", fault
