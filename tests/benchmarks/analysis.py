"""What preparing and reading a study costs, against peers and limits measured in the same run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from benchmarks.timing import best_of, product_rate
from builders import ct_series
from model_builders import drawn_head, tiny_manifest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless
from skimage.measure import label
from skimage.morphology import disk, erosion
from torch.utils.flop_counter import FlopCounterMode

from ich_node.analysis.files import read_file
from ich_node.dicom.headers import instance_facts
from ich_node.dicom.volume import assemble_stack
from model.bundle import load_bundle
from model.device import bfloat16_pays
from model.manifest import InputFormat
from model.network import DTViT
from model.predict import prepare_slices
from model.score import score_pictures, to_input
from model.train.loss import dual_loss
from model.train.optimizer import build_optimizer
from model.train.settings import TrainingSettings
from model.volume import Volume
from model.window import to_window

SYNTAXES = {"uncompressed": None, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}
PAPERS_ENCODER = "vit_large_patch16_224"
Figures = dict[str, float]


def measure_preparation(folder: Path, *, slices: int, side: int = 512, tries: int = 3) -> dict[str, Figures]:
    """Return, by coding, milliseconds a slice and ratios of a study of `slices` slices of `side` pixels.

    `decode_ratio`: reading to HU, against pydicom's own pixels rescaled; `prepare_ratio`: brace removal and
    preparation, against a plain erosion, fill and label by scikit-image.
    """
    study = ct_series(
        slices=slices, spacing_mm=5.0, thickness_mm=5.0, rows=side, columns=side, pixels=_heads(slices, side)
    )
    found = {}
    for name, syntax in SYNTAXES.items():
        files = _written(study, folder / name.replace(" ", "-"), syntax)
        volume = _assembled(files)
        decode, prepare = (
            best_of(tries, work)
            for work in (lambda f=files: _assembled(f), lambda v=volume: prepare_slices(v, 160))
        )
        peer = best_of(tries, lambda f=files: [_peers_hu(file) for file in f]).wall
        plain = best_of(tries, lambda v=volume: [_plain_morphology(to_window(hu)) for hu in v.hu]).wall
        found[name] = {
            "decode_ms": 1000 * decode.wall / slices,
            "prepare_ms": 1000 * prepare.wall / slices,
            "cpu_ms": 1000 * (decode.cpu + prepare.cpu) / slices,
            "forty_slices_s": 40 * (decode.wall + prepare.wall) / slices,
            "decode_ratio": decode.wall / peer,
            "prepare_ratio": prepare.wall / plain,
        }
    return found


def measure_networks(
    bundle: Path | None, encoders: Sequence[str], *, slices: int, side: int
) -> dict[str, Figures]:
    """Return slices a second of the bundle and of untrained encoders, by device, against the product rate.

    `rate_share`: operations of the network per second over those of a product of `side` squared matrices.
    """
    found = {}
    for device in _devices():
        dtype = torch.bfloat16 if bfloat16_pays(device, _product) else torch.float32
        rate = product_rate(device, dtype, side=side)
        for name, network, form in _networks(bundle, encoders):
            found[f"{name} on {device.type}"] = _network_figures(
                network.to(device).eval(), form, slices, rate
            )
    return found


def measure_training(encoder: str, *, batch: int, side: int) -> Figures:
    """Return samples a second of training steps (forward, loss, backward, step), and their `rate_share`."""
    device = _devices()[-1]
    settings = TrainingSettings(encoder=encoder)
    network = DTViT(encoder, settings.pixels).to(device).train()
    optimizer = build_optimizer(network, settings)
    pictures = to_input(
        torch.rand(batch, settings.pixels, settings.pixels, device=device), _form(settings.pixels)
    )
    bleeds, places = torch.ones(batch, device=device), torch.zeros(batch, dtype=torch.long, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        dual_loss(network(pictures), bleeds, places).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    seconds = best_of(2, step).wall
    rate = product_rate(device, torch.float32, side=side)
    return {"samples_per_s": batch / seconds, "rate_share": counter.get_total_flops() / seconds / rate}


def _network_figures(network: DTViT, form: InputFormat, slices: int, rate: float) -> Figures:
    pictures = np.random.default_rng(1).random((slices, form.size, form.size), np.float32)
    with FlopCounterMode(display=False) as counter:
        score_pictures(network, pictures, form, 1.0)
    spent = best_of(2, lambda: score_pictures(network, pictures, form, 1.0))
    return {
        "slices_per_s": slices / spent.wall,
        "cpu_ms": 1000 * spent.cpu / slices,
        "forty_slices_s": 40 * spent.wall / slices,
        "rate_share": counter.get_total_flops() / spent.wall / rate,
    }


def _networks(bundle: Path | None, encoders: Sequence[str]) -> Iterator[tuple[str, DTViT, InputFormat]]:
    if bundle is not None:
        held = load_bundle(bundle)
        yield "shipped bundle", held.network, held.manifest.input
    for encoder in encoders:
        size = TrainingSettings(encoder=encoder, size=0).pixels
        yield encoder, DTViT(encoder, size), _form(size)


def _form(size: int) -> InputFormat:
    held = tiny_manifest().input
    return InputFormat(size=size, mean=held.mean, std=held.std)


def _devices() -> list[torch.device]:
    return [torch.device(name) for name in ("cpu", "cuda") if name == "cpu" or torch.cuda.is_available()]


def _product(dtype: torch.dtype) -> None:
    matrix = torch.ones(512, 512, dtype=dtype)
    torch.matmul(matrix, matrix)


def _heads(slices: int, side: int) -> NDArray[np.int16]:
    return np.stack([drawn_head("cradle", size=side, seed=n)[0] for n in range(slices)]).astype(np.int16)


def _written(study: Sequence[Dataset], folder: Path, syntax: str | None) -> list[Path]:
    folder.mkdir()
    files = []
    for number, dataset in enumerate(study):
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
        files.append(folder / f"{number:03}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
        if syntax:
            dataset.decompress(generate_instance_uid=False)
    return files


def _assembled(files: Sequence[Path]) -> Volume:
    facts = {file: instance_facts(read_file(file, pixels=False)) for file in files}
    paths = {fact.sop_instance_uid: file for file, fact in facts.items()}
    return assemble_stack(list(facts.values()), lambda uid: read_file(paths[uid], pixels=True)).volume


def _peers_hu(file: Path) -> NDArray[np.float64]:
    dataset = dcmread(file)
    hu: NDArray[np.float64] = dataset.pixel_array * float(dataset.RescaleSlope) + float(
        dataset.RescaleIntercept
    )
    return hu


def _plain_morphology(picture: NDArray[np.float32]) -> int:
    eroded = erosion(picture > 3 / 255, disk(3))
    outside = label(~eroded, connectivity=1)
    filled = outside != outside[0, 0]
    return int(label(filled, connectivity=1).max())
