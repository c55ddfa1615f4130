"""Clouds cut into blocks of rows, and their rows in the order of a space-filling curve, for kernels with one program per block."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BITS = 10  # of a coordinate in the code of a cell


def block_offsets(begin: Tensor, end: Tensor, size: int) -> Tensor:
    """[B + 1] int64: the blocks of `size` rows that cloud b is cut into are offsets[b]..offsets[b + 1]. Needs no wait for the host."""
    return torch.nn.functional.pad((end - begin + size - 1).div(size, rounding_mode="floor").cumsum(0), (1, 0))


def most_blocks(rows: int, clouds: int, size: int) -> int:
    """No fewer than the blocks that `rows` rows in so many clouds are cut into."""
    return triton.cdiv(rows, size) + clouds


def along_a_curve(points: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """[R] int64 rows, those of a cloud at begin[b]..end[b] as before, now with near points near each other (Morton, 1966)."""
    row = torch.arange(len(points), device=points.device)
    # even numbers for what lies between clouds, so that everything stays in its range
    part = torch.searchsorted(begin, row, right=True) + torch.searchsorted(end, row, right=True)
    finite = points.float().nan_to_num(0.0, 0.0, 0.0)
    low, high = torch.aminmax(finite, dim=0)
    cell = ((finite - low) / (high - low).clamp(min=1e-30) * (2**BITS - 1)).long()
    code = part
    for bit in reversed(range(BITS)):
        for axis in range(3):
            code = code << 1 | (cell[:, axis] >> bit & 1)
    return code.sort(stable=True).indices


@triton.jit
def block_of_program(offsets, clouds, halvings):
    """Cloud of this program, which of its blocks it is; the cloud is `clouds` for a program too many."""
    program = tl.program_id(0).to(tl.int64)
    low, high = program * 0, program * 0 + clouds
    for _ in range(halvings):  # the number of clouds that end at this block or before
        middle = (low + high) // 2
        is_before = (low < high) & (tl.load(offsets + tl.minimum(middle, clouds - 1) + 1) <= program)
        high = tl.where(is_before, high, middle)
        low = tl.where(is_before, middle + 1, low)
    return low, program - tl.load(offsets + low)
