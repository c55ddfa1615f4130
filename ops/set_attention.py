"""Attention among the rows of each set (DSVT, Wang et al., CVPR 2023, "dynamic sparse window attention")."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.reference import set_attention as reference


def set_attention(
    query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float | None = None
) -> Tensor:
    """Multi-head scaled dot-product attention in which the rows of a set attend to each other.

    Queries, keys and values come projected, one row per voxel and not per slot, and no array of slots by slots is ever in memory:
    each set is gathered, mixed and written back on its own, and again in the backward pass.

    Args:
        query, key, value: [V, C] floating point of one dtype, any strides. Half precision is computed in float32. Under autocast
            they are cast to its dtype, as in `torch.nn.functional.scaled_dot_product_attention`.
        sets: [S, T] int32 or int64, rows of a set, as `set_partition` gives them in one order. A row may be in one slot at most
            that is no padding; otherwise the CPU raises and CUDA gives any one of its outputs.
        padding: [S, T] bool, True for a slot that is no key and gives no output; its row is not looked at and may be anything.
        heads: divides C; head h has the channels h C / heads and on.
        scale: of the scores, by default 1 / sqrt(C / heads).

    Returns:
        [V, C] in the dtype of the inputs: the output of each row's slot, zero for a row in no set. A set of padding alone gives
        nothing. Differentiable once in query, key and value; rows in no set have zero gradients. Deterministic on every device.
        float64, for checks, is computed by the plain definition, which has all scores in memory.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, on CUDA more than 256 slots in a set or heads of more than 128
            channels in float32 (256 in half precision), and on the CPU a row outside [0, V) or in several slots.

    Example:
        >>> x, sets = torch.rand(4, 16), torch.tensor([[0, 1], [2, 3]])
        >>> set_attention(x, x, x, sets, torch.zeros(2, 2, dtype=torch.bool), heads=2).shape
        torch.Size([4, 16])
    """
    query, key, value = _under_autocast(query, key, value)
    _check(query, key, value, sets, padding, heads)
    scale = (query.shape[1] // heads) ** -0.5 if scale is None else float(scale)
    if query.dtype == torch.float64:  # for checks only, so the kernels do without it
        return reference.set_attention(query, key, value, sets, padding, heads, scale)
    tensors = (x.contiguous() for x in (query, key, value, sets.long(), padding))
    return torch.ops.geo3d.set_attention(*tensors, heads, scale)


def _under_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(x.to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x for x in tensors)


def _check(query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int) -> None:
    op, device = "set_attention", query.device
    if query.ndim != 2 or not query.is_floating_point():
        raise ValueError(f"{op}: query must be [V, C] floating point, got {_describe(query)}")
    for name, x in (("key", key), ("value", value)):
        if x.shape != query.shape or x.dtype != query.dtype or x.device != device:
            raise ValueError(f"{op}: {name} must be like query, {_describe(query)}, got {_describe(x)}")
    if sets.ndim != 2 or sets.dtype not in (torch.int32, torch.int64) or sets.device != device:
        raise ValueError(f"{op}: sets must be [S, T] int32 or int64 on {device}, got {_describe(sets)}")
    if padding.shape != sets.shape or padding.dtype != torch.bool or padding.device != device:
        raise ValueError(f"{op}: padding must be {list(sets.shape)} torch.bool on {device}, got {_describe(padding)}")
    if heads < 1 or query.shape[1] < 1 or query.shape[1] % heads:
        raise ValueError(f"{op}: heads must divide the channels of query, got {heads} heads for {query.shape[1]} channels")


def _describe(x: Tensor) -> str:
    return f"{list(x.shape)} {x.dtype} on {x.device}"


@torch.library.custom_op("geo3d::set_attention", mutates_args=(), device_types="cpu")
def _set_attention(
    query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float
) -> Tensor:
    from geo3d.ops.cpu import set_attention as cpu

    return cpu.set_attention(query, key, value, sets, padding, heads, scale)


@_set_attention.register_kernel("cuda")
def _(query, key, value, sets, padding, heads, scale):
    from geo3d.ops.cuda import set_attention as cuda

    return cuda.set_attention(query, key, value, sets, padding, heads, scale)


@_set_attention.register_fake
def _(query, key, value, sets, padding, heads, scale):
    return torch.empty_like(value)


@torch.library.custom_op("geo3d::set_attention_backward", mutates_args=(), device_types="cpu")
def _set_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    from geo3d.ops.cpu import set_attention as cpu

    return cpu.set_attention_backward(grad, query, key, value, sets, padding, heads, scale)


@_set_attention_backward.register_kernel("cuda")
def _(grad, query, key, value, sets, padding, heads, scale):
    from geo3d.ops.cuda import set_attention as cuda

    return cuda.set_attention_backward(grad, query, key, value, sets, padding, heads, scale)


@_set_attention_backward.register_fake
def _(grad, query, key, value, sets, padding, heads, scale):
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _save(ctx, inputs, output):
    *tensors, ctx.heads, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):
    gradients = torch.ops.geo3d.set_attention_backward(grad.contiguous(), *ctx.saved_tensors, ctx.heads, ctx.scale)
    return *gradients, None, None, None, None


_set_attention.register_autograd(_backward, setup_context=_save)
