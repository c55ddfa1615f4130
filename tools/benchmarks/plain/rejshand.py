"""ReJSHand as one writes it with PyTorch alone, as the released code is: nothing folded, attention by its matrices, the whole map enlarged,
the position encoding made anew in each call.

Its weights are those of a `ReJSHand`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from geo3d.models.rejshand import HandOutput, HeatmapKeypoints, ReJSHand, heatmap_scores, mean_places, sine_encoding
from geo3d.models.rejshand.interaction import InteractionBlock, TokenAttention
from geo3d.models.rejshand.mesh_head import MeshHead
from geo3d.tools.benchmarks.case import Mark


class PlainReJSHand:
    """The peer of a network, which it leaves as it is."""

    def __init__(self, network: ReJSHand):
        self.network = network

    def __call__(self, images: Tensor, mark: Mark) -> HandOutput:
        """images [B, 3, H, W] -> `HandOutput`; calls mark(name) at the end of each part."""
        maps = self.network.backbone.maps(self.network.prepared(images))
        mark("backbone")
        keypoints, scores = self._keypoints(*maps)
        vertices = mesh(self.network.mesh_head, maps[-1], keypoints)
        joints = self.network.joint_regressor @ vertices
        mark("heads")
        return HandOutput(keypoints, joints, vertices, scores)

    def _keypoints(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """[B, J, 2] and [B]; heatmaps are ours, so that they have no other form."""
        head = self.network.keypoints
        if isinstance(head, HeatmapKeypoints):
            heatmaps = head.logits(*maps)
            return mean_places(heatmaps), heatmap_scores(heatmaps)
        keypoints = head(maps[-1].mean((2, 3))).unflatten(1, (-1, 2))
        return keypoints, torch.ones_like(keypoints[:, 0, 0])


def mesh(head: MeshHead, features: Tensor, keypoints: Tensor) -> Tensor:
    """features [B, C, H, W], keypoints [B, J, 2] -> vertices [B, V, 3]."""
    enlarged = head.enlarged(features)
    height, width = enlarged.shape[2:]
    enlarged = enlarged + sine_encoding(height, width, enlarged.shape[1]).to(enlarged)
    places = (2 * keypoints - 1).clamp(-1, 1)[:, :, None]
    x = F.grid_sample(enlarged, places, align_corners=True)[..., 0].transpose(1, 2)
    levels: Any = zip(head.positions, head.projections, head.blocks, head.expansions, strict=True)
    for level, (position, project, block, expand) in enumerate(levels):
        x = project(x + position)
        if level == 0 and head.bones is not None:
            x = head.bones(x)
        x = F.linear(interact(block, x).transpose(1, 2), expand.weight, expand.bias).transpose(1, 2)
    return head.coordinates(x)


def interact(block: InteractionBlock, x: Tensor) -> Tensor:
    """x [B, N, C] -> [B, N, C]."""
    mixed = block.mix(attend(block.attention, block.refine(x)) + x)
    return torch.relu(mixed + x)


def attend(layer: TokenAttention, x: Tensor) -> Tensor:
    """x [B, N, C] -> [B, N, C], with all weights [B, heads, N, N] in memory."""
    parts = [each(x).reshape(*x.shape[:2], layer.heads, -1) for each in (layer.queries, layer.keys, layer.values)]
    query, key, value = parts
    weights = torch.einsum("bqhc,bkhc->bhqk", query, key) / query.shape[-1] ** 0.5
    return layer.project(torch.einsum("bhqk,bkhc->bqhc", weights.softmax(-1), value).reshape(x.shape))
