"""The custom ops behind `geo3d.ops.scatter`: kernels of the CPU and of CUDA, fake kernels, gradients."""

from __future__ import annotations

import torch
from torch import Tensor


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
