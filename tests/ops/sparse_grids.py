"""Voxels, features and weights of small sparse grids, and the same grids dense."""

from __future__ import annotations

import torch

from geo3d.ops.sparse_conv import (
    SparseTensor,
)

SHAPE, BATCH = (7, 5, 6), 3  # x, y, z
CASES = {"no_voxels": 0, "one_voxel": 1, "few": 9, "many": 150, "full": 10_000}  # draws of a cell; the last takes them all


def make_coords(name):
    """Distinct voxels of the first and the last entry of a batch of three, in no order."""
    draws = CASES[name]
    cells = torch.randint(0, 2 * 6 * 5 * 7, (draws,)) if name != "full" else torch.arange(2 * 6 * 5 * 7)
    cells = cells.unique()[torch.randperm(len(cells.unique()))]
    coords = torch.stack([cells // 210 * 2, cells // 35 % 6, cells // 7 % 5, cells % 7], 1)
    return coords.int()


def integers(*shape, dtype=torch.float32):
    """Small ones, whose sums are exact in any order."""
    return torch.randint(-4, 5, shape).to(dtype)


def matrices(weight):
    return weight.flatten(1, 3).permute(1, 2, 0)


def dense(features, coords, shape=SHAPE):
    return SparseTensor(features, coords, shape, BATCH).dense()


def sampled(grid, coords):
    batch, z, y, x = coords.long().unbind(1)
    return grid[batch, :, z, y, x]


def reversed_axes(geometry):
    """Arguments of torch's dense convolutions, which count z, y, x."""
    names = {name: value for name, value in geometry.items() if name != "kernel_size"}
    return {name: value if isinstance(value, int) else value[::-1] for name, value in names.items()}


def make_weight(out_channels, in_channels, kernel_size, dtype=torch.float32):
    kernel = (kernel_size,) * 3 if isinstance(kernel_size, int) else kernel_size
    return integers(out_channels, *kernel[::-1], in_channels, dtype=dtype)
