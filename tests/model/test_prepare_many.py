"""Preparing in processes of their own: in order, with little held, and honest when one is killed."""

import os
import signal

import pytest

from model import prepare_many as module
from model.errors import ModelFailure
from model.prepare_many import prepare_many


def double(number):
    return 2 * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(prepare_many(double, range(200), workers=workers)) == [2 * n for n in range(200)]


def test_few_items_start_no_process():
    assert list(prepare_many(lambda number: number, range(5), workers=8)) == [0, 1, 2, 3, 4]


def test_a_process_that_dies_is_said(monkeypatch):
    monkeypatch.setattr(module, "FEWEST", 1)

    with pytest.raises(ModelFailure, match="ended by itself"):
        list(prepare_many(die, range(2), workers=2))


def test_no_more_is_worked_on_than_somebody_takes():
    started = []

    results = prepare_many(started.append, range(1000), workers=1)
    next(results)

    assert len(started) == 1
