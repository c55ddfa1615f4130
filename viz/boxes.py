"""A layer of oriented boxes from what `Scene.add_boxes` is given: edges, a mark on the roof, texts, optional faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geo3d.viz.colors import as_array, as_colors, by_label
from geo3d.viz.layers import Labels, Layer, Lines, Mesh, Part, check_between

BOX_COLOR = (0, 114, 178)
FACES = np.array([(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7)] + [
    face for k in range(4) for face in ((k, (k + 1) % 4, (k + 1) % 4 + 4), (k, (k + 1) % 4 + 4, k + 4))
])  # of the corners of `box_corners`, seen from outside counter-clockwise  # fmt: skip


def boxes_layer(
    boxes: Any,
    *,
    colors: Any,
    labels: Any,
    scores: Any,
    names: Sequence[str] | None,
    texts: Sequence[str] | None,
    width: float,
    fill: float,
    hidden: float,
    heading: bool,
) -> Layer:
    """See `Scene.add_boxes`."""
    from geo3d.geometry.boxes import EDGES, box_corners  # loads torch

    array = _checked(boxes)
    check_between(width, "width", 0, 64, " pixels")
    check_between(fill, "fill", 0, 1)
    check_between(hidden, "hidden", 0, 1)
    if colors is not None:
        rgb = as_colors(colors, len(array))
    elif labels is not None:
        rgb = by_label(labels)
        _check_rows(rgb, array, "labels")
    else:
        rgb = as_colors(BOX_COLOR, len(array))
    corners = box_corners(array)
    marks = _headings(corners) if heading else np.empty((0, 2, 3))
    segments = np.concatenate([corners[:, np.array(EDGES)].reshape(-1, 2, 3), marks])
    line_colors = np.concatenate([np.repeat(rgb, 12, axis=0), np.repeat(rgb, len(marks) // max(len(array), 1), axis=0)])
    parts: tuple[Part, ...] = (Lines(segments, line_colors, width, 1.0, hidden),)
    if fill and len(array):
        faces = (FACES + 8 * np.arange(len(array))[:, None, None]).reshape(-1, 3)
        parts += (Mesh(corners.reshape(-1, 3), faces, np.repeat(rgb, 8, axis=0), fill, flat=True),)
    lines = _texts(array, labels, scores, names, texts)
    if any(lines):
        kept = np.array([bool(line) for line in lines])
        parts += (Labels(corners[kept], tuple(line for line in lines if line), rgb[kept]),)
    return Layer("boxes", parts)


def _headings(corners: np.ndarray) -> np.ndarray:
    """[2K, 2, 3] arrowheads on the roofs, whose tips are the middles of the front edges, of corners [K, 8, 3]."""
    tips = (corners[:, 4] + corners[:, 7]) / 2
    sides = [0.6 * corners[:, front] + 0.4 * corners[:, rear] for front, rear in ((4, 5), (7, 6))]
    return np.stack([np.stack([side, tips], axis=1) for side in sides], axis=1).reshape(-1, 2, 3)


def _checked(boxes: Any) -> np.ndarray:
    """[K, 7] float64 of [K, 7 or more] finite numbers; K = 0 is a scene in which nothing was found."""
    array = as_array(boxes)
    if array.ndim != 2 or array.shape[1] < 7 or array.dtype.kind not in "fiu":
        raise ValueError(f"boxes must be [K, 7 or more]: x y z dx dy dz yaw, got {list(array.shape)} {array.dtype}")
    array = array[:, :7].astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"boxes must be finite, got {int((~np.isfinite(array).all(axis=1)).sum())} rows that are not")
    if (array[:, 3:6] < 0).any():
        raise ValueError(f"boxes must have dx, dy, dz >= 0, got {array[:, 3:6].min():g}")
    return array


def _texts(boxes: np.ndarray, labels: Any, scores: Any, names: Sequence[str] | None, texts: Sequence[str] | None) -> list[str]:
    """The line above each box: its text, or its class's name and its score."""
    if texts is not None:
        _check_rows(texts, boxes, "texts")
        return [str(text) for text in texts]
    lines = [""] * len(boxes)
    if labels is not None and names is not None:
        classes = as_array(labels)
        if len(classes) and (classes.min() < 0 or classes.max() >= len(names)):
            raise ValueError(f"labels must be in 0..{len(names) - 1}, rows of names, got {classes.min()} to {classes.max()}")
        lines = [str(names[label]) for label in classes]
    if scores is not None:
        values = as_array(scores).reshape(-1)
        _check_rows(values, boxes, "scores")
        lines = [f"{line} {value:.2f}".strip() for line, value in zip(lines, values, strict=True)]
    return lines


def _check_rows(values: Any, boxes: np.ndarray, name: str) -> None:
    if len(values) != len(boxes):
        raise ValueError(f"{name} must have {len(boxes)} rows as the boxes have, got {len(values)}")
