"""A scene of points and meshes: plain arrays, drawn to a picture or in a window.

scene = Scene(up="z", title="A street")
scene.add_points(points, values=intensity)
scene.add_mesh(vertices, faces, colors="steelblue")
scene.save("street.png", view="corner")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import AXES, View, as_view
from geo3d.viz.colors import as_array, as_colors, by_height, by_label, by_value

PLAIN = (142, 172, 214)  # of points with normals and of meshes that are given no colour


@dataclass(frozen=True, eq=False)
class Points:
    """positions [N, 3] float64, colors [N, 3] uint8, normals [N, 3] or None, size in pixels or None for a fitting one."""

    positions: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None
    size: float | None


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices [V, 3] float64, faces [F, 3] int64, colors [V, 3] uint8."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class Handle:
    """What `add_...` returns: the name of a part of a scene, and a way to take it out again."""

    name: str
    scene: Scene

    def remove(self) -> None:
        """Takes the part out of its scene; nothing happens if it is gone already."""
        self.scene.layers.pop(self.name, None)


class Scene:
    """Points and meshes to look at. It only keeps arrays; Open3D comes in when something is drawn.

    Args:
        up: the axis that points up: z (LiDAR, rooms), y (shapes, bodies), x, or -y (camera frames), -x, -z.
        title: a line above the picture.
        background: colour behind everything, 0..255.
    """

    def __init__(self, *, up: str = "z", title: str | None = None, background: tuple[int, int, int] = (250, 250, 252)) -> None:
        if up not in AXES:
            raise ValueError(f"up must be one of {', '.join(AXES)}, got {up!r}")
        self.up = up
        self.title = title
        self.background: tuple[int, int, int] = tuple(int(value) for value in as_colors(np.asarray(background), 1)[0])  # type: ignore[assignment]
        self.layers: dict[str, Points | Mesh] = {}
        self.legend: dict[str, tuple[int, int, int]] = {}

    def add_points(
        self,
        points: Any,
        *,
        colors: Any = None,
        labels: Any = None,
        values: Any = None,
        normals: Any = None,
        size: float | None = None,
        name: str | None = None,
    ) -> Handle:
        """Adds points.

        Args:
            points: [N, 3] array or tensor, N > 0, finite.
            colors: one colour for all ("steelblue", "#4682b4", three numbers), or [N, 3] uint8 or floats in 0..1.
            labels: [N] integers; each gets a colour of the palette.
            values: [N] numbers, shown on a colour scale. At most one of colors, labels, values; without any, points with
                normals are plain and others are coloured by height.
            normals: [N, 3]; the points are lit.
            size: width of a point in pixels of the picture; by default as large as the points are apart.
            name: for the handle and for later backends; the default is points_1, points_2, ...

        Raises:
            ValueError: shapes or dtypes that do not fit, numbers that are not finite, a name that is taken.
        """
        positions = _rows_of_three(points, "points")
        num_points = len(positions)
        if sum(option is not None for option in (colors, labels, values)) > 1:
            raise ValueError("add_points: expected at most one of colors, labels and values")
        if size is not None and not 0 < size <= 64:
            raise ValueError(f"size must be in 0..64 pixels, got {size}")
        if normals is not None:
            normals = _rows_of_three(normals, "normals")
            _check_length(normals, num_points, "normals")
        if labels is not None:
            rgb = by_label(labels)
        elif values is not None:
            rgb = by_value(values)
        elif colors is not None:
            rgb = as_colors(colors, num_points)
        else:
            rgb = by_height(positions, up=self.up) if normals is None else as_colors(np.array(PLAIN), num_points)
        _check_length(rgb, num_points, "labels" if labels is not None else "values")
        return self._add(Points(positions, rgb, normals, size), name, "points")

    def add_mesh(
        self, vertices: Any, faces: Any, *, colors: Any = None, labels: Any = None, values: Any = None, name: str | None = None
    ) -> Handle:
        """Adds a triangle mesh; it is lit on both sides, so the order of a face's corners does not matter.

        Args:
            vertices: [V, 3] array or tensor, finite.
            faces: [F, 3] integer rows of `vertices`, F > 0.
            colors: one colour, or one for each vertex, as in `add_points`.
            labels: [V] integers, as in `add_points`.
            values: [V] numbers, as in `add_points`.
            name: the default is mesh_1, mesh_2, ...

        Raises:
            ValueError: shapes or dtypes that do not fit, a face that names a missing vertex, a name that is taken.
        """
        corners = _rows_of_three(vertices, "vertices")
        triangles = as_array(faces)
        if triangles.ndim != 2 or triangles.shape[1] != 3 or len(triangles) == 0 or triangles.dtype.kind not in "iu":
            raise ValueError(f"faces must be [F, 3] integers with F > 0, got {list(triangles.shape)} {triangles.dtype}")
        if triangles.min() < 0 or triangles.max() >= len(corners):
            raise ValueError(f"faces must be rows of {len(corners)} vertices, got {triangles.min()} to {triangles.max()}")
        if sum(option is not None for option in (colors, labels, values)) > 1:
            raise ValueError("add_mesh: expected at most one of colors, labels and values")
        if labels is not None:
            rgb = by_label(labels)
        elif values is not None:
            rgb = by_value(values)
        else:
            rgb = as_colors(np.array(PLAIN) if colors is None else colors, len(corners))
        _check_length(rgb, len(corners), "labels" if labels is not None else "values")
        return self._add(Mesh(corners, triangles.astype(np.int64), rgb), name, "mesh")

    def add_legend(self, names: Sequence[str], colors: Any = None) -> None:
        """Lists names beside the picture.

        Args:
            names: what the colours mean.
            colors: [len(names), 3], as in `add_points`; the palette from its start when None.

        Raises:
            ValueError: no names, or colours that do not fit them.
        """
        if not names:
            raise ValueError("names must not be empty")
        rgb = by_label(np.arange(len(names))) if colors is None else as_colors(colors, len(names))
        self.legend |= {str(name): (int(r), int(g), int(b)) for name, (r, g, b) in zip(names, rgb, strict=True)}

    def render(self, *, size: tuple[int, int] = (1200, 900), view: str | View = "corner") -> np.ndarray:
        """The scene seen from one direction, with title and legend, the content as large as fits.

        Args:
            size: (width, height) in pixels.
            view: a name (corner, front, back, left, right, top, driver) or a View.

        Returns:
            [height, width, 3] uint8.

        Raises:
            ValueError: an empty scene, an unknown view, or a size outside 64..8192 or too small for title and legend.
            RuntimeError: Open3D cannot draw here; the message says what is missing.
        """
        return self._picture(size, [view])

    def save(
        self,
        path: str | Path,
        *,
        size: tuple[int, int] = (1200, 900),
        view: str | View = "corner",
        views: Sequence[str | View] | None = None,
    ) -> Path:
        """Writes a picture of the scene; no display is needed.

        Args:
            path: .png, .jpg or .webp; replaced if it is there.
            size: (width, height) of the whole picture in pixels.
            view: as in `render`.
            views: several directions on one sheet, instead of `view`.

        Raises:
            ValueError, RuntimeError: as `render`; ValueError also for an unknown kind of picture.
            FileNotFoundError: no such folder.
        """
        path = pictures.check_picture_path(path)
        return pictures.write_picture(path, self._picture(size, [view] if views is None else views))

    def show(self, *, size: tuple[int, int] = (1280, 800), view: str | View = "corner") -> None:
        """Opens a window to turn the scene by mouse; returns when it is closed.

        Raises:
            ValueError: an empty scene, or an unknown view.
            RuntimeError: no display, or Open3D cannot draw here.
        """
        from geo3d.viz.drawing import show_layers

        self._check_content()
        show_layers(list(self.layers.items()), self.up, as_view(view), size, self.background, self.title or "geo3d")

    def _picture(self, size: tuple[int, int], views: Sequence[str | View]) -> np.ndarray:
        """All views with title and legend, of exactly this size."""
        from geo3d.viz.drawing import draw_layers

        self._check_content()
        width, height = size
        if not (64 <= width <= 8192 and 64 <= height <= 8192):
            raise ValueError(f"size must be (width, height) in 64..8192 pixels, got {size}")
        directions = [as_view(view) for view in views]
        if not directions:
            raise ValueError("views must not be empty")
        text = pictures.text_size(width, height)
        free_height = height - (pictures.caption_height(text) if self.title else 0)
        free_width = width - (pictures.legend_size(list(self.legend), free_height, text)[0] if self.legend else 0)
        columns, rows = pictures.grid(len(directions), free_width, free_height)
        tile = (free_width // columns, free_height // rows)
        if min(tile) < 64:
            raise ValueError(
                f"size {size} leaves {tile[0]} x {tile[1]} pixels a view beside title and legend, at least 64 are needed"
            )
        layers = list(self.layers.values())
        tiles = [draw_layers(layers, self.up, direction, tile, self.background) for direction in directions]
        picture = pictures.tiled(tiles, columns, (free_width, free_height), self.background)
        if self.legend:
            picture = pictures.with_legend(picture, self.legend, self.background, text)
        if self.title:
            picture = pictures.with_caption(picture, self.title, self.background, text)
        return picture

    def _check_content(self) -> None:
        if not self.layers:
            raise ValueError("the scene is empty; add points or a mesh first")

    def _add(self, layer: Points | Mesh, name: str | None, kind: str) -> Handle:
        if name is None:
            name = next(free for number in count(1) if (free := f"{kind}_{number}") not in self.layers)
        elif name in self.layers:
            raise ValueError(f"name must be new in the scene, got {name!r} again")
        self.layers[name] = layer
        return Handle(name, self)


def _rows_of_three(values: Any, name: str) -> np.ndarray:
    """[N, 3] float64, N > 0, finite."""
    array = as_array(values)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be [N, 3] numbers with N > 0, got {list(array.shape)} {array.dtype}")
    array = array.astype(np.float64)
    bad = int((~np.isfinite(array).all(axis=1)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} of {len(array)} rows that are not")
    return array


def _check_length(values: np.ndarray, count: int, name: str) -> None:
    if len(values) != count:
        raise ValueError(f"{name} must have {count} rows as the points have, got {len(values)}")
