"""A whole picture: views of the scene and its images, with title, legend and colour scale around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View, as_view
from geo3d.viz.content import SceneContent
from geo3d.viz.drawing import draw_into_image, draw_view, visible_content
from geo3d.viz.layers import Picture, parts_of

MIN_VIEW = 64  # pixels of a view along each side


def compose(
    scene: SceneContent, size: tuple[int, int], views: Sequence[str | View], content: np.ndarray | None = None
) -> np.ndarray:
    """All views of a scene with everything around them, [height, width, 3] uint8.

    Args:
        scene: what to draw.
        size: (width, height) in pixels.
        views: at least one.
        content: [N, 3] points that must be in each view, instead of the scene's.

    Raises:
        ValueError, RuntimeError: see `Scene.render`.
    """
    scene.check_content()
    width, height = size
    if not (64 <= width <= 8192 and 64 <= height <= 8192):
        raise ValueError(f"size must be (width, height) in 64..8192 pixels, got {size}")
    directions = [as_view(view) for view in views]
    if not directions:
        raise ValueError("views must not be empty")
    text = pictures.text_size(width, height)
    free_height = height - (pictures.caption_height(text) if scene.title else 0)
    free_width = width - pictures.margin_width(scene.legend, scene.scale, free_height, text)
    picture = _images_and_views(scene, (free_width, free_height), directions, size, content)
    if scene.legend or scene.scale:
        picture = pictures.with_margin(picture, scene.legend, scene.scale, scene.background, text)
    if scene.title:
        picture = pictures.with_caption(picture, scene.title, scene.background, text)
    return picture


def image_with_overlay(scene: SceneContent, image: Picture, size: tuple[int, int]) -> np.ndarray:
    """An image of the scene at (width, height) pixels, with its overlay.

    Raises:
        ValueError: the overlay names a layer that is not there.
    """
    missing = [name for name in image.overlay if name not in scene.layers]
    if missing:
        raise ValueError(f"overlay names {missing[0]!r}, which is not in the scene; there are {', '.join(scene.layers)}")
    return draw_into_image(image, [scene.layers[name] for name in image.overlay], scene.up, size)


def _images_and_views(
    scene: SceneContent, area: tuple[int, int], views: Sequence[View], size: tuple[int, int], content: np.ndarray | None
) -> np.ndarray:
    """[area[1], area[0], 3]: images above or at the left, views in the rest."""
    layers = list(scene.layers.values())
    images = parts_of(layers, Picture)
    if not images:
        return _views(scene, area, views, size, content)
    if content is None and not len(visible_content(layers)):
        return _images(scene, images, area, pictures.best_grid(images, area)[0])
    above, left = (area[0], round(0.42 * area[1])), (round(0.45 * area[0]), area[1])
    (above_columns, above_used), (left_columns, left_used) = (pictures.best_grid(images, part) for part in (above, left))
    if above_used >= left_used:
        strip = _images(scene, images, above, above_columns)
        return np.concatenate([strip, _views(scene, (area[0], area[1] - above[1]), views, size, content)])
    strip = _images(scene, images, left, left_columns)
    return np.concatenate([strip, _views(scene, (area[0] - left[0], area[1]), views, size, content)], axis=1)


def _views(
    scene: SceneContent, area: tuple[int, int], views: Sequence[View], size: tuple[int, int], content: np.ndarray | None
) -> np.ndarray:
    columns, rows = pictures.grid(len(views), *area)
    tile = (area[0] // columns, area[1] // rows)
    if min(tile) < MIN_VIEW:
        raise ValueError(
            f"size {size} leaves {tile[0]} x {tile[1]} pixels a view beside title, legend and images, at least 64 are needed"
        )
    layers = list(scene.layers.values())
    tiles = [draw_view(layers, scene.up, view, tile, scene.background, content) for view in views]
    return pictures.tiled(tiles, columns, area, scene.background)


def _images(scene: SceneContent, images: Sequence[Picture], area: tuple[int, int], columns: int) -> np.ndarray:
    """Images in a grid, each as large as its cell allows, with its caption above."""
    rows = -(-len(images) // columns)
    cell = (area[0] // columns, area[1] // rows)
    tiles = []
    for image in images:
        width, height = pictures.fitted(image, cell)
        tile = image_with_overlay(scene, image, (width, height))
        if image.caption:
            tile = pictures.with_caption(tile, image.caption, scene.background, pictures.text_size(*cell))
        tiles.append(pictures.centered(tile, cell, scene.background))
    return pictures.tiled(tiles, columns, area, scene.background)
