"""Gathering the features of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.scatter import ScatterPlan


def gather(values: Tensor, indices: Tensor | ScatterPlan) -> Tensor:
    """Rows of `values` at `indices`; the gradient adds up where an index repeats, in a fixed order on every device.

    Args:
        values: [B, N, C] dense with `indices` [B, ...] into each cloud, or [R, C] packed with `indices` of any shape.
        indices: int32 or int64; -1 gives a row of zeros and passes no gradient. Or the plan of packed indices [N], which the
            gradient then need not sort again.

    Returns:
        [*indices.shape, C], dtype of `values`. Differentiable in `values`, twice.

    Raises:
        ValueError: shapes or dtypes that do not fit, and on the CPU an index outside [-1, N).

    Example:
        >>> values = torch.tensor([[1.0], [2.0], [3.0]])
        >>> gather(values, torch.tensor([2, 0, -1])).T
        tensor([[3., 1., 0.]])
    """
    if isinstance(indices, ScatterPlan):
        if values.ndim != 2 or values.shape[0] != indices.rows:
            raise ValueError(f"gather: values must be [{indices.rows}, C] for this plan, got {list(values.shape)}")
        return torch.ops.geo3d.scatter_spread(values.contiguous(), *indices, False)
    if indices.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"gather: indices must be int32 or int64, got {indices.dtype}")
    if values.ndim == 2:
        rows, source = indices.reshape(-1), values
    elif values.ndim == 3 and indices.ndim >= 1 and indices.shape[0] == values.shape[0]:
        batch, count, _ = values.shape
        offset = (torch.arange(batch, device=indices.device) * count).view(-1, *[1] * (indices.ndim - 1))
        rows, source = torch.where(indices < 0, indices, indices + offset).reshape(-1), values.reshape(batch * count, -1)
    else:
        raise ValueError(
            f"gather: values must be [R, C], or [B, N, C] with indices [B, ...], got {list(values.shape)} and {list(indices.shape)}"
        )
    if indices.device.type == "cpu" and not torch.compiler.is_compiling() and indices.numel():
        low, high = (int(bound) for bound in torch.aminmax(indices))
        if low < -1 or high >= values.shape[-2]:
            raise ValueError(f"gather: indices must be in [-1, {values.shape[-2]}), got {low} to {high}")
    gathered = torch.ops.geo3d.gather_rows(source.contiguous(), rows.to(torch.int64))
    return gathered.view(*indices.shape, values.shape[-1])


@torch.library.custom_op("geo3d::gather_rows", mutates_args=(), device_types="cpu")
def _gather_rows(values: Tensor, rows: Tensor) -> Tensor:
    from geo3d.ops.cpu import grouping as cpu

    return cpu.gather_rows(values, rows)


@_gather_rows.register_kernel("cuda")
def _(values, rows):
    from geo3d.ops.cuda import grouping as cuda

    return cuda.gather_rows(values, rows)


@_gather_rows.register_fake
def _(values, rows):
    return values.new_empty((rows.shape[0], values.shape[1]))


@torch.library.custom_op("geo3d::add_rows", mutates_args=(), device_types="cpu")
def _add_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """The transpose of gather_rows: values [M, C] summed into `count` rows."""
    from geo3d.ops.cpu import grouping as cpu

    return cpu.add_rows(values, rows, count)


@_add_rows.register_kernel("cuda")
def _(values, rows, count):
    from geo3d.ops.cuda import grouping as cuda

    return cuda.add_rows(values, rows, count)


@_add_rows.register_fake
def _(values, rows, count):
    return values.new_empty((count, values.shape[1]))


def _save_gather(ctx, inputs, output):
    values, rows = inputs
    ctx.save_for_backward(rows)
    ctx.count = values.shape[0]


def _gather_backward(ctx, grad):
    (rows,) = ctx.saved_tensors
    return torch.ops.geo3d.add_rows(grad.contiguous(), rows, ctx.count), None


def _save_add(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])


def _add_backward(ctx, grad):
    (rows,) = ctx.saved_tensors
    return torch.ops.geo3d.gather_rows(grad.contiguous(), rows), None, None


_gather_rows.register_autograd(_gather_backward, setup_context=_save_gather)
_add_rows.register_autograd(_add_backward, setup_context=_save_add)
