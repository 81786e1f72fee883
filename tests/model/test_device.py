"""Devices: what is asked for or there; bfloat16 only where it was measured to pay."""

import time

import pytest
import torch

from model.device import bfloat16_pays, choose_device, describe_device
from model.errors import ModelError


def test_the_cpu_can_always_be_asked_for():
    device = choose_device("cpu")

    assert device.type == "cpu"
    assert "threads" in describe_device(device)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match="expected cpu"):
        choose_device("abacus")


def test_bfloat16_does_not_pay_where_the_work_is_slower_with_it():
    def slow_in_bfloat16(dtype):
        time.sleep(0.05 if dtype == torch.bfloat16 else 0.001)

    assert not bfloat16_pays(torch.device("cpu"), slow_in_bfloat16)


def test_the_work_is_not_tried_where_a_plain_product_is_slower_already(monkeypatch):
    tried = []
    product = torch.matmul

    def without_bfloat16(a, b):
        time.sleep(0.05 if a.dtype == torch.bfloat16 else 0.0)
        return product(a, b)

    monkeypatch.setattr(torch, "matmul", without_bfloat16)

    assert not bfloat16_pays(torch.device("cpu"), tried.append)
    assert tried == []
