"""Sparse convolution on the CPU.

Rows that meet are found by merging sorted cells: a shift of all inputs keeps their order. Products are summed tile by tile into
output rows that one thread owns, kernel cell by kernel cell, so the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from geo3d.ops.cpu.memory import empty
from geo3d.ops.cpu.segments import full_precision
from geo3d.ops.cpu.threads import run_ranges
from geo3d.ops.cpu.tiles import ROWS, add_tile, tile_columns

GRAIN = 20_000  # fewest pairs of input and kernel cell that are worth a thread
BLOCK = 512  # output rows that stay in the second cache while the kernel passes over them
PAIRS = 64  # pairs of rows that stay in the first cache while all tiles of a weight gradient pass over them


def sparse_conv_cells(
    coords: Tensor,
    out_shape: Sequence[int],
    kernel: Sequence[int],
    up: Sequence[int],
    down: Sequence[int],
    shift: Sequence[int],
    step: Sequence[int],
) -> Tensor:
    """Coordinates [M, 4] of the outputs that meet an input of coords [N, 4], ascending by (batch, x, y, z)."""
    rows = coords.numpy()
    parts = _cell_parts(rows, np.arange(len(rows)), *_arrays(out_shape, kernel, up, down, shift, step))
    cells = np.sort(_cells_met(parts, np.array(kernel)))
    return torch.from_numpy(_distinct_coords(cells, np.array(out_shape))).to(coords.dtype)


def sparse_conv_tables(
    coords: Tensor,
    out_coords: Tensor,
    out_shape: Sequence[int],
    kernel: Sequence[int],
    up: Sequence[int],
    down: Sequence[int],
    shift: Sequence[int],
    step: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """sources [K, M] and targets [K, N] int32: the input row of each output row, and the other way round, or -1."""
    size = kernel[0] * kernel[1] * kernel[2]
    sources, targets = np.full((size, len(out_coords)), -1, np.int32), np.full((size, len(coords)), -1, np.int32)
    # an input and an output that meet through a kernel cell meet the other way round through the opposite one
    is_mirrored = list(up) == list(down) == [1, 1, 1] and all(
        2 * a == b * (1 - k) for a, b, k in zip(shift, step, kernel, strict=True)
    )
    is_mirrored &= coords.data_ptr() == out_coords.data_ptr() and coords.shape == out_coords.shape
    order = _ascending_order(coords.numpy())
    out_order = order if is_mirrored else _ascending_order(out_coords.numpy())
    out_cells = _cells_of(out_coords.numpy(), out_order, np.array(out_shape))
    parts = _cell_parts(coords.numpy(), order, *_arrays(out_shape, kernel, up, down, shift, step))
    arguments = (parts, order, out_cells, out_order, np.array(kernel), is_mirrored, sources, targets)
    run_ranges(_match, (size + 1) // 2 if is_mirrored else size, *arguments, grain=1 + GRAIN // max(len(coords), 1))
    return torch.from_numpy(sources), torch.from_numpy(targets)


def sparse_conv(features: Tensor, weight: Tensor, bias: Tensor | None, sources: Tensor) -> Tensor:
    """features [N, C], weight [K, C, D], bias [D] -> [M, D].

    Sums in float32, or float64.
    """
    values, rows, channels = full_precision(features), sources.shape[1], weight.shape[2]
    panels = _panels(weight.to(values.dtype).numpy())
    # what fills up a tile goes to the last row
    out = empty((rows + 1, panels.shape[1] * panels.shape[3]), values.dtype)
    start = torch.zeros(out.shape[1], dtype=values.dtype)
    if bias is not None:
        start[:channels] = bias
    threads = torch.get_num_threads()
    block = max(64, min(BLOCK, rows // (4 * threads)))
    blocks = np.arange(-(-rows // block))
    blocks = blocks[np.argsort(blocks % threads, kind="stable")]  # dense parts of a scene go to all threads alike
    arrays = (values.numpy(), panels, start.numpy(), sources.numpy(), out.numpy())
    run_ranges(_convolve, len(blocks), *arrays, blocks, block, grain=1 + GRAIN // (len(weight) * block))
    return out[:rows, :channels].to(features.dtype).contiguous()


def sparse_conv_weight_grad(features: Tensor, grad: Tensor, sources: Tensor) -> Tensor:
    """Gradient [K, C, D] of the weights for the gradient [M, D] of the result.

    Sums in float32, or float64.
    """
    values, grads = full_precision(features), full_precision(grad)
    size, inputs, outputs = len(sources), values.shape[1], grads.shape[1]
    columns = tile_columns(values.itemsize)
    panels = -(-outputs // columns)
    # what fills up a tile goes to the last row
    total = np.zeros((size * inputs + 1, panels * columns), values.numpy().dtype)
    # the matrix of a kernel cell costs as much as it has pairs of rows, so threads share out the pairs times the tiles
    pairs = (sources.numpy() >= 0).sum(1)
    costs = np.append(0, np.cumsum(pairs * (-(-inputs // ROWS) * panels)))
    arrays = (values.numpy(), grads.numpy(), sources.numpy(), total, pairs, costs)
    run_ranges(_outer_products, int(costs[-1]), *arrays, columns, grain=GRAIN)
    result = torch.from_numpy(total)[: size * inputs, :outputs].to(features.dtype)
    return result.contiguous().view(size, inputs, outputs)


def _panels(weight: np.ndarray) -> np.ndarray:
    """Weights [K, C, D] -> [K, panels, C, columns]: what a tile reads lies together; zeros fill up the last panel."""
    size, channels, out_channels = weight.shape
    columns = tile_columns(weight.itemsize)
    panels = np.zeros((size, -(-out_channels // columns), channels, columns), weight.dtype)
    for panel, begin in enumerate(range(0, out_channels, columns)):
        part = weight[:, :, begin : begin + columns]
        panels[:, panel, :, : part.shape[2]] = part
    return panels


def _arrays(*lists: Sequence[int]) -> list[np.ndarray]:
    return [np.array(values, np.int64) for values in lists]


def _ascending_order(coords: np.ndarray) -> np.ndarray:
    """Rows by (batch, x, y, z)."""
    order = np.arange(len(coords))
    if _first_not_above(coords, order) < 0:
        return order
    order = np.argsort(_cells_of(coords, order, bounds(coords)[1][:0:-1].astype(np.int64) + 1), kind="stable")
    i = _first_not_above(coords, order)
    if i >= 0:
        place = coords[order[i]].tolist()
        raise ValueError(f"sparse_conv_plan: coords must be distinct, got {place} in rows {order[i - 1]} and {order[i]}")
    return order


@njit(nogil=True, cache=True)
def bounds(coords):
    """Least and largest of each column of coords [V, C], V at least 1."""
    low, high = coords[0].copy(), coords[0].copy()
    for row in range(len(coords)):
        for column in range(coords.shape[1]):
            low[column] = min(low[column], coords[row, column])
            high[column] = max(high[column], coords[row, column])
    return low, high


@njit(nogil=True, cache=True)
def _first_not_above(coords, order):
    """First place in the order whose coordinates are not above those before, by (batch, x, y, z); -1 if there is none."""
    for i in range(1, len(order)):
        before, here = coords[order[i - 1]], coords[order[i]]
        if here[0] != before[0]:
            is_above = here[0] > before[0]
        elif here[3] != before[3]:
            is_above = here[3] > before[3]
        elif here[2] != before[2]:
            is_above = here[2] > before[2]
        else:
            is_above = here[1] > before[1]
        if not is_above:
            return i
    return -1


@njit(nogil=True, cache=True)
def _cells_of(coords, order, shape):
    cells = np.empty(len(order), np.int64)
    for i in range(len(order)):
        row = coords[order[i]]
        cells[i] = ((np.int64(row[0]) * shape[0] + row[3]) * shape[1] + row[2]) * shape[2] + row[1]
    return cells


@njit(nogil=True, cache=True)
def _cell_parts(coords, order, shape, kernel, up, down, shift, step):
    """What each axis adds to the number of the cell that an input meets [3, K of the axis, N]; -1 outside the grid."""
    parts = np.empty((3, kernel.max(), len(order)), np.int64)
    for axis in range(3):
        inner = 1
        for other in range(axis + 1, 3):
            inner *= shape[other]
        divisor = np.uint64(down[axis])
        for k in range(kernel[axis]):
            offset = shift[axis] + k * step[axis]
            for i in range(len(order)):
                row = coords[order[i]]
                numerator = np.int64(row[3 - axis]) * up[axis] + offset
                place = np.int64(np.uint64(numerator) // divisor)  # unsigned, since division in Python's sense is slower
                batch = np.int64(row[0]) * shape[0] if axis == 0 else 0
                is_inside = (numerator >= 0) & (place * down[axis] == numerator) & (place < shape[axis])
                parts[axis, k, i] = (batch + place) * inner if is_inside else -1
    return parts


@njit(nogil=True, cache=True)
def _cells_met(parts, kernel):
    """The cells that all inputs meet, one run in ascending order for each kernel cell."""
    count = parts.shape[2]
    cells = np.empty(kernel[0] * kernel[1] * kernel[2] * count, np.int64)
    found = 0
    for kz in range(kernel[2]):
        for ky in range(kernel[1]):
            for kx in range(kernel[0]):
                for i in range(count):
                    x, y, z = parts[0, kx, i], parts[1, ky, i], parts[2, kz, i]
                    cells[found] = x + y + z
                    found += (x | y | z) >= 0
    return cells[:found]


@njit(nogil=True, cache=True)
def _distinct_coords(cells, shape):
    """Coordinates (batch, z, y, x), of the distinct ones among sorted cells."""
    coords = np.empty((len(cells), 4), np.int32)
    x, y, z = np.uint64(shape[0]), np.uint64(shape[1]), np.uint64(shape[2])
    count, previous = 0, -1
    for cell in cells:
        if cell == previous:
            continue
        previous = cell
        column = np.uint64(cell) // z
        plane = column // y
        batch = plane // x
        coords[count, 0], coords[count, 1] = batch, np.uint64(cell) - column * z
        coords[count, 2], coords[count, 3] = column - plane * y, plane - batch * x
        count += 1
    return coords[:count]


@njit(nogil=True, cache=True)
def _match(parts, order, out_cells, out_order, kernel, is_mirrored, sources, targets, first, last):
    """For each kernel cell the inputs and outputs that meet: both ascend, so that one pass finds them."""
    for k in range(first, last):
        kx, ky, kz = k % kernel[0], k // kernel[0] % kernel[1], k // (kernel[0] * kernel[1])
        opposite = len(sources) - 1 - k
        j = 0
        for i in range(len(order)):
            x, y, z = parts[0, kx, i], parts[1, ky, i], parts[2, kz, i]
            if (x | y | z) < 0:
                continue
            while j < len(out_cells) and out_cells[j] < x + y + z:
                j += 1
            if j < len(out_cells) and out_cells[j] == x + y + z:
                row, out_row = order[i], out_order[j]
                sources[k, out_row], targets[k, row] = row, out_row
                if is_mirrored:
                    sources[opposite, row], targets[opposite, out_row] = out_row, row


@njit(nogil=True, cache=True)
def _convolve(values, panels, start, sources, out, blocks, block, first, last):
    """Blocks of output rows, summed over the kernel."""
    rows, width, channels, columns = sources.shape[1], out.shape[1], values.shape[1], panels.shape[3]
    values, right, flat_out = values.reshape(-1), panels.reshape(-1), out.reshape(-1)
    value_at, out_at = np.empty(block + ROWS, np.int64), np.empty(block + ROWS, np.int64)
    for b in blocks[first:last]:
        begin, end = b * block, min(rows, (b + 1) * block)
        for row in range(begin, end):
            for c in range(width):
                out[row, c] = start[c]
        for k in range(len(sources)):
            count = 0
            for row in range(begin, end):
                source = np.int64(sources[k, row])
                value_at[count], out_at[count] = source * channels, row * width
                count += source >= 0
            for filler in range(count, count + ROWS if count else 0):
                value_at[filler], out_at[filler] = value_at[0], rows * width
            for panel in range(panels.shape[1]):
                matrix = (k * panels.shape[1] + panel) * channels * columns
                for tile in range(0, count, ROWS):
                    add_tile(values, value_at, 1, right, matrix, columns, channels, flat_out, out_at, panel * columns, tile)


@njit(nogil=True, cache=True)
def _outer_products(values, grads, sources, total, pairs, costs, columns, first, last):
    """The tiles that begin at a cost in first..last: sums over the pairs of rows of a kernel cell, some copied together at a time."""
    inputs, width = values.shape[1], total.shape[1]
    panels, padded = width // columns, (inputs + ROWS - 1) // ROWS * ROWS
    left, right = np.zeros((PAIRS, padded), values.dtype), np.zeros((PAIRS, width), values.dtype)
    flat_left, flat_right, flat_total = left.reshape(-1), right.reshape(-1), total.reshape(-1)
    left_at, total_at = np.arange(padded), np.empty(padded, np.int64)
    value_rows, grad_rows = np.empty(sources.shape[1], np.uint64), np.empty(sources.shape[1], np.uint64)
    for k in range(len(sources)):
        if pairs[k] == 0 or costs[k + 1] <= first or costs[k] >= last:
            continue
        first_tile = max(0, (first - costs[k] + pairs[k] - 1) // pairs[k])
        last_tile = min(padded // ROWS * panels, (last - costs[k] + pairs[k] - 1) // pairs[k])
        for c in range(padded):
            total_at[c] = (k * inputs + c if c < inputs else len(sources) * inputs) * width
        count = 0
        for row in range(sources.shape[1]):
            value_rows[count], grad_rows[count] = sources[k, row], row
            count += sources[k, row] >= 0
        for begin in range(0, count if first_tile < last_tile else 0, PAIRS):
            steps = min(PAIRS, count - begin)
            for pair in range(steps):
                value_row, grad_row = value_rows[begin + pair], grad_rows[begin + pair]
                for c in range(inputs):
                    left[pair, c] = values[value_row, c]
                for c in range(grads.shape[1]):
                    right[pair, c] = grads[grad_row, c]
            for tile in range(first_tile, last_tile):
                c, column = tile // panels * ROWS, tile % panels * columns
                add_tile(flat_left, left_at, padded, flat_right, column, width, steps, flat_total, total_at, column, c)
