"""Draws the pictures of the README and the documentation: `python docs/make_pictures.py`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from geo3d.data.shapes.part_labels import part_range
from geo3d.data.synthetic.shapes.generate import CATEGORIES, make_shape, sample_shape
from geo3d.tools import demo
from geo3d.viz.scene import Scene
from geo3d.viz.sheets import scene_sheet

PICTURES = Path(__file__).parent / "pictures"


def shapes() -> None:
    """Two generated objects of each category, coloured by part."""
    scenes = []
    for number, category in enumerate(CATEGORIES):
        for one in range(2):
            rng = np.random.default_rng([9, number, one])
            points, labels = sample_shape(make_shape(category, rng), 4000, rng)
            scene = Scene(up="y", title=category)
            scene.add_points(points[:, :3], normals=points[:, 3:], labels=labels - part_range(category.capitalize()).start)
            scenes.append(scene)
    scene_sheet(scenes, PICTURES / "shapes.png", columns=9, tile=160)


def results() -> None:
    """What `geo3d demo` draws."""
    with tempfile.TemporaryDirectory() as folder:
        demo.main(["--out", folder, "--overwrite"])
        for name in ("classes.png", "parts.png", "hands_found.png"):
            shutil.copy(Path(folder) / name, PICTURES / name.replace("_found", ""))


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    shapes()
    results()
