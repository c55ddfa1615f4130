"""Convolution by rotated kernel points in Triton, for some anchors at a time.

The sums of each kernel point go through one matrix product of cuBLAS. Gradients of features are written neighbour by neighbour and added
up by the rows they belong to, so no two programs write the same place and the result does not depend on the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator

import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.cuda.scatter import scatter_plan, scatter_sum

CHUNK = 256 * 2**20  # bytes of sums at a time


@on_device_of_tensors
def kernel_point_conv(
    features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """features [B, A, N, C], points [B, N, 3], centers [B, M, 3], indices [B, M, n] (-1: none), kernel_points [A, K, 3],
    weight [O, K, C] -> [B, A, M, O].

    All tensors are contiguous, indices int64, nothing is float64.
    """
    values, mixing = features.float(), weight.float().flatten(1).T
    mixed = values.new_empty((*features.shape[:2], centers.shape[1], len(weight)))
    for entry, anchors in _chunks(features, centers, kernel_points, features.shape[3]):
        summed = _sum_neighbors(values, points, centers, indices, kernel_points, sigma, entry, anchors)
        mixed[entry, anchors] = summed @ mixing
    return mixed.to(features.dtype)


@on_device_of_tensors
def weight_grad(
    grad: Tensor, features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float
) -> Tensor:
    """Gradient of the weight [O, K, C]."""
    values, grads = features.float(), grad.float()
    size, channels = kernel_points.shape[1], features.shape[3]
    total = values.new_zeros((grad.shape[3], size * channels))
    for entry, anchors in _chunks(features, centers, kernel_points, channels):
        summed = _sum_neighbors(values, points, centers, indices, kernel_points, sigma, entry, anchors)
        total.addmm_(grads[entry, anchors].flatten(0, 1).T, summed.flatten(0, 1))
    return total.view(-1, size, channels).to(grad.dtype)


@on_device_of_tensors
def features_grad(
    grad: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """Gradient of the features [B, A, N, C]."""
    grads, mixing = grad.float(), weight.float().flatten(1)
    (count, size), channels = indices.shape[1:], weight.shape[2]
    spread = grads.new_zeros((*grad.shape[:2], points.shape[1], channels))
    plans: dict[int, tuple[Tensor, Tensor]] = {}
    for entry, anchors in _chunks(grad, centers, kernel_points, channels, size):
        if entry not in plans:
            plans[entry] = scatter_plan(indices[entry].flatten(), points.shape[1])
        summed = grads[entry, anchors] @ mixing  # [anchors, M, K C]
        parts = grads.new_empty((count * size, len(summed) * channels))
        _launch(_spread_kernel, parts, points, centers, indices, kernel_points, sigma, entry, anchors, summed, channels)
        added = scatter_sum(parts, *plans[entry], False)
        spread[entry, anchors] = added.view(-1, len(summed), channels).transpose(0, 1)
    return spread.to(grad.dtype)


def _chunks(
    features: Tensor, centers: Tensor, kernel_points: Tensor, channels: int, neighbors: int = 0
) -> Iterator[tuple[int, slice]]:
    """Batch entries and ranges of anchors whose sums, or parts of neighbours, fit the memory for them."""
    batch, anchors = features.shape[:2]
    row = max(kernel_points.shape[1], neighbors) * channels
    if min(batch, anchors, centers.shape[1], row) == 0:
        return
    tall = max(1, CHUNK // (4 * centers.shape[1] * row))
    for entry in range(batch):
        for anchor in range(0, anchors, tall):
            yield entry, slice(anchor, min(anchor + tall, anchors))


def _sum_neighbors(
    features: Tensor,
    points: Tensor,
    centers: Tensor,
    indices: Tensor,
    kernel_points: Tensor,
    sigma: float,
    entry: int,
    anchors: slice,
) -> Tensor:
    """[anchors, M, K C] of one chunk."""
    chosen = features[entry, anchors]
    summed = features.new_empty((len(chosen), centers.shape[1], kernel_points.shape[1] * features.shape[3]))
    _launch(_sum_kernel, summed, points, centers, indices, kernel_points, sigma, entry, anchors, chosen, features.shape[3])
    return summed


def _launch(
    kernel,
    out: Tensor,
    points: Tensor,
    centers: Tensor,
    indices: Tensor,
    kernel_points: Tensor,
    sigma: float,
    entry: int,
    anchors: slice,
    source: Tensor,
    channels: int,
) -> None:
    count, most = indices.shape[1:]
    size = kernel_points.shape[1]
    kernels = kernel_points[anchors]
    kernel[(len(kernels) * count,)](
        source,
        points[entry],
        centers[entry],
        indices[entry],
        kernels,
        out,
        1 / sigma,
        points.shape[1],
        count,
        most,
        len(kernels),
        size,
        channels,
        BLOCK_N=16,
        BLOCK_K=max(16, triton.next_power_of_2(size)),
        BLOCK_C=max(16, min(64, triton.next_power_of_2(channels))),
    )


@triton.jit(do_not_specialize=["scale", "N", "M", "neighbors", "A"])
def _sum_kernel(
    features,
    points,
    centers,
    indices,
    kernel_points,
    summed,
    scale,
    N,
    M,
    neighbors,
    A,
    K,
    C,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program per (anchor a, centre m): summed [K, C] = weights [K, neighbours] @ features [neighbours, C], by blocks."""
    program = tl.program_id(0).to(tl.int64)  # int64 before any multiplication: program * K * C passes 2**31
    a, m = program // M, program % M
    k = tl.arange(0, BLOCK_K)
    for first_c in range(0, C, BLOCK_C):
        c = first_c + tl.arange(0, BLOCK_C)
        total = tl.zeros((BLOCK_K, BLOCK_C), tl.float32)
        for first in range(0, neighbors, BLOCK_N):
            row, weights = _weigh(points, centers, indices, kernel_points, scale, a, m, first, neighbors, K, BLOCK_N, BLOCK_K)
            inside = (row >= 0)[:, None] & (c < C)[None, :]
            block = tl.load(features + (a * N + row)[:, None] * C + c[None, :], inside, other=0.0)
            total += tl.dot(weights, block, input_precision="ieee")  # no TF32: as exact as on the CPU
        address = summed + program * K * C + k[:, None] * C + c[None, :]
        tl.store(address, total, (k < K)[:, None] & (c < C)[None, :])


@triton.jit(do_not_specialize=["scale", "N", "M", "neighbors", "A"])
def _spread_kernel(
    grads,
    points,
    centers,
    indices,
    kernel_points,
    parts,
    scale,
    N,
    M,
    neighbors,
    A,
    K,
    C,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program per (anchor a, centre m): parts [neighbours, C] = transposed weights @ gradients of the sums [K, C]."""
    program = tl.program_id(0).to(tl.int64)
    a, m = program // M, program % M
    k = tl.arange(0, BLOCK_K)
    for first_c in range(0, C, BLOCK_C):
        c = first_c + tl.arange(0, BLOCK_C)
        inside = (k < K)[:, None] & (c < C)[None, :]
        grad = tl.load(grads + program * K * C + k[:, None] * C + c[None, :], inside, other=0.0)
        for first in range(0, neighbors, BLOCK_N):
            row, weights = _weigh(points, centers, indices, kernel_points, scale, a, m, first, neighbors, K, BLOCK_N, BLOCK_K)
            part = tl.dot(tl.trans(weights), grad, input_precision="ieee")
            j = first + tl.arange(0, BLOCK_N)
            address = parts + ((m * neighbors + j)[:, None] * A + a) * C + c[None, :]
            tl.store(address, part, (j < neighbors)[:, None] & (c < C)[None, :])


@triton.jit
def _weigh(
    points, centers, indices, kernel_points, scale, a, m, first, neighbors, K, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr
):
    """Rows of BLOCK_N neighbours (-1: none) and their weights [BLOCK_K, BLOCK_N]."""
    j, k = first + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    row = tl.load(indices + m * neighbors + j, j < neighbors, other=-1)
    found = row >= 0
    squared = tl.zeros((BLOCK_K, BLOCK_N), tl.float32)
    for axis in tl.static_range(3):
        offset = tl.load(points + row * 3 + axis, found, other=0.0) - tl.load(centers + m * 3 + axis)
        of_kernel = tl.load(kernel_points + (a * K + k) * 3 + axis, k < K, other=0.0)
        difference = offset[None, :] - of_kernel[:, None]
        squared += difference * difference
    weights = tl.maximum(1 - squared * scale, 0.0)
    return row, tl.where((k < K)[:, None] & found[None, :], weights, 0.0)
