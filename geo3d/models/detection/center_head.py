"""CenterHead: one heatmap per class and the boxes in the cells of their centres (CenterPoint, CVPR 2021, section 4), with the branch
that predicts each box's IoU (DSVT, CVPR 2023, as CIA-SSD and AFDetV2). One group of classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geo3d.models.detection.bev import BatchNorm
from geo3d.models.detection.center_outputs import CenterOutputs, DeferredOutputs
from geo3d.models.detection.norms import ConvBranch, ConvNormReLU

PRIOR_LOGIT = -2.19  # a heatmap starts at a probability of 0.1


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
