"""The custom ops behind `geo3d.ops.sparse_conv`: kernels of the CPU and of CUDA, fake kernels, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from geo3d.ops.reference import sparse_conv as reference


@torch.library.custom_op("geo3d::sparse_conv_cells", mutates_args=(), device_types="cpu")
def _sparse_conv_cells(
    coords: Tensor,
    out_shape: Sequence[int],
    kernel: Sequence[int],
    up: Sequence[int],
    down: Sequence[int],
    shift: Sequence[int],
    step: Sequence[int],
) -> Tensor:
    from geo3d.ops.cpu import sparse_conv as cpu

    return cpu.sparse_conv_cells(coords, out_shape, kernel, up, down, shift, step)


@_sparse_conv_cells.register_kernel("cuda")
def _(coords, out_shape, kernel, up, down, shift, step):
    from geo3d.ops.cuda import sparse_conv as cuda

    return cuda.sparse_conv_cells(coords, out_shape, kernel, up, down, shift, step)


@_sparse_conv_cells.register_fake
def _(coords, out_shape, kernel, up, down, shift, step):
    return coords.new_empty((torch.library.get_ctx().new_dynamic_size(), 4))


@torch.library.custom_op("geo3d::sparse_conv_tables", mutates_args=(), device_types="cpu")
def _sparse_conv_tables(
    coords: Tensor,
    out_coords: Tensor,
    out_shape: Sequence[int],
    kernel: Sequence[int],
    up: Sequence[int],
    down: Sequence[int],
    shift: Sequence[int],
    step: Sequence[int],
) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import sparse_conv as cpu

    unused = [bool((rows[:, 0] < 0).any()) for rows in (coords, out_coords)]
    if any(unused):
        geometry = (list(values) for values in (out_shape, kernel, up, down, shift, step))
        return reference.sparse_conv_tables(coords, out_coords, *geometry)
    return cpu.sparse_conv_tables(coords, out_coords, out_shape, kernel, up, down, shift, step)


@_sparse_conv_tables.register_kernel("cuda")
def _(coords, out_coords, out_shape, kernel, up, down, shift, step):
    from geo3d.ops.cuda import sparse_conv as cuda

    return cuda.sparse_conv_tables(coords, out_coords, out_shape, kernel, up, down, shift, step)


@_sparse_conv_tables.register_fake
def _(coords, out_coords, out_shape, kernel, up, down, shift, step):
    size = prod(kernel)
    return tuple(coords.new_empty((size, rows.shape[0]), dtype=torch.int32) for rows in (out_coords, coords))


@torch.library.custom_op("geo3d::submanifold_tables", mutates_args=(), device_types="cpu")
def _submanifold_tables(
    coords: Tensor, shape: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, Tensor]:
    padding, back = [d * (k // 2) for d, k in zip(dilation, kernel, strict=True)], [-d for d in dilation]
    return torch.ops.geo3d.sparse_conv_tables(coords, coords, shape, kernel, (1, 1, 1), (1, 1, 1), padding, back)


@_submanifold_tables.register_kernel("cuda")
def _(coords, shape, kernel, dilation):
    from geo3d.ops.cuda import sparse_conv as cuda

    return cuda.submanifold_tables(coords, shape, kernel, dilation)


@_submanifold_tables.register_fake
def _(coords, shape, kernel, dilation):
    return tuple(coords.new_empty((prod(kernel), coords.shape[0]), dtype=torch.int32) for _ in range(2))


@torch.library.custom_op("geo3d::sparse_conv", mutates_args=(), device_types="cpu")
def _sparse_conv(features: Tensor, weight: Tensor, bias: Tensor | None, sources: Tensor, targets: Tensor) -> Tensor:
    from geo3d.ops.cpu import sparse_conv as cpu

    return cpu.sparse_conv(features, weight, bias, sources)


@_sparse_conv.register_kernel("cuda")
def _(features, weight, bias, sources, targets):
    from geo3d.ops.cuda import sparse_conv as cuda

    return cuda.sparse_conv(features, weight, bias, sources)


@_sparse_conv.register_fake
def _(features, weight, bias, sources, targets):
    return features.new_empty((sources.shape[1], weight.shape[2]))


@torch.library.custom_op("geo3d::sparse_conv_weight_grad", mutates_args=(), device_types="cpu")
def _sparse_conv_weight_grad(features: Tensor, grad: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
    from geo3d.ops.cpu import sparse_conv as cpu

    return cpu.sparse_conv_weight_grad(features, grad, sources)


@_sparse_conv_weight_grad.register_kernel("cuda")
def _(features, grad, sources, targets):
    from geo3d.ops.cuda import sparse_conv as cuda

    return cuda.sparse_conv_weight_grad(features, grad, sources)


@_sparse_conv_weight_grad.register_fake
def _(features, grad, sources, targets):
    return features.new_empty((sources.shape[0], features.shape[1], grad.shape[1]))


def _save_conv(ctx, inputs, output):
    features, weight, _, sources, targets = inputs
    ctx.save_for_backward(features, weight, sources, targets)


def _conv_backward(ctx, grad):
    features, weight, sources, targets = ctx.saved_tensors
    grad = grad.contiguous()
    of_features = of_weight = of_bias = None
    if ctx.needs_input_grad[0]:
        of_features = torch.ops.geo3d.sparse_conv(grad, weight.transpose(1, 2), None, targets, sources)
    if ctx.needs_input_grad[1]:
        of_weight = torch.ops.geo3d.sparse_conv_weight_grad(features, grad, sources, targets)
    if ctx.needs_input_grad[2]:
        of_bias = grad.sum(0)
    return of_features, of_weight, of_bias, None, None


def _save_weight_grad(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _weight_grad_backward(ctx, grad):
    features, out_grad, sources, targets = ctx.saved_tensors
    of_features = torch.ops.geo3d.sparse_conv(out_grad, grad.transpose(1, 2), None, targets, sources)
    return of_features, torch.ops.geo3d.sparse_conv(features, grad, None, sources, targets), None, None


_sparse_conv.register_autograd(_conv_backward, setup_context=_save_conv)
_sparse_conv_weight_grad.register_autograd(_weight_grad_backward, setup_context=_save_weight_grad)
