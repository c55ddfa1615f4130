"""A small detector of left and right hands in one step: a map of hand centres for each side, and a box at each of its cells.

Centres as peaks of a heatmap are from CenterNet (Zhou et al., "Objects as Points", 2019), boxes learnt in a Gaussian around each centre
from TTFNet (Liu et al., AAAI 2020). ReJSHand itself has no detector: it takes crops.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.detection.heatmaps import heatmap_focal_loss
from geo3d.models.feature_maps import feature_network

SIDES = ("right", "left")  # of the channels of the map
IGNORED = -1  # side of a hand that counts neither as one nor as none
SPREAD = 0.09  # standard deviation of a peak, of the box's extent
MIN_SPREAD = 0.45  # in cells
BOX_SHARE = 0.35  # cells whose peak is at least so high learn the box
STRIDE = 8


class HandMaps(NamedTuple):
    """What the detector finds, for a map of h x w cells, 8 pixels each.

    Attributes:
        scores: [B, 2, h, w] logits of a centre of a right and of a left hand.
        boxes: [B, 4, h, w] centre of the box (x, y) from that of the cell, in cells, and logarithms of width and height in cells.
    """

    scores: Tensor
    boxes: Tensor


class HandDetector(nn.Module):
    """Finds hands in an image.

    Args:
        image_size: side of the images, pixels, a multiple of 32; the network takes other sizes too.
        channels: of the map.
        pretrained: start from timm's ImageNet weights, which it downloads.
        backbone: of timm, with maps 8 and 16 times smaller than the image.

    Raises:
        ValueError: a size that is not a multiple of 32, or a backbone without such maps.
    """

    def __init__(
        self, image_size: int = 192, channels: int = 64, pretrained: bool = False, backbone: str = "tf_efficientnet_lite0"
    ):
        super().__init__()
        if image_size < 64 or image_size % 32:
            raise ValueError(f"HandDetector: image_size must be a multiple of 32, at least 64, got {image_size}")
        network = feature_network(backbone, [STRIDE, 2 * STRIDE], pretrained)
        self.image_size = image_size
        self.network = network
        fine, coarse = network.feature_info.channels()
        self.fine, self.coarse = _convolution(fine, channels, 1), _convolution(coarse, channels, 1)
        self.around = nn.Linear(coarse, channels)
        self.mix = nn.Sequential(
            *(layer for _ in range(3) for layer in (_depthwise(channels), _convolution(channels, channels, 1)))
        )
        self.score_head = nn.Conv2d(channels, len(SIDES), 1)
        self.box_head = nn.Conv2d(channels, 4, 1)
        nn.init.constant_(self.score_head.bias, -4.0)  # type: ignore[arg-type]  # hands are rare among cells
        nn.init.zeros_(self.box_head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> HandMaps:
        """Maps of hands.

        Args:
            images: [B, 3, H, W] R, G, B in 0..255, uint8 or floating point; H and W multiples of 32.

        Raises:
            ValueError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 32 or images.shape[3] % 32:
            raise ValueError(f"HandDetector: images must be [B, 3, H, W] with multiples of 32, got {list(images.shape)}")
        images = images if images.is_floating_point() else images.float()
        fine, coarse = self.network((images - 127.0) / 128.0)
        context = self.coarse(coarse) + self.around(coarse.mean((2, 3)))[:, :, None, None]
        x = self.fine(fine) + F.interpolate(context, scale_factor=2.0, mode="nearest")
        x = self.mix(x)
        return HandMaps(self.score_head(x), self.box_head(x))


def _convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)
    )


def _depthwise(channels: int) -> nn.Sequential:
    layer = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU6(inplace=True))


class HandBoxes(NamedTuple):
    """Hands in a batch of images, packed.

    Attributes:
        boxes: [N, 4] centre x, y, width and height in units of the image's sides.
        sides: [N] int64 row of `SIDES`, or `IGNORED`.
        batch_index: [N] int64, sorted.
    """

    boxes: Tensor
    sides: Tensor
    batch_index: Tensor


class DetectorLosses(NamedTuple):
    """Terms of the loss, scalars: the weighted sum, that of the centres and that of the boxes."""

    total: Tensor
    centers: Tensor
    boxes: Tensor


def detector_losses(maps: HandMaps, hands: HandBoxes, box_weight: float = 0.5) -> DetectorLosses:
    """Focal loss of the centres, and mean absolute error of the boxes near them.

    Args:
        maps: of the network.
        hands: where hands are; those that are ignored neither count as hands nor as background.
        box_weight: of the boxes' term.
    """
    batch, _, rows, columns = maps.scores.shape
    cells = hands.boxes * hands.boxes.new_tensor([columns, rows, columns, rows])
    peaks = _peaks(cells, rows, columns)  # [N, h, w]
    target = torch.zeros_like(maps.scores, dtype=torch.float32)
    for side in range(len(SIDES)):
        chosen = hands.sides == side
        place = hands.batch_index[chosen][:, None, None].expand(-1, rows, columns)
        target[:, side] = target[:, side].scatter_reduce(0, place, peaks[chosen], "amax")
    target = torch.where(_covered(cells, hands, batch, rows, columns)[:, None] & (target < 1), 1 - 1e-6, target)
    centers = heatmap_focal_loss(maps.scores, target)

    known = hands.sides != IGNORED
    weights = peaks * (peaks >= BOX_SHARE) * known[:, None, None]
    y, x = torch.meshgrid(*(torch.arange(n, device=cells.device) + 0.5 for n in (rows, columns)), indexing="ij")
    wanted = torch.stack(
        (
            cells[:, 0, None, None] - x,
            cells[:, 1, None, None] - y,
            cells[:, 2, None, None].clamp(min=0.1).log().expand(-1, rows, columns),
            cells[:, 3, None, None].clamp(min=0.1).log().expand(-1, rows, columns),
        ),
        1,
    )
    errors = (maps.boxes[hands.batch_index].float() - wanted).abs() * weights.new_tensor([0.5, 0.5, 1, 1])[:, None, None]
    boxes = (errors.mean(1) * weights).sum() / weights.sum().clamp(min=1)
    return DetectorLosses(centers + box_weight * boxes, centers, boxes)


def _peaks(cells: Tensor, rows: int, columns: int) -> Tensor:
    """[N, h, w] Gaussians, exactly 1 at the cell of the centre."""
    limit = cells.new_tensor([columns - 1, rows - 1])
    middle = cells[:, :2].floor().minimum(limit).clamp(min=0)
    spread = (SPREAD * cells[:, 2:]).clamp(min=MIN_SPREAD)
    x = torch.arange(columns, device=cells.device) - middle[:, :1]
    y = torch.arange(rows, device=cells.device) - middle[:, 1:]
    return (-((x / spread[:, :1]) ** 2)[:, None] / 2 - ((y / spread[:, 1:]) ** 2)[:, :, None] / 2).exp()


def _covered(cells: Tensor, hands: HandBoxes, batch: int, rows: int, columns: int) -> Tensor:
    """[B, h, w] bool, True within boxes of ignored hands."""
    ignored = hands.sides == IGNORED
    x = (torch.arange(columns, device=cells.device) + 0.5 - cells[ignored, :1]).abs() <= cells[ignored, 2:3] / 2
    y = (torch.arange(rows, device=cells.device) + 0.5 - cells[ignored, 1:2]).abs() <= cells[ignored, 3:] / 2
    inside = (y[:, :, None] & x[:, None]).float()
    place = hands.batch_index[ignored][:, None, None].expand(-1, rows, columns)
    return torch.zeros(batch, rows, columns, device=cells.device).scatter_reduce(0, place, inside, "amax") > 0


class DetectedHands(NamedTuple):
    """Hands of one image, the surest first.

    Attributes:
        boxes: [K, 4] centre x, y, width and height in units of the image's sides.
        sides: [K] int64 row of `SIDES`.
        scores: [K] from 0 to 1, of a hand of either side.
        side_scores: [K] from 0.5 to 1, how sure the side is beside the other.
    """

    boxes: Tensor
    sides: Tensor
    scores: Tensor
    side_scores: Tensor


def decode_hands(maps: HandMaps, score: float = 0.3, overlap: float = 0.4, most: int = 8) -> list[DetectedHands]:
    """Hands from maps.

    Args:
        maps: of B images.
        score: lowest score; that of a cell is the sum of its scores as a right and as a left hand, so that a hand of a doubtful side counts.
        overlap: of two boxes whose common area is at least this share of their union, or this and a half of the smaller one, the surer
            one stays, whatever their sides: a place holds one hand.
        most: hands of an image.

    Returns:
        B results.
    """
    probability = maps.scores.float().sigmoid()
    best, sides = probability.sum(1).clamp(max=1), probability.argmax(1)  # [B, h, w]; a hand is of one side or the other
    is_peak = F.max_pool2d(best[:, None], 3, 1, 1)[:, 0] == best
    rows, columns = best.shape[1:]
    results = []
    for image in range(len(best)):
        y, x = torch.nonzero(is_peak[image] & (best[image] >= score), as_tuple=True)
        order = best[image, y, x].argsort(descending=True, stable=True)[: 4 * most]
        y, x = y[order], x[order]
        dx, dy, width, height = maps.boxes[image, :, y, x].float()
        size = torch.stack((width, height)).clamp(-3, 5).exp()
        boxes = torch.stack(((x + 0.5 + dx) / columns, (y + 0.5 + dy) / rows, size[0] / columns, size[1] / rows), 1)
        kept = _kept(boxes, overlap)[:most]
        side = sides[image, y, x]
        values = probability[image, :, y, x]
        share = values.max(0).values / values.sum(0).clamp(min=1e-6)
        results.append(DetectedHands(boxes[kept], side[kept], best[image, y, x][kept], share[kept]))
    return results


def _kept(boxes: Tensor, overlap: float) -> list[int]:
    """Rows that stay, in order."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    common = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp(min=0).prod(-1)
    area = boxes[:, 2:].prod(-1)
    union = area[:, None] + area - common
    same = (common >= overlap * union) | (common >= 1.5 * overlap * torch.minimum(area[:, None], area))
    kept: list[int] = []
    for row, line in enumerate(same.tolist()):
        if not any(line[other] for other in kept):
            kept.append(row)
    return kept
