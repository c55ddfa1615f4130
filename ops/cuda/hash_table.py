"""Hash tables of integer keys in Triton: open addressing, filled by compare-and-swap. No program waits for another.

A table has at least twice as many slots as keys, so that a search ends after two slots or so, and always ends. Which slot a key gets
depends on the schedule; what is found under it does not.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors

BLOCK = 256
EMPTY, BLOCKED = tl.constexpr(-1), tl.constexpr(-2)


@on_device_of_tensors
def hash_table(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Keys [N] int64, distinct but for negative ones, which are left out -> slots [2 ** b + BLOCK] int64 and their rows, int32.

    The last BLOCK slots are never anybody's: where the threads go that have nothing to write.
    """
    size = triton.next_power_of_2(max(2 * len(keys), 2))
    slots = torch.full((size + BLOCK,), EMPTY.value, dtype=torch.int64, device=keys.device)
    slots[size:] = BLOCKED.value
    rows = torch.full(slots.shape, -1, dtype=torch.int32, device=keys.device)
    if len(keys):
        _insert_kernel[(triton.cdiv(len(keys), BLOCK),)](keys, slots, rows, len(keys), size, BLOCK=BLOCK)
    return slots, rows


@triton.jit(do_not_specialize=["N", "size"])
def _insert_kernel(keys, slots, rows, N, size, BLOCK: tl.constexpr):
    """One program per block of keys; each goes on to the next slot until it finds an empty one."""
    lane = tl.arange(0, BLOCK)
    i = tl.program_id(0).to(tl.int64) * BLOCK + lane
    key = tl.load(keys + i, i < N, other=-1)
    slot = _first_slot(key, size)
    pending = key >= 0
    while tl.max(pending.to(tl.int32), 0) > 0:
        at = tl.where(pending, slot, size + lane)
        seen = tl.atomic_cas(slots + at, tl.full((BLOCK,), EMPTY, tl.int64), key, sem="relaxed")
        done = pending & ((seen == EMPTY) | (seen == key))
        tl.store(rows + at, i.to(tl.int32), done)
        pending = pending & (done == 0)
        slot = (slot + 1) & (size - 1)


@triton.jit
def _first_slot(key, size):
    """Where a key is sought first: its bits mixed, since neighbouring cells have keys in a row."""
    mixed = (key ^ (key >> 29)) * 0x2545F4914F6CDD1D
    mixed = (mixed ^ (mixed >> 32)) * 0x1B873593CC9E2D51
    return (mixed ^ (mixed >> 29)) & (size - 1)


@triton.jit
def find(slots, rows, size, key, valid):
    """Rows int32 of keys in a table, -1 of those that are not there or not valid."""
    slot = _first_slot(key, size)
    row = tl.where(valid, -1, -1)
    pending = valid
    while tl.max(pending.to(tl.int32), 0) > 0:
        seen = tl.load(slots + slot, pending, other=EMPTY)
        hit = pending & (seen == key)
        row = tl.where(hit, tl.load(rows + slot, hit, other=-1), row)
        pending = pending & (seen != key) & (seen != EMPTY)
        slot = (slot + 1) & (size - 1)
    return row
