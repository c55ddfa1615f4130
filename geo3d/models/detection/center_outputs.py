"""Outputs of CenterHead for a batch: maps, whole or computed where a decoder looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

QUANTITIES = ("center", "center_z", "dim", "rot", "velocity", "iou")  # beside the heatmap


class CellValues(NamedTuple):
    """Values of K cells: codes [K, 8 or 10] as in `center_codes`, and 2 IoU - 1 [K] or None; float32."""

    codes: Tensor
    iou: Tensor | None


def _cell_values(values: Mapping[str, Tensor]) -> CellValues:
    codes = torch.cat([values[name] for name in QUANTITIES[:-1] if name in values], 1)
    return CellValues(codes, values["iou"][:, 0] if "iou" in values else None)


@dataclass(frozen=True, eq=False)
class CenterOutputs:
    """Maps of the head, [B, C, ny, nx] in the network's type.

    Attributes:
        heatmap: one channel per class, logits.
        center: offset of the centre from the start of its cell along x and y, in cells.
        center_z: height of the centre, metres.
        dim: logarithms of dx, dy, dz in metres.
        rot: cos and sin of the yaw.
        iou: 2 IoU - 1 of the box with the true one, or None without that branch.
        velocity: vx, vy in m/s, or None.
    """

    heatmap: Tensor
    center: Tensor
    center_z: Tensor
    dim: Tensor
    rot: Tensor
    iou: Tensor | None = None
    velocity: Tensor | None = None

    @property
    def has_velocity(self) -> bool:
        """Whether the head predicts velocities."""
        return self.velocity is not None

    def at_cells(self, batch_index: Tensor, cells: Tensor) -> CellValues:
        """What the maps say in cells [K, 2] int64 (x, y) of the samples batch_index [K]."""
        maps = {name: getattr(self, name) for name in QUANTITIES}
        return _cell_values(
            {
                name: values[batch_index, :, cells[:, 1], cells[:, 0]].float()
                for name, values in maps.items()
                if values is not None
            }
        )


def _deferred(name: str) -> Any:
    return cached_property(lambda self: self._map(name))


class DeferredOutputs(CenterOutputs):
    """The same of a trained head: each map but the heatmap is computed when it is asked for.

    A decoder asks for a few hundred cells alone, which takes a small part of the work of whole maps.
    """

    _shared: Tensor
    _branches: Mapping[str, Any]
    center, center_z, dim, rot, iou, velocity = (_deferred(f.name) for f in fields(CenterOutputs)[1:])

    def __init__(self, heatmap: Tensor, shared: Tensor, branches: Mapping[str, Any]):
        # not the type of autocast, under which a decoder does not run
        shared = shared.to(branches["heatmap"][0].weight.dtype)
        self.__dict__.update(heatmap=heatmap, _shared=shared, _branches=branches)

    @property
    def has_velocity(self) -> bool:
        return "velocity" in self._branches

    def _map(self, name: str) -> Tensor | None:
        return self._branches[name](self._shared) if name in self._branches else None

    def at_cells(self, batch_index: Tensor, cells: Tensor) -> CellValues:
        """As of whole maps, from the 5 x 5 cells around each cell: those that two 3 x 3 convolutions look at."""
        patches, inside = _patches(self._shared, batch_index, cells)
        around = inside[:, None, 1:4, 1:4]  # the second convolution sees zeros beyond the map's border
        values = {}
        for name in QUANTITIES:
            if name in self._branches:
                first, norm, activation, last = self._branches[name]
                middle = activation(norm(F.conv2d(patches, first.weight))) * around
                values[name] = F.conv2d(middle, last.weight, last.bias).flatten(1).float()
        return _cell_values(values)


def _patches(maps: Tensor, batch_index: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """maps [B, C, ny, nx] -> the 5 x 5 cells around each of K cells (x, y), zero beyond the map [K, C, 5, 5]; which are in it [K, 5, 5]."""
    rows, columns = maps.shape[-2:]
    steps = torch.arange(-2, 3, device=cells.device)
    x, y = (cells[:, :, None] + steps).unbind(1)  # [K, 5] each
    inside = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None]
    y, x = y.clamp(0, rows - 1)[:, :, None], x.clamp(0, columns - 1)[:, None]
    patches = maps.permute(0, 2, 3, 1)[batch_index[:, None, None], y, x]  # [K, 5, 5, C]
    return (patches * inside[..., None]).permute(0, 3, 1, 2), inside
