"""Two processes under torchrun end where one does, and go on from where one was killed."""

import subprocess
import sys

import torch
from model_builders import TINY_SIZE, image_set
from safetensors.torch import load_file

from model.errors import TrainingError
from model.train.__main__ import main
from model.train.checkpoint import FILE
from model.train.loop import Trainer
from model.train.ranks import Ranks
from model.train.run import start_network
from model.train.settings import TrainingSettings

ENCODER = "vit_tiny_patch16_224"  # has no batch norm, whose statistics are each rank's own on a CPU


def arguments(table, out):
    settings = (
        f"--encoder {ENCODER} --size {TINY_SIZE} --epochs 2 --batch 4 --samples 8 --rate 1e-4 --dropout 0"
    )
    where = ["--slices", str(table), "--out", str(out), "--device", "cpu", "--precision", "float32"]
    return [*where, *settings.split()]


def averages(folder):
    found = load_file(folder / FILE)
    return torch.cat([v.flatten() for k, v in sorted(found.items()) if k.startswith("average/")])


def start():
    network = start_network(TrainingSettings(encoder=ENCODER, size=TINY_SIZE, dropout=0.0), None, None)
    return torch.cat([v.flatten() for _, v in sorted(network.state_dict().items())])


def killed_after_a_step(self):
    trained(self, stop_after=1)
    self.save()
    raise TrainingError("killed")


trained = Trainer.train


def test_two_processes_go_on_from_one_that_was_killed_and_end_where_one_does(tmp_path, monkeypatch):
    table = image_set(
        tmp_path / "drawn",
        subjects={f"p{n}": ("train", "val")[n // 6] for n in range(8)},
        slices=2,
        bleeding=1,
    )
    assert main(arguments(table, tmp_path / "one")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", killed_after_a_step)
        assert main(arguments(table, tmp_path / "two")) == 1

    launch = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 2 -m model.train"
    done = subprocess.run(
        [sys.executable, *launch.split(), *arguments(table, tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == done.stderr.count("step 4/4") == 1  # one of them speaks
    one, two = averages(tmp_path / "one"), averages(tmp_path / "two")
    assert (one - two).norm() < 1e-3 * (one - start()).norm()


def test_alone_nothing_is_shared():
    alone = Ranks()
    network = torch.nn.Linear(2, 2)

    assert alone.first
    assert alone.wrap(network, torch.device("cpu")) is network
    assert [int(alone.cases(torch.tensor(n))) for n in (0, 3)] == [1, 3]
    assert alone.mean(torch.tensor(2.5)) == 2.5
    assert alone.agreed("float32") == "float32"
