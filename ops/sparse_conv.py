"""Convolution of voxels that are kept as a list, for grids of which few cells are taken.

Coordinates are (batch, z, y, x); shapes, kernel sizes, strides, paddings and dilations are triples (x, y, z) in voxels, or one
number for all three. Weights have the layout of spconv 2, [C_out, kernel z, y, x, C_in], and like everywhere in deep learning the
kernel is not flipped: output o sees input o * stride - padding + k * dilation through kernel cell k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

import geo3d.ops.sparse_conv_registered  # noqa: F401
from geo3d.ops.libraries import choice
from geo3d.ops.sparse_tensor import SparseTensor, check_coords, check_features, check_inside, describe, triple

MAX_CELLS, MAX_BATCH = 2**47, 2**15  # so that the number of a cell in the batch fits 63 bits, with a bit to spare


class ConvPlan(NamedTuple):
    """Which input rows meet which output rows under a kernel: made once, used by all layers of that geometry, forward and backward.

    Attributes:
        coords: [M, 4] (batch, z, y, x) of the output rows.
        spatial_shape: (x, y, z) voxels of the output grid.
        sources: [K, M] int32, the input row that each output row sees through kernel cell k = (kz KY + ky) KX + kx, or -1.
        targets: [K, N] int32, the output row that sees each input row through kernel cell k, or -1.
        input_coords: [N, 4] of the input rows.
        input_shape: (x, y, z) voxels of the input grid.
        kernel_size: (x, y, z).
    """

    coords: Tensor
    spatial_shape: tuple[int, int, int]
    sources: Tensor
    targets: Tensor
    input_coords: Tensor
    input_shape: tuple[int, int, int]
    kernel_size: tuple[int, int, int]

    def inverse(self) -> ConvPlan:
        """The plan back from the outputs to the inputs: what met through kernel cell k meets through k again.

        This is spconv's SparseInverseConv3d, which undoes the change of coordinates of a strided convolution. It takes no time.
        """
        return ConvPlan(
            self.input_coords, self.input_shape, self.targets, self.sources, self.coords, self.spatial_shape, self.kernel_size
        )


def submanifold_conv_plan(
    coords: Tensor, spatial_shape: Sequence[int], kernel_size: int | Sequence[int] = 3, dilation: int | Sequence[int] = 1
) -> ConvPlan:
    """Convolution whose outputs are at the coordinates of its inputs, in their order, with the kernel centred on each.

    Graham et al., "3D semantic segmentation with submanifold sparse convolutional networks", CVPR 2018.

    Args:
        coords: [V, 4] int32 or int64 (batch, z, y, x), distinct, inside the grid, in any order; ascending by (batch, x, y, z), as
            from `voxelize`, is fastest. Rows of -1, as from `voxelize_padded`, meet nothing.
        spatial_shape: (x, y, z) voxels of the grid.
        kernel_size: (x, y, z), odd.
        dilation: (x, y, z) voxels between the cells of the kernel.

    Raises:
        ValueError: shapes, dtypes or sizes that do not fit, and on the CPU coordinates outside the grid or twice. On CUDA neither
            is checked, because that would synchronise, and a voxel that is there twice has undefined neighbours.

    Example:
        >>> plan = submanifold_conv_plan(torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32), spatial_shape=(4, 4, 4))
        >>> sparse_conv3d(torch.ones(2, 8), torch.ones(16, 3, 3, 3, 8), plan).shape
        torch.Size([2, 16])
    """
    op = "submanifold_conv_plan"
    kernel, spread = triple(op, "kernel_size", kernel_size), triple(op, "dilation", dilation)
    if any(size % 2 == 0 for size in kernel):
        raise ValueError(f"{op}: kernel_size must be odd, got {kernel}")
    shape = _checked_shape(op, coords, spatial_shape)
    coords = coords.contiguous()
    sources, targets = torch.ops.geo3d.submanifold_tables(coords, shape, kernel, spread)
    return ConvPlan(coords, shape, sources, targets, coords, shape, kernel)


def sparse_conv_plan(
    coords: Tensor,
    spatial_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> ConvPlan:
    """Convolution with an output wherever an input lies under the kernel, as torch's conv3d has it on the full grid.

    Args:
        coords: [V, 4] as in `submanifold_conv_plan`.
        spatial_shape: (x, y, z) voxels of the input grid.
        kernel_size: (x, y, z).
        stride: (x, y, z) input voxels between outputs.
        padding: (x, y, z) empty voxels on both sides of the grid.
        dilation: (x, y, z) voxels between the cells of the kernel.

    Returns:
        ConvPlan for a grid of (spatial_shape + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1 voxels, whose coords
        ascend by (batch, x, y, z), in the dtype of `coords`. Their number M is what the host waits for on CUDA, and with
        `torch.compile(fullgraph=True)` it needs `torch._dynamo.config.capture_dynamic_output_shape_ops`.

    Raises:
        ValueError: as `submanifold_conv_plan`, or a kernel that is larger than the padded grid.

    Example:
        >>> plan = sparse_conv_plan(torch.tensor([[0, 0, 0, 0], [0, 3, 3, 3]], dtype=torch.int32), (4, 4, 4), 2, stride=2)
        >>> plan.coords
        tensor([[0, 0, 0, 0],
                [0, 1, 1, 1]], dtype=torch.int32)
    """
    op = "sparse_conv_plan"
    shape, geometry = strided_geometry(op, coords, spatial_shape, kernel_size, stride, padding, dilation)
    return _plan_of_outputs(coords, shape, geometry)


def sparse_conv_transpose_plan(
    coords: Tensor,
    spatial_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
) -> ConvPlan:
    """Transposed convolution with an output wherever an input reaches, as torch's conv_transpose3d has it on the full grid.

    Input i reaches outputs i * stride - padding + k * dilation. To return to the coordinates that a strided convolution came from,
    take `ConvPlan.inverse` of its plan instead.

    Args:
        coords, spatial_shape, kernel_size, stride, padding, dilation: as in `sparse_conv_plan`.
        output_padding: (x, y, z) voxels that the output grid is larger, at its upper end.

    Returns:
        ConvPlan for a grid of (spatial_shape - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1 voxels,
        otherwise as `sparse_conv_plan`.

    Raises:
        ValueError: as `sparse_conv_plan`.

    Example:
        >>> plan = sparse_conv_transpose_plan(torch.tensor([[0, 0, 0, 0]], dtype=torch.int32), (2, 2, 2), 2, stride=2)
        >>> len(plan.coords)
        8
    """
    op = "sparse_conv_transpose_plan"
    kernel, steps = triple(op, "kernel_size", kernel_size), triple(op, "stride", stride)
    border, spread = triple(op, "padding", padding, least=0), triple(op, "dilation", dilation)
    extra = triple(op, "output_padding", output_padding, least=0)
    shape = _checked_shape(op, coords, spatial_shape)
    out_shape = tuple((shape[a] - 1) * steps[a] - 2 * border[a] + spread[a] * (kernel[a] - 1) + extra[a] + 1 for a in range(3))
    geometry = _Geometry(out_shape, kernel, steps, (1, 1, 1), tuple(-p for p in border), spread)
    _check_outputs(op, shape, geometry)
    return _plan_of_outputs(coords, shape, geometry)


Features = TypeVar("Features", Tensor, SparseTensor)


def sparse_conv3d(features: Features, weight: Tensor, plan: ConvPlan, bias: Tensor | None = None) -> Features:
    """Convolution of the rows of a plan.

    Args:
        features: [N, C_in] floating point, any strides, the rows that the plan was made for; or a SparseTensor of them.
        weight: [C_out, kernel z, y, x, C_in] in the dtype of the features, as spconv 2 keeps it.
        plan: from `submanifold_conv_plan`, `sparse_conv_plan`, `sparse_conv_transpose_plan` or `ConvPlan.inverse`.
        bias: [C_out].

    Returns:
        [M, C_out] in the dtype of `features`, or a SparseTensor at the coordinates of the plan. An output that sees no input is
        the bias alone. Sums are made in float32 (float64 for float64, which is for checks and
        on CUDA waits for the host at every kernel cell), kernel cell by kernel cell, so that every run on a device
        gives the same, whatever the number of threads; on CUDA float32 follows `torch.set_float32_matmul_precision`. Under
        autocast it runs in autocast's dtype, as torch's convolutions do. Differentiable in features, weight and bias, any number
        of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.

    Example:
        >>> plan = submanifold_conv_plan(torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32), spatial_shape=(4, 4, 4))
        >>> sparse_conv3d(torch.ones(2, 1), torch.ones(1, 3, 3, 3, 1), plan)
        tensor([[2.],
                [2.]])
    """
    if isinstance(features, SparseTensor):
        result = sparse_conv3d(features.features, weight, plan, bias)
        return replace(features, features=result, coords=plan.coords, spatial_shape=plan.spatial_shape)
    op, rows = "sparse_conv3d", plan.targets.shape[1]
    check_features(op, features, rows, plan.targets.device)
    x, y, z = plan.kernel_size
    if not isinstance(weight, Tensor) or weight.ndim != 5 or weight.shape[1:] != (z, y, x, features.shape[1]):
        wanted = f"[C_out, {z}, {y}, {x}, {features.shape[1]}] (kernel z, y, x)"
        raise ValueError(f"{op}: weight must be {wanted} for features {list(features.shape)}, got {describe(weight)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{op}: bias must be [{len(weight)}], got {describe(bias)}")
    device = features.device.type
    if torch.is_autocast_enabled(device) and features.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        features, weight, bias = features.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    for name, other in (("weight", weight), ("bias", bias)):
        if other is not None and (other.dtype != features.dtype or other.device != features.device):
            wanted = f"{features.dtype} on {features.device}"
            raise ValueError(f"{op}: {name} must be {wanted}, as the features, got {describe(other)}")
    theirs = choice.library("sparse_conv")
    if theirs is not None:
        return theirs.sparse_conv3d(features, weight, bias, plan.sources)
    matrices = weight.flatten(1, 3).permute(1, 2, 0)  # [K, C_in, C_out]
    return torch.ops.geo3d.sparse_conv(features.contiguous(), matrices, bias, plan.sources, plan.targets)


class _Geometry(NamedTuple):
    """An input at i and an output at o meet through kernel cell k where o * down = i * up + shift + k * step, along each axis."""

    out_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    up: tuple[int, ...]
    down: tuple[int, ...]
    shift: tuple[int, ...]
    step: tuple[int, ...]


def strided_geometry(
    op: str,
    coords: Tensor,
    spatial_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> tuple[tuple[int, int, int], _Geometry]:
    """The grid and the checked geometry of `sparse_conv_plan`."""
    kernel, steps = triple(op, "kernel_size", kernel_size), triple(op, "stride", stride)
    border, spread = triple(op, "padding", padding, least=0), triple(op, "dilation", dilation)
    shape = _checked_shape(op, coords, spatial_shape)
    out_shape = tuple((shape[a] + 2 * border[a] - spread[a] * (kernel[a] - 1) - 1) // steps[a] + 1 for a in range(3))
    geometry = _Geometry(out_shape, kernel, (1, 1, 1), steps, border, tuple(-d for d in spread))
    _check_outputs(op, shape, geometry)
    return shape, geometry


def plan_at(coords: Tensor, shape: tuple[int, int, int], out_coords: Tensor, geometry: _Geometry) -> ConvPlan:
    """The plan between inputs and outputs that are known."""
    sources, targets = torch.ops.geo3d.sparse_conv_tables(coords, out_coords, *geometry)
    return ConvPlan(out_coords, geometry.out_shape, sources, targets, coords, shape, geometry.kernel)  # type: ignore[arg-type]


def _plan_of_outputs(coords: Tensor, shape: tuple[int, int, int], geometry: _Geometry) -> ConvPlan:
    coords = coords.contiguous()
    return plan_at(coords, shape, torch.ops.geo3d.sparse_conv_cells(coords, *geometry), geometry)


def _check_outputs(op: str, shape: tuple[int, int, int], geometry: _Geometry) -> None:
    if min(geometry.out_shape) < 1:
        raise ValueError(
            f"{op}: a kernel of {geometry.kernel} on a grid of {shape} leaves an output grid of {geometry.out_shape}"
        )
    if prod(geometry.out_shape) > MAX_CELLS:
        raise ValueError(f"{op}: the output grid must have at most {MAX_CELLS} voxels, got {geometry.out_shape}")


def _checked_shape(op: str, coords: Tensor, spatial_shape: Sequence[int]) -> tuple[int, int, int]:
    check_coords(op, coords)
    shape = triple(op, "spatial_shape", spatial_shape)
    if prod(shape) > MAX_CELLS:
        raise ValueError(f"{op}: a grid must have at most {MAX_CELLS} voxels, got {shape}")
    if coords.device.type == "cpu" and not torch.compiler.is_compiling():
        check_inside(op, coords, shape, MAX_BATCH)
    return shape
