"""Draws the hands that a network finds in real pictures and measures its keypoints: `python docs/hand_photographs.py --out SHEET.png`.

The pictures are of public data sets, which are not part of this repository: the environment variable GEO3D_SAMPLES names their folder.
Errors are mean distances of the labelled keypoints in units of the crop's side, over the crops that a network sees. With
`--landmarks hand_landmark_full.tflite` (from the package mediapipe, run by ai-edge-litert) the landmark model of MediaPipe is measured on
the same crops, turned as it expects them: the wrist below the middle finger.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from geo3d.data.hands.crops import CropDraws, keypoint_box
from geo3d.data.hands.freihand import read_rgb
from geo3d.data.hands.labeled import LabeledHands, hand_labels
from geo3d.geometry.virtual_camera import default_camera_matrix, virtual_camera
from geo3d.predict import load
from geo3d.predict.hands import FoundHand, HandPredictor
from geo3d.tools.hands.drawing import draw_hand

SAMPLES = Path(os.environ.get("GEO3D_SAMPLES", Path(__file__).parents[2] / "shared" / "data"))
LABELED = ("freihand", "interhand2.6m", "rhd", "onehand10k")
TILE, COLUMNS = 200, 8
SCALE = CropDraws().scale  # of the box around keypoints, as in evaluation


@dataclass(frozen=True, eq=False)
class Hand:
    """A hand of a real picture; `keypoints` [21, 2] pixels with NaN where unknown, or None."""

    name: str
    image: np.ndarray
    box: np.ndarray
    side: str
    keypoints: np.ndarray | None = None
    camera_matrix: np.ndarray | None = None


def real_hands() -> Iterator[Hand]:
    """The labelled hands first, then crops without labels."""
    for folder in LABELED:
        for frame, row in LabeledHands(SAMPLES / folder).hands:
            image = read_rgb(frame.image)
            labels = hand_labels(frame, row, image.shape[1], image.shape[0])
            known = np.ones(21, bool) if labels.keypoint_valid is None else labels.keypoint_valid
            center, size = keypoint_box(labels.keypoints, known)
            keypoints = np.where(known[:, None], labels.keypoints, np.nan)
            box = np.concatenate((center - size / 2, size))
            yield Hand(f"{folder} {frame.name}", image, box, frame.sides[row], keypoints, labels.camera_matrix)
    for path in [
        *sorted((SAMPLES / "handmesh_real").glob("*_img.jpg")),
        *sorted((SAMPLES / "hands_in_the_wild").glob("*.jpg")),
    ]:
        image = read_rgb(path)
        if max(image.shape) <= 256:  # larger ones are no crops
            box = np.array([0.0, 0.0, image.shape[1], image.shape[0]]) / SCALE
            box[:2] = (np.array(image.shape[1::-1]) - box[2:]) / 2
            yield Hand(path.stem, image, box, "right")


def found_hand(predictor: HandPredictor, hand: Hand) -> tuple[FoundHand, np.ndarray]:
    """What the network finds, and the camera that it is relative to."""
    found = predictor(hand.image, [hand.box.tolist()], [hand.side], hand.camera_matrix, enlarge=SCALE)  # type: ignore[list-item]
    return found.hands[0], found.camera_matrix


def crop_error(hand: Hand, keypoints: np.ndarray) -> float:
    """Mean distance of the known keypoints in units of the crop's side."""
    assert hand.keypoints is not None
    return float(np.nanmean(np.linalg.norm(keypoints - hand.keypoints, axis=1)) / (SCALE * hand.box[2:].max()))


def landmark_model(path: Path) -> Callable[[Hand], np.ndarray]:
    """Keypoints [21, 2] pixels of a hand by MediaPipe's landmark model."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    [entry] = interpreter.get_input_details()
    side = int(entry["shape"][1])
    [landmarks] = [row["index"] for row in interpreter.get_output_details() if row["name"] in ("Identity", "ld_21_3d")]

    def run(hand: Hand) -> np.ndarray:
        height, width = hand.image.shape[:2]
        matrix = default_camera_matrix(width, height) if hand.camera_matrix is None else hand.camera_matrix
        angle = 0.0
        if hand.keypoints is not None and np.isfinite(hand.keypoints[[0, 9]]).all():
            across, down = hand.keypoints[9] - hand.keypoints[0]
            angle = np.arctan2(across, -down)
        best = None
        for turn in (angle, -angle):  # the sense of the camera's turn does not matter: the upright one is kept
            camera = virtual_camera(matrix, hand.box[:2] + hand.box[2:] / 2, hand.box[2:] * SCALE, side, turn)
            if hand.keypoints is not None:
                wrist, middle = camera.to_crop(hand.keypoints[[0, 9]])
                if best is not None and not middle[1] - wrist[1] < best[0]:
                    continue
                best = (middle[1] - wrist[1], camera)
            else:
                best = (0.0, camera)
        assert best is not None
        camera = best[1]
        interpreter.set_tensor(entry["index"], camera.warp(hand.image)[None].astype(np.float32) / 255)
        interpreter.invoke()
        return camera.to_image(interpreter.get_tensor(landmarks).reshape(21, 3)[:, :2].astype(np.float64))

    return run


def tile(hand: Hand, found: FoundHand | None, camera_matrix: np.ndarray) -> np.ndarray:
    """The surroundings of a hand [TILE, TILE, 3], with what was found drawn in."""
    size = 1.15 * SCALE * hand.box[2:].max()
    corner = hand.box[:2] + hand.box[2:] / 2 - size / 2
    zoom = TILE / size
    transform = np.array([[zoom, 0, -zoom * corner[0]], [0, zoom, -zoom * corner[1]], [0, 0, 1]])
    picture = cv2.warpAffine(hand.image, transform[:2], (TILE, TILE), flags=cv2.INTER_AREA)
    if found is not None:
        keypoints = found.keypoints * zoom + transform[:2, 2]
        draw_hand(picture, dataclasses.replace(found, keypoints=keypoints), transform @ camera_matrix)
    return picture


def found_in(weights: str) -> list[tuple[Hand, FoundHand, np.ndarray]]:
    """Every hand, what the network finds, and the camera that it is relative to."""
    predictor = load(weights)
    assert isinstance(predictor, HandPredictor)
    return [(hand, *found_hand(predictor, hand)) for hand in real_hands()]


def draw_sheet(results: Sequence[tuple[Hand, FoundHand, np.ndarray]], path: Path, size: int = TILE) -> None:
    """Every hand, and beside it what was found, in squares of so many pixels."""
    tiles = [each for hand, found, matrix in results for each in (tile(hand, None, matrix), tile(hand, found, matrix))]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[start : start + COLUMNS], 1) for start in range(0, len(tiles), COLUMNS)]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet = sheet.resize((sheet.width * size // TILE, sheet.height * size // TILE), Image.Resampling.LANCZOS)
    sheet.save(path)


def main() -> None:
    """Print the errors and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="rejshand-hands", help="of the network (default: %(default)s)")
    parser.add_argument("--landmarks", type=Path, help="MediaPipe's landmark model, .tflite")
    parser.add_argument("--out", type=Path, help="the sheet, .png")
    arguments = parser.parse_args()
    results = found_in(arguments.weights)
    peer = landmark_model(arguments.landmarks) if arguments.landmarks else None
    ours, theirs = [], []
    for hand, found, _ in results:
        if hand.keypoints is None:
            continue
        ours.append(crop_error(hand, found.keypoints))
        line = f"{hand.name} {hand.side}: {ours[-1]:.4f}"
        if peer is not None:
            theirs.append(crop_error(hand, peer(hand)))
            line += f", MediaPipe {theirs[-1]:.4f}"
        print(line)
    line = f"mean of {len(ours)} hands: {np.mean(ours):.4f}"
    if peer is not None:
        line += f", MediaPipe {np.mean(theirs):.4f}, ratio {np.mean(ours) / np.mean(theirs):.2f}"
    print(line)
    if arguments.out:
        draw_sheet(results, arguments.out)


if __name__ == "__main__":
    main()
