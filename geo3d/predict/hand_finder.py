"""Where the hands of an image are, and which are left and right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from geo3d.data.hands.scenes import letterbox, letterboxed
from geo3d.descriptions import SceneInput
from geo3d.models.rejshand import DetectedHands, HandDetector, HandMaps, decode_hands, fold_norms
from geo3d.predict.base import Predictor
from geo3d.predict.hand_runtime import onnx_runner, torch_runner
from geo3d.predict.images import Image, upright_rgb
from geo3d.zoo.weights import WeightsInfo

SURE_SIDE = 0.8  # a `side_score` from which the mesh network need not be asked
SIDES: tuple[Literal["right"], Literal["left"]] = ("right", "left")


@dataclass(frozen=True, eq=False)
class HandBox:
    """A hand that was found.

    Attributes:
        side: "right" or "left".
        box: [4] x, y of the upper left corner, width and height, pixels, around its keypoints.
        score: from 0 to 1.
        side_score: from 0.5 to 1, how sure the side is.
    """

    side: Literal["right", "left"]
    box: np.ndarray
    score: float
    side_score: float

    @property
    def sure_side(self) -> Literal["right", "left"] | None:
        """The side where the detector is sure of it; else None, with which `HandPredictor` looks for itself."""
        return self.side if self.side_score >= SURE_SIDE else None


class HandFinder(Predictor[Image, tuple[HandBox, ...]]):
    """Finds the hands of an image with a `geo3d.models.rejshand.HandDetector`."""

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        self.side = self.described("preprocessing", SceneInput).image_size
        if isinstance(network, HandDetector):  # an exported one is folded
            fold_norms(network, torch.zeros(1, 3, self.side, self.side, device=self.device))
        self.run = torch_runner(self.network, self.device)

    def use_onnx(self, threads: int = 1) -> None:
        """Run by ONNX Runtime from now on, as an exported network does anyway; raises ImportError without it."""
        if isinstance(self.network, HandDetector):
            self.run = onnx_runner(self.network, threads)

    def __call__(self, source: Image, score: float = 0.5, most: int = 8) -> tuple[HandBox, ...]:
        """Hands of an image, the surest first.

        Args:
            source: a file, or an image [H, W], [H, W, 3] or [H, W, 4], uint8 or uint16, R, G, B.
            score: lowest score.
            most: hands.

        Raises:
            FileNotFoundError, ValueError: no such file, or not an image.
        """
        image = upright_rgb(source)
        square, _ = letterboxed(image, [], self.side)
        maps = self.run(np.ascontiguousarray(square.transpose(2, 0, 1))[None])
        scores, boxes = (torch.from_numpy(part) for part in maps)
        [found] = decode_hands(HandMaps(scores, boxes), score, most=most)
        return _in_image(found, image.shape[1], image.shape[0], self.side)


def _in_image(found: DetectedHands, width: int, height: int, side: int) -> tuple[HandBox, ...]:
    transform, _ = letterbox(width, height, side)
    factors, shift = transform[[0, 1], [0, 1]], transform[:, 2]
    boxes = found.boxes.double().numpy() * side - [0.5, 0.5, 0, 0]  # pixel centres are whole numbers
    centers, sizes = (boxes[:, :2] - shift) / factors, boxes[:, 2:] / factors
    corners = np.concatenate([centers - sizes / 2, sizes], 1)
    rows = zip(found.sides.tolist(), corners, found.scores.tolist(), found.side_scores.tolist(), strict=True)
    return tuple(HandBox(SIDES[which], box, score, side_score) for which, box, score, side_score in rows)
