"""Generated objects in the folders of ShapeNet as 3D-R2N2 rendered it: 24 pictures and a voxel grid each, and the lists of splits.

ShapeNetRendering/<category id>/<name>/rendering/00.png ... 23.png, rendering_metadata.txt
ShapeNetVox32/<category id>/<name>/model.binvox
ShapeNet.json    a list of {taxonomy_id, taxonomy_name, train, val, test}, as the released list is
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from geo3d.data.files.binvox import write_binvox
from geo3d.data.images.r2n2 import RENDERINGS, VOXELS
from geo3d.data.images.r2n2_camera import METADATA, draw_views, write_views
from geo3d.data.shapes.part_labels import SYNSETS
from geo3d.data.synthetic.renders.pictures import paint
from geo3d.data.synthetic.shapes.generate import CATEGORIES, make_shape
from geo3d.data.synthetic.writing import new_folder, split_of, write_each

VIEWS = 24
SIDE = 32
SHAPES_VERSION = 2  # of the objects, see `make_shape`
VERSION = 2  # raised when the same seed gives other files; part of the name of the cached data
SPLITS = "ShapeNet.json"


def write_renders(
    out: str | Path,
    size: int,
    seed: int,
    *,
    views: int = VIEWS,
    side: int = SIDE,
    workers: int = 2,
    categories: Sequence[str] = CATEGORIES,
) -> None:
    """Write objects with their pictures and voxels. Of each category a fifth is for testing and a tenth for validation (see `split_of`).

    Object i depends on the seed and i alone.

    Args:
        out: folder to write; it must not exist, or be empty. An interrupted run leaves nothing in it.
        size: number of objects, spread evenly over the categories.
        seed: another seed gives other objects.
        views: pictures of each object.
        side: voxels along a side.
        workers: processes.
        categories: some of `geo3d.data.synthetic.shapes.generate.CATEGORIES`.

    Raises:
        FileExistsError: `out` holds something.
        ValueError: sizes below one, or an unknown category.
    """
    if min(size, views, side, workers) < 1:
        raise ValueError(
            f"write_renders: size, views, side and workers must be at least 1, got {size}, {views}, {side} and {workers}"
        )
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown or not categories:
        raise ValueError(
            f"write_renders: categories must be some of {', '.join(CATEGORIES)}, got {', '.join(unknown) or 'none'}"
        )
    with new_folder(out) as folder:
        write = partial(_write_object, out=folder, seed=seed, views=views, side=side, categories=tuple(categories))
        write_each(write, size, workers, title="renders", unit="object", fewest=8, chunk=2)
        (folder / SPLITS).write_text(json.dumps(_splits(size, categories), indent=1))


def _identity(number: int, categories: Sequence[str]) -> tuple[str, str]:
    """Category and name of an object."""
    category = categories[number % len(categories)]
    return category, f"{category}_{number // len(categories) + 1:05d}"


def _splits(size: int, categories: Sequence[str]) -> list[dict[str, object]]:
    entries: dict[str, dict[str, list[str]]] = {category: {"train": [], "val": [], "test": []} for category in categories}
    for number in range(size):
        category, name = _identity(number, categories)
        for split in split_of(number, size, len(categories)):
            entries[category][split].append(name)
    return [{"taxonomy_id": SYNSETS[c.capitalize()], "taxonomy_name": c, **lists} for c, lists in entries.items()]


def _write_object(number: int, out: Path, seed: int, views: int, side: int, categories: tuple[str, ...]) -> None:
    from PIL import Image

    category, name = _identity(number, categories)
    rng = np.random.default_rng([seed, number])
    painted = paint(make_shape(category, rng, SHAPES_VERSION), rng)
    folder = out / RENDERINGS / SYNSETS[category.capitalize()] / name / "rendering"
    folder.mkdir(parents=True)
    drawn = draw_views(views, rng)
    for place, view in enumerate(drawn):
        picture = painted.picture(view.camera())
        Image.fromarray(picture).save(folder / f"{place:02d}.png", compress_level=3)
    write_views(folder / METADATA, drawn)
    grid = painted.voxels(side)
    home = out / VOXELS / SYNSETS[category.capitalize()] / name
    home.mkdir(parents=True)
    write_binvox(home / "model.binvox", grid.voxels, translate=grid.origin, scale=grid.scale)
