"""A layer of oriented boxes from what `Scene.add_boxes` is given: edges, a mark on the roof, texts, optional faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geo3d.viz.colors import as_array, as_colors, by_label
from geo3d.viz.layers import Labels, Layer, Lines, Mesh, Part, check_between

BOX_COLOR = (0, 114, 178)
# Corners in units of half the box: the bottom counter-clockwise from rear right seen from above, then the top likewise.
UNIT_CORNERS = np.array([(x, y, z) for z in (-1, 1) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], dtype=np.float64)
EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
FACES = np.array(
    [(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7), (0, 1, 5), (0, 5, 4), (1, 2, 6), (1, 6, 5), (2, 3, 7), (2, 7, 6), (3, 0, 4), (3, 4, 7)]
)  # fmt: skip
# The mark of the heading: an arrowhead on the roof whose tip is the middle of the front edge.
HEADING = np.array([[(0.2, -1, 1), (1, 0, 1)], [(0.2, 1, 1), (1, 0, 1)]], dtype=np.float64)


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
    marks = placed(array, HEADING.reshape(-1, 3)).reshape(-1, 2, 3) if heading else np.empty((0, 2, 3))
    corners = placed(array, UNIT_CORNERS)
    segments = np.concatenate([corners[:, EDGES].reshape(-1, 2, 3), marks])
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


def placed(boxes: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Points [P, 3] in units of half the box, x forward, in each box [K, 7] -> [K, P, 3]."""
    scaled = local[None] * boxes[:, None, 3:6] / 2
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    turned = np.stack(
        [cos * scaled[..., 0] - sin * scaled[..., 1], sin * scaled[..., 0] + cos * scaled[..., 1], scaled[..., 2]], -1
    )
    return turned + boxes[:, None, :3]


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
