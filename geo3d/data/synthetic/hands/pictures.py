"""Pictures of a folder for cloth and backgrounds, and procedural ones where there is no folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geo3d.data.synthetic.rasterizer import decode_srgb

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted.

    Raises:
        FileNotFoundError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"hands: no folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"hands: no picture (.jpg, .png, ...) in {folder}")
    return files


def read_picture(path: Path) -> np.ndarray:
    """uint8 RGB [h, w, 3].

    Raises:
        ValueError: not a picture.
    """
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path}: expected a picture")
    return np.ascontiguousarray(picture[..., ::-1])


def draw_picture(files: Sequence[Path], rng: np.random.Generator) -> np.ndarray:
    """A photograph of `files`, or without them a procedural picture, as linear light [h, w, 3]."""
    if len(files):
        return decode_srgb(read_picture(files[int(rng.integers(len(files)))]))
    return procedural_picture(rng)


def cut(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a picture, [size, size, 3], flipped at random."""
    import cv2

    height, width = picture.shape[:2]
    side = int(min(height, width) * rng.uniform(0.35, 1.0))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    piece = picture[top : top + side, left : left + side]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(piece), (size, size), interpolation=interpolation)


def procedural_picture(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Gradients, blobs, stripes and grain, as linear light [size, size, 3]."""
    from geo3d.data.synthetic.hands.noise import smooth_noise

    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    codes = rng.integers(0, 256, (4, 3))
    dull = rng.beta(2, 1)  # most rooms are grey, brown and white
    codes = codes * (1 - dull) + codes.mean(1, keepdims=True) * dull + rng.normal(0, 10, (4, 3))
    colors = decode_srgb(codes.clip(0, 255).astype(np.uint8))
    across = (np.cos(angle := rng.uniform(0, 6.28)) * x + np.sin(angle) * y)[..., None] % 1
    out = colors[0] * (1 - across) + colors[1] * across
    for color in colors[2:]:
        blob = smooth_noise(rng, size, int(rng.integers(2, 9)))
        out = np.where(blob[..., None] > rng.uniform(0, 1), color, out)
    if rng.random() < 0.4:
        stripes = np.sin((x * rng.normal(0, 1) + y * rng.normal(0, 1)) * rng.uniform(10, 150)) > rng.uniform(-0.7, 0.9)
        out = np.where(stripes[..., None], out, out * decode_srgb(rng.integers(60, 256, 3).astype(np.uint8)))
    grain = smooth_noise(rng, size, int(rng.integers(10, 120)))[..., None]
    return (out * (1 + grain * rng.uniform(0, 0.25))).clip(0, 1).astype(np.float32)
