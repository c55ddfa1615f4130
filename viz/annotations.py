"""Texts on small plates over a finished view, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geo3d.viz.camera import Camera
from geo3d.viz.layers import Labels
from geo3d.viz.pictures import font, text_size


def label_size(width: int, height: int) -> int:
    """Height in pixels of the letters of texts in a picture of this size."""
    return max(10, round(0.52 * text_size(width, height)))


def write_labels(
    picture: np.ndarray, labels: Sequence[Labels], camera: Camera, origin: np.ndarray, factor: float
) -> np.ndarray:
    """Writes texts above what they name; a text that would cover a nearer one is left out.

    Args:
        picture: [H, W, 3] uint8.
        labels: in the scene's coordinates.
        camera: around `origin`, of a picture `factor` times as large.
        origin: [3], subtracted from the labels.
        factor: see `camera`.

    Returns:
        [H, W, 3] uint8.
    """
    if not labels:
        return picture
    from PIL import Image, ImageDraw

    texts = [(part.around[k] - origin, part.texts[k], part.colors[k]) for part in labels for k in range(len(part.texts))]
    height, width = picture.shape[:2]
    canvas = Image.fromarray(picture)
    draw, size = ImageDraw.Draw(canvas), label_size(width, height)
    letters = font(size)
    taken: list[Any] = []
    for around, text, color in sorted(texts, key=lambda item: camera.to_camera(item[0])[:, 2].mean()):
        if (camera.to_camera(around)[:, 2] <= 0).all():
            continue
        pixels = camera.project(around[camera.to_camera(around)[:, 2] > 0]) / factor
        x, y = (pixels[:, 0].min() + pixels[:, 0].max()) / 2, pixels[:, 1].min()
        if (pixels.max(axis=0) < 0).any() or (pixels.min(axis=0) >= (width, height)).any():
            continue
        plate = _plate(x, y, draw.textlength(text, font=letters), size, width, height)
        if any(_overlap(plate, other) for other in taken):
            continue
        taken.append(plate)
        ink = (20, 22, 28) if color @ (0.3, 0.59, 0.11) > 140 else (255, 255, 255)
        draw.rounded_rectangle(plate, radius=size / 4, fill=tuple(color.tolist()))
        middle = ((plate[0] + plate[2]) / 2, (plate[1] + plate[3]) / 2)
        draw.text(middle, text, fill=ink, font=letters, anchor="mm")
    return np.asarray(canvas)


def _plate(x: float, y: float, length: float, size: int, width: int, height: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a plate above a pixel, moved into the picture."""
    across, down = length + 0.6 * size, 1.3 * size
    left = min(max(x - across / 2, 2), width - across - 2)
    top = min(max(y - down - 0.25 * size, 2), height - down - 2)
    return left, top, left + across, top + down


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
