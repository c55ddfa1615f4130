"""TransFusion's LiDAR head (CVPR 2022) with local attention and an IoU branch, as DSVT uses it on nuScenes.

Proposals are the peaks of a class-wise heatmap; each looks once at the cells around it and then tells its box. Maps are [B, C, y, x].
`encode_boxes` and `decode_boxes` say how a proposal holds a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.detection.center_head import PRIOR_LOGIT
from geo3d.models.detection.decoding import sizes_from_logs
from geo3d.models.detection.grid import BevGrid, flat_cells
from geo3d.models.detection.local_attention import LocalDecoderLayer
from geo3d.models.detection.norms import ConvBranch


@dataclass(frozen=True, eq=False)
class TransFusionOutputs:
    """P proposals of each sample, the best first, in the network's type but for `center`.

    Attributes:
        center: [B, P, 2] float32 x, y in cells of the map, 0 at the start of the range.
        height: [B, P, 1] top of the box, metres.
        dim: [B, P, 3] logarithms of dx, dy, dz in metres.
        rot: [B, P, 2] sin and cos of the yaw.
        heatmap: [B, P, classes] logits.
        iou: [B, P, 1] 2 IoU - 1 of the box with the true one.
        velocity: [B, P, 2] vx, vy in m/s, or None.
        query_cells: [B, P, 2] int64 (x, y), where the proposal comes from.
        query_labels: [B, P] int64, the class of its peak.
        query_scores: [B, P] float32, the height of its peak; 0 if there were fewer peaks than proposals.
        dense_heatmap: [B, classes, ny, nx] logits.
    """

    center: Tensor
    height: Tensor
    dim: Tensor
    rot: Tensor
    heatmap: Tensor
    iou: Tensor
    velocity: Tensor | None
    query_cells: Tensor
    query_labels: Tensor
    query_scores: Tensor
    dense_heatmap: Tensor


class TransFusionHead(nn.Module):
    """Heatmap, proposals, one decoder layer, one branch per quantity. The defaults are those of DSVT on nuScenes.

    Its self-attention is to the proposal alone, which makes it linear; the released head's queries and keys for it are left out.

    Args:
        in_channels: width of the bird's-eye-view features.
        num_classes: channels of the heatmap.
        num_proposals: P.
        hidden: width of the head.
        branch_channels: width of the branches.
        heads: attention heads; divides `hidden`.
        feedforward: width between the two linear layers of the decoder.
        key_radius: proposals attend to the cells up to this many away along x and along y.
        crowded_classes: classes of small objects of which every cell may be a proposal, not only the peaks.
        velocity: predict velocities.
        wrap_keys: take cells beyond the y border from the next x, as released weights were trained.
        released_init: start the branches from torch's defaults, as released training did, not by Kaiming's rule.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 10,
        num_proposals: int = 200,
        hidden: int = 128,
        branch_channels: int = 64,
        heads: int = 8,
        feedforward: int = 256,
        key_radius: int = 20,
        crowded_classes: Sequence[int] = (8, 9),
        velocity: bool = True,
        wrap_keys: bool = False,  # released weights were trained with cells beyond the y border taken from the next x
        released_init: bool = False,  # released training began with torch's defaults in the branches, not with Kaiming's rule
    ):
        super().__init__()
        if any(not 0 <= label < num_classes for label in crowded_classes):
            raise ValueError(
                f"TransFusionHead: crowded_classes must be from 0 to {num_classes - 1}, got {list(crowded_classes)}"
            )
        self.num_classes, self.num_proposals = num_classes, num_proposals
        self.crowded_classes = tuple(crowded_classes)
        self.shared = nn.Conv2d(in_channels, hidden, 3, padding=1)
        classify = nn.Conv2d(hidden, num_classes, 3, padding=1)
        self.heatmap = ConvBranch(
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), classify
        )
        self.class_encoding = nn.Linear(num_classes, hidden)
        self.decoder = LocalDecoderLayer(hidden, heads, feedforward, key_radius, wrap_keys)
        widths = {"center": 2, "height": 1, "dim": 3, "rot": 2, "heatmap": num_classes, "iou": 1}
        widths |= {"velocity": 2} if velocity else {}
        branches = {
            name: _branch(hidden, branch_channels, width, kaiming=name != "heatmap" and not released_init)
            for name, width in widths.items()
        }
        for layer in (classify, branches["heatmap"][-1]):
            nn.init.constant_(layer.bias, PRIOR_LOGIT)  # type: ignore[arg-type]  # it has a bias
        self.branches = nn.ModuleDict(branches)

    def forward(self, bev: Tensor) -> TransFusionOutputs:
        """bev [B, C, ny, nx] -> proposals; at most as many as the heatmap has values."""
        shared = self.shared(bev)  # [B, hidden, ny, nx]
        dense_heatmap = self.heatmap(shared)  # [B, classes, ny, nx]
        scores, labels, cells = self.propose(dense_heatmap)  # [B, P], [B, P], [B, P, 2]
        features = shared.flatten(2).transpose(1, 2)  # [B, ny * nx, hidden]
        rows = flat_cells(cells, bev.shape[-1])  # [B, P]
        queries = features.gather(1, rows[..., None].expand(-1, -1, features.shape[-1]))  # [B, P, hidden]
        queries = queries + self.class_encoding(F.one_hot(labels, self.num_classes).to(queries.dtype))
        decoded = self.decoder(queries, cells, features, (bev.shape[-2], bev.shape[-1]))  # [B, P, hidden]
        answers = {name: branch(decoded.flatten(0, 1)).unflatten(0, labels.shape) for name, branch in self.branches.items()}
        answers["center"] = answers["center"].float() + cells + 0.5  # half precision does not tell the far cells apart
        return TransFusionOutputs(
            **{"velocity": None} | answers,
            query_cells=cells,
            query_labels=labels,
            query_scores=scores,
            dense_heatmap=dense_heatmap,
        )

    def propose(self, dense_heatmap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, classes, ny, nx] -> scores [B, P], classes [B, P] and cells [B, P, 2] (x, y) of the highest peaks."""
        peaks = self.peaks(dense_heatmap)
        rows, columns = peaks.shape[-2:]
        flat = peaks.flatten(1)  # [B, classes * ny * nx]
        scores, index = flat.topk(min(self.num_proposals, flat.shape[1]))
        cell = index % (rows * columns)
        return scores, index // (rows * columns), torch.stack((cell % columns, cell // columns), -1)

    def peaks(self, dense_heatmap: Tensor) -> Tensor:
        """Probabilities [B, classes, ny, nx] float32 without gradient, 0 where a neighbour is higher and along the border.

        Crowded classes keep all values.
        """
        heatmap = dense_heatmap.detach().float().sigmoid()
        highest = F.pad(F.max_pool2d(heatmap, 3, stride=1), (1, 1, 1, 1))  # 0 at the border, where no probability is
        crowded = list(self.crowded_classes)
        highest[:, crowded] = heatmap[:, crowded]
        return heatmap * (heatmap == highest)


def _branch(in_channels: int, channels: int, out_channels: int, kaiming: bool) -> nn.Sequential:
    first, last = nn.Linear(in_channels, channels), nn.Linear(channels, out_channels)
    for layer in (first, last) if kaiming else ():
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.BatchNorm1d(channels), nn.ReLU(inplace=True), last)


def proposal_codes(outputs: TransFusionOutputs) -> Tensor:
    """Codes of all proposals, as in `encode_boxes`: [B, P, 8 or 10] float32."""
    parts = [outputs.center, outputs.height, outputs.dim, outputs.rot]
    parts += [] if outputs.velocity is None else [outputs.velocity]
    return torch.cat([part.float() for part in parts], -1)


def encode_boxes(boxes: Tensor, grid: BevGrid) -> Tensor:
    """Boxes [..., 7 or 9] with positive sizes -> codes [..., 8 or 10]."""
    yaw = boxes[..., 6:7]
    top = boxes[..., 2:3] + boxes[..., 5:6] / 2
    codes = (grid.to_cells(boxes[..., :2]), top, boxes[..., 3:6].log(), yaw.sin(), yaw.cos(), boxes[..., 7:])
    return torch.cat(codes, -1)


def decode_boxes(codes: Tensor, grid: BevGrid) -> Tensor:
    """The inverse of `encode_boxes`: codes [..., 8 or 10] -> boxes [..., 7 or 9]; differentiable."""
    center, top, log_sizes, sin, cos, velocity = codes.split((2, 1, 3, 1, 1, codes.shape[-1] - 8), -1)
    sizes = sizes_from_logs(log_sizes)
    center_z = top - sizes[..., 2:] / 2
    return torch.cat((grid.to_meters(center), center_z, sizes, torch.atan2(sin, cos), velocity), -1)
