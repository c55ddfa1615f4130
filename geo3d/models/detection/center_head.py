"""CenterHead: one heatmap per class and the boxes in the cells of their centres (CenterPoint, CVPR 2021, section 4), with the branch
that predicts each box's IoU (DSVT, CVPR 2023, as CIA-SSD and AFDetV2). One group of classes.

Its outputs are maps, whole or computed where a decoder looks; `encode_boxes` and `decode_boxes` say how they hold a box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.detection.bev import BatchNorm
from geo3d.models.detection.decoding import sizes_from_logs
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.norms import ConvBranch, ConvNormReLU

PRIOR_LOGIT = -2.19  # a heatmap starts at a probability of 0.1
QUANTITIES = ("center", "center_z", "dim", "rot", "velocity", "iou")  # beside the heatmap


class CenterHead(nn.Module):
    """Shared convolution and one small branch per quantity.

    Args:
        in_channels: width of the bird's-eye-view features.
        num_classes: channels of the heatmap.
        channels: width of the shared convolution and of the branches.
        iou: predict the IoU of each box.
        velocity: predict velocities.
    """

    def __init__(self, in_channels: int, num_classes: int, channels: int = 64, iou: bool = True, velocity: bool = False):
        super().__init__()
        self.num_classes = num_classes
        self.shared = ConvNormReLU(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), BatchNorm(channels), nn.ReLU(inplace=True)
        )
        widths = {"heatmap": num_classes, "center": 2, "center_z": 1, "dim": 3, "rot": 2}
        widths |= {"iou": 1} if iou else {}
        widths |= {"velocity": 2} if velocity else {}
        self.branches = nn.ModuleDict({name: _branch(channels, width, name == "heatmap") for name, width in widths.items()})

    def forward(self, bev: Tensor) -> CenterOutputs:
        """bev [B, C, ny, nx] -> maps of the same rows and columns; in evaluation without gradients those that are asked for."""
        shared = self.shared(bev)  # [B, channels, ny, nx]
        if not self.training and not torch.is_grad_enabled():
            return DeferredOutputs(self.branches["heatmap"](shared), shared, dict(self.branches.items()))
        return CenterOutputs(**{name: branch(shared) for name, branch in self.branches.items()})


def _branch(channels: int, out_channels: int, is_heatmap: bool) -> ConvBranch:
    first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    last = nn.Conv2d(channels, out_channels, 3, padding=1)
    if not is_heatmap:
        nn.init.kaiming_normal_(first.weight)
        nn.init.kaiming_normal_(last.weight)
    nn.init.constant_(last.bias, PRIOR_LOGIT if is_heatmap else 0)  # type: ignore[arg-type]  # it has a bias
    return ConvBranch(first, BatchNorm(channels), nn.ReLU(inplace=True), last)


class CellValues(NamedTuple):
    """Values of K cells: codes [K, 8 or 10] as in `encode_boxes`, and 2 IoU - 1 [K] or None; float32."""

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


def encode_boxes(boxes: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor]:
    """Boxes [K, 7 or 9] with positive sizes -> codes [K, 8 or 10] and cells [K, 2] int64 (x, y).

    A centre outside the grid, or in the last half cell along x or y, is moved to half a cell before its end, as in the released code.
    """
    rows, columns = grid.shape
    last = boxes.new_tensor([columns - 0.5, rows - 0.5])
    position = torch.minimum(grid.to_cells(boxes[:, :2]).clamp(min=0), last)
    cells = position.long()
    yaw = boxes[:, 6:7]
    codes = (position - cells, boxes[:, 2:3], boxes[:, 3:6].log(), yaw.cos(), yaw.sin(), boxes[:, 7:])
    return torch.cat(codes, 1), cells


def decode_boxes(codes: Tensor, cells: Tensor, grid: BevGrid) -> Tensor:
    """The inverse of `encode_boxes`: codes [K, 8 or 10] and cells [K, 2] -> boxes [K, 7 or 9]; differentiable in `codes`."""
    offset, z, log_sizes, cos, sin, velocity = codes.split((2, 1, 3, 1, 1, codes.shape[1] - 8), 1)
    center = grid.to_meters(cells + offset)
    return torch.cat((center, z, sizes_from_logs(log_sizes), torch.atan2(sin, cos), velocity), 1)
