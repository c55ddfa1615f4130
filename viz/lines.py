"""Layers of lines and of skeletons from what `Scene.add_lines` and `Scene.add_skeleton` are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geo3d.viz.colors import as_array, as_colors
from geo3d.viz.layers import Labels, Layer, Lines, Part, Points, check_between, rows_of_three

LINE_COLOR = (52, 58, 70)
BONE_COLOR = (213, 94, 0)


def lines_layer(lines: Any, *, colors: Any, width: float, hidden: float, closed: bool) -> Layer:
    """See `Scene.add_lines`."""
    array = as_array(lines)
    if array.ndim == 3 and array.shape[1:] == (2, 3):
        segments = rows_of_three(array.reshape(-1, 3), "lines", empty=True).reshape(-1, 2, 3)
    elif array.ndim == 2 and array.shape[1] == 3 and len(array) >= 2:
        corners = rows_of_three(array, "lines")
        corners = np.concatenate([corners, corners[:1]]) if closed else corners
        segments = np.stack([corners[:-1], corners[1:]], axis=1)
    else:
        raise ValueError(f"lines must be segments [L, 2, 3] or a polyline [N, 3] with N > 1, got {list(array.shape)}")
    _check_looks(width, hidden)
    return Layer(
        "lines", (Lines(segments, as_colors(LINE_COLOR if colors is None else colors, len(segments)), width, 1.0, hidden),)
    )


def skeleton_layer(
    joints: Any,
    bones: Any,
    *,
    colors: Any,
    width: float,
    joint_size: float,
    hidden: float,
    texts: Sequence[str] | None,
) -> Layer:
    """See `Scene.add_skeleton`."""
    array = as_array(joints)
    absent = np.isnan(array).any(1) if array.ndim == 2 and array.dtype.kind == "f" else np.zeros(array.shape[:1], bool)
    positions = rows_of_three(np.where(absent[:, None], 0, array) if absent.any() else array, "joints")
    known = ~absent
    pairs = as_array(bones).reshape(-1, 2) if len(bones) == 0 else as_array(bones)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (len(pairs) and pairs.dtype.kind not in "iu"):
        raise ValueError(f"bones must be [B, 2] integer rows of joints, got {list(pairs.shape)} {pairs.dtype}")
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(positions)):
        raise ValueError(f"bones must be rows of {len(positions)} joints, got {pairs.min()} to {pairs.max()}")
    if texts is not None and len(texts) != len(positions):
        raise ValueError(f"texts must have {len(positions)} lines as there are joints, got {len(texts)}")
    _check_looks(width, hidden)
    check_between(joint_size, "joint_size", 0, 64, " pixels")
    rgb = as_colors(BONE_COLOR if colors is None else colors, len(positions))
    pairs = pairs.astype(np.int64)
    pairs = pairs[known[pairs].all(1)]
    if not known.any():
        return Layer("skeleton", ())
    parts: tuple[Part, ...] = (
        Lines(positions[pairs], rgb[pairs[:, 1]], width, 1.0, hidden),
        Points(positions[known], (rgb[known] * 0.8).astype(np.uint8), None, joint_size),
    )
    if texts is not None:
        named = tuple(str(text) for text, keep in zip(texts, known, strict=True) if keep)
        parts += (Labels(positions[known][:, None], named, rgb[known]),)
    return Layer("skeleton", parts)


def _check_looks(width: float, hidden: float) -> None:
    check_between(width, "width", 0, 64, " pixels")
    check_between(hidden, "hidden", 0, 1)
