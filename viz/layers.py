"""What a scene is made of: each layer is a few plain parts that every way out can draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from geo3d.viz.colors import as_array, as_colors, by_distance, by_height, by_label, by_value

FAR, FAR_SHARE = 3.0, 0.01  # times the distance within which all others lie; at most this share of the points can be far
FEW_POINTS = 10  # among so few each one counts


@dataclass(frozen=True, eq=False)
class Points:
    """positions [N, 3] float64, colors [N, 3] uint8, normals [N, 3] or None, size in pixels or None for a fitting one."""

    positions: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None
    size: float | None


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices [V, 3] float64, faces [F, 3] int64, colors [V, 3] uint8.

    `opacity` is in 0..1; `flat` keeps every edge sharp; `lit` is False for surfaces that show their colours unchanged.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    opacity: float = 1.0
    flat: bool = False
    lit: bool = True


@dataclass(frozen=True, eq=False)
class Lines:
    """segments [L, 2, 3] float64, colors [L, 3] uint8, width in pixels of the picture.

    `opacity` is in 0..1, and `hidden` is the share of it that remains where something is in front.
    """

    segments: np.ndarray
    colors: np.ndarray
    width: float
    opacity: float = 1.0
    hidden: float = 0.25


@dataclass(frozen=True, eq=False)
class Labels:
    """Lines of text on plates of colors [K, 3] uint8, above what they name: around [K, A, 3] float64."""

    around: np.ndarray
    texts: tuple[str, ...]
    colors: np.ndarray

    def anchors(self, up: np.ndarray) -> np.ndarray:
        """[K, 3] on the middle of the upper side of what they name; for up [3]."""
        middle = self.around.mean(axis=1)
        return middle + ((self.around @ up).max(axis=1) - middle @ up)[:, None] * up


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels [H, W, 3] uint8, shown beside the scene, with an optional line of text above.

    With `intrinsics` [3, 3] in pixels and `camera_from_world` [4, 4] the layers named in `overlay` are drawn into it, as
    far as `opacity` says.
    """

    pixels: np.ndarray
    caption: str | None = None
    intrinsics: np.ndarray | None = None
    camera_from_world: np.ndarray | None = None
    overlay: tuple[str, ...] = ()
    opacity: float = 1.0


Part: TypeAlias = Points | Mesh | Lines | Labels | Picture


@dataclass(frozen=True, eq=False)
class Layer:
    """Parts that are named, shown and hidden together; `kind` is the word after `add_` that made them."""

    kind: str
    parts: tuple[Part, ...]
    visible: bool = True

    def shown(self, visible: bool) -> Layer:
        """The same layer, visible or not."""
        return replace(self, visible=visible)


def parts_of(layers: Sequence[Layer], kind: type) -> list[Any]:
    """The parts of one kind among the visible layers."""
    return [part for layer in layers if layer.visible for part in layer.parts if isinstance(part, kind)]


def extent_points(part: Part) -> np.ndarray:
    """[N, 3] what a picture must show of a part: its points, or the vertices that its faces use."""
    if isinstance(part, Points):
        return without_far(part.positions)
    if isinstance(part, Mesh):
        return part.vertices[np.unique(part.faces)] if part.lit else np.empty((0, 3))  # a camera's lines go round its image
    if isinstance(part, Lines):
        return part.segments.reshape(-1, 3)
    if isinstance(part, Labels):
        return part.around.reshape(-1, 3)
    return np.empty((0, 3))


def without_far(positions: np.ndarray) -> np.ndarray:
    """The points [N, 3] that a picture must show: all, but for one or the last percent where they lie far from the others."""
    if len(positions) < FEW_POINTS:
        return positions
    distance = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    last = len(distance) - 1 - max(1, int(FAR_SHARE * len(distance)))
    return positions[distance <= FAR * np.partition(distance, last)[last]]


def rows_of_three(values: Any, name: str, *, empty: bool = False) -> np.ndarray:
    """[N, 3] float64, finite, N > 0 unless `empty` is allowed.

    Raises:
        ValueError: anything else.
    """
    array = as_array(values)
    if array.ndim != 2 or array.shape[1] != 3 or (len(array) == 0 and not empty) or array.dtype.kind not in "fiu":
        wanted = "[N, 3] numbers" + ("" if empty else " with N > 0")
        raise ValueError(f"{name} must be {wanted}, got {list(array.shape)} {array.dtype}")
    array = array.astype(np.float64)
    bad = int((~np.isfinite(array).all(axis=1)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} of {len(array)} rows that are not")
    return array


def check_length(values: np.ndarray, count: int, name: str, of: str = "points") -> None:
    """Raises ValueError where `values` has not one row for each of the `count` points."""
    if len(values) != count:
        raise ValueError(f"{name} must have {count} rows as the {of} have, got {len(values)}")


def check_between(value: float, name: str, low: float, high: float, unit: str = "") -> None:
    """Raises ValueError where a number is not in low..high, the lower end excluded if it is 0 and has a unit."""
    if not (low <= value <= high) or (unit and value == 0):
        raise ValueError(f"{name} must be in {low:g}..{high:g}{unit}, got {value}")


def element_colors(
    positions: np.ndarray,
    of: str,
    *,
    colors: Any,
    labels: Any,
    values: Any,
    limits: tuple[float, float] | None,
    colormap: str,
    up: str,
    plain: Any,
) -> np.ndarray:
    """[N, 3] uint8: one colour per element by whichever of colors, labels and values is given, else `plain`.

    Raises:
        ValueError: more than one of them, or one that does not fit the elements.
    """
    count = len(positions)
    if sum(option is not None for option in (colors, labels, values)) > 1:
        raise ValueError("expected at most one of colors, labels and values")
    if labels is not None:
        rgb = by_label(labels)
        check_length(rgb, count, "labels", of)
    elif values is not None:
        low, high = limits or (None, None)
        rgb = by_value(values, low=low, high=high, colormap=colormap)
        check_length(rgb, count, "values", of)
    else:
        colors = plain if colors is None else colors
        if isinstance(colors, str) and colors == "height":
            rgb = by_height(positions, up=up, colormap=colormap)
        elif isinstance(colors, str) and colors == "distance":
            rgb = by_distance(positions, colormap=colormap)
        else:
            rgb = as_colors(colors, count)
    return rgb
