"""Whoever is about to ask has the reactor standing still: the answer is for who asked."""

import threading

import pytest
from builders import ct_series
from reception import NODE, SCANNER, receiving, settings_for

from ich_node.demo.scanner import send
from ich_node.reactor import Gate


class Reactor(threading.Thread):
    """Passes the gate as often as it may, and is somewhere behind it most of the time."""

    def __init__(self, gate):
        super().__init__(daemon=True)
        self.gate, self.passed, self.over = gate, 0, False

    def run(self):
        while not self.over:
            self.gate.wait()
            self.passed += 1


def test_one_that_is_held_passes_no_more_until_it_is_let_go():
    gate = Gate()
    gate.set()
    reactor = Reactor(gate)
    reactor.start()
    for _ in range(2000):
        gate.hold(reactor)
        before = reactor.passed
        assert reactor.passed == before
        gate.set()
    reactor.over = True
    gate.set()
    reactor.join(10)

    assert not reactor.is_alive()
    assert reactor.passed > 0


def test_nobody_waits_for_the_reactor_of_an_association_that_is_over():
    gate = Gate()
    ended = Reactor(gate)

    gate.hold(ended)  # it was never started

    assert not gate.is_set()


@pytest.mark.timeout(240)
def test_several_senders_in_one_process_hear_every_answer(sqlite_url, tmp_path, free_port):
    studies = [ct_series(seed=number, slices=40, rows=16, columns=16) for number in range(8)]
    sent = {}

    with receiving(settings_for(tmp_path, sqlite_url, free_port)) as port:

        def one(number):
            titles = {"calling_ae": SCANNER, "called_ae": NODE}
            sent[number] = [one.status for one in send(studies[number], "127.0.0.1", port, **titles)]

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(studies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [sent[number] for number in range(len(studies))] == [[0] * 40] * len(studies)
