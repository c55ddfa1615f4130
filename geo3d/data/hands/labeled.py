"""Hands of pictures with joints or keypoints alone, right or left, for evaluation: InterHand2.6M, RHD, OneHand10K and others in COCO's style."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geo3d.data.hands.frames import HAND, HandFrame, find_hand_frames
from geo3d.data.hands.freihand import read_rgb
from geo3d.data.hands.samples import HandLabels
from geo3d.geometry.virtual_camera import default_camera_matrix


class LabeledHands:
    """Pictures with a labelled hand each; a picture with two hands stands twice, and left hands are mirrored.

    Args:
        root: a folder as `geo3d.data.hands.frames` knows it.

    Raises:
        FileNotFoundError: no such folder, or no labelled hand in it.
        ValueError: a damaged file.
    """

    def __init__(self, root: str | Path):
        if not Path(root).is_dir():
            raise FileNotFoundError(f"LabeledHands: no folder {root}")
        self.hands: list[tuple[HandFrame, int]] = []
        for frame in find_hand_frames(root):
            points = frame.joints if frame.joints is not None else frame.keypoints
            self.hands += [(frame, row) for row in range(0 if points is None else len(points) // HAND)]
        if not self.hands:
            raise FileNotFoundError(f"LabeledHands: no hand with joints or keypoints under {root}")

    def __len__(self) -> int:
        return len(self.hands)

    def picture(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, HandLabels]:
        """A picture [H, W, 3] uint8 R, G, B with a right hand and what is known of it; nothing is drawn by chance."""
        frame, row = self.hands[index]
        image = read_rgb(frame.image)
        labels = hand_labels(frame, row, image.shape[1], image.shape[0])
        if frame.sides[row] == "left":
            image, labels = image[:, ::-1], mirrored(labels, image.shape[1])
        return np.ascontiguousarray(image), labels


def hand_labels(frame: HandFrame, row: int, width: int, height: int) -> HandLabels:
    """What a frame says of its hand `row`, in pixels of its image of this width and height."""
    matrix = default_camera_matrix(width, height) if frame.camera_matrix is None else frame.camera_matrix
    rows = slice(HAND * row, HAND * (row + 1))
    if frame.joints is not None:
        joints = frame.joints[rows]
        projected = joints @ matrix.T
        vertices = frame.vertices if frame.vertices is not None and row == 0 else None
        return HandLabels(matrix, projected[:, :2] / projected[:, 2:], joints, vertices)
    assert frame.keypoints is not None
    keypoints = frame.keypoints[rows]
    known = np.isfinite(keypoints).all(1)
    return HandLabels(matrix, np.where(known[:, None], keypoints, 0.0), keypoint_valid=known)


def mirrored(labels: HandLabels, width: int) -> HandLabels:
    """Labels in the mirrored image, which is so many pixels wide: a left hand becomes a right one."""
    matrix = labels.camera_matrix.copy()
    matrix[0, 2] = width - 1 - matrix[0, 2]
    sign = np.array([-1.0, 1, 1])
    return HandLabels(
        matrix,
        np.array([width - 1, 0]) + labels.keypoints * [-1, 1],
        None if labels.joints is None else labels.joints * sign,
        None if labels.vertices is None else labels.vertices * sign,
        labels.keypoint_valid,
    )
