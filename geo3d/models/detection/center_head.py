"""CenterHead: one heatmap per class and the boxes in the cells of their centres (CenterPoint, CVPR 2021, section 4), with the branch
that predicts each box's IoU (DSVT, CVPR 2023, as CIA-SSD and AFDetV2). One group of classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geo3d.models.detection.bev import BatchNorm

PRIOR_LOGIT = -2.19  # a heatmap starts at a probability of 0.1


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

    def codes_at(self, batch_index: Tensor, cells: Tensor) -> Tensor:
        """Codes [K, 8 or 10] float32, as in `center_codes`, of cells [K, 2] int64 (x, y) in samples batch_index [K]."""
        maps = [self.center, self.center_z, self.dim, self.rot]
        maps += [] if self.velocity is None else [self.velocity]
        return torch.cat([at_cells(values, batch_index, cells) for values in maps], 1)


def at_cells(values: Tensor, batch_index: Tensor, cells: Tensor) -> Tensor:
    """Map [B, C, ny, nx], cells [K, 2] (x, y) -> [K, C] float32."""
    return values[batch_index, :, cells[:, 1], cells[:, 0]].float()


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
        self.shared = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), BatchNorm(channels), nn.ReLU(inplace=True)
        )
        widths = {"heatmap": num_classes, "center": 2, "center_z": 1, "dim": 3, "rot": 2}
        widths |= {"iou": 1} if iou else {}
        widths |= {"velocity": 2} if velocity else {}
        self.branches = nn.ModuleDict({name: _branch(channels, width, name == "heatmap") for name, width in widths.items()})

    def forward(self, bev: Tensor) -> CenterOutputs:
        """bev [B, C, ny, nx] -> maps of the same rows and columns."""
        shared = self.shared(bev)  # [B, channels, ny, nx]
        return CenterOutputs(**{name: branch(shared) for name, branch in self.branches.items()})


def _branch(channels: int, out_channels: int, is_heatmap: bool) -> nn.Sequential:
    first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    last = nn.Conv2d(channels, out_channels, 3, padding=1)
    if not is_heatmap:
        nn.init.kaiming_normal_(first.weight)
        nn.init.kaiming_normal_(last.weight)
    nn.init.constant_(last.bias, PRIOR_LOGIT if is_heatmap else 0)  # type: ignore[arg-type]  # it has a bias
    return nn.Sequential(first, BatchNorm(channels), nn.ReLU(inplace=True), last)
