"""Attention among the rows of sets in Triton: scores of queries by keys never leave the chip."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_SLOTS = 256
MOST_SCORES = 4096  # queries by keys in the registers and the shared memory of a program; consumers' GPUs have 99 KB of it
PRODUCT_DTYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def set_attention(query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float) -> Tensor:
    """As `geo3d.ops.reference.set_attention.set_attention`; all tensors are contiguous, sets int64,
    nothing is float64."""
    mixed = torch.zeros_like(value)  # rows in no set stay zero
    _launch(_forward_kernel, (query, key, value), sets, padding, heads, scale, mixed)
    return mixed


def set_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    d_query, d_key, d_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    _launch(_backward_kernel, (grad, query, key, value), sets, padding, heads, scale, d_query, d_key, d_value)
    return d_query, d_key, d_value


def _launch(kernel, inputs: tuple[Tensor, ...], sets: Tensor, padding: Tensor, heads: int, scale: float, *outputs) -> None:
    count, slots = sets.shape
    if slots > MOST_SLOTS:
        raise ValueError(f"set_attention: on CUDA a set has at most {MOST_SLOTS} slots, got {slots}")
    if sets.numel() == 0:
        return
    channels = inputs[0].shape[1]
    factors = PRODUCT_DTYPES[inputs[0].dtype]
    if inputs[0].device.type == "cpu" and factors == tl.bfloat16:
        factors = tl.float32  # the interpreter would multiply the bits
    block_t = max(16, triton.next_power_of_2(slots))  # products take blocks from 16 on
    block_d = max(16, triton.next_power_of_2(channels // heads))
    kernel[(count * heads,)](
        *inputs,
        sets,
        padding.view(torch.uint8),
        *outputs,
        slots,
        channels,
        heads,
        scale,
        BLOCK_Q=min(block_t, MOST_SCORES // block_t),
        BLOCK_T=block_t,
        BLOCK_D=block_d,
        FACTORS=factors,
        num_warps=min(block_t // 16, 4),
    )


@triton.jit
def _forward_kernel(
    query,
    key,
    value,
    sets,
    padding,
    mixed,
    T,
    C,
    H,
    scale,
    BLOCK_Q: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FACTORS: tl.constexpr,
):
    """One program per (set s, head h), the heads of a set side by side, since they share cache lines; BLOCK_Q queries at a time."""
    key_address, key_inside, is_key = _slots(sets, padding, 0, T, C, H, BLOCK_T, BLOCK_D)
    k = tl.load(key + key_address, key_inside, other=0.0)
    v = tl.load(value + key_address, key_inside, other=0.0)
    for first in range(0, T, BLOCK_Q):
        address, inside, _ = _slots(sets, padding, first, T, C, H, BLOCK_Q, BLOCK_D)
        q = tl.load(query + address, inside, other=0.0)
        out = _dot(_weights(q, k, is_key, scale, FACTORS), v, FACTORS)
        tl.store(mixed + address, out.to(mixed.dtype.element_ty), inside)


@triton.jit
def _backward_kernel(
    grad,
    query,
    key,
    value,
    sets,
    padding,
    d_query,
    d_key,
    d_value,
    T,
    C,
    H,
    scale,
    BLOCK_Q: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FACTORS: tl.constexpr,
):
    """One program per (set s, head h). Padded slots have no gradient coming in and no weight, so that they add nothing."""
    key_address, key_inside, is_key = _slots(sets, padding, 0, T, C, H, BLOCK_T, BLOCK_D)
    k = tl.load(key + key_address, key_inside, other=0.0)
    v = tl.load(value + key_address, key_inside, other=0.0)
    d_k = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    d_v = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for first in range(0, T, BLOCK_Q):
        address, inside, _ = _slots(sets, padding, first, T, C, H, BLOCK_Q, BLOCK_D)
        q = tl.load(query + address, inside, other=0.0)
        g = tl.load(grad + address, inside, other=0.0)
        weights = _weights(q, k, is_key, scale, FACTORS)
        d_v += _dot(tl.trans(weights), g, FACTORS)
        d_weights = _dot(g, tl.trans(v), FACTORS)
        d_scores = weights * (d_weights - tl.sum(weights * d_weights, 1)[:, None]) * scale
        d_q = _dot(d_scores, k, FACTORS)
        tl.store(d_query + address, d_q.to(d_query.dtype.element_ty), inside)
        d_k += _dot(tl.trans(d_scores), q, FACTORS)
    tl.store(d_key + key_address, d_k.to(d_key.dtype.element_ty), key_inside)
    tl.store(d_value + key_address, d_v.to(d_value.dtype.element_ty), key_inside)


@triton.jit
def _slots(sets, padding, first, T, C, H, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    """Slots from `first` on of this program: offsets [BLOCK_T, BLOCK_D] of their channels, which are in use, which slots are."""
    program = tl.program_id(0).to(tl.int64)  # int64 before any multiplication: row * C passes 2**31 on large scenes
    s, h = program // H, program % H
    t, d = first + tl.arange(0, BLOCK_T), tl.arange(0, BLOCK_D)
    is_used = (t < T) & (tl.load(padding + s * T + t, t < T, other=1) == 0)
    row = tl.load(sets + s * T + t, is_used, other=0)
    width = C // H
    address = row[:, None] * C + (h * width + d)[None, :]
    return address, is_used[:, None] & (d < width)[None, :], is_used


@triton.jit
def _weights(q, k, is_key, scale, FACTORS: tl.constexpr):
    """Softmax of the scores in float32; padded keys have weight zero, in a set of padding alone all are."""
    scores = _dot(q, tl.trans(k), FACTORS) * scale
    scores = tl.where(is_key[None, :], scores, float("-inf"))
    largest = tl.max(scores, 1)
    largest = tl.where(largest == float("-inf"), 0.0, largest)
    exponential = tl.exp(scores - largest[:, None])
    total = tl.sum(exponential, 1)
    return exponential / tl.where(total == 0, 1.0, total)[:, None]


@triton.jit
def _dot(a, b, FACTORS: tl.constexpr):
    return tl.dot(a.to(FACTORS), b.to(FACTORS), input_precision="ieee")  # no TF32: float32 is as exact as on the CPU
