"""Windows, sets and pooling cells on CUDA: torch's sorts, and one wait for the host, for the number of sets or of cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.distinct import distinct
from geo3d.ops.reference.windows import cells_of_pooling, pooled_coords, window_partition

__all__ = ["pooling_partition", "set_partition", "window_partition"]


@on_device_of_tensors
def pooling_partition(coords: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """coords [V, 4] -> pooled coords [P, 4], cell of each voxel [V] and its slot in the cell [V]."""
    key, slot = cells_of_pooling(coords, stride, sparse_shape)
    cells, cell, _ = distinct(key, torch.iinfo(torch.int64).max)
    return pooled_coords(cells, stride, sparse_shape).to(coords.dtype), cell, slot


@on_device_of_tensors
def set_partition(window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int) -> tuple[Tensor, Tensor]:
    """window_index [V], in_window [V, 3] -> rows [2, S, T] int64 and padding [2, S, T] bool, y-major and x-major.

    Sorts all windows at once.

    Per window tables have V rows, the most windows that V voxels can be in, so that their number need not be known.
    """
    count, device = len(window_index), window_index.device
    if count == 0:
        empty = torch.empty((2, 0, set_size), dtype=torch.int64, device=device)
        return empty, empty.bool()
    width, depth, height = window_shape
    z, y, x = in_window.long().unbind(1)
    base = window_index * (width * depth * height)
    orders = torch.stack((base + (y * width + x) * height + z, base + (x * depth + y) * height + z)).sort(stable=True).indices
    windows = window_index[orders[0]]
    starts = torch.ones(count, dtype=torch.int64, device=device)
    starts[1:] = windows[1:] != windows[:-1]
    voxels = torch.zeros(count, dtype=torch.int64, device=device).index_add_(0, starts.cumsum(0) - 1, torch.ones_like(starts))
    sets = (voxels + set_size - 1) // set_size
    last_set = sets.cumsum(0)
    total = int(last_set[-1])
    window = torch.searchsorted(last_set, torch.arange(total, device=device), right=True)  # of each set
    place = torch.arange(total, device=device) - (last_set - sets)[window]
    slot = place[:, None] * set_size + torch.arange(set_size, device=device)
    rank = slot * voxels[window, None] // (sets[window, None] * set_size)
    rows = orders[:, (voxels.cumsum(0) - voxels)[window, None] + rank]
    padding = torch.zeros_like(rows, dtype=torch.bool)
    padding[..., 1:] = rows[..., 1:] == rows[..., :-1]
    return rows, padding
