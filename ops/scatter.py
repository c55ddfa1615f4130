"""Reductions over the rows that share an index: what turns points into voxels, and back."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor


class ScatterPlan(NamedTuple):
    """An index sorted once, which every function here takes in place of the index.

    Attributes:
        target: [N] int64, the output row of each input row, or -1.
        order: [N] int64, the input rows by output row and, within one, as they came; those with index -1 at the end.
        offsets: [M + 1] int64; the inputs of output row m are order[offsets[m]:offsets[m + 1]].
    """

    target: Tensor
    order: Tensor
    offsets: Tensor

    @property
    def rows(self) -> int:
        """M, the number of output rows."""
        return self.offsets.shape[0] - 1

    @property
    def counts(self) -> Tensor:
        """[M] int64, the number of input rows of each output row."""
        return self.offsets.diff()


def scatter_plan(index: Tensor, rows: int) -> ScatterPlan:
    """Sort an index once for several reductions, forward and backward.

    Args:
        index: [N] int32 or int64, the output row of each input row, in [0, rows), or -1 for an input that goes nowhere.
            An index that is sorted already costs one pass.
        rows: M, the number of output rows.

    Raises:
        ValueError: shape or dtype that do not fit, a negative `rows`, and on the CPU an index outside [-1, rows). On CUDA the
            range is not checked, because that would synchronise.

    Example:
        >>> plan = scatter_plan(torch.tensor([1, 0, 1]), rows=2)
        >>> scatter_sum(torch.tensor([1.0, 2.0, 3.0]), plan), scatter_mean(torch.tensor([1.0, 2.0, 3.0]), plan)
        (tensor([2., 4.]), tensor([2., 2.]))
    """
    if not isinstance(index, Tensor) or index.ndim != 1 or index.dtype not in (torch.int32, torch.int64):
        got = f"{list(index.shape)} {index.dtype}" if isinstance(index, Tensor) else type(index).__name__
        raise ValueError(f"scatter: index must be [N] int32 or int64, or a plan, got {got}")
    if rows < 0:
        raise ValueError(f"scatter: rows must not be negative, got {rows}")
    index = index.to(torch.int64).contiguous()
    return ScatterPlan(index, *torch.ops.geo3d.scatter_plan(index, rows))


def scatter_sum(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """Sum of the input rows that share an output row.

    Args:
        values: [N, ...] floating point, any strides; half precision is summed in float32.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        [M, ...] in the dtype of `values`, zero where no input row goes. The rows are added in their order, so that the result
        is the same in every run, whatever the number of threads. Differentiable in `values`, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_sum(values, index, 2)
        tensor([6., 2.])
    """
    flat, plan = _prepare("scatter_sum", values, index, rows)
    return torch.ops.geo3d.scatter_sum(flat, *plan, False).view(plan.rows, *values.shape[1:])


def scatter_mean(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """Mean of the input rows that share an output row; zero where there is none. Otherwise as `scatter_sum`.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_mean(values, index, 2)
        tensor([3., 2.])
    """
    flat, plan = _prepare("scatter_mean", values, index, rows)
    return torch.ops.geo3d.scatter_sum(flat, *plan, True).view(plan.rows, *values.shape[1:])


def scatter_max(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Largest value of each channel among the input rows that share an output row.

    Args:
        values: [N, ...] floating point, any strides.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        maxima [M, ...], zero where no input row goes, and the winning input row [M, ...] int64, N where none. The first row
        wins a tie, on every device; NaN counts as the largest value. Maxima are differentiable in `values`, any number of
        times; the gradient goes to the winning row alone.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_max(values, index, 2)
        (tensor([5., 2.]), tensor([1, 2]))
    """
    return _extreme("scatter_max", values, index, rows, False)


def scatter_min(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Smallest value of each channel among the input rows that share an output row. Otherwise as `scatter_max`.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_min(values, index, 2)
        (tensor([1., 2.]), tensor([0, 2]))
    """
    return _extreme("scatter_min", values, index, rows, True)


def scatter_amax(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """The maxima of `scatter_max` without the winning rows, which saves most of the time and memory where no gradient is needed.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_amax(values, index, 2)
        tensor([5., 2.])
    """
    return _extreme_alone("scatter_amax", values, index, rows, False)


def scatter_amin(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """The minima of `scatter_min` without the winning rows. Otherwise as `scatter_amax`.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_amin(values, index, 2)
        tensor([1., 2.])
    """
    return _extreme_alone("scatter_amin", values, index, rows, True)


def scatter_softmax(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """Softmax of each channel among the input rows that share an output row.

    Args:
        values: [N, ...] floating point, any strides; half precision is computed in float32.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        [N, ...] in the dtype of `values`; zero for rows with index -1, NaN where all rows of an output row are minus infinity.
        Differentiable in `values`, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([3.0, 3.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_softmax(values, index, 2)
        tensor([0.5000, 0.5000, 1.0000])
    """
    flat, plan = _prepare("scatter_softmax", values, index, rows)
    return torch.ops.geo3d.scatter_softmax(flat, *plan).view(values.shape)


def scatter_logsumexp(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """log(sum(exp(values))) of each channel over the input rows that share an output row, without overflow.

    Args:
        values: [N, ...] floating point, any strides; half precision is computed in float32.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        [M, ...] in the dtype of `values`; minus infinity where no input row goes. Differentiable in `values`, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_logsumexp(values, index, 2)
        tensor([0.6931, 2.0000])
    """
    flat, plan = _prepare("scatter_logsumexp", values, index, rows)
    return torch.ops.geo3d.scatter_logsumexp(flat, *plan).view(plan.rows, *values.shape[1:])


def _extreme(op: str, values: Tensor, index: Tensor | ScatterPlan, rows: int | None, minimum: bool) -> tuple[Tensor, Tensor]:
    flat, plan = _prepare(op, values, index, rows)
    best, winner = torch.ops.geo3d.scatter_max(flat, plan.order, plan.offsets, minimum)
    shape = (plan.rows, *values.shape[1:])
    return best.view(shape), winner.view(shape)


def _extreme_alone(op: str, values: Tensor, index: Tensor | ScatterPlan, rows: int | None, minimum: bool) -> Tensor:
    if isinstance(values, Tensor) and values.requires_grad and torch.is_grad_enabled():
        return _extreme(op, values, index, rows, minimum)[0]  # the gradient goes to the winning rows
    flat, plan = _prepare(op, values, index, rows)
    best = torch.ops.geo3d.scatter_amax(flat, plan.order, plan.offsets, minimum)
    return best.view(plan.rows, *values.shape[1:])


def _prepare(op: str, values: Tensor, index: Tensor | ScatterPlan, rows: int | None) -> tuple[Tensor, ScatterPlan]:
    """Values as contiguous [N, C], and the plan."""
    if not isinstance(values, Tensor) or values.ndim == 0 or not values.is_floating_point():
        got = f"{list(values.shape)} {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{op}: values must be [N, ...] floating point, got {got}")
    if isinstance(index, ScatterPlan):
        if rows is not None and rows != index.rows:
            raise ValueError(f"{op}: the plan is for {index.rows} rows, got rows={rows}")
        plan = index
    elif rows is None:
        raise ValueError(f"{op}: rows, the number of output rows, is needed unless index is a plan from scatter_plan")
    else:
        plan = scatter_plan(index, rows)
    if plan.target.shape[0] != values.shape[0]:
        raise ValueError(f"{op}: index must be [N] for values [N, ...], got {list(plan.target.shape)} and {list(values.shape)}")
    if plan.target.device != values.device:
        raise ValueError(f"{op}: index is on {plan.target.device} and values on {values.device}")
    return values.reshape(values.shape[0], prod(values.shape[1:])).contiguous(), plan


@torch.library.custom_op("geo3d::scatter_plan", mutates_args=(), device_types="cpu")
def _scatter_plan(index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import scatter as cpu

    return cpu.scatter_plan(index, rows)


@_scatter_plan.register_kernel("cuda")
def _(index, rows):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_plan(index, rows)


@_scatter_plan.register_fake
def _(index, rows):
    return torch.empty_like(index), index.new_empty((rows + 1,))


@torch.library.custom_op("geo3d::scatter_sum", mutates_args=(), device_types="cpu")
def _scatter_sum(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor, mean: bool) -> Tensor:
    from geo3d.ops.cpu import segments as cpu

    return cpu.segment_sum(values, order, offsets, mean)


@_scatter_sum.register_kernel("cuda")
def _(values, index, order, offsets, mean):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_sum(values, order, offsets, mean)


@_scatter_sum.register_fake
def _(values, index, order, offsets, mean):
    return values.new_empty((offsets.shape[0] - 1, values.shape[1]))


@torch.library.custom_op("geo3d::scatter_spread", mutates_args=(), device_types="cpu")
def _scatter_spread(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor, mean: bool) -> Tensor:
    """The transpose of scatter_sum: values [M, C] back to the input rows [N, C]."""
    from geo3d.ops.cpu import grouping as cpu

    return cpu.gather_rows(_over_counts(values, offsets) if mean else values, index)


@_scatter_spread.register_kernel("cuda")
def _(values, index, order, offsets, mean):
    from geo3d.ops.cuda import grouping as cuda

    return cuda.gather_rows(_over_counts(values, offsets) if mean else values, index)


@_scatter_spread.register_fake
def _(values, index, order, offsets, mean):
    return values.new_empty((index.shape[0], values.shape[1]))


def _over_counts(values: Tensor, offsets: Tensor) -> Tensor:
    return values / offsets.diff().clamp_(min=1)[:, None]


@torch.library.custom_op("geo3d::scatter_max", mutates_args=(), device_types="cpu")
def _scatter_max(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import scatter as cpu

    return cpu.scatter_max(values, order, offsets, minimum)


@_scatter_max.register_kernel("cuda")
def _(values, order, offsets, minimum):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_max(values, order, offsets, minimum)


@_scatter_max.register_fake
def _(values, order, offsets, minimum):
    best = values.new_empty((offsets.shape[0] - 1, values.shape[1]))
    return best, torch.empty_like(best, dtype=torch.int64)


@torch.library.custom_op("geo3d::scatter_amax", mutates_args=(), device_types="cpu")
def _scatter_amax(values: Tensor, order: Tensor, offsets: Tensor, minimum: bool) -> Tensor:
    from geo3d.ops.cpu import scatter as cpu

    return cpu.scatter_amax(values, order, offsets, minimum)


@_scatter_amax.register_kernel("cuda")
def _(values, order, offsets, minimum):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_amax(values, order, offsets, minimum)


@_scatter_amax.register_fake
def _(values, order, offsets, minimum):
    return values.new_empty((offsets.shape[0] - 1, values.shape[1]))


@torch.library.custom_op("geo3d::scatter_select", mutates_args=(), device_types="cpu")
def _scatter_select(values: Tensor, winner: Tensor, count: int) -> Tensor:
    """Zeros [count, C] with values [M, C] at the rows winner [M, C]; a row `count` is dropped."""
    from geo3d.ops.cpu import scatter as cpu

    return cpu.scatter_select(values, winner, count)


@_scatter_select.register_kernel("cuda")
def _(values, winner, count):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_select(values, winner, count)


@_scatter_select.register_fake
def _(values, winner, count):
    return values.new_empty((count, values.shape[1]))


@torch.library.custom_op("geo3d::scatter_softmax", mutates_args=(), device_types="cpu")
def _scatter_softmax(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    from geo3d.ops.cpu import scatter as cpu

    return cpu.scatter_softmax(values, index, order, offsets)


@_scatter_softmax.register_kernel("cuda")
def _(values, index, order, offsets):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_softmax(values, index, order, offsets)


@_scatter_softmax.register_fake
def _(values, index, order, offsets):
    return torch.empty_like(values)


@torch.library.custom_op("geo3d::scatter_logsumexp", mutates_args=(), device_types="cpu")
def _scatter_logsumexp(values: Tensor, index: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    from geo3d.ops.cpu import scatter as cpu

    return cpu.scatter_logsumexp(values, index, order, offsets)


@_scatter_logsumexp.register_kernel("cuda")
def _(values, index, order, offsets):
    from geo3d.ops.cuda import scatter as cuda

    return cuda.scatter_logsumexp(values, order, offsets)


@_scatter_logsumexp.register_fake
def _(values, index, order, offsets):
    return values.new_empty((offsets.shape[0] - 1, values.shape[1]))


def _save_linear(ctx, inputs, output):
    _, *plan, ctx.mean = inputs
    ctx.save_for_backward(*plan)


def _sum_backward(ctx, grad):
    return torch.ops.geo3d.scatter_spread(grad.contiguous(), *ctx.saved_tensors, ctx.mean), None, None, None, None


def _spread_backward(ctx, grad):
    return torch.ops.geo3d.scatter_sum(grad.contiguous(), *ctx.saved_tensors, ctx.mean), None, None, None, None


def _save_max(ctx, inputs, output):
    ctx.count = inputs[0].shape[0]
    ctx.save_for_backward(output[1])


def _max_backward(ctx, grad, _):
    return torch.ops.geo3d.scatter_select(grad.contiguous(), *ctx.saved_tensors, ctx.count), None, None, None


def _save_select(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])


def _select_backward(ctx, grad):
    (winner,) = ctx.saved_tensors
    none = torch.zeros_like(grad[:1]) if grad.shape[0] else grad.new_zeros(1, grad.shape[1])
    return torch.cat([grad, none]).gather(0, winner), None, None


def _save_exponential(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output)


def _softmax_backward(ctx, grad):
    _, *plan, softmax = ctx.saved_tensors
    weighted = grad * softmax
    total = torch.ops.geo3d.scatter_sum(weighted, *plan, False)
    return weighted - softmax * torch.ops.geo3d.scatter_spread(total, *plan, False), None, None, None


def _logsumexp_backward(ctx, grad):
    values, *plan, result = ctx.saved_tensors
    exponent = values - torch.ops.geo3d.scatter_spread(result, *plan, False)
    exponent = torch.where(plan[0][:, None] < 0, 0, exponent)  # a row that is left out: its gradient is zero times this
    return torch.ops.geo3d.scatter_spread(grad.contiguous(), *plan, False) * exponent.exp(), None, None, None


_scatter_sum.register_autograd(_sum_backward, setup_context=_save_linear)
_scatter_spread.register_autograd(_spread_backward, setup_context=_save_linear)
_scatter_max.register_autograd(_max_backward, setup_context=_save_max)
_scatter_select.register_autograd(_select_backward, setup_context=_save_select)
_scatter_softmax.register_autograd(_softmax_backward, setup_context=_save_exponential)
_scatter_logsumexp.register_autograd(_logsumexp_backward, setup_context=_save_exponential)
