"""Photographs of hands before a light, even wall, with pseudo labels: cut out, and put before other backgrounds.

    images/DIGIT/NAME.jpg    pseudo_labels.json: {"DIGIT/NAME.jpg": {"uv": 21 pixels, "score": ...}, ...}

The layout is that of the Sign Language Digits (Mavi, arXiv 2011.08927) with 21 keypoints from a public landmark model. They are for the loss
of the keypoints alone: they show a network of rendered hands what skin and light look like.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geo3d.data.hands.freihand import read_rgb
from geo3d.data.hands.samples import HandLabels
from geo3d.geometry.virtual_camera import default_camera_matrix

MIN_HAND = 0.5  # by the median; a label that is smaller has its points in a heap, which landmark models give where they fail
CANVAS = 224  # side of the pictures that are put together
MAX_SIDE = 320  # pixels; a larger photograph is shrunk: a graph cut of 9 megapixels takes minutes
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class CutOut(NamedTuple):
    """A photograph, at most `MAX_SIDE` pixels wide and high.

    Attributes:
        photograph: [H, W, 3] uint8 R, G, B.
        opacity: [H, W] uint8, how much of each pixel is hand, of 255.
        keypoints: [21, 2] pixels.
    """

    photograph: np.ndarray
    opacity: np.ndarray
    keypoints: np.ndarray


class HandPhotographs:
    """Cut-out photographs before random backgrounds.

    Args:
        root: the folder.
        backgrounds: folder of photographs; without one, backgrounds are smooth random colours.
        min_score: labels less sure than this are left out, as are those much smaller than most.
        keep_wall: share of the photographs that stay as they are.

    Raises:
        FileNotFoundError: no such folder, or no labels in it.
        ValueError: labels of another form; the message names the file.
    """

    def __init__(self, root: str | Path, backgrounds: str | Path | None = None, min_score: float = 0.8, keep_wall: float = 0.1):
        self.root = Path(root)
        path = self.root / "pseudo_labels.json"
        if not path.is_file():
            raise FileNotFoundError(f"HandPhotographs: no labels {path}")
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            labels = {
                name: np.array(entry["uv"], dtype=np.float64) for name, entry in entries.items() if _sure(entry, min_score)
            }
            wrong = [name for name, uv in labels.items() if uv.shape != (21, 2)]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: expected uv [21, 2] and score by name of the picture, got {error!r}") from None
        if wrong or not labels:
            found = f"{list(labels[wrong[0]].shape)} for {wrong[0]}" if wrong else f"none with a score of {min_score}"
            raise ValueError(f"{path}: expected 21 pixels for each picture, got {found}")
        extents = {name: float(np.ptp(uv, axis=0).max()) for name, uv in labels.items()}
        smallest = MIN_HAND * float(np.median(list(extents.values())))
        self.names = sorted(name for name, extent in extents.items() if extent >= smallest)
        self.keypoints = labels
        self.keep_wall = keep_wall
        self.backgrounds: Sequence[Path] = ()
        if backgrounds is not None:
            self.backgrounds = sorted(p for p in Path(backgrounds).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            if not self.backgrounds:
                raise FileNotFoundError(f"HandPhotographs: no pictures under {backgrounds}")
        self._cut_outs: dict[str, CutOut] = {}

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, HandLabels]:
        """A picture [224, 224, 3] uint8 R, G, B with its keypoints."""
        import cv2

        name = self.names[index]
        photograph, opacity, keypoints = self.cut_out(name)
        if generator.random() < self.keep_wall:
            opacity = np.full_like(opacity, 255)
        side = int(generator.uniform(0.6, 1.0) * CANVAS)
        scale = side / max(photograph.shape[:2])
        left, top = (generator.random(2) * (CANVAS - side)).astype(int)
        transform = np.array([[scale, 0, left], [0, scale, top]])
        size = (CANVAS, CANVAS)
        hand = cv2.warpAffine(photograph, transform, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        share = cv2.warpAffine(opacity, transform, size, flags=cv2.INTER_LINEAR)[..., None] / np.float32(255)
        gain = generator.uniform(0.6, 1.2) * generator.uniform(0.9, 1.1, 3)
        image = share * (hand * gain) + (1 - share) * self._background(generator)
        labels = HandLabels(default_camera_matrix(*size), keypoints * scale + [left, top])
        return np.clip(image, 0, 255).astype(np.uint8), labels

    def cut_out(self, name: str) -> CutOut:
        """A photograph with what of it is hand, which is kept for the next time."""
        if name not in self._cut_outs:
            photograph, keypoints = _shrunk(read_rgb(self.root / "images" / name), self.keypoints[name])
            opacity = (255 * hand_opacity(photograph, keypoints)).astype(np.uint8)
            self._cut_outs[name] = CutOut(photograph, opacity, keypoints)
        return self._cut_outs[name]

    def _background(self, generator: np.random.Generator) -> np.ndarray:
        import cv2

        if self.backgrounds:
            image = read_rgb(self.backgrounds[int(generator.integers(len(self.backgrounds)))])
            side = int(generator.uniform(0.3, 1.0) * min(image.shape[:2]))
            top, left = (generator.random(2) * (np.array(image.shape[:2]) - side)).astype(int)
            return cv2.resize(image[top : top + side, left : left + side], (CANVAS, CANVAS), interpolation=cv2.INTER_AREA)
        coarse = generator.integers(0, 256, (*generator.integers(1, 6, 2), 3)).astype(np.uint8)
        return cv2.resize(coarse, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)


def hand_opacity(photograph: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """How much of each pixel is hand, [H, W] float32 in 0..1.

    The wall's colour is a plane fitted, again and again, to the pixels that are near it; what is far from it and hangs together with the
    keypoints is hand, and its edge is drawn by graph cut (Rother et al., GrabCut, 2004).

    Args:
        photograph: [H, W, 3] uint8 before a light, even wall.
        keypoints: [21, 2] pixels.
    """
    import cv2

    height, width = photograph.shape[:2]
    lab = cv2.cvtColor(np.ascontiguousarray(photograph), cv2.COLOR_RGB2LAB).astype(np.float32)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    terms = np.stack((np.ones_like(rows), rows, columns, rows * columns), -1).reshape(-1, 4).astype(np.float32)
    values = lab.reshape(-1, 3)
    bones = np.zeros((height, width), np.uint8)
    for finger in range(5):
        chain = keypoints[[0, *range(4 * finger + 1, 4 * finger + 5)]]
        cv2.polylines(bones, [np.rint(chain).astype(np.int32)], False, 1, thickness=max(1, width // 50))
    is_wall = (values[:, 0] >= np.quantile(values[:, 0], 0.5)) & (cv2.dilate(bones, np.ones((9, 9), np.uint8)).ravel() == 0)
    for _ in range(4):
        plane = np.linalg.lstsq(terms[is_wall], values[is_wall], rcond=None)[0]
        distance = np.linalg.norm((values - terms @ plane) * [0.5, 1, 1], axis=1)  # shadows change lightness
        is_wall = distance < max(4.0, 2.5 * float(np.median(distance[is_wall])))
    distance = distance.reshape(height, width)
    marks = np.where(distance > 14, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[distance < 5] = cv2.GC_BGD
    marks[bones > 0] = cv2.GC_FGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, width, height)  # not looked at
    if np.isin(marks, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():  # a picture without wall is hand throughout
        cv2.grabCut(np.ascontiguousarray(photograph), marks, whole, models[0], models[1], 3, cv2.GC_INIT_WITH_MASK)
    hand = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts = cv2.connectedComponents(hand)
    inside = np.unique(parts[(bones > 0) & (hand > 0)])
    cut = cv2.erode(np.isin(parts, inside[inside > 0]).astype(np.uint8), np.ones((2, 2), np.uint8))
    return np.clip(cv2.GaussianBlur(cut.astype(np.float32), (0, 0), 0.7), 0, 1)


def _shrunk(photograph: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    height, width = photograph.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return photograph, keypoints
    size = np.maximum(np.rint(scale * np.array([width, height])).astype(int), 1)
    return cv2.resize(photograph, tuple(size.tolist()), interpolation=cv2.INTER_AREA), keypoints * (size / [width, height])


def _sure(entry: dict[str, object], min_score: float) -> bool:
    score = entry.get("score", 1.0)
    if not isinstance(score, int | float):
        raise ValueError(f"score {score!r}")
    return score >= min_score
