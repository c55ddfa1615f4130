"""The cells of a bird's-eye-view map in metres."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BevGrid:
    """Cells of a head's map: row y, column x; cell (0, 0) begins at the smallest x and y of the range.

    Attributes:
        point_range: x, y, z from and x, y, z to, in metres.
        voxel_size: x, y, z extent of a voxel, in metres.
        stride: voxels per cell along x and along y.

    Raises:
        ValueError: an empty range, sizes that are not positive, or a range that is not a whole number of cells.
    """

    point_range: tuple[float, float, float, float, float, float]
    voxel_size: tuple[float, float, float]
    stride: int = 1

    def __post_init__(self) -> None:
        low, high = self.point_range[:3], self.point_range[3:]
        if len(self.point_range) != 6 or any(a >= b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"BevGrid: point_range must be x, y, z from and x, y, z to, got {list(self.point_range)}")
        if len(self.voxel_size) != 3 or min(self.voxel_size) <= 0 or self.stride < 1:
            raise ValueError(
                f"BevGrid: voxel_size must be three positive sizes and stride at least 1, got {list(self.voxel_size)} and {self.stride}"
            )
        for axis, a, b, size in zip("xy", low, high, self.cell_size, strict=False):
            if abs((b - a) / size - round((b - a) / size)) > 1e-3:  # ranges are often given rounded to single precision
                raise ValueError(f"BevGrid: the range in {axis}, {a} to {b}, must be a whole number of cells of {size} m")

    @property
    def cell_size(self) -> tuple[float, float]:
        """Extent of a cell along x and y, in metres."""
        return self.voxel_size[0] * self.stride, self.voxel_size[1] * self.stride

    @property
    def shape(self) -> tuple[int, int]:
        """Rows ny and columns nx of the map."""
        (x0, y0, _, x1, y1, _), (size_x, size_y) = self.point_range, self.cell_size
        return round((y1 - y0) / size_y), round((x1 - x0) / size_x)

    def to_cells(self, xy: Tensor) -> Tensor:
        """Metres [..., 2] to cells, fractional: 0 at the start of the range, 1 a cell further."""
        return (xy - xy.new_tensor(self.point_range[:2])) / xy.new_tensor(self.cell_size)

    def to_meters(self, cells: Tensor) -> Tensor:
        """The inverse of `to_cells`."""
        return cells * cells.new_tensor(self.cell_size) + cells.new_tensor(self.point_range[:2])

    def check_map(self, caller: str, values: Tensor) -> None:
        """Raise ValueError unless the last two axes of `values` are this grid's."""
        if tuple(values.shape[-2:]) != self.shape:
            raise ValueError(f"{caller}: the grid has {self.shape} cells (y, x), the network's maps {tuple(values.shape[-2:])}")


def flat_cells(cells: Tensor, columns: int) -> Tensor:
    """Integer cells [..., 2] as (x, y) -> row of a map flattened over (y, x)."""
    x, y = cells.unbind(-1)
    return y * columns + x
