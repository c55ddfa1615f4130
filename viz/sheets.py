"""Ready-made pictures of results: classified shapes, parts with a legend, a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.colors import PALETTE, as_array
from geo3d.viz.scene import Scene


def classification_sheet(
    points_list: Sequence[Any],
    titles: Sequence[str],
    path: str | Path,
    *,
    columns: int | None = None,
    tile: int = 320,
    up: str = "y",
    view: str | View = "corner",
) -> Path:
    """Writes a sheet of point clouds, each with a line of text above it, such as "chair 0.98".

    Args:
        points_list: clouds [N, 3], or [N, 6] with normals.
        titles: a line for each cloud.
        path: .png, .jpg or .webp.
        columns: clouds in a row; about square when None.
        tile: width and height of a cloud's picture in pixels, at least 96.
        up: the axis that points up.
        view: as in `Scene.render`.

    Raises:
        ValueError: no clouds, another number of titles, or a cloud of another shape.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot be imported; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    if len(points_list) != len(titles):
        raise ValueError(f"expected clouds and as many titles, got {len(points_list)} and {len(titles)}")
    scenes = []
    for points, title in zip(points_list, titles, strict=True):
        array = as_array(points)
        if array.ndim != 2 or array.shape[1] not in (3, 6):
            raise ValueError(f"points_list must hold [N, 3] or [N, 6] arrays, got {list(array.shape)}")
        scene = Scene(up=up, title=title)
        scene.add_points(array[:, :3], normals=array[:, 3:] if array.shape[1] == 6 else None)
        scenes.append(scene)
    return scene_sheet(scenes, path, columns=columns, tile=tile, view=view)


def scene_sheet(
    scenes: Sequence[Scene],
    path: str | Path,
    *,
    columns: int | None = None,
    tile: int = 320,
    view: str | View = "corner",
) -> Path:
    """Writes a sheet of scenes.

    Args:
        scenes: at least one; the first gives the background.
        path, columns, tile, view: as in `classification_sheet`.

    Raises:
        ValueError: no scenes, or a size that does not fit.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot be imported; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    if not scenes:
        raise ValueError("expected at least one cloud or scene to draw, got none")
    if not 96 <= tile <= 2048:
        raise ValueError(f"tile must be in 96..2048 pixels, got {tile}")
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    tiles = [scene.render(size=(tile, tile), view=view) for scene in scenes]
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    size = (columns * tile, math.ceil(len(tiles) / columns) * tile)
    return pictures.write_picture(path, pictures.tiled(tiles, columns, size, scenes[0].background))


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


def confusion_matrix(matrix: Any, class_names: Sequence[str], path: str | Path, *, title: str | None = None) -> Path:
    """Writes a confusion matrix; each row is shaded by its share, and up to 25 classes show their counts.

    Args:
        matrix: [C, C] counts; rows are the true classes, columns the predicted ones.
        class_names: C names.
        path: .png, .jpg, .webp, .pdf or .svg.
        title: a line above the matrix.

    Raises:
        ValueError: not square, negative or not finite, or another number of names.
        FileNotFoundError: no such folder.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = pictures.check_picture_path(path, (*pictures.PICTURE_SUFFIXES, ".pdf", ".svg"))
    counts = as_array(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.shape[0] != len(class_names) or not len(counts):
        raise ValueError(f"matrix must be [C, C] for C = {len(class_names)} class_names, got {list(counts.shape)}")
    if counts.dtype.kind not in "fiu" or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("matrix must hold counts: finite and not negative")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.42 * len(counts) + 2.5, 4.5, 22))  # inches
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(
        range(len(counts)), class_names, rotation=90 if len(counts) > 6 else 30, ha="center" if len(counts) > 6 else "right"
    )
    axes.set_yticks(range(len(counts)), class_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if title:
        axes.set_title(title)
    if len(counts) <= 25:
        for row, column in np.argwhere(counts > 0):
            ink = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", color=ink, fontsize=8)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, label="share of the true class")
    figure.savefig(path, dpi=110, bbox_inches="tight", pad_inches=0.15)  # long names push the axis label out of the layout
    return path
