"""The distinct ones among integer keys, by a hash table: only they are sorted, not all keys."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.hash_table import BLOCK, empty_slots, insert, look_up
from geo3d.ops.cuda.launch import on_device_of_tensors


class CountedKeys(NamedTuple):
    """A hash table of keys, and how many there are of each.

    Attributes:
        slots: [2 ** b] int64, the table.
        counts: [2 ** b] int32, the keys in each slot.
        slot_of_key: [N] int32, -1 of a key that is left out.
        taken: [most] int32, first the slots with a key, in an order that depends on the schedule.
        number: [1] int32, how many those are.
    """

    slots: Tensor
    counts: Tensor
    slot_of_key: Tensor
    taken: Tensor
    number: Tensor


@on_device_of_tensors
def distinct(keys: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct keys [M] int64 in ascending order, the place of each key among them [N] (-1: left out), how many of each [M].

    Args:
        keys: [N] int64; negative ones and those from `limit` on are left out.
        limit: the table has room for so many; short keys are sorted in half the time.

    Waits for the host once, for M. Which slot a key is in depends on the schedule, and nothing of it is left in the result.
    """
    if len(keys) == 0:
        return keys, torch.empty_like(keys), torch.empty_like(keys)  # what an op returns must not share memory
    counted = count_keys(keys, limit)
    number = int(counted.number)
    slot = counted.taken[:number].long()
    short = torch.int32 if limit <= torch.iinfo(torch.int32).max else torch.int64
    values, order = counted.slots[slot].to(short).sort()
    slot = slot[order]
    places = torch.empty_like(counted.counts)
    places.scatter_(0, slot, torch.arange(number, dtype=places.dtype, device=keys.device))
    return values.long(), look_up(counted.slot_of_key, places), counted.counts[slot].long()


@on_device_of_tensors
def count_keys(keys: Tensor, limit: int) -> CountedKeys:
    """Put keys [N] int64 in 0..limit - 1 into a table."""
    most, device = min(len(keys), limit), keys.device
    slots = empty_slots(most, device)
    counts = torch.zeros(slots.shape, dtype=torch.int32, device=device)
    slot_of_key = torch.empty(len(keys), dtype=torch.int32, device=device)
    taken, number = torch.empty(most, dtype=torch.int32, device=device), torch.zeros(1, dtype=torch.int32, device=device)
    arguments = (keys, slots, counts, slot_of_key, taken, number, limit, len(keys), len(slots))
    _count_kernel[(triton.cdiv(len(keys), BLOCK),)](*arguments, BLOCK=BLOCK)
    return CountedKeys(slots, counts, slot_of_key, taken, number)


@triton.jit(do_not_specialize=["limit", "N", "size"])
def _count_kernel(keys, slots, counts, slot_of_key, taken, number, limit, N, size, BLOCK: tl.constexpr):
    """One program per block of keys. Whoever puts a key into the table also enters its slot in the list."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + i, i < N, other=-1)
    key = tl.where(key < limit, key, -1)
    slot, is_new = insert(slots, size, key, i)
    tl.atomic_add(counts + slot, 1, key >= 0, sem="relaxed")
    tl.store(slot_of_key + i, tl.where(key >= 0, slot, -1).to(tl.int32), i < N)
    entry = is_new.to(tl.int32)
    place = tl.atomic_add(number, tl.sum(entry, 0), sem="relaxed") + tl.cumsum(entry, 0) - 1
    tl.store(taken + place, slot.to(tl.int32), is_new)
