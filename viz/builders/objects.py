"""A reconstructed object on one sheet: the pictures it is from, its voxels and its mesh from several sides.

object_sheet(views, voxels, vertices, faces, "chair.png")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.builders.reconstruction import RIGHT, SURFACE
from geo3d.viz.camera import View
from geo3d.viz.colors import as_array
from geo3d.viz.scene import Scene

SIDES = (View(35, 20, fov_deg=20), View(125, 20, fov_deg=20), View(215, 20, fov_deg=20), View(305, 45, fov_deg=20))
TILE = 340  # pixels
MAX_IMAGES = 24  # that are shown


def object_sheet(
    images: Sequence[Any],
    voxels: Any,
    vertices: Any,
    faces: Any,
    path: str | Path,
    *,
    title: str | None = None,
    tile: int = TILE,
) -> Path:
    """Writes the pictures of an object in a block, and beside them its voxels and its mesh from four sides.

    Args:
        images: [H, W, 3 or 4] uint8; the first 24 are shown.
        voxels: [S, S, S] bool, indexed z, y, x.
        vertices, faces: [V, 3] and [F, 3] of the mesh, in the cube of side 1 about the origin; without faces only the voxels are drawn.
        path: .png, .jpg or .webp.
        title: a line above.
        tile: width and height of a side's picture, at least 96 pixels.

    Raises:
        ValueError: as `Scene`; or not the name of a picture.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot draw here; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    grid = as_array(voxels)
    if grid.ndim != 3 or grid.dtype != bool:
        raise ValueError(f"voxels must be a grid [S, S, S] of bool, got {list(grid.shape)} {grid.dtype}")
    scenes = []
    if grid.any():
        scenes.append(Scene(up="y"))
        scenes[-1].add_voxels(grid, size=1 / len(grid), origin=(-0.5, -0.5, -0.5), colors=RIGHT)
    if len(faces):
        scenes.append(Scene(up="y"))
        scenes[-1].add_mesh(vertices, faces, colors=SURFACE)
    background = Scene().background
    rows = [np.concatenate([scene.render(size=(tile, tile), view=view) for view in SIDES], 1) for scene in scenes]
    height = max(1, len(rows)) * tile
    parts = [_block([_opaque(as_array(image)) for image in images[:MAX_IMAGES]], height, background)] if len(images) else []
    parts += [np.concatenate(rows, 0)] if rows else []
    if not parts:
        raise ValueError("object_sheet: expected pictures or full voxels, got neither")
    sheet = np.concatenate(parts, 1)
    if title:
        sheet = pictures.with_caption(sheet, title, background, pictures.text_size(sheet.shape[1], sheet.shape[0]))
    return pictures.write_picture(path, sheet)


def _block(images: Sequence[np.ndarray], height: int, background: tuple[int, int, int]) -> np.ndarray:
    """Pictures in a grid, about as high as wide."""
    from PIL import Image

    columns = math.ceil(math.sqrt(len(images)))
    cell = height // max(columns, math.ceil(len(images) / columns))
    inner = max(8, cell - 8)
    tiles = []
    for image in images:
        size = tuple(max(1, inner * length // max(image.shape[:2])) for length in (image.shape[1], image.shape[0]))
        tiles.append(pictures.centered(np.asarray(Image.fromarray(image).resize(size)), (cell, cell), background))
    block = pictures.tiled(tiles, columns, (columns * cell, math.ceil(len(images) / columns) * cell), background)
    return pictures.centered(block, (block.shape[1], height), background)


def _opaque(image: np.ndarray) -> np.ndarray:
    """R, G, B on white."""
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, 2)
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:] / 255.0
    return np.round(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
