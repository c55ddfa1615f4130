"""Windows, sets and pooling cells on CUDA: sets by torch's sort, cells by hashing; one wait for the host, for how many there are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.distinct import distinct
from geo3d.ops.cuda.launch import on_device_of_tensors
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
    orders = keys_of_sets(window_index, in_window, window_shape).sort(stable=True).indices
    windows = window_index[orders[0]]
    starts = torch.ones(count, dtype=torch.int64, device=device)
    starts[1:] = windows[1:] != windows[:-1]
    voxels = torch.zeros(count, dtype=torch.int64, device=device).index_add_(0, starts.cumsum(0) - 1, torch.ones_like(starts))
    last_set = ((voxels + set_size - 1) // set_size).cumsum(0)
    total = int(last_set[-1])
    rows = torch.empty((2, total, set_size), dtype=torch.int64, device=device)
    padding = torch.empty_like(rows, dtype=torch.bool)
    fill_sets(orders, last_set, voxels, rows, padding)
    return rows, padding


@on_device_of_tensors
def fill_sets(orders: Tensor, last_set: Tensor, voxels: Tensor, rows: Tensor, padding: Tensor) -> None:
    """Write rows and padding [2, S, T] from the orders [2, V] and, of each window, the sets up to its last and its voxels: [V] each."""
    count, (_, total, set_size) = len(voxels), rows.shape
    arguments = (orders, last_set, voxels, voxels.cumsum(0), rows, padding.view(torch.uint8), count, total, count.bit_length())
    _sets_kernel[(triton.cdiv(total * set_size, 256),)](*arguments, T=set_size, BLOCK=256)


@on_device_of_tensors
def keys_of_sets(window_index: Tensor, in_window: Tensor, window_shape: Sequence[int]) -> Tensor:
    """[2, V] int64: voxels by window, y, x, z, and by window, x, y, z."""
    keys = torch.empty((2, len(window_index)), dtype=torch.int64, device=window_index.device)
    grid = (triton.cdiv(len(window_index), 512),)
    _keys_kernel[grid](window_index, in_window.contiguous(), keys, len(window_index), *window_shape, BLOCK=512)
    return keys


@triton.jit(do_not_specialize=["N"])
def _keys_kernel(window_index, in_window, keys, N, width, depth, height, BLOCK: tl.constexpr):
    """One program per block of voxels."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(in_window + i * 3, i < N, other=0).to(tl.int64)
    y = tl.load(in_window + i * 3 + 1, i < N, other=0).to(tl.int64)
    x = tl.load(in_window + i * 3 + 2, i < N, other=0).to(tl.int64)
    window = tl.load(window_index + i, i < N, other=0)
    tl.store(keys + i, ((window * depth + y) * width + x) * height + z, i < N)
    tl.store(keys + N + i, ((window * width + x) * depth + y) * height + z, i < N)


@triton.jit(do_not_specialize=["N", "S", "halvings"])
def _sets_kernel(orders, last_set, voxels, ends, rows, padding, N, S, halvings, T: tl.constexpr, BLOCK: tl.constexpr):
    """One program per block of slots: window w has the sets up to last_set[w] and the voxels up to ends[w]."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < S * T
    number, t = at // T, at % T
    low, high = tl.zeros((BLOCK,), tl.int64), tl.zeros((BLOCK,), tl.int64) + N
    for _ in range(halvings):  # windows whose sets all come before
        middle = (low + high) // 2
        is_before = (low < high) & (tl.load(last_set + middle, middle < N, other=0) <= number)
        high = tl.where(is_before, high, middle)
        low = tl.where(is_before, middle + 1, low)
    count = tl.load(voxels + low, inside, other=1)
    sets = (count + T - 1) // T
    slot = (number - tl.load(last_set + low, inside, other=0) + sets) * T + t
    rank = slot * count // (sets * T)
    place = tl.load(ends + low, inside, other=0) - count + rank
    is_repeated = (t > 0) & ((slot - 1) * count // (sets * T) == rank)
    for order in tl.static_range(2):
        tl.store(rows + order * S * T + at, tl.load(orders + order * N + place, inside, other=0), inside)
        tl.store(padding + order * S * T + at, is_repeated.to(tl.uint8), inside)
