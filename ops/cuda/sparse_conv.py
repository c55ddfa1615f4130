"""Sparse convolution in Triton: gathered rows times matrices, each output tile summed by one program, so nothing depends on the schedule."""

from __future__ import annotations

from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from geo3d.ops.cuda.distinct import distinct
from geo3d.ops.cuda.hash_table import find, hash_table
from geo3d.ops.cuda.launch import on_device_of_tensors
from geo3d.ops.reference import sparse_conv as reference

BLOCK_ROWS = 64
PROGRAMS = 512  # that fill a GPU: the rows of a weight gradient are cut into parts until there are so many


@on_device_of_tensors
def sparse_conv_cells(
    coords: Tensor, out_shape: list[int], kernel: list[int], up: list[int], down: list[int], shift: list[int], step: list[int]
) -> Tensor:
    """Coordinates [M, 4] of the outputs that meet an input of coords [N, 4], ascending by (batch, x, y, z); waits for the host once."""
    met = reference.cells_met(coords, out_shape, kernel, up, down, shift, step).flatten()
    cells, _, _ = distinct(met, torch.iinfo(torch.int64).max)
    return reference.coords_of(cells, out_shape).to(coords.dtype)


@on_device_of_tensors
def sparse_conv_tables(
    coords: Tensor,
    out_coords: Tensor,
    out_shape: list[int],
    kernel: list[int],
    up: list[int],
    down: list[int],
    shift: list[int],
    step: list[int],
) -> tuple[Tensor, Tensor]:
    """sources [K, M] and targets [K, N] int32: the input row of each output row, and the other way round, or -1."""
    size, rows, out_rows = prod(kernel), len(coords), len(out_coords)
    sources = torch.full((size, out_rows), -1, dtype=torch.int32, device=coords.device)
    targets = torch.full((size, rows), -1, dtype=torch.int32, device=coords.device)
    if rows and out_rows:
        geometry = (out_shape, kernel, up, down, shift, step)
        _launch_tables(coords, out_coords, sources, targets, size, geometry, SYMMETRIC=False)
    return sources, targets


@on_device_of_tensors
def submanifold_tables(coords: Tensor, shape: list[int], kernel: list[int], dilation: list[int]) -> tuple[Tensor, Tensor]:
    """The tables [K, V] of a kernel centred on each of coords [V, 4].

    Where i is seen from o through cell k, o is seen from i through the cell opposite, K - 1 - k: half of the cells are searched.
    """
    size, count = prod(kernel), len(coords)
    sources = torch.full((size, count), -1, dtype=torch.int32, device=coords.device)
    if count:
        padding, back = [d * (k // 2) for d, k in zip(dilation, kernel, strict=True)], [-d for d in dilation]
        sources[size // 2] = torch.where(coords[:, 0] < 0, -1, torch.arange(count, dtype=torch.int32, device=coords.device))
        if size > 1:
            geometry = (shape, kernel, [1, 1, 1], [1, 1, 1], padding, back)
            _launch_tables(coords, coords, sources, sources, size // 2, geometry, SYMMETRIC=True)
    return sources, sources.flip(0)


def _launch_tables(
    coords: Tensor,
    out_coords: Tensor,
    sources: Tensor,
    targets: Tensor,
    cells: int,
    geometry: tuple[list[int], ...],
    SYMMETRIC: bool,
) -> None:
    """Fill the tables of the first cells of a kernel."""
    out_shape, kernel, up, down, shift, step = geometry
    slots, rows = hash_table(reference.cells_of(out_coords, out_shape))
    axes = [
        value for axis in range(3) for value in (kernel[axis], out_shape[axis], up[axis], down[axis], shift[axis], step[axis])
    ]
    arguments = (coords, slots, rows, sources, targets, len(coords), len(out_coords), len(slots), *axes)
    _tables_kernel[(triton.cdiv(len(coords), 256), cells)](*arguments, SYMMETRIC=SYMMETRIC, BLOCK=256)


@on_device_of_tensors
def sparse_conv(features: Tensor, weight: Tensor, bias: Tensor | None, sources: Tensor) -> Tensor:
    """features [N, C], weight [K, C, D], bias [D] -> [M, D].

    Sums in float32. Float64 is left to torch.
    """
    if features.dtype == torch.float64:
        return reference.sparse_conv(features, weight, bias, sources)
    size, channels, out_channels = weight.shape
    rows = sources.shape[1]
    out = features.new_empty((rows, out_channels))
    if out.numel():
        block_in, block_out = _blocks(features, out_channels)
        grid = (triton.cdiv(rows, BLOCK_ROWS), triton.cdiv(out_channels, block_out))
        arguments = (features, weight.contiguous(), bias, sources, out, rows, size, channels, out_channels)
        blocks = {"BLOCK_M": BLOCK_ROWS, "BLOCK_C": block_in, "BLOCK_D": block_out}
        _conv_kernel[grid](*arguments, HAS_BIAS=bias is not None, PRECISION=_precision(), **blocks)
    return out


@on_device_of_tensors
def sparse_conv_weight_grad(features: Tensor, grad: Tensor, sources: Tensor) -> Tensor:
    """Gradient [K, C, D] of the weights for the gradient [M, D] of the result.

    Sums in float32. Float64 is left to torch.
    """
    if features.dtype == torch.float64:
        return reference.sparse_conv_weight_grad(features, grad, sources)
    size, rows = sources.shape
    channels, out_channels = features.shape[1], grad.shape[1]
    block_in, block_out = _blocks(features, out_channels)
    tiles = triton.cdiv(channels, block_in) * triton.cdiv(out_channels, block_out)
    parts = max(1, min(triton.cdiv(rows, 4 * BLOCK_ROWS), PROGRAMS // max(1, size * tiles)))
    total = torch.empty((parts, size, channels, out_channels), dtype=torch.float32, device=features.device)
    if total.numel():
        part_rows = triton.cdiv(rows, parts)
        arguments = (features, grad, sources, *_pairs(sources), total, rows, part_rows, size, channels, out_channels)
        blocks = {"BLOCK_M": BLOCK_ROWS, "BLOCK_C": block_in, "BLOCK_D": block_out}
        stages = 1 if features.dtype == torch.float32 else 3  # loads ahead of products in float32 would fill the registers
        _weight_grad_kernel[(size, tiles, parts)](*arguments, PRECISION=_precision(), num_stages=stages, **blocks)
    return total.sum(0).to(features.dtype)


def _pairs(sources: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs [K, M + 1] int32 that have a source through each kernel cell, first and ascending, and how many [K]: full tiles for products."""
    rows = sources.shape[1]
    has_source = sources >= 0
    place = torch.where(
        has_source, has_source.cumsum(1) - 1, rows
    )  # those without one go to the last column, which nobody reads
    outputs = torch.arange(rows, dtype=torch.int32, device=sources.device).expand_as(sources)
    return sources.new_empty((len(sources), rows + 1)).scatter_(1, place, outputs), has_source.sum(1)


def _blocks(features: Tensor, out_channels: int) -> tuple[int, int]:
    """Sides of the tiles of a matrix: at least 16, which tensor cores need; float32 takes twice the memory of half."""
    most = 32 if features.dtype == torch.float32 else 64
    block_in, block_out = triton.next_power_of_2(features.shape[1]), triton.next_power_of_2(out_channels)
    return max(16, min(most, block_in)), max(16, min(64, block_out))


def _precision() -> str:
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@triton.jit(do_not_specialize=["N", "M", "num_slots"])
def _tables_kernel(
    coords,
    slots,
    rows,
    sources,
    targets,
    N,
    M,
    num_slots,
    kx,
    shape_x,
    up_x,
    down_x,
    shift_x,
    step_x,
    ky,
    shape_y,
    up_y,
    down_y,
    shift_y,
    step_y,
    kz,
    shape_z,
    up_z,
    down_z,
    shift_z,
    step_z,
    SYMMETRIC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per (block of inputs, kernel cell): the output cell that each input meets, sought in the table of cells."""
    k = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x, in_x = _meet(coords + i * 4 + 3, i < N, k % kx, shape_x, up_x, down_x, shift_x, step_x)
    y, in_y = _meet(coords + i * 4 + 2, i < N, k // kx % ky, shape_y, up_y, down_y, shift_y, step_y)
    z, in_z = _meet(coords + i * 4 + 1, i < N, k // (kx * ky), shape_z, up_z, down_z, shift_z, step_z)
    batch = tl.load(coords + i * 4, i < N, other=0).to(tl.int64)
    cell = ((batch * shape_x + x) * shape_y + y) * shape_z + z
    row = find(slots, rows, num_slots, cell, (i < N) & in_x & in_y & in_z & (batch >= 0)).to(tl.int64)
    tl.store(sources + k * M + row, i.to(tl.int32), row >= 0)
    if SYMMETRIC:
        tl.store(sources + (kx * ky * kz - 1 - k) * M + i, row.to(tl.int32), row >= 0)
    else:
        tl.store(targets + k * N + i, row.to(tl.int32), row >= 0)


@triton.jit
def _meet(address, mask, k, shape, up, down, shift, step):
    """Place of the output along one axis, and whether there is one."""
    numerator = tl.load(address, mask, other=0).to(tl.int64) * up + shift + k * step
    place = numerator // down
    return place, (numerator >= 0) & (place * down == numerator) & (place < shape)


@triton.jit(do_not_specialize=["M"])
def _conv_kernel(
    features,
    weight,
    bias,
    sources,
    out,
    M,
    K,
    C,
    D,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program per (block of output rows m, block of output channels d)."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    total = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    if HAS_BIAS:
        total += tl.load(bias + d, d < D, other=0.0).to(tl.float32)[None, :]
    for _ in range(K):
        row = tl.load(sources + m, m < M, other=-1).to(tl.int64)
        if tl.max(row, 0) >= 0:
            for begin in range(0, C, BLOCK_C):
                c = begin + tl.arange(0, BLOCK_C)
                left = tl.load(features + row[:, None] * C + c[None, :], (row >= 0)[:, None] & (c < C)[None, :], other=0.0)
                right = tl.load(weight + c[:, None] * D + d[None, :], (c < C)[:, None] & (d < D)[None, :], other=0.0)
                total = tl.dot(left, right, total, input_precision=PRECISION)
        sources += M
        weight += C * D
    tl.store(out + m[:, None] * D + d[None, :], total.to(out.dtype.element_ty), (m < M)[:, None] & (d < D)[None, :])


@triton.jit(do_not_specialize=["M", "part_rows"])
def _weight_grad_kernel(
    features,
    grad,
    sources,
    outputs,
    counts,
    total,
    M,
    part_rows,
    K,
    C,
    D,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One program per (kernel cell k, tile of its matrix [C, D], part of the pairs of rows that meet through it)."""
    k, part = tl.program_id(0).to(tl.int64), tl.program_id(2).to(tl.int64)
    across = tl.cdiv(D, BLOCK_D)
    c = tl.program_id(1) // across * BLOCK_C + tl.arange(0, BLOCK_C)
    d = tl.program_id(1) % across * BLOCK_D + tl.arange(0, BLOCK_D)
    product = tl.zeros((BLOCK_C, BLOCK_D), tl.float32)
    first = part * part_rows
    end = tl.minimum(tl.load(counts + k), first + part_rows)
    for begin in range(0, (end - first).to(tl.int32), BLOCK_M):
        pair = first + begin + tl.arange(0, BLOCK_M)
        is_pair = pair < end
        m = tl.load(outputs + k * (M + 1) + pair, is_pair, other=0).to(tl.int64)
        row = tl.load(sources + k * M + m, is_pair, other=0).to(tl.int64)
        left = tl.load(features + row[:, None] * C + c[None, :], is_pair[:, None] & (c < C)[None, :], other=0.0)
        right = tl.load(grad + m[:, None] * D + d[None, :], is_pair[:, None] & (d < D)[None, :], other=0.0)
        product = tl.dot(tl.trans(left), right, product, input_precision=PRECISION)
    places = ((part * K + k) * C + c)[:, None] * D + d[None, :]
    tl.store(total + places, product, (c < C)[:, None] & (d < D)[None, :])
