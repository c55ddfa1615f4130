"""Attention among the rows of sets on the CPU: one head of one set at a time, in the cache; each thread owns sets."""

from __future__ import annotations

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

from geo3d.ops.cpu.segments import full_precision, prefetch_row
from geo3d.ops.cpu.threads import run_ranges

GRAIN = 4  # fewest sets that are worth a thread
# sums in any order, for vectors; NaN and infinity keep their meaning
FAST = {"contract", "reassoc", "nsz"}


def set_attention(query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float) -> Tensor:
    """query, key, value [V, C], sets [S, T] rows, padding [S, T] bool -> [V, C], zero for rows in no set.

    Sets are contiguous int64, nothing is float64.
    """
    _check_rows(sets[~padding], len(query))
    mixed = np.zeros(query.shape, np.float32)
    _run(_forward, (query, key, value), sets, padding, heads, scale, mixed)
    return torch.from_numpy(mixed).to(query.dtype)


def set_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, sets: Tensor, padding: Tensor, heads: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    gradients = tuple(np.zeros(query.shape, np.float32) for _ in range(3))
    _run(_backward, (grad, query, key, value), sets, padding, heads, scale, *gradients)
    d_query, d_key, d_value = (torch.from_numpy(gradient).to(query.dtype) for gradient in gradients)
    return d_query, d_key, d_value


def _run(kernel, inputs: tuple[Tensor, ...], sets: Tensor, padding: Tensor, heads: int, scale: float, *outputs) -> None:
    sources = [full_precision(x).numpy() for x in inputs]
    run_ranges(kernel, len(sets), *sources, sets.numpy(), padding.numpy(), heads, np.float32(scale), *outputs, grain=GRAIN)


def _check_rows(rows: Tensor, count: int) -> None:
    if not len(rows):
        return
    low, high = (int(bound) for bound in torch.aminmax(rows))
    if low < 0 or high >= count:
        raise ValueError(f"set_attention: sets must hold rows in [0, {count}), got {low} to {high}")
    uses = torch.bincount(rows, minlength=count)
    if int(uses.max()) > 1:
        row = int(uses.argmax())
        raise ValueError(
            f"set_attention: a row must be in one slot at most that is no padding, got row {row} in {int(uses[row])}"
        )


@intrinsic
def _power_of_two(typing_context, exponent):
    """2.0**exponent as float32, for an int32 in -126..127: the exponent is put where the bits of a float have it."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(32)
        biased = builder.add(arguments[0], ir.Constant(word, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(word, 23)), ir.FloatType())

    return types.float32(types.int32), generate


@njit(nogil=True, cache=True, fastmath=FAST, forceinline=True)
def _exp(x):
    """exp(x) of x <= 0 to 1e-7, by arithmetic that loops are vectorised with."""
    # 2**power = 2**whole * 2**part with |part| <= 1/2, the latter by its Taylor series
    power = x * np.float32(1.44269504)
    power = np.float32(-126) if power < np.float32(-126) else power
    whole = np.floor(power + np.float32(0.5))
    part = (power - whole) * np.float32(0.69314718)
    series = np.float32(1 / 720)
    series = series * part + np.float32(1 / 120)
    series = series * part + np.float32(1 / 24)
    series = series * part + np.float32(1 / 6)
    series = series * part + np.float32(0.5)
    series = series * part + np.float32(1)
    series = series * part + np.float32(1)
    return series * _power_of_two(np.int32(whole))


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _forward(query, key, value, sets, padding, heads, scale, mixed, first, last):
    width = query.shape[1] // heads
    size, depth = _multiple_of_four(sets.shape[1]), _multiple_of_four(width)
    rows = np.empty(sets.shape[1], np.int64)
    # zeros beyond the rows and channels in use, so that products may take four at a time
    q, v, out = _zeros(size, depth), _zeros(size, depth), _zeros(size, depth)
    k_t, weights = _zeros(depth, size), _zeros(size, size)
    for s in range(first, last):
        count = _rows_in_use(sets, padding, s, rows)
        for i in range(count):
            prefetch_row(query, rows[i])
            prefetch_row(key, rows[i])
            prefetch_row(value, rows[i])
        for h in range(heads):
            begin = h * width
            _read(query, rows, count, begin, width, q)
            _read_transposed(key, rows, count, begin, width, k_t)
            _read(value, rows, count, begin, width, v)
            _attend(q, k_t, count, width, scale, weights)
            _multiply(weights, v, count, count, width, out)
            _write(out, rows, count, begin, width, mixed)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _backward(grad, query, key, value, sets, padding, heads, scale, d_query, d_key, d_value, first, last):
    width = query.shape[1] // heads
    size, depth = _multiple_of_four(sets.shape[1]), _multiple_of_four(width)
    rows = np.empty(sets.shape[1], np.int64)
    g, out = _zeros(size, depth), _zeros(size, depth)
    q, k, k_t, v_t = _zeros(size, depth), _zeros(size, depth), _zeros(depth, size), _zeros(depth, size)
    weights, d_scores = _zeros(size, size), _zeros(size, size)
    for s in range(first, last):
        count = _rows_in_use(sets, padding, s, rows)
        for i in range(count):
            prefetch_row(grad, rows[i])
            prefetch_row(query, rows[i])
            prefetch_row(key, rows[i])
            prefetch_row(value, rows[i])
        for h in range(heads):
            begin = h * width
            _read(grad, rows, count, begin, width, g)
            _read(query, rows, count, begin, width, q)
            _read(key, rows, count, begin, width, k)
            _read_transposed(key, rows, count, begin, width, k_t)
            _read_transposed(value, rows, count, begin, width, v_t)
            _attend(q, k_t, count, width, scale, weights)
            _multiply(weights.T, g, count, count, width, out)
            _write(out, rows, count, begin, width, d_value)
            _multiply(g, v_t, count, width, count, d_scores)
            _through_softmax(weights, count, scale, d_scores)
            _multiply(d_scores, k, count, count, width, out)
            _write(out, rows, count, begin, width, d_query)
            _multiply(d_scores.T, q, count, count, width, out)
            _write(out, rows, count, begin, width, d_key)


@njit(nogil=True, cache=True, forceinline=True)
def _zeros(height, width):
    return np.zeros((height, width), np.float32)


@njit(nogil=True, cache=True, forceinline=True)
def _rows_in_use(sets, padding, s, rows):
    count = 0
    for t in range(sets.shape[1]):
        if not padding[s, t]:
            rows[count] = sets[s, t]
            count += 1
    return count


@njit(nogil=True, cache=True, forceinline=True)
def _multiple_of_four(size):
    return (size + 3) // 4 * 4


@njit(nogil=True, cache=True, forceinline=True)
def _read(source, rows, count, begin, width, block):
    for i in range(count):
        row = rows[i]
        for c in range(width):
            block[i, c] = source[row, begin + c]
    for i in range(count, _multiple_of_four(count)):  # what an earlier set has left
        for c in range(width):
            block[i, c] = 0


@njit(nogil=True, cache=True, forceinline=True)
def _read_transposed(source, rows, count, begin, width, block):
    for i in range(count):
        row = rows[i]
        for c in range(width):
            block[c, i] = source[row, begin + c]
    for c in range(width):
        for i in range(count, _multiple_of_four(count)):
            block[c, i] = 0


@njit(nogil=True, cache=True, forceinline=True)
def _write(block, rows, count, begin, width, target):
    for i in range(count):
        row = rows[i]
        for c in range(width):
            target[row, begin + c] = block[i, c]


@njit(nogil=True, cache=True, fastmath=FAST, forceinline=True)
def _multiply(a, b, height, depth, width, product):
    """product[:height, :width] = a[:height, :depth] @ b[:depth, :width], two rows by four terms at a time."""
    width = _multiple_of_four(width)
    for i in range(0, height, 2):
        for c in range(width):
            product[i, c] = 0
            product[i + 1, c] = 0
        for j in range(0, depth, 4):
            p0, p1, p2, p3 = a[i, j], a[i, j + 1], a[i, j + 2], a[i, j + 3]
            q0, q1, q2, q3 = a[i + 1, j], a[i + 1, j + 1], a[i + 1, j + 2], a[i + 1, j + 3]
            for c in range(width):
                b0, b1, b2, b3 = b[j, c], b[j + 1, c], b[j + 2, c], b[j + 3, c]
                product[i, c] += p0 * b0 + p1 * b1 + p2 * b2 + p3 * b3
                product[i + 1, c] += q0 * b0 + q1 * b1 + q2 * b2 + q3 * b3


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _attend(q, k_t, count, width, scale, weights):
    """weights[:count, :count] = softmax of the scores; rows and columns up to the next multiple of four are zero."""
    _multiply(q, k_t, count, width, count, weights)
    size = _multiple_of_four(count)
    for i in range(count):
        largest = weights[i, 0] * scale
        for j in range(count):
            weights[i, j] *= scale
            largest = max(largest, weights[i, j])
        for j in range(size):
            weights[i, j] = _exp(weights[i, j] - largest)
        total = weights[i, 0]
        for j in range(1, count):
            total += weights[i, j]
        for j in range(count):
            weights[i, j] /= total
        for j in range(count, size):
            weights[i, j] = 0
    for i in range(count, size):
        for j in range(size):
            weights[i, j] = 0


@njit(nogil=True, cache=True, fastmath=FAST, forceinline=True)
def _through_softmax(weights, count, scale, grad):
    """Gradient of the weights -> that of the unscaled scores, in place; zero up to the next multiple of four."""
    size = _multiple_of_four(count)
    for i in range(count):
        mean = weights[i, 0] * grad[i, 0]
        for j in range(1, count):
            mean += weights[i, j] * grad[i, j]
        for j in range(size):
            grad[i, j] = weights[i, j] * (grad[i, j] - mean) * scale
    for i in range(count, size):
        for j in range(size):
            grad[i, j] = 0
