"""Keeps the reactor of an association from taking the answer to a request of ours.

pynetdicom pauses its reactor before a request and looks whether it is paused, but the reactor can be past its
checkpoint while it still looks paused; then it takes the answer off the queue, and the request waits in vain
for its whole timeout. Under load that happens once in some thousand requests.
"""

import threading

from pynetdicom.association import Association

_LOOK_S = 0.05  # how soon the end of an association is noticed that nobody else tells


class Gate(threading.Event):
    """The checkpoint of a reactor that can be held: one that stands before it cannot slip through."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._open = self._somebody_waits = False

    def set(self) -> None:
        """Let the reactor pass."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let the reactor stop when it comes by."""
        with self._changed:
            self._open = False

    def is_set(self) -> bool:
        """Whether the reactor may pass."""
        return self._open

    def wait(self, timeout: float | None = None) -> bool:
        """Stand before the gate until it is open."""
        with self._changed:
            self._somebody_waits = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open, timeout)
            self._somebody_waits = False
            return self._open

    def hold(self, association: Association) -> None:
        """Close the gate and wait until the reactor stands before it, or its association is over."""
        with self._changed:
            self._open = False
            while not self._somebody_waits and association.is_alive():
                self._changed.wait(_LOOK_S)


def gate_reactor(association: Association) -> None:
    """Give an association that has just been connected a gate for its reactor, which does not run yet."""
    gate = Gate()
    gate.set()
    association._reactor_checkpoint = gate


def hold_reactor(association: Association) -> None:
    """Hold the reactor before a request of ours; the request's own end lets it go again."""
    gate = association._reactor_checkpoint
    assert isinstance(gate, Gate), "an association that was not prepared when it was connected"
    gate.hold(association)
