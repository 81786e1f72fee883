"""Augmentation on the fly: it varies what is not blood (place, zoom, sharpness, noise, window)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far each change may go; probabilities and ranges, all drawn per picture."""

    quarter_turn: float = 0.5
    rotation_degrees: float = 20.0
    zoom: tuple[float, float] = (0.75, 1.3)
    aspect: float = 0.08
    shift: float = 0.05  # of the side
    blur: float = 0.4
    blur_pixels: tuple[float, float] = (0.4, 1.3)
    noise: float = 0.75
    noise_sigma: float = 0.14  # of the window: 11 HU
    gain: float = 0.18
    offset: float = 0.06
    gamma: float = 0.25


def augment(
    pictures: Tensor, maps: Tensor, size: int, how: Augmentation, random: Generator
) -> tuple[Tensor, Tensor]:
    """Change pictures (B, S, S), 0..1, each in its own way, and cut them to (B, size, size), 0..1.

    `maps` (B, C, S, S) move along with their picture and are changed in no other way.
    """
    moved = _move(torch.cat([pictures[:, None], maps], dim=1), size, how, random)
    blurred = _blur(moved[:, :1], how, random)
    return _change_values(blurred, how, random).clamp(0.0, 1.0)[:, 0], moved[:, 1:]


def _uniform(count: int, low: float, high: float, random: Generator) -> Tensor:
    return torch.rand(count, generator=random) * (high - low) + low


def _chosen(count: int, probability: float, random: Generator) -> Tensor:
    return torch.rand(count, generator=random) < probability


def _move(pictures: Tensor, size: int, how: Augmentation, random: Generator) -> Tensor:
    count = len(pictures)
    turns = torch.randint(1, 4, (count,), generator=random) * _chosen(count, how.quarter_turn, random)
    angle = turns * (math.pi / 2) + _uniform(count, -1, 1, random) * math.radians(how.rotation_degrees)
    scale = torch.exp(_uniform(count, math.log(how.zoom[0]), math.log(how.zoom[1]), random))
    stretch = torch.exp(_uniform(count, -how.aspect, how.aspect, random))
    mirror = 1 - 2 * _chosen(count, 0.5, random).float()
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = cos * mirror * stretch, -sin / stretch
    theta[:, 1, 0], theta[:, 1, 1] = sin * mirror * stretch, cos / stretch
    theta[:, :, 2] = (torch.rand(count, 2, generator=random) - 0.5) * 4 * how.shift
    grid = F.affine_grid(theta, [count, pictures.shape[1], size, size], align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


def _blur(pictures: Tensor, how: Augmentation, random: Generator) -> Tensor:
    count = len(pictures)
    chosen = _chosen(count, how.blur, random)
    sigma = _uniform(count, *how.blur_pixels, random)
    offsets = torch.arange(-3.0, 4.0)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)  # (B, 7)
    kernel = torch.where(chosen[:, None], kernel / kernel.sum(dim=1, keepdim=True), (offsets == 0).float())
    stacked = pictures.transpose(0, 1)  # (1, B, S, S): each picture is a channel with a kernel of its own
    stacked = F.conv2d(stacked, kernel[:, None, :, None], padding=(3, 0), groups=count)
    return F.conv2d(stacked, kernel[:, None, None, :], padding=(0, 3), groups=count).transpose(0, 1)


def _change_values(pictures: Tensor, how: Augmentation, random: Generator) -> Tensor:
    count = len(pictures)

    def per_picture(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1)

    gamma = torch.exp(_uniform(count, -how.gamma, how.gamma, random))
    gain = torch.exp(_uniform(count, -how.gain, how.gain, random))
    offset = _uniform(count, -how.offset, how.offset, random)
    changed = pictures.clamp(1e-4, 1.0) ** per_picture(gamma) * per_picture(gain) + per_picture(offset)
    sigma = _uniform(count, 0.0, how.noise_sigma, random) * _chosen(count, how.noise, random)
    fine = torch.randn(pictures.shape, generator=random)
    coarse = F.avg_pool2d(fine, 3, stride=1, padding=1) * 2.5  # scanners' noise is correlated
    mixed = torch.where(per_picture(_chosen(count, 0.5, random)), fine, coarse)
    tissue = (pictures > 0.01) & (pictures < 0.99)  # air and bone saturate the window, noise or not
    return torch.where(tissue, changed + mixed * per_picture(sigma), pictures)
