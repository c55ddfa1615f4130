"""Hands in images: boxes in, hands in the camera's frame out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from geo3d.body.hands import KEYPOINT_PARENTS
from geo3d.data.hands.crops import ROOT
from geo3d.descriptions import HandInput
from geo3d.geometry.alignment import solve_translation
from geo3d.geometry.virtual_camera import VirtualCamera, default_camera_matrix, virtual_camera
from geo3d.models.rejshand import FoldedReJSHand, ReJSHand
from geo3d.predict.base import Predictor
from geo3d.predict.hand_runtime import Runner, onnx_runner, torch_runner
from geo3d.predict.images import Image, upright_rgb
from geo3d.zoo.weights import WeightsInfo

Side = Literal["right", "left"]
SIDES: tuple[Side, ...] = ("right", "left")
DOUBT_OF_SCORE, DOUBT_OF_DISAGREEMENT = 6.0, 20.0  # chosen on generated hands, seen as they are and mirrored
FINGER_COLORS = (
    (230, 70, 60),
    (240, 170, 40),
    (90, 190, 70),
    (50, 140, 230),
    (170, 80, 210),
)  # R, G, B, thumb to little finger


@dataclass(frozen=True, eq=False)
class FoundHand:
    """One hand.

    Attributes:
        side: "right" or "left".
        box: [4] x, y of the upper left corner, width and height, pixels, that it was looked for in.
        keypoints: [21, 2] pixels of the image.
        joints: [21, 3] metres in the camera's frame, x right, y down, z forward; relative to joint 9 they are what the network says, the
            place of joint 9 is solved from the keypoints and depends on the focal length and on the size of the hand.
        vertices: [V, 3] likewise. Faces of a left hand are wound the other way.
        score: how sure the network is of the keypoints, 0..1; 1 where it does not say.
        disagreement: mean distance of the keypoints from the joints' places in the image, in units of the crop's side.
    """

    side: Side
    box: np.ndarray
    keypoints: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray
    score: float = 1.0
    disagreement: float = 0.0

    @property
    def doubt(self) -> float:
        """How little the network believes what it says; lower for the right side of a hand than for the other, mostly."""
        return DOUBT_OF_SCORE * (1 - self.score) + DOUBT_OF_DISAGREEMENT * self.disagreement


@dataclass(frozen=True, eq=False)
class FoundHands:
    """The hands of an image.

    Attributes:
        image: [H, W, 3] uint8 R, G, B, upright.
        camera_matrix: [3, 3] that places are relative to.
        camera_is_assumed: no camera matrix was given, so that one with a field of view of 60 degrees was taken.
        hands: as many as there were boxes.
    """

    image: np.ndarray
    camera_matrix: np.ndarray
    camera_is_assumed: bool
    hands: tuple[FoundHand, ...]

    def write_json(self, path: str | Path, vertices: bool = False) -> None:
        """Write joints, keypoints and, on request, vertices."""
        Path(path).write_text(json.dumps(self.as_json(vertices)))

    def as_json(self, vertices: bool = False) -> dict[str, Any]:
        """What `write_json` writes."""
        entries = []
        for hand in self.hands:
            names = ("box", "keypoints", "joints", *(("vertices",) if vertices else ()))
            entries.append(
                {
                    "side": hand.side,
                    "score": round(hand.score, 4),
                    **{name: getattr(hand, name).round(5).tolist() for name in names},
                }
            )
        return {
            "camera_matrix": self.camera_matrix.tolist(),
            "camera_is_assumed": self.camera_is_assumed,
            "units": "metres in the camera's frame, x right, y down, z forward; pixels",
            "hands": entries,
        }

    def overlay(self) -> np.ndarray:
        """The image [H, W, 3] uint8 with the skeletons drawn on it."""
        import cv2

        picture = self.image.copy()
        width = max(1, round(max(picture.shape) / 200))
        for hand in self.hands:
            points = np.rint(np.clip(hand.keypoints, -1e4, 1e4)).astype(int)
            for joint, parent in enumerate(KEYPOINT_PARENTS):
                if parent >= 0:
                    color = FINGER_COLORS[(joint - 1) // 4]
                    cv2.line(picture, tuple(points[joint]), tuple(points[parent]), color, width, cv2.LINE_AA)
        return picture


class HandPredictor(Predictor[Image, FoundHands]):
    """Finds joints and mesh of the hands in boxes of an image; runs the folded form of the network."""

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        crops = self.described("preprocessing", HandInput)
        self.side, self.as_released = crops.image_size, crops.as_released
        self.folded = FoldedReJSHand(network) if isinstance(network, ReJSHand) else network  # an exported one is folded
        self.run: Runner = lambda crops: torch_runner(self.folded, self.device)(crops)

    def use_onnx(self, threads: int = 1) -> None:
        """Run by ONNX Runtime from now on, as an exported network does anyway; raises ImportError without it."""
        if isinstance(self.network, ReJSHand):
            self.run = onnx_runner(self.network, threads)

    def __call__(
        self,
        source: Image,
        boxes: Sequence[Sequence[float]] | None = None,
        sides: Sequence[Side | None] | None = None,
        camera_matrix: np.ndarray | None = None,
        enlarge: float | None = None,
    ) -> FoundHands:
        """Hands of an image.

        Args:
            source: a file, or an image [H, W], [H, W, 3] or [H, W, 4], uint8 or uint16, R, G, B.
            boxes: x, y of the upper left corner, width and height of each hand, pixels; the whole image when None.
            sides: "right" or "left" of each box, or None for what the network is surer of, which takes it twice; all right when None.
                Left hands are mirrored before the network and back after it.
            camera_matrix: [3, 3]; assumed from the size of the image when None.
            enlarge: the boxes are enlarged by this; 1.25 with boxes, 1 without.

        Raises:
            FileNotFoundError, ValueError: no such file, not an image, a box without extent, or sides that do not fit the boxes.
        """
        image = upright_rgb(source)
        height, width = image.shape[:2]
        scale = (1.0 if boxes is None else 1.25) if enlarge is None else enlarge
        rectangles = np.asarray([[0, 0, width, height]] if boxes is None else boxes, dtype=np.float64).reshape(-1, 4)
        chosen: Sequence[Side | None] = ["right"] * len(rectangles) if sides is None else sides
        if len(chosen) != len(rectangles) or not set(chosen) <= {"right", "left", None}:
            raise ValueError(
                f"HandPredictor: expected 'right', 'left' or None for each of {len(rectangles)} boxes, got {list(chosen)}"
            )
        matrix = default_camera_matrix(width, height) if camera_matrix is None else np.asarray(camera_matrix, np.float64)
        cameras = [
            virtual_camera(matrix, box[:2] + box[2:] / 2, box[2:] * scale, self.side, as_released=self.as_released)
            for box in rectangles
        ]
        tries = [(row, side) for row, given in enumerate(chosen) for side in ((given,) if given else SIDES)]
        found: list[list[FoundHand]] = [[] for _ in cameras]
        if cameras:
            outputs = self.run(np.stack([_crop(image, cameras[row], side) for row, side in tries]))
            for (row, side), *parts in zip(tries, *outputs, strict=True):
                found[row].append(self._hand(rectangles[row], side, matrix, cameras[row], *parts))
        hands = tuple(min(each, key=lambda hand: hand.doubt) for each in found)
        return FoundHands(image, matrix, camera_matrix is None, hands)

    def _hand(
        self,
        box: np.ndarray,
        side: Side,
        matrix: np.ndarray,
        camera: VirtualCamera,
        keypoints: np.ndarray,
        joints: np.ndarray,
        vertices: np.ndarray,
        score: np.ndarray,
    ) -> FoundHand:
        """What the network says of a crop, in the image and before its camera."""
        keypoints, joints, vertices = (part.astype(np.float64) for part in (keypoints, joints, vertices))
        keypoints = keypoints * self.side
        sign = np.array([-1.0 if side == "left" else 1.0, 1, 1])
        if side == "left":
            keypoints = np.array([self.side - 1, 0]) + keypoints * [-1, 1]
        root = joints[ROOT].copy()
        joints, vertices = (camera.turn_back((points - root) * sign) for points in (joints, vertices))
        pixels, in_crop = camera.to_image(keypoints), keypoints
        parts = (torch.from_numpy(np.ascontiguousarray(array)) for array in (joints[None], pixels[None], matrix))
        place = solve_translation(*parts)[0].numpy()
        projected = (joints + place) @ matrix.T
        seen = camera.to_crop(projected[:, :2] / np.maximum(projected[:, 2:], 1e-3))
        apart = np.linalg.norm(seen - in_crop, axis=1).mean() / self.side
        return FoundHand(side, box, pixels, joints + place, vertices + place, float(score), float(apart))


def _crop(image: np.ndarray, camera: VirtualCamera, side: Side) -> np.ndarray:
    """[3, S, S] of what the virtual camera sees; of a left hand mirrored."""
    crop = camera.warp(image)
    crop = crop[:, ::-1] if side == "left" else crop
    return np.ascontiguousarray(crop.transpose(2, 0, 1))
