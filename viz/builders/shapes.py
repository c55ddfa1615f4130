"""Shapes: a sheet of classified clouds, and clouds coloured by part with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.colors import PALETTE, as_array
from geo3d.viz.scene import Scene
from geo3d.viz.sheets import scene_sheet


def classification_sheet(
    points_list: Sequence[Any],
    titles: Sequence[str],
    path: str | Path,
    *,
    columns: int | None = None,
    tile: int = 320,
    up: str | Sequence[str] = "y",
    view: str | View = "corner",
) -> Path:
    """Writes a sheet of point clouds, each with a line of text above it, such as "chair 0.98".

    Args:
        points_list: clouds [N, 3], or [N, 6] with normals.
        titles: a line for each cloud.
        path: .png, .jpg or .webp.
        columns: clouds in a row; about square when None.
        tile: width and height of a cloud's picture in pixels, at least 96.
        up: the axis that points up, for all clouds or for each.
        view: as in `Scene.render`.

    Raises:
        ValueError: no clouds, another number of titles, or a cloud of another shape.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot be imported; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    if len(points_list) != len(titles):
        raise ValueError(f"expected clouds and as many titles, got {len(points_list)} and {len(titles)}")
    scenes, ups = [], [up] * len(titles) if isinstance(up, str) else list(up)
    for points, title, axis in zip(points_list, titles, ups, strict=True):
        array = as_array(points)
        if array.ndim != 2 or array.shape[1] not in (3, 6):
            raise ValueError(f"points_list must hold [N, 3] or [N, 6] arrays, got {list(array.shape)}")
        scene = Scene(up=axis, title=title)
        scene.add_points(array[:, :3], normals=array[:, 3:] if array.shape[1] == 6 else None)
        scenes.append(scene)
    return scene_sheet(scenes, path, columns=columns, tile=tile, view=view)


def parts_scene(
    points: Any, labels: Any, names: Sequence[str], *, normals: Any = None, title: str | None = None, up: str = "y"
) -> Scene:
    """A cloud coloured by part, with a legend of the parts that occur in it; arguments and errors as in `parts_picture`."""
    array, label_array = as_array(points), as_array(labels)
    if array.ndim == 2 and array.shape[1] == 6 and normals is None:
        array, normals = array[:, :3], array[:, 3:]
    scene = Scene(up=up, title=title)
    scene.add_points(array, labels=label_array, normals=normals)
    used = np.unique(label_array[label_array >= 0])
    if len(used) and used[-1] >= len(names):
        raise ValueError(f"labels must be below {len(names)}, the number of names, got {used[-1]}")
    if len(used):
        scene.add_legend([names[label] for label in used], PALETTE[used % len(PALETTE)])
    return scene


def parts_picture(
    points: Any,
    labels: Any,
    names: Sequence[str],
    path: str | Path,
    *,
    normals: Any = None,
    title: str | None = None,
    size: tuple[int, int] = (1000, 750),
    up: str = "y",
    view: str | View = "corner",
) -> Path:
    """Writes a cloud coloured by part, with a legend of the parts that occur in it.

    Args:
        points: [N, 3], or [N, 6] with normals.
        labels: [N] integers, rows of `names`; negative ones are drawn grey.
        names: name of each part.
        path: .png, .jpg or .webp.
        normals: [N, 3], instead of columns of `points`.
        title: a line above the picture.
        size: (width, height) of the picture in pixels.
        up: the axis that points up.
        view: as in `Scene.render`.

    Raises:
        ValueError: shapes that do not fit, or a label that has no name.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot be imported; the message says what is missing.
    """
    return parts_scene(points, labels, names, normals=normals, title=title, up=up).save(path, size=size, view=view)
