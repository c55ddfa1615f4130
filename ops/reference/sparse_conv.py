"""Definition of sparse convolution in plain torch: the tables of rows that meet, and the sums over them.

A geometry is (out_shape, kernel, up, down, shift, step), each a list (x, y, z). Along each axis an input at i and an output at o
meet through kernel cell k where o * down = i * up + shift + k * step.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sparse_conv_cells(
    coords: Tensor, out_shape: list[int], kernel: list[int], up: list[int], down: list[int], shift: list[int], step: list[int]
) -> Tensor:
    """Coordinates [M, 4] of the outputs that meet an input of coords [N, 4], ascending by (batch, x, y, z)."""
    cells = cells_met(coords, out_shape, kernel, up, down, shift, step).unique()
    return coords_of(cells[cells >= 0], out_shape).to(coords.dtype)


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
    """sources [K, M] and targets [K, N] int32: the input row of each output row, and the other way round, or -1.

    Rows of -1 meet nothing.
    """
    met = cells_met(coords, out_shape, kernel, up, down, shift, step)
    cells, order = cells_of(out_coords, out_shape).sort()
    cells, order = (
        torch.cat([cells, cells.new_full((1,), torch.iinfo(torch.int64).max)]),
        torch.cat([order, order.new_zeros(1)]),
    )
    place = torch.searchsorted(cells, met)
    is_output = (cells[place] == met) & (met >= 0)
    targets = torch.where(is_output, order[place], -1)
    sources = targets.new_full((len(targets), len(out_coords)), -1)
    k, row = is_output.nonzero(as_tuple=True)
    sources[k, targets[k, row]] = row
    return sources.int(), targets.int()


def cells_met(
    coords: Tensor, out_shape: list[int], kernel: list[int], up: list[int], down: list[int], shift: list[int], step: list[int]
) -> Tensor:
    """The output cell [K, N] int64 that each input meets through each cell of the kernel (z, y, x), -1 where there is none."""
    places, inside = [], []
    for axis in range(3):
        numerator = coords[:, 3 - axis].long() * up[axis] + shift[axis]
        numerator = numerator + step[axis] * torch.arange(kernel[axis], device=coords.device)[:, None]
        place = numerator.div(down[axis], rounding_mode="floor")
        places.append(place)
        inside.append((place * down[axis] == numerator) & (place >= 0) & (place < out_shape[axis]))
    x, y, z = places[0][None, None], places[1][None, :, None], places[2][:, None, None]
    is_inside = inside[0][None, None] & inside[1][None, :, None] & inside[2][:, None, None]
    is_inside = is_inside & (coords[:, 0] >= 0)
    cell = ((coords[:, 0].long() * out_shape[0] + x) * out_shape[1] + y) * out_shape[2] + z
    return torch.where(is_inside, cell, -1).flatten(0, 2)


def cells_of(coords: Tensor, shape: list[int]) -> Tensor:
    """Number [V] int64 of the cell of each coordinate (batch, z, y, x), ascending by (batch, x, y, z)."""
    batch, z, y, x = coords.long().unbind(1)
    return ((batch * shape[0] + x) * shape[1] + y) * shape[2] + z


def coords_of(cells: Tensor, shape: list[int]) -> Tensor:
    """The coordinates [V, 4] int64 (batch, z, y, x) of cells by their numbers [V]."""
    x, y, z = shape
    column = cells // z
    return torch.stack([column // (x * y), cells % z, column % y, column // y % x], 1)


def sparse_conv(features: Tensor, weight: Tensor, bias: Tensor | None, sources: Tensor) -> Tensor:
    """features [N, C], weight [K, C, D], bias [D] -> [M, D]."""
    out = features.new_zeros(sources.shape[1], weight.shape[2])
    for matrix, source in zip(weight, sources, strict=True):
        rows = (source >= 0).nonzero()[:, 0]
        out = out.index_add(0, rows, features[source[rows].long()] @ matrix)
    return out if bias is None else out + bias


def sparse_conv_weight_grad(features: Tensor, grad: Tensor, sources: Tensor) -> Tensor:
    """Gradient [K, C, D] of the weights for the gradient [M, D] of the result."""
    gradients = []
    for source in sources:
        rows = (source >= 0).nonzero()[:, 0]
        gradients.append(features[source[rows].long()].T @ grad[rows])
    return torch.stack(gradients)
