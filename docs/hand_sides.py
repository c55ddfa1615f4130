"""How often the mesh network tells the side of generated hands by trying both: `python docs/hand_sides.py FOLDER [COUNT]`.

FOLDER is one that `geo3d make-data hands` wrote; its hands are right ones, so every second one is mirrored here.
"""

from __future__ import annotations

import sys

import numpy as np

from geo3d.data.hands.freihand import FreiHandFrames
from geo3d.predict import load
from geo3d.predict.hands import HandPredictor
from geo3d.predict.tracking import keypoint_box


def main(folder: str, count: int = 300) -> None:
    """Print the share that is right, of the first `count` hands of the evaluation."""
    predictor = load("rejshand-hands")
    assert isinstance(predictor, HandPredictor)
    frames, right = FreiHandFrames(folder, "test"), 0
    for index in range(min(count, len(frames))):
        image, labels = frames.picture(index, np.random.default_rng(0))
        keypoints, side = labels.keypoints, "right"
        if index % 2:
            image, side = np.ascontiguousarray(image[:, ::-1]), "left"
            keypoints = [image.shape[1] - 1, 0] + keypoints * [-1, 1]
        [hand] = predictor(image, [keypoint_box(keypoints).tolist()], [None]).hands
        right += hand.side == side
    print(f"{right} of {index + 1} sides are right")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
