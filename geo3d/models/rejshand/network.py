"""ReJSHand: 2D keypoints, 3D joints and the mesh of a hand from one image (arXiv 2503.05995; the code derives from simpleHand, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from geo3d.body.hands import KEYPOINT_PARENTS
from geo3d.models.rejshand.backbones import STRIDE, Backbone
from geo3d.models.rejshand.heatmaps import HeatmapKeypoints, heatmap_scores, mean_places
from geo3d.models.rejshand.mesh_head import MeshHead


class HandOutput(NamedTuple):
    """What the network finds in each crop.

    Attributes:
        keypoints: [B, J, 2] as (u, v) in units of the crop's sides; outside it they may be below 0 or above 1.
        joints: [B, J, 3] metres, relative to the root of the middle finger, in the crop camera's axes: x right, y down, z forward.
        vertices: [B, V, 3] likewise.
        scores: [B] how sure the keypoints are, 0..1 (`heatmap_scores`); 1 of a network without heatmaps.
    """

    keypoints: Tensor
    joints: Tensor
    vertices: Tensor
    scores: Tensor


class ReJSHand(nn.Module):
    """Hand from a crop; the defaults are the released network.

    Joints are a fixed linear function of the vertices, `joint_regressor` [J, V], a buffer that is not learnt. It is NaN until it is
    set (`set_joint_regressor`) or loaded: released checkpoints do not carry it, it belongs to the hand model that they were trained on.

    Args:
        backbone: name of a network in timm whose last map is 32 times smaller than the image.
        pretrained: start the backbone from timm's ImageNet weights, which it downloads.
        drop_path: rate of the backbone's residual branches left out in training (published: 0.2).
        last_stage: take the backbone's map before its last convolution.
        num_joints: J.
        num_vertices: V.
        token_counts: tokens of the levels after the first, which has one for each joint.
        widths: channels of each level.
        map_channels: of the enlarged map.
        heads: of the attentions.
        image_size: side of the crops, pixels; the network takes other sizes too.
        bgr: the backbone gets the channels as B, G, R.
        mean, std: subtracted from the image, and what it is divided by then; a number, or one for each channel as the backbone gets them.
        bone_features: see `BoneFeatures`; of 21 joints in FreiHAND's order.
        coordinate_attention: see `CoordinateAttention`.
        keypoint_head: "pooled" is the published one, a linear function of the pooled map; "heatmap" see `HeatmapKeypoints`, which goes
            with `last_stage`.

    Raises:
        ValueError: numbers that do not fit together.
    """

    joint_regressor: Tensor
    mean: Tensor
    std: Tensor
    optional_tensors = ("joint_regressor",)  # released checkpoints lack it

    def __init__(
        self,
        backbone: str = "fastvit_ma36",
        pretrained: bool = False,
        drop_path: float = 0.0,
        last_stage: bool = False,
        num_joints: int = 21,
        num_vertices: int = 778,
        token_counts: Sequence[int] = (84, 336),
        widths: Sequence[int] = (256, 128, 64),
        map_channels: int = 256,
        heads: int = 8,
        image_size: int = 224,
        bgr: bool = True,
        mean: float | Sequence[float] = 127.5,
        std: float | Sequence[float] = 255.0,
        bone_features: bool = False,
        coordinate_attention: bool = False,
        keypoint_head: Literal["pooled", "heatmap"] = "pooled",
    ):
        super().__init__()
        if keypoint_head not in ("pooled", "heatmap"):
            raise ValueError(f"ReJSHand: keypoint_head must be 'pooled' or 'heatmap', got {keypoint_head!r}")
        if bone_features and num_joints != len(KEYPOINT_PARENTS):
            raise ValueError(f"ReJSHand: bone_features are of {len(KEYPOINT_PARENTS)} joints, got num_joints {num_joints}")
        self.image_size, self.bgr = image_size, bgr
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1), persistent=False)
        self.backbone = Backbone(backbone, pretrained, drop_path, last_stage, keypoint_head == "heatmap")
        self.keypoints: nn.Linear | HeatmapKeypoints
        if keypoint_head == "heatmap":
            self.keypoints = HeatmapKeypoints(self.backbone.level_channels, num_joints)
        else:
            self.keypoints = nn.Linear(self.backbone.channels, 2 * num_joints)
            nn.init.constant_(self.keypoints.bias, 0.5)  # a training starts with all keypoints at the middle of the crop
        self.mesh_head = MeshHead(
            self.backbone.channels,
            num_vertices,
            (num_joints, *token_counts),
            widths,
            map_channels,
            heads,
            -(-image_size // STRIDE),
            KEYPOINT_PARENTS if bone_features else None,
            coordinate_attention,
        )
        self.register_buffer("joint_regressor", torch.full((num_joints, num_vertices), torch.nan))

    def set_joint_regressor(self, regressor: Tensor) -> None:
        """Joints are `regressor` [J, V] times the vertices (`geo3d.body.keypoint_regressor`).

        Raises:
            ValueError: another shape.
        """
        if regressor.shape != self.joint_regressor.shape:
            wanted = list(self.joint_regressor.shape)
            raise ValueError(f"ReJSHand: expected a joint regressor {wanted}, got {list(regressor.shape)}")
        self.joint_regressor.copy_(regressor)

    def forward(self, images: Tensor) -> HandOutput:
        """Hands in crops.

        Args:
            images: [B, 3, H, W] R, G, B in 0..255, uint8 or floating point.

        Raises:
            ValueError: images of another shape.
        """
        return self.heads(*self.backbone.maps(self.prepared(images)))

    def prepared(self, images: Tensor) -> Tensor:
        """Images as the backbone gets them, from those of `forward`."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"ReJSHand: images must be [B, 3, H, W], got {list(images.shape)}")
        images = images if images.is_floating_point() else images.float()
        images = images.flip(1) if self.bgr else images
        return (images - self.mean) / self.std

    def heads(self, *maps: Tensor) -> HandOutput:
        """What the heads make of the backbone's maps [B, C, H, W], fine to coarse; of the last one alone without heatmaps."""
        if isinstance(self.keypoints, HeatmapKeypoints):
            return self.from_heatmaps(maps[-1], self.keypoints.logits(*maps))
        keypoints = self.keypoints(maps[-1].mean((2, 3))).unflatten(1, (-1, 2))
        return self._with_mesh(maps[-1], keypoints, torch.ones_like(keypoints[:, 0, 0]))

    def from_heatmaps(self, features: Tensor, heatmaps: Tensor) -> HandOutput:
        """What the mesh head makes of the backbone's last map [B, C, H, W] and heatmaps [B, J, h, w]."""
        return self._with_mesh(features, mean_places(heatmaps), heatmap_scores(heatmaps))

    def _with_mesh(self, features: Tensor, keypoints: Tensor, scores: Tensor) -> HandOutput:
        vertices = self.mesh_head(features, keypoints)
        return HandOutput(keypoints, self.joint_regressor.to(vertices.dtype) @ vertices, vertices, scores)
