"""Point clouds for the tests: named corner cases of ops, large clouds for search, and closed surfaces with normals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CASES = {  # points of each cloud
    "no_clouds": (),
    "no_points": (0,),
    "one_point": (1,),
    "odd": (63,),
    "empty_entry": (20, 0, 7),
    "several": (5, 33, 150),
}
LARGE_CLOUDS = (
    "lattice",
    "surface",
    "line",
    "clusters",
    "copies",
    "outliers",
)  # arrangements that a search structure may be bad at


class Clouds(NamedTuple):
    """points [R, 3] and the rows begin[b]..end[b] of each cloud."""

    points: Tensor
    begin: Tensor
    end: Tensor


def make_clouds(name: str | tuple[int, ...], seed: int = 0) -> Clouds:
    """Clouds of a case, or of so many points each, on a lattice of eighths, so that there are equal distances and
    copies of points, and sums are exact."""
    counts = torch.tensor(CASES[name] if isinstance(name, str) else name, dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(-12, 13, (int(counts.sum()), 3), generator=generator) / 8
    end = counts.cumsum(0)
    return Clouds(points.float(), end - counts, end)


def oriented_cloud(count: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    """[batch, count, 6] float64 points and normals of a bumpy closed surface, no two alike."""
    generator = np.random.default_rng(seed)
    directions = generator.standard_normal((batch, count, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    radii = 1 + 0.3 * np.sin(3 * directions[..., :1] + 1) * np.cos(2 * directions[..., 1:2]) + 0.2 * directions[..., 2:] ** 3
    tilt = directions + 0.2 * np.sin(4 * directions[..., [1, 2, 0]])
    normals = tilt / np.linalg.norm(tilt, axis=-1, keepdims=True)
    return torch.from_numpy(np.concatenate([directions * radii, normals], -1))


def large_cloud(kind: str, count: int, seed: int) -> torch.Tensor:
    """[count, 3] points in an arrangement that a search structure may be bad at."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, 3, generator=generator)
    if kind == "lattice":
        return (unit * 16).floor() / 8
    if kind == "surface":
        return torch.nn.functional.normalize(unit - 0.5, dim=1)
    if kind == "line":
        return unit[:, :1] * torch.tensor([1.0, 1e-3, 0])
    if kind == "clusters":
        return (unit[:, :1] * 6).floor() * 100 + unit * 0.01
    if kind == "copies":
        return torch.ones(count, 3)
    return torch.where(unit[:, :1] < 0.01, unit * 1e6, unit)
