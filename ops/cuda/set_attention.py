"""Attention among the rows of sets in Triton: scores of queries by keys never leave the chip.

Keys pass in blocks with a running softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), so that a
program needs no more registers and shared memory for large sets than for small ones. The backward pass computes the scores again,
once for the gradients of queries and once for those of keys and values, in two kernels: one for both runs out of registers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors

MAX_SLOTS = 256
MAX_WIDTHS = {torch.float32: 128, torch.float16: 256, torch.bfloat16: 256}  # channels of a head
TILE = 2048  # rows by channels of a block: what fits the registers, and the 99 KB of shared memory that consumers' GPUs have
PRODUCT_DTYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


@on_device_of_tensors
def set_attention(query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float) -> Tensor:
    """query, key, value [V, C], sets [S, T] rows, padding [S, T] bool -> [V, C], zero for rows in no set.

    All tensors are contiguous, sets int64, nothing is float64.
    """
    mixed = torch.zeros_like(value)  # rows in no set stay zero
    _launch(_forward_kernel, (query, key, value), sets, padding, heads, scale, mixed)
    return mixed


@on_device_of_tensors
def set_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    d_query, d_key, d_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    # of each query and head: largest score, sum of exponentials, mean gradient of the weights
    statistics = [query.new_empty((len(query), heads), dtype=torch.float32) for _ in range(3)]
    inputs = (grad, query, key, value)
    _launch(_query_gradient_kernel, inputs, sets, padding, heads, scale, d_query, *statistics)
    _launch(_key_gradient_kernel, inputs, sets, padding, heads, scale, d_key, d_value, *statistics)
    return d_query, d_key, d_value


def _launch(kernel, inputs: tuple[Tensor, ...], sets: Tensor, padding: Tensor, heads: int, scale: float, *outputs) -> None:
    count, slots = sets.shape
    channels = inputs[0].shape[1]
    width = channels // heads
    if slots > MAX_SLOTS:
        raise ValueError(f"set_attention: on CUDA a set has at most {MAX_SLOTS} slots, got {slots}")
    most = MAX_WIDTHS[inputs[0].dtype]
    if width > most:
        raise ValueError(
            f"set_attention: on CUDA a head has at most {most} channels in {inputs[0].dtype}, got {width}; use more heads"
        )
    if sets.numel() == 0:
        return
    factors = PRODUCT_DTYPES[inputs[0].dtype]
    if triton.knobs.runtime.interpret and factors == tl.bfloat16:
        factors = tl.float32  # the interpreter would multiply the bits
    block_d = max(16, triton.next_power_of_2(width))  # products take blocks from 16 on
    block_t = max(16, min(64, triton.next_power_of_2(slots), TILE // block_d))
    passing = min(block_t, 32) if factors == tl.float32 else block_t  # scores in float32 fill the registers
    blocks = triton.cdiv(slots, block_t)
    kernel[(count * heads * blocks,)](
        *inputs,
        sets,
        padding.view(torch.uint8),
        *outputs,
        scale,
        T=slots,
        C=channels,
        H=heads,
        BLOCK_T=block_t,
        PASSING=passing,
        BLOCK_D=block_d,
        FACTORS=factors,
        num_warps=4,
        num_stages=1,
    )


@triton.jit
def _forward_kernel(
    query,
    key,
    value,
    sets,
    padding,
    mixed,
    scale,
    T: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    BLOCK_T: tl.constexpr,
    PASSING: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FACTORS: tl.constexpr,
):
    """One program per (set s, block of its queries, head h), the heads side by side, since they share cache lines."""
    s, first, h = _program(T, H, BLOCK_T)
    query_row, address, inside, is_query = _slots(sets, padding, s, first, h, T, C, H, BLOCK_T, BLOCK_D)
    q = tl.load(query + address, inside, other=0.0)
    largest, total = tl.full((BLOCK_T,), float("-inf"), tl.float32), tl.zeros((BLOCK_T,), tl.float32)
    out = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for begin in range(0, T, PASSING):
        key_row, key_address, key_inside, is_key = _slots(sets, padding, s, begin, h, T, C, H, PASSING, BLOCK_D)
        k = tl.load(key + key_address, key_inside, other=0.0)
        v = tl.load(value + key_address, key_inside, other=0.0)
        largest, decay, exponential = _exponentials(q, k, is_key, largest, scale, FACTORS)
        total = total * decay + tl.sum(exponential, 1)
        out = out * decay[:, None] + _dot(exponential, v, FACTORS)
    out = out / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(mixed + address, out.to(mixed.dtype.element_ty), inside)


@triton.jit
def _query_gradient_kernel(
    grad,
    query,
    key,
    value,
    sets,
    padding,
    d_query,
    shifts,
    totals,
    means,
    scale,
    T: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    BLOCK_T: tl.constexpr,
    PASSING: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FACTORS: tl.constexpr,
):
    """One program per (set s, block of its queries, head h); also leaves what the other kernel needs of each query."""
    s, first, h = _program(T, H, BLOCK_T)
    query_row, address, inside, is_query = _slots(sets, padding, s, first, h, T, C, H, BLOCK_T, BLOCK_D)
    q = tl.load(query + address, inside, other=0.0)
    g = tl.load(grad + address, inside, other=0.0)
    largest, total = tl.full((BLOCK_T,), float("-inf"), tl.float32), tl.zeros((BLOCK_T,), tl.float32)
    mean = tl.zeros((BLOCK_T,), tl.float32)
    for begin in range(0, T, PASSING):
        key_row, key_address, key_inside, is_key = _slots(sets, padding, s, begin, h, T, C, H, PASSING, BLOCK_D)
        k = tl.load(key + key_address, key_inside, other=0.0)
        v = tl.load(value + key_address, key_inside, other=0.0)
        largest, decay, exponential = _exponentials(q, k, is_key, largest, scale, FACTORS)
        total = total * decay + tl.sum(exponential, 1)
        mean = mean * decay + tl.sum(exponential * _dot(g, tl.trans(v), FACTORS), 1)
    total = tl.where(total == 0, 1.0, total)
    mean = mean / total
    shift = tl.where(largest == float("-inf"), 0.0, largest)
    d_q = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for begin in range(0, T, PASSING):
        key_row, key_address, key_inside, is_key = _slots(sets, padding, s, begin, h, T, C, H, PASSING, BLOCK_D)
        k = tl.load(key + key_address, key_inside, other=0.0)
        v = tl.load(value + key_address, key_inside, other=0.0)
        scores = tl.where(is_key[None, :], _dot(q, tl.trans(k), FACTORS) * scale, float("-inf"))
        weights = tl.exp(scores - shift[:, None]) / total[:, None]
        d_scores = weights * (_dot(g, tl.trans(v), FACTORS) - mean[:, None]) * scale
        d_q += _dot(d_scores, k, FACTORS)
    tl.store(d_query + address, d_q.to(d_query.dtype.element_ty), inside)
    tl.store(shifts + query_row * H + h, shift, is_query)
    tl.store(totals + query_row * H + h, total, is_query)
    tl.store(means + query_row * H + h, mean, is_query)


@triton.jit
def _key_gradient_kernel(
    grad,
    query,
    key,
    value,
    sets,
    padding,
    d_key,
    d_value,
    shifts,
    totals,
    means,
    scale,
    T: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    BLOCK_T: tl.constexpr,
    PASSING: tl.constexpr,
    BLOCK_D: tl.constexpr,
    FACTORS: tl.constexpr,
):
    """One program per (set s, block of its keys, head h); padded queries have no gradient coming in and mean 0: they add nothing."""
    s, first, h = _program(T, H, BLOCK_T)
    key_row, key_address, key_inside, is_key = _slots(sets, padding, s, first, h, T, C, H, BLOCK_T, BLOCK_D)
    k = tl.load(key + key_address, key_inside, other=0.0)
    v = tl.load(value + key_address, key_inside, other=0.0)
    d_k = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    d_v = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for begin in range(0, T, PASSING):
        query_row, address, inside, is_query = _slots(sets, padding, s, begin, h, T, C, H, PASSING, BLOCK_D)
        q = tl.load(query + address, inside, other=0.0)
        g = tl.load(grad + address, inside, other=0.0)
        shift = tl.load(shifts + query_row * H + h, is_query, other=0.0)
        total = tl.load(totals + query_row * H + h, is_query, other=1.0)
        mean = tl.load(means + query_row * H + h, is_query, other=0.0)
        # keys by queries, so that nothing has to be transposed but what comes from memory
        scores = tl.where(is_key[:, None], _dot(k, tl.trans(q), FACTORS) * scale, float("-inf"))
        weights = tl.exp(scores - shift[None, :]) / total[None, :]
        d_v += _dot(weights, g, FACTORS)
        d_scores = weights * (_dot(v, tl.trans(g), FACTORS) - mean[None, :]) * scale
        d_k += _dot(d_scores, q, FACTORS)
    tl.store(d_key + key_address, d_k.to(d_key.dtype.element_ty), key_inside)
    tl.store(d_value + key_address, d_v.to(d_value.dtype.element_ty), key_inside)


@triton.jit
def _program(T: tl.constexpr, H: tl.constexpr, BLOCK_T: tl.constexpr):
    """Set, first slot and head of this program."""
    program = tl.program_id(0).to(tl.int64)  # int64 before any multiplication: row * C passes 2**31 on large scenes
    blocks: tl.constexpr = (T + BLOCK_T - 1) // BLOCK_T
    return program // (H * blocks), (program // H % blocks).to(tl.int32) * BLOCK_T, program % H


@triton.jit
def _slots(
    sets,
    padding,
    s,
    first,
    h,
    T: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Slots of a set from `first` on: their rows, offsets [BLOCK_T, BLOCK_D] of their channels, which are in use, which slots are."""
    t, d = first + tl.arange(0, BLOCK_T), tl.arange(0, BLOCK_D)
    is_used = (t < T) & (tl.load(padding + s * T + t, t < T, other=1) == 0)
    row = tl.load(sets + s * T + t, is_used, other=0)
    width: tl.constexpr = C // H
    address = row[:, None] * C + (h * width + d)[None, :]
    return row, address, is_used[:, None] & (d < width)[None, :], is_used


@triton.jit
def _exponentials(q, k, is_key, largest, scale, FACTORS: tl.constexpr):
    """The new largest score of each query, what sums up to now shrink by, and the exponentials of this block of keys, float32."""
    scores = tl.where(is_key[None, :], _dot(q, tl.trans(k), FACTORS) * scale, float("-inf"))
    new = tl.maximum(largest, tl.max(scores, 1), propagate_nan=tl.PropagateNan.ALL)
    shift = tl.where(new == float("-inf"), 0.0, new)  # no key so far
    return new, tl.exp(largest - shift), tl.exp(scores - shift[:, None])


@triton.jit
def _dot(a, b, FACTORS: tl.constexpr):
    # three products of TF32 are as exact as one of float32, and on the tensor cores
    return tl.dot(a.to(FACTORS), b.to(FACTORS), input_precision="tf32x3")
