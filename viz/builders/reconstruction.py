"""Reconstruction from images: the input views, predicted and true voxels, and a surface through the predicted ones.

reconstruction_sheet(images, probabilities, true_voxels, "chair.png")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.geometry.voxel_meshes import isosurface
from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.colors import as_array
from geo3d.viz.raycast import explain_import_error
from geo3d.viz.scene import Scene

RIGHT, EXTRA, TRUE, SURFACE = (142, 172, 214), (213, 94, 0), (120, 160, 120), (230, 190, 140)
GAP = 0.25  # between neighbours, as a share of the grid's width
VIEW = View(25, 20, fov_deg=20)


def reconstruction_scene(
    images: Sequence[Any] = (),
    pred: Any = None,
    gt: Any = None,
    *,
    threshold: float = 0.5,
    order: str = "zyx",
    surface: bool = True,
    title: str | None = None,
) -> Scene:
    """Side by side, y up: the predicted voxels, where there is truth with the wrong ones in another colour; the true ones; a surface.

    Args:
        images: the input views, [H, W, 3 or 4] each.
        pred: [D, H, W] probabilities or bool.
        gt: [D, H, W] bool or numbers.
        threshold: a voxel is full where a grid of numbers is larger.
        order: the axes of the grids, "zyx" or "xyz".
        surface: whether to add the surface on which the prediction (or, without one, the truth) equals the threshold.
        title: a line above the picture; the intersection over union when None, where both grids are given.

    Raises:
        ValueError: no grid, grids of different shapes, or an unknown order.
    """
    grids = {name: _zyx(grid, order, name) for name, grid in (("pred", pred), ("gt", gt)) if grid is not None}
    if not grids:
        raise ValueError("reconstruction_scene: expected predicted or true voxels, got none")
    if len({grid.shape for grid in grids.values()}) > 1:
        shapes = " and ".join(str(list(grid.shape)) for grid in grids.values())
        raise ValueError(f"reconstruction_scene: pred and gt must have one shape, got {shapes}")
    full = {name: grid if grid.dtype == bool else grid > threshold for name, grid in grids.items()}
    scene = Scene(up="y", title=_iou_line(full) if title is None else title)
    side, places = max(next(iter(grids.values())).shape), _Places()
    if "pred" in full:
        _add_predicted(scene, full, side, places)
    if "gt" in full:
        scene.add_voxels(full["gt"], size=1 / side, origin=places.next(), colors=TRUE, name="true")
        scene.add_legend(["true"], [TRUE])
    if surface:
        _add_surface(scene, next(iter(grids.values())), threshold, side, places)
    for number, image in enumerate(images, start=1):
        scene.add_image(image, caption=None, name=f"view {number}")
    return scene


def reconstruction_sheet(
    images: Sequence[Any],
    pred: Any,
    gt: Any,
    path: str | Path,
    *,
    size: tuple[int, int] = (1400, 700),
    view: str | View = VIEW,
    **looks: Any,
) -> Path:
    """Writes the input views, and voxels and surface side by side, as one picture.

    Args:
        images, pred, gt: as in `reconstruction_scene`.
        path: .png, .jpg or .webp.
        size: (width, height) of the picture in pixels.
        view: as in `Scene.render`.
        looks: the keyword arguments of `reconstruction_scene`.

    Raises:
        ValueError: as `reconstruction_scene`; or not the name of a picture.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot draw here; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    return reconstruction_scene(images, pred, gt, **looks).save(path, size=size, view=view)


def voxel_surface(voxels: Any, threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """The surface on which voxels equal a threshold, by marching cubes; it is closed, as the outside counts as empty.

    Args:
        voxels: [D, H, W] numbers or bool, indexed z, y, x.
        threshold: the value on the surface.

    Returns:
        vertices [V, 3] x y z, where a voxel has side 1 and the grid begins at 0; faces [F, 3] int64, counter-clockwise
        seen from outside. V = F = 0 where the surface is empty.

    Raises:
        ValueError: another shape.
        RuntimeError: Open3D cannot be imported; the message says what is missing.
    """
    grid = as_array(voxels)
    if grid.ndim != 3 or grid.dtype.kind not in "bfiu":
        raise ValueError(f"voxels must be a grid [D, H, W], got {list(grid.shape)} {grid.dtype}")
    empty = float(grid.min()) if grid.size and grid.min() < threshold else threshold - 1.0
    try:
        vertices, faces = isosurface(np.pad(grid.astype(np.float32), 1, constant_values=empty), threshold)
    except (ImportError, OSError) as error:  # OSError: a shared library that cannot be opened
        raise RuntimeError(explain_import_error(error)) from None
    return vertices - 0.5, faces


class _Places:
    """Where things stand side by side: in a row that `VIEW` sees straight on."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> np.ndarray:
        """[3], the lowest corner of the next grid of width 1."""
        turn = math.radians(VIEW.azimuth_deg)
        place = self._count * (1 + GAP) * np.array([math.cos(turn), 0.0, -math.sin(turn)])
        self._count += 1
        return place


def _zyx(grid: Any, order: str, name: str) -> np.ndarray:
    array = as_array(grid)
    if order not in ("zyx", "xyz"):
        raise ValueError(f"order must be 'zyx' or 'xyz', got {order!r}")
    if array.ndim != 3 or array.dtype.kind not in "bfiu" or 0 in array.shape:
        raise ValueError(f"{name} must be a grid [D, H, W] of numbers or bool, got {list(array.shape)} {array.dtype}")
    return array if order == "zyx" else array.transpose(2, 1, 0)


def _iou_line(full: dict[str, np.ndarray]) -> str | None:
    if len(full) < 2:
        return None
    union = (full["pred"] | full["gt"]).sum()
    return f"IoU {(full['pred'] & full['gt']).sum() / max(union, 1):.3f}"


def _add_predicted(scene: Scene, full: dict[str, np.ndarray], side: int, places: _Places) -> None:
    """The predicted voxels; those that are not true in another colour."""
    origin, pred = places.next(), full["pred"]
    if "gt" not in full:
        scene.add_voxels(pred, size=1 / side, origin=origin, colors=RIGHT, name="predicted")
        scene.add_legend(["predicted"], [RIGHT])
        return
    wrong = ~full["gt"][pred]
    colors = np.where(wrong[:, None], np.array(EXTRA, np.uint8), np.array(RIGHT, np.uint8))
    scene.add_voxels(pred, size=1 / side, origin=origin, colors=colors, name="predicted")
    scene.add_legend(["predicted and true", "predicted alone"], [RIGHT, EXTRA])


def _add_surface(scene: Scene, grid: np.ndarray, threshold: float, side: int, places: _Places) -> None:
    vertices, faces = voxel_surface(grid, threshold)
    if len(faces):
        scene.add_mesh(places.next() + vertices / side, faces, colors=SURFACE, name="surface")
        scene.add_legend(["surface"], [SURFACE])
