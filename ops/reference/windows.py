"""Definitions of the window, set and pooling partitions in plain torch; coords are (batch, z, y, x), triples are (x, y, z)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def window_partition(
    coords: Tensor, sparse_shape: Sequence[int], window_shape: Sequence[int], shift: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """coords [V, 4] -> window of each voxel [V] int64 and its place (z, y, x) in the window [V, 3] in the dtype of coords.

    Rows of -1 have the window -1 and the place 0.
    """
    windows = [-(-size // window) + 1 for size, window in zip(sparse_shape, window_shape, strict=True)]
    # numbers and not a tensor of three: that would be a copy from the host
    places = [column + step for column, step in zip(coords[:, 1:].unbind(1), shift[::-1], strict=True)]
    window = [place // size for place, size in zip(places, window_shape[::-1], strict=True)]
    within = [place % size for place, size in zip(places, window_shape[::-1], strict=True)]
    wz, wy, wx = (each.long() for each in window)
    index = ((coords[:, 0].long() * windows[0] + wx) * windows[1] + wy) * windows[2] + wz
    is_unused = coords[:, 0] < 0
    return torch.where(is_unused, -1, index), torch.where(is_unused[:, None], 0, torch.stack(within, 1))


def set_partition(window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int) -> tuple[Tensor, Tensor]:
    """window_index [V], in_window [V, 3] -> rows [2, S, T] int64 and padding [2, S, T] bool, y-major and x-major."""
    width, depth, height = window_shape
    z, y, x = in_window.long().unbind(1)
    orders = []
    for key in ((y * width + x) * height + z, (x * depth + y) * height + z):
        sets = [torch.empty((0, set_size), dtype=torch.int64, device=window_index.device)]
        for window in window_index.unique():
            rows = (window_index == window).nonzero()[:, 0]
            rows = rows[key[rows].sort(stable=True).indices]
            slots = -(-len(rows) // set_size) * set_size
            rank = torch.arange(slots, device=rows.device) * len(rows) // slots
            sets.append(rows[rank].view(-1, set_size))
        orders.append(torch.cat(sets))
    rows = torch.stack(orders)
    padding = torch.zeros_like(rows, dtype=torch.bool)
    padding[..., 1:] = rows[..., 1:] == rows[..., :-1]
    return rows, padding


def pooling_partition(coords: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """coords [V, 4] -> pooled coords [P, 4], cell of each voxel [V] and its slot in the cell [V]."""
    key, slot = cells_of_pooling(coords, stride, sparse_shape)
    cells, cell = key.unique(return_inverse=True)
    return pooled_coords(cells, stride, sparse_shape).to(coords.dtype), cell, slot


def cells_of_pooling(coords: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """coords [V, 4] -> number [V] of the cell of each voxel, ascending by (batch, x, y, z), and its slot in the cell [V]."""
    sx, sy, sz = stride
    nx, ny, nz = (-(-size // step) for size, step in zip(sparse_shape, stride, strict=True))
    batch, z, y, x = coords.long().unbind(1)
    slot = ((x % sx) * sy + y % sy) * sz + z % sz
    return ((batch * nx + x // sx) * ny + y // sy) * nz + z // sz, slot


def pooled_coords(cells: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> Tensor:
    """Numbers of cells [P] -> their coordinates [P, 4] int64."""
    nx, ny, nz = (-(-size // step) for size, step in zip(sparse_shape, stride, strict=True))
    return torch.stack((cells // (nx * ny * nz), cells % nz, cells // nz % ny, cells // (ny * nz) % nx), 1)
