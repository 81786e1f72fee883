"""A worker that kills itself (SIGKILL) at the stage that a file names; tests run it as a process."""

import os
import signal
import sys
from pathlib import Path

from ich_node import worker
from ich_node.log import configure
from ich_node.serve import stop_on_signal
from ich_node.settings.tree import load


def main() -> None:
    settings_file, die_at = Path(sys.argv[1]), Path(sys.argv[2])

    def at(stage: str) -> None:
        if die_at.exists() and die_at.read_text() == stage:
            die_at.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    configure("work")
    worker.run(load(settings_file), stop_on_signal(), at)


if __name__ == "__main__":  # the decoding process imports this module too
    main()
