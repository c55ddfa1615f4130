"""Voxelization on CUDA, by a hash table of cells. The voxels alone are sorted, if at all; nothing depends on the schedule."""

from __future__ import annotations

from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.distinct import distinct
from geo3d.ops.cuda.hash_table import BLOCK, empty_slots, insert, look_up
from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.reference.voxelize import coords_of_keys

LAST = tl.constexpr(0x7FFFFFFFFFFFFFFF)  # behind every row


@on_device_of_tensors
def voxelize(
    points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """points [N, 3 + F] float32, batch [N] or [0] for one cloud -> coords [M, 4], point_to_voxel [N], counts [M]."""
    keys = keys_of_points(points, batch, voxel_size, range_min, grid)
    voxels, point_to_voxel, counts = distinct(keys, batch_size * prod(grid))
    return coords_of_keys(voxels, grid), point_to_voxel, counts


@on_device_of_tensors
def voxelize_hard(
    points: Tensor,
    batch: Tensor,
    voxel_size: list[float],
    range_min: list[float],
    grid: list[int],
    batch_size: int,
    max_points: int,
    max_voxels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """points [N, 3 + F] float32, sorted batch [N] or [0] -> point_indices [M, max_points], coords [M, 4], counts [M]."""
    keys = keys_of_points(points, batch, voxel_size, range_min, grid)
    return hard_voxels(keys, batch, batch_size * prod(grid), grid, max_points, max_voxels)


def hard_voxels(
    keys: Tensor, batch: Tensor, limit: int, grid: list[int], max_points: int, max_voxels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The reference's `hard_voxels_of_keys` of keys below `limit`, without a sort.

    A point that is the first of its voxel opens it, so a running sum over the points numbers voxels in the wanted order. Waits for
    the host once, for the number of voxels that stay.
    """
    count, device = len(keys), keys.device
    if count == 0:
        none = torch.empty((0, max_points), dtype=torch.int64, device=device)
        return none, coords_of_keys(keys, grid), keys
    slot_of_key, firsts = first_rows(keys, limit)
    is_first = look_up(slot_of_key, firsts) == torch.arange(count, device=device)
    before = is_first.cumsum(0) - is_first.long()  # voxels that earlier points open
    if len(batch):
        before = before - before[torch.searchsorted(batch, batch).clamp(max=count - 1)]
    kept = (is_first & (before < max_voxels)).cumsum(0)
    numbers = torch.arange(int(kept[-1]), dtype=torch.int32, device=device)
    chosen = torch.searchsorted(kept, numbers + 1)
    voxel_of_slot = torch.full_like(firsts, -1).scatter_(0, slot_of_key[chosen].long(), numbers)
    taken = first_points(slot_of_key, voxel_of_slot, len(numbers), max_points)
    return taken, coords_of_keys(keys[chosen], grid), (taken >= 0).sum(1)


@on_device_of_tensors
def first_rows(keys: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Keys [N] -> their slots [N] int32 in a hash table, -1 outside 0..limit - 1, and of each slot the first row [2 ** b] int32."""
    slots = empty_slots(min(len(keys), limit), keys.device)
    firsts = torch.full(slots.shape, torch.iinfo(torch.int32).max, dtype=torch.int32, device=keys.device)
    slot_of_key = torch.empty(len(keys), dtype=torch.int32, device=keys.device)
    arguments = (keys, slots, firsts, slot_of_key, limit, len(keys), len(slots))
    _first_rows_kernel[(triton.cdiv(len(keys), BLOCK),)](*arguments, BLOCK=BLOCK)
    return slot_of_key, firsts


@on_device_of_tensors
def first_points(slot_of_key: Tensor, voxel_of_slot: Tensor, voxels: int, max_points: int) -> Tensor:
    """Slots [N] of points and voxels [2 ** b] of slots, int32 or -1 -> the first rows of each voxel [M, max_points], then -1."""
    taken = torch.full((voxels, max_points), LAST.value, dtype=torch.int64, device=slot_of_key.device)
    arguments = (slot_of_key, voxel_of_slot, taken, len(slot_of_key), max_points)
    _first_points_kernel[(triton.cdiv(len(slot_of_key), BLOCK),)](*arguments, BLOCK=BLOCK)
    return torch.where(taken == LAST.value, -1, taken)


@on_device_of_tensors
def keys_of_points(points: Tensor, batch: Tensor, voxel_size: list[float], range_min: list[float], grid: list[int]) -> Tensor:
    """[N] int64, the rank of each point's cell among all cells by batch, x, y, z; -1 outside the grid."""
    keys = torch.empty(len(points), dtype=torch.int64, device=points.device)
    if len(points):
        blocks = (triton.cdiv(len(points), 512),)
        arguments = (len(points), points.shape[1], *range_min, *voxel_size, *grid)
        _keys_kernel[blocks](points, batch, keys, *arguments, BATCHED=len(batch) > 0, BLOCK=512)
    return keys


@triton.jit(do_not_specialize=["N"])
def _keys_kernel(points, batch, keys, N, D, x0, y0, z0, sx, sy, sz, nx, ny, nz, BATCHED: tl.constexpr, BLOCK: tl.constexpr):
    """One program per block of points."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x, in_x = _cell(points + i * D, i < N, x0, sx, nx)
    y, in_y = _cell(points + i * D + 1, i < N, y0, sy, ny)
    z, in_z = _cell(points + i * D + 2, i < N, z0, sz, nz)
    key = x
    if BATCHED:
        key += tl.load(batch + i, i < N, other=0) * nx
    tl.store(keys + i, tl.where(in_x & in_y & in_z, (key * ny + y) * nz + z, -1), i < N)


@triton.jit(do_not_specialize=["limit", "N", "size"])
def _first_rows_kernel(keys, slots, firsts, slot_of_key, limit, N, size, BLOCK: tl.constexpr):
    """One program per block of keys."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + i, i < N, other=-1)
    key = tl.where(key < limit, key, -1)
    slot, _ = insert(slots, size, key, i)
    seen = tl.load(firsts + slot, key >= 0, other=-1, volatile=True)
    tl.atomic_min(firsts + slot, i.to(tl.int32), seen > i, sem="relaxed")
    tl.store(slot_of_key + i, tl.where(key >= 0, slot, -1).to(tl.int32), i < N)


@triton.jit(do_not_specialize=["N"])
def _first_points_kernel(slot_of_key, voxel_of_slot, taken, N, P, BLOCK: tl.constexpr):
    """One program per block of points. A point goes along the places of its voxel; at each the earlier row stays, the later goes on.

    So the first place gets the first of all rows, the second the first of all others, and so on, in whichever order they come.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slot_of_key + row, row < N, other=-1)
    voxel = tl.load(voxel_of_slot + slot, slot >= 0, other=-1).to(tl.int64)
    place = 0
    pending = voxel >= 0
    while (place < P) & (tl.max(pending.to(tl.int32), 0) > 0):
        at = taken + voxel * P + place
        is_earlier = pending & (tl.load(at, pending, other=-1, volatile=True) > row)  # rows at a place only ever fall
        other = tl.atomic_min(at, row, is_earlier, sem="relaxed")
        row = tl.where(is_earlier, tl.maximum(other, row), row)
        pending = pending & (row < LAST)
        place += 1


@triton.jit
def _cell(address, mask, low, size, count):
    """Cell along one axis, and whether it is in the grid; divided exactly, since a voxel's edge must not depend on the device."""
    offset = tl.load(address, mask, other=0.0) - low
    cell = tl.floor(tl.div_rn(offset, tl.zeros_like(offset) + size))
    inside = (cell >= 0) & (cell < count)
    return tl.where(inside, cell, 0.0).to(tl.int64), inside
