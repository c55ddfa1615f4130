"""Sheets of scenes, and the picture of a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.colors import as_array
from geo3d.viz.scene import Scene


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
        path: .png, .jpg or .webp.
        columns: scenes in a row; about square when None.
        tile: width and height of a scene's picture in pixels, at least 96.
        view: as in `Scene.render`.

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


def curves(
    x: Sequence[float], lines: Mapping[str, Sequence[float]], path: str | Path, *, x_label: str = "", y_label: str = ""
) -> Path:
    """Writes lines over common places, each with its name and its values.

    Args:
        x: P places, rising.
        lines: P values by name.
        path: .png, .jpg, .webp, .pdf or .svg.
        x_label, y_label: beside the axes.

    Raises:
        ValueError: no line, or one of another length.
        FileNotFoundError: no such folder.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = pictures.check_picture_path(path, (*pictures.PICTURE_SUFFIXES, ".pdf", ".svg"))
    if not lines or any(len(values) != len(x) for values in lines.values()):
        lengths = ", ".join(str(len(values)) for values in lines.values()) or "none"
        raise ValueError(f"curves: expected lines of {len(x)} values, got {lengths}")
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, values in lines.items():
        axes.plot(x, values, marker="o", label=name)
        for place, value in zip(x, values, strict=True):
            axes.annotate(f"{value:.3f}", (place, value), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=7)
    axes.set_xticks(list(x), [f"{place:g}" for place in x])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(str(path), dpi=150)
    return path
