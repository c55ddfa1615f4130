"""Convolution by rotated kernel points on the CPU, for some anchors and centres at a time.

The sums of each kernel point, [rows, K C], are made by tiles in registers and go through one matrix product while they are in the cache.
The backward pass makes them again, which takes less time than reading them back would, and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.segments import full_precision
from geo3d.ops.cpu.threads import run_ranges
from geo3d.ops.cpu.tiles import ROWS, add_tile, tile_columns

CHUNK = 8 * 2**20  # bytes of sums at a time
GRAIN = 64  # fewest rows that are worth a thread


def kernel_point_conv(
    features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """features [B, A, N, C], points [B, N, 3], centers [B, M, 3], indices [B, M, n] (-1: none), kernel_points [A, K, 3],
    weight [O, K, C] -> [B, A, M, O].

    All tensors are contiguous, indices int64, nothing is float64.
    """
    values = full_precision(features)
    mixed = torch.zeros(*features.shape[:2], centers.shape[1], len(weight))
    channels, mixing = _padded(values.shape[3]), _padded_weight(weight).flatten(1).T
    for entry, anchors, rows, summed in _chunks(values, centers, kernel_points, channels):
        _sum_neighbors(values, points, centers, indices, kernel_points, sigma, entry, anchors, rows, channels, summed)
        torch.mm(summed, mixing, out=mixed[entry, anchors, rows].view(len(summed), -1))
    return mixed.to(features.dtype)


def weight_grad(
    grad: Tensor, features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float
) -> Tensor:
    """Gradient of the weight [O, K, C]."""
    grads, values = full_precision(grad), full_precision(features)
    channels = _padded(values.shape[3])
    total = torch.zeros(grad.shape[3], kernel_points.shape[1] * channels)
    for entry, anchors, rows, summed in _chunks(values, centers, kernel_points, channels):
        _sum_neighbors(values, points, centers, indices, kernel_points, sigma, entry, anchors, rows, channels, summed)
        total.addmm_(grads[entry, anchors, rows].reshape(len(summed), -1).T, summed)
    return total.unflatten(1, (-1, channels))[..., : values.shape[3]].to(grad.dtype).contiguous()


def features_grad(
    grad: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """Gradient of the features [B, A, N, C]; a thread has anchors of its own, so no two of them add to the same row."""
    grads, count, width = full_precision(grad), points.shape[1], weight.shape[2]
    mixing = _padded_weight(weight, fewest=tile_columns(4))
    channels = mixing.shape[2]
    spread = torch.zeros(*grad.shape[:2], count, channels)
    for entry, anchors, rows, summed in _chunks(spread, centers, kernel_points, channels, wide=torch.get_num_threads()):
        chosen = grads[entry, anchors, rows]  # [anchors, rows, O]
        torch.mm(chosen.reshape(len(summed), -1), mixing.flatten(1), out=summed)
        run_ranges(
            _spread,
            len(chosen),
            points[entry].numpy(),
            centers[entry, rows].numpy(),
            indices[entry, rows].numpy(),
            kernel_points[anchors].numpy(),
            np.float32(sigma),
            channels,
            tile_columns(4),
            summed.view(len(chosen), -1).numpy(),
            spread[entry, anchors].flatten(1).numpy(),
        )
    return spread[..., :width].to(grad.dtype).contiguous()


def _padded(channels: int, fewest: int = 1) -> int:
    """Channels filled up to whole tiles; a single one is summed without tiles."""
    if channels == 1 and fewest == 1:
        return 1
    columns = tile_columns(4)
    return -(-channels // columns) * columns


def _padded_weight(weight: Tensor, fewest: int = 1) -> Tensor:
    """Weight [O, K, C] in float32 with zeros up to whole tiles of channels."""
    channels = _padded(weight.shape[2], fewest)
    padded = torch.zeros(*weight.shape[:2], channels)
    padded[..., : weight.shape[2]] = weight
    return padded


def _chunks(
    features: Tensor, centers: Tensor, kernel_points: Tensor, channels: int, wide: int = 1
) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Batch entries, ranges of anchors and of centres whose sums fit the cache together, and memory for these sums.

    There are several anchors, but at least `wide`, or several ranges of centres.
    """
    batch, anchors = features.shape[:2]
    count, width = centers.shape[1], kernel_points.shape[1] * channels
    if min(batch, anchors, count, width) == 0:
        return
    most_rows = max(1, CHUNK // (4 * width))
    tall = min(anchors, max(wide, most_rows // count))
    deep = count if tall > wide else min(count, max(GRAIN, most_rows // tall))
    memory = empty((tall * deep, width), torch.float32)
    for entry in range(batch):
        for anchor in range(0, anchors, tall):
            here = min(tall, anchors - anchor)
            for row in range(0, count, deep):
                rows = min(deep, count - row)
                yield entry, slice(anchor, anchor + here), slice(row, row + rows), memory[: here * rows]


def _sum_neighbors(
    features: Tensor,
    points: Tensor,
    centers: Tensor,
    indices: Tensor,
    kernel_points: Tensor,
    sigma: float,
    entry: int,
    anchors: slice,
    rows: slice,
    channels: int,
    summed: Tensor,
) -> None:
    """summed [anchors times rows, K channels] of one chunk."""
    arrays = (features[entry, anchors], points[entry], centers[entry, rows], indices[entry, rows], kernel_points[anchors])
    kernel = _sum_one if channels == 1 else _sum_tiles
    run_ranges(
        kernel,
        len(summed),
        *(array.numpy() for array in arrays),
        np.float32(sigma),
        channels,
        tile_columns(4),
        summed.view(-1).numpy(),
        grain=GRAIN,
    )


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _weigh(points, centers, indices, m, kernel, sigma, padded, chosen, weights):
    """The neighbours of centre m and their weights for each kernel point, [neighbours, padded] flat; returns how many there are."""
    one, zero = np.float32(1), np.float32(0)
    scale = one / sigma
    kernel_x, kernel_y, kernel_z = kernel[0], kernel[1], kernel[2]
    cx, cy, cz = centers[m, 0], centers[m, 1], centers[m, 2]
    count, step = np.uint64(0), np.uint64(padded)  # unsigned indices need no check for being negative
    for j in range(indices.shape[1]):
        if indices[m, j] < 0:
            continue
        i = np.uint64(indices[m, j])
        chosen[count] = indices[m, j]
        dx, dy, dz = points[i, 0] - cx, points[i, 1] - cy, points[i, 2] - cz
        at = count * step
        for k in range(np.uint64(len(kernel_x))):
            x, y, z = dx - kernel_x[k], dy - kernel_y[k], dz - kernel_z[k]
            weight = one - (x * x + y * y + z * z) * scale
            weights[at + k] = weight if weight > zero else zero
        count += np.uint64(1)
    return np.int64(count)


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_one(features, points, centers, indices, kernel_points, sigma, channels, columns, summed, first, last):
    """Sums of a single channel: the kernel points of a row are the lanes of a vector."""
    size = kernel_points.shape[1]
    chosen, weights = np.empty(indices.shape[1], np.int64), np.empty(indices.shape[1] * size, np.float32)
    anchor, kernel = -1, np.empty((3, size), np.float32)
    for item in range(first, last):
        if item // len(centers) != anchor:
            anchor = item // len(centers)
            kernel[:] = kernel_points[anchor].T
        count = _weigh(points, centers, indices, item % len(centers), kernel, sigma, size, chosen, weights)
        row = summed[item * size : (item + 1) * size]
        row[:] = 0
        for j in range(count):
            value = features[anchor, chosen[j], 0]
            part = weights[j * size : (j + 1) * size]
            for k in range(size):
                row[k] += part[k] * value


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_tiles(features, points, centers, indices, kernel_points, sigma, channels, columns, summed, first, last):
    size, width = kernel_points.shape[1], features.shape[2]
    padded = (size + ROWS - 1) // ROWS * ROWS
    chosen, weights = np.empty(indices.shape[1], np.int64), np.zeros(indices.shape[1] * padded, np.float32)
    block = np.zeros(indices.shape[1] * channels, np.float32)
    tile, tile_at, weight_at = np.empty(padded * channels, np.float32), np.empty(padded, np.int64), np.arange(padded)
    for k in range(padded):
        tile_at[k] = k * channels
    anchor, kernel = -1, np.empty((3, size), np.float32)
    for item in range(first, last):
        if item // len(centers) != anchor:
            anchor = item // len(centers)
            kernel[:] = kernel_points[anchor].T
        count = _weigh(points, centers, indices, item % len(centers), kernel, sigma, padded, chosen, weights)
        for j in range(count):
            source, at = features[anchor, chosen[j]], j * channels
            for c in range(width):
                block[at + c] = source[c]
        tile[:] = 0
        for column in range(0, channels, columns):
            for k in range(0, size, ROWS):
                add_tile(weights, weight_at, padded, block, column, channels, count, tile, tile_at, column, k)
        at = item * size * channels
        for c in range(size * channels):
            summed[at + c] = tile[c]


@njit(nogil=True, cache=True, error_model="numpy")
def _spread(points, centers, indices, kernel_points, sigma, channels, columns, summed, spread, first, last):
    """Gradients of the sums of anchors [first, last) go, weighted, to the neighbours they came from."""
    size, most = kernel_points.shape[1], indices.shape[1]
    chosen = np.empty(most, np.int64)
    weights = np.zeros((most + ROWS) * size, np.float32)
    weight_at, target_at = np.arange(most + ROWS) * size, np.empty(most + ROWS, np.int64)
    for anchor in range(first, last):
        kernel = kernel_points[anchor].T.copy()
        for m in range(len(centers)):
            count = _weigh(points, centers, indices, m, kernel, sigma, size, chosen, weights)
            if count == 0:
                continue
            for j in range(count):
                target_at[j] = chosen[j] * channels
            for j in range(count, count + ROWS):  # what fills up a tile adds nothing to the first
                target_at[j] = target_at[0]
                weights[j * size : (j + 1) * size] = 0
            at = m * size * channels
            for column in range(0, channels, columns):
                for j in range(0, count, ROWS):
                    add_tile(
                        weights, weight_at, 1, summed[anchor], at + column, channels, size, spread[anchor], target_at, column, j
                    )
