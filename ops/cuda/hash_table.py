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
EMPTY = tl.constexpr(-1)
MAX_KEYS = 2**30  # so that slots are counted in int32


def empty_slots(most: int, device: torch.device) -> Tensor:
    """Slots [2 ** b] int64 of a table without keys, which has room for so many."""
    if most > MAX_KEYS:
        raise ValueError(f"a hash table has at most {MAX_KEYS} keys, got {most}")
    return torch.full((triton.next_power_of_2(max(2 * most, 2)),), EMPTY.value, dtype=torch.int64, device=device)


@on_device_of_tensors
def hash_table(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Keys [N] int64, distinct but for negative ones, which are left out -> slots [2 ** b] int64 and, where there is a key, its row, int32."""
    slots = empty_slots(len(keys), keys.device)
    rows = torch.empty(slots.shape, dtype=torch.int32, device=keys.device)
    if len(keys):
        _insert_kernel[(triton.cdiv(len(keys), BLOCK),)](keys, slots, rows, len(keys), len(slots), BLOCK=BLOCK)
    return slots, rows


@on_device_of_tensors
def look_up(slot_of_key: Tensor, table: Tensor) -> Tensor:
    """What a table [2 ** b] int32 holds in slots [N] int32, as int64; -1 for a slot of -1."""
    found = torch.empty(len(slot_of_key), dtype=torch.int64, device=slot_of_key.device)
    if len(found):
        _look_up_kernel[(triton.cdiv(len(found), BLOCK),)](slot_of_key, table, found, len(found), BLOCK=BLOCK)
    return found


@triton.jit(do_not_specialize=["N", "size"])
def _insert_kernel(keys, slots, rows, N, size, BLOCK: tl.constexpr):
    """One program per block of keys."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + i, i < N, other=-1)
    slot, _ = insert(slots, size, key, i)
    tl.store(rows + slot, i.to(tl.int32), key >= 0)


@triton.jit(do_not_specialize=["N"])
def _look_up_kernel(slot_of_key, table, found, N, BLOCK: tl.constexpr):
    """One program per block of keys."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.load(slot_of_key + i, i < N, other=-1)
    tl.store(found + i, tl.load(table + slot, slot >= 0, other=-1).to(tl.int64), i < N)


@triton.jit
def _first_slot(key, size):
    """Where a key is sought first: its bits mixed, since neighbouring cells have keys in a row."""
    mixed = (key ^ (key >> 29)) * 0x2545F4914F6CDD1D
    mixed = (mixed ^ (mixed >> 32)) * 0x1B873593CC9E2D51
    return (mixed ^ (mixed >> 29)) & (size - 1)


@triton.jit
def insert(slots, size, key, i):
    """Slots of keys, which go from one to the next until they find themselves or an empty one; and whether it was empty.

    Negative keys change nothing. An exchange has no mask: lanes without one put EMPTY for EMPTY somewhere, at their row i. A slot
    that is taken stays so, hence a look at it before the exchange, which spares those of points in one cell, may be out of date.
    """
    slot = _first_slot(key, size)
    pending = key >= 0
    is_new = pending & (key < 0)
    while tl.max(pending.to(tl.int32), 0) > 0:
        seen = tl.load(slots + slot, pending, other=EMPTY, volatile=True)
        is_free = pending & (seen == EMPTY)
        at = tl.where(is_free, slot, i & (size - 1))
        found = tl.atomic_cas(slots + at, tl.zeros_like(key) + EMPTY, tl.where(is_free, key, EMPTY), sem="relaxed")
        is_new = is_new | (is_free & (found == EMPTY))
        seen = tl.where(is_free, found, seen)
        pending = pending & (seen != EMPTY) & (seen != key)
        slot = tl.where(pending, (slot + 1) & (size - 1), slot)
    return slot, is_new


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
