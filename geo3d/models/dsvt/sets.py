"""The input layer of DSVT (section 3.2): windows of voxels, their sets in two orders, and where a voxel is in its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geo3d.models.detection.norms import RowNorm
from geo3d.ops import gather, set_partition, window_partition

AUTHORS_PI = 3.1415  # as their code has it


class Window(NamedTuple):
    """One way to cut the grid: (x, y, z) voxels of a window, and (x, y, z) by which the voxels are moved before."""

    shape: tuple[int, int, int]
    shift: tuple[int, int, int]


class Windows(NamedTuple):
    """Voxels in the windows of one partition: numbers [V] int64 of their windows, places [V, 3] integers (z, y, x) inside."""

    numbers: Tensor
    places: Tensor


class RotatedSets(NamedTuple):
    """Sets [2, S, T] of rows and padding [2, S, T], True where a slot repeats; first sorted by y, then by x."""

    rows: Tensor
    padding: Tensor


def windows_of(coords: Tensor, grid: Sequence[int], window: Window) -> Windows:
    """coords [V, 4] (batch, z, y, x) in a grid of (x, y, z) voxels -> their windows."""
    return Windows(*window_partition(coords, grid, window.shape, window.shift))


def rotated_sets(windows: Windows, window: Window, set_size: int) -> RotatedSets:
    """Sets of `set_size` slots in each window."""
    return RotatedSets(*set_partition(windows.numbers, windows.places, window.shape, set_size))


class PositionEmbedding(nn.Module):
    """Learned embedding of a voxel's place in its window, relative to the window's middle.

    Args:
        window: (x, y, z) voxels of a window.
        dimensions: 2 (x, y) in a grid of one layer, else 3 (x, y, z).
        channels: C.
        normalize: divide the place by the window's size and multiply it by two pi, as the authors' `normalize_pos` does.
    """

    def __init__(self, window: tuple[int, int, int], dimensions: int, channels: int, normalize: bool = False):
        super().__init__()
        self.window, self.dimensions, self.normalize = window, dimensions, normalize
        self.layers = nn.Sequential(
            nn.Linear(dimensions, channels), RowNorm(channels), nn.ReLU(), nn.Linear(channels, channels)
        )
        axes = [torch.arange(size) for size in window[:dimensions]]
        self.middle: Tensor
        self.every_place: Tensor
        self.register_buffer("middle", torch.tensor(window[:dimensions]) / 2, persistent=False)
        self.register_buffer("every_place", self._scaled(torch.cartesian_prod(*axes) - self.middle), persistent=False)

    def forward(self, places: Tensor) -> Tensor:
        """places [V, 3] integers (z, y, x) -> [V, C]."""
        if self.training or len(places) <= len(self.every_place):
            return self.layers(self.relative(places))
        # without batch statistics an embedding depends on the place alone, and there are fewer places than voxels
        z, y, x = places.long().unbind(1)
        index = x * self.window[1] + y
        return gather(self.layers(self.every_place), index * self.window[2] + z if self.dimensions == 3 else index)

    def relative(self, places: Tensor) -> Tensor:
        """places [V, 3] integers (z, y, x) -> what is embedded: [V, dimensions], (x, y) or (x, y, z) from the window's middle."""
        return self._scaled(places.flip(1)[:, : self.dimensions] - self.middle)

    def _scaled(self, offsets: Tensor) -> Tensor:
        return offsets / (2 * self.middle) * 2 * AUTHORS_PI if self.normalize else offsets
