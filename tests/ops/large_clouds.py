"""Clouds that are large enough for search structures, in arrangements that these may be bad at."""

from __future__ import annotations

import torch

LARGE_CLOUDS = ("lattice", "surface", "line", "clusters", "copies", "outliers")


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
