"""Features of voxels that are kept as a list, and checks of such lists that several ops share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

INTEGERS = (torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """Features of the voxels of a batch of grids.

    Attributes:
        features: [V, C] floating point.
        coords: [V, 4] int32 or int64 (batch, z, y, x), distinct, in any order; rows of -1 are left out.
        spatial_shape: (x, y, z) voxels of the grid.
        batch_size: B, number of grids; one without voxels is allowed.

    Raises:
        ValueError: shapes or dtypes that do not fit.
    """

    features: Tensor
    coords: Tensor
    spatial_shape: tuple[int, int, int]
    batch_size: int

    def __post_init__(self) -> None:
        op = "SparseTensor"
        check_coords(op, self.coords)
        check_features(op, self.features, len(self.coords), self.coords.device)
        object.__setattr__(self, "spatial_shape", triple(op, "spatial_shape", self.spatial_shape))
        if self.batch_size < 0:
            raise ValueError(f"{op}: batch_size must not be negative, got {self.batch_size}")

    def dense(self) -> Tensor:
        """All cells [B, C, z, y, x], zero where there is no voxel; differentiable in the features.

        Raises:
            ValueError: on the CPU, where it costs no synchronisation, a voxel outside the grids or two with the same coordinates.
        """
        x, y, z = self.spatial_shape
        rows = self.coords.long()
        size = self.batch_size * z * y * x
        cells = ((rows[:, 0] * z + rows[:, 1]) * y + rows[:, 2]) * x + rows[:, 3]
        cells = torch.where(rows[:, 0] < 0, size, cells)  # a cell more for rows that are not used, cut off below
        if cells.device.type == "cpu" and not torch.compiler.is_compiling():
            check_inside("SparseTensor.dense", self.coords, self.spatial_shape, self.batch_size)
            used = cells[cells < size]
            if len(used.unique()) < len(used):
                raise ValueError("SparseTensor.dense: coords must be distinct, got some of them twice")
        channels = self.features.shape[1]
        grid = self.features.new_zeros(size + 1, channels).index_copy(0, cells, self.features)[:size]
        return grid.view(self.batch_size, z, y, x, channels).permute(0, 4, 1, 2, 3).contiguous()


def check_inside(op: str, coords: Tensor, shape: tuple[int, int, int], batch_size: int) -> None:
    """Raise if a coordinate, on the CPU, is outside the grids; rows of -1 are not."""
    from geo3d.ops.cpu.sparse_conv import bounds

    if len(coords) and int(coords[:, 0].min()) < 0:
        coords = coords[(coords != -1).any(1)]
    if len(coords) == 0:
        return
    low, high = (bound.tolist() for bound in bounds(coords.contiguous().numpy()))
    limits = (batch_size, *shape[::-1])
    for name, least, most, limit in zip(("batch", "z", "y", "x"), low, high, limits, strict=True):
        if least < 0 or most >= limit:
            raise ValueError(f"{op}: {name} of coords must be in [0, {limit}), got {least} to {most}")


def check_coords(op: str, coords: Tensor) -> None:
    """Raise unless coords are [V, 4] integers."""
    if not isinstance(coords, Tensor) or coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype not in INTEGERS:
        raise ValueError(f"{op}: coords must be [V, 4] int32 or int64 (batch, z, y, x), got {describe(coords)}")


def check_features(op: str, features: Tensor, rows: int, device: torch.device) -> None:
    """Raise unless features are [rows, C] floating point on the device."""
    fits = isinstance(features, Tensor) and features.ndim == 2 and features.shape[0] == rows
    if not fits or not features.is_floating_point() or features.device != device:
        raise ValueError(f"{op}: features must be [{rows}, C] floating point on {device}, got {describe(features)}")


def triple(op: str, name: str, values: int | Sequence[int], least: int = 1) -> tuple[int, int, int]:
    """(x, y, z) of three integers, or of one for all."""
    sizes = (values,) * 3 if isinstance(values, int) else tuple(values)
    if len(sizes) != 3 or any(size < least for size in sizes):
        raise ValueError(f"{op}: {name} must be one or three integers (x, y, z) of at least {least}, got {values}")
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def describe(value: object) -> str:
    """Shape, dtype and device of a tensor, the type of anything else."""
    return f"{list(value.shape)} {value.dtype} on {value.device}" if isinstance(value, Tensor) else type(value).__name__
