"""Scatter reductions by torch-scatter, for those who choose it: what it has no words for is done around it."""

from __future__ import annotations

import torch
import torch_scatter
from torch import Tensor


@torch.compiler.disable
def reduce(op: str, values: Tensor, target: Tensor, rows: int) -> Tensor | tuple[Tensor, Tensor]:
    """A reduction by its public name: values [N, C], target [N] int64 in [-1, rows) -> [rows, C], with winners [rows, C] for max, min.

    Rows that are left out go to a row more, which is cut off. Half precision is computed in float32, as ours is.
    """
    if target.device.type == "cpu":
        _check_range(target, rows)
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    left_out = target < 0
    index, size = torch.where(left_out, rows, target), rows + 1
    if op in ("scatter_max", "scatter_min", "scatter_amax", "scatter_amin"):
        function = torch_scatter.scatter_min if op.endswith("min") else torch_scatter.scatter_max
        best, winner = function(wide, index, 0, dim_size=size)
        best = best[:rows].to(values.dtype)
        return best if op.startswith("scatter_a") else (best, winner[:rows])
    result = getattr(torch_scatter, op)(wide, index, 0, dim_size=size)
    if op == "scatter_softmax":
        return torch.where(left_out[:, None], 0, result).to(values.dtype)
    if op == "scatter_logsumexp":  # of nothing it says 0
        result = torch.where(torch.bincount(index, minlength=size)[:, None] > 0, result, -torch.inf)
    return result[:rows].to(values.dtype)


def _check_range(target: Tensor, rows: int) -> None:
    """Raise for an index out of range, at which the library would write outside its memory."""
    bad = ((target < -1) | (target >= rows)).nonzero()
    if len(bad):
        raise ValueError(f"scatter: index must be in [-1, {rows}), got {int(target[bad[0]])} at {int(bad[0])}")
