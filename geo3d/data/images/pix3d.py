"""Pix3D (Sun et al., CVPR 2018): photographs of furniture with models aligned to them.

root/
  pix3d.json    [{"img", "category", "img_size": [w, h], "bbox": [x0, y0, x1, y1], "model", "truncated", "occluded", ...}, ...]
  img/chair/0001.png ...
  model/chair/IKEA_BERNHARD/model.obj ...

The protocol of Pix2Vox and LRGT tests on the chairs that are seen whole, cut out by their boxes, one view each, against 32 voxels a
side. Pix3D has no such grids, so its meshes are voxelised when they are first needed, and kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.cache import cached_arrays
from geo3d.data.images.preprocessing import Box
from geo3d.data.images.reconstruction import ReconstructionDataset, ViewSettings
from geo3d.geometry.voxelization import voxelize_mesh

HIDDEN = ("truncated", "occluded", "slightly_occluded")
KEYS = ("img", "category", "img_size", "bbox", "model")


class Pix3DDataset(ReconstructionDataset):
    """Photographs with the voxels of their models.

    Args:
        root: the folder drawn in this module's docstring.
        categories: those to take.
        whole_only: leave out objects that are cut off or hidden in part.
        side: voxels along a side.
        quarter_turns: about y, of the models, from their frame to that of the network's training data.
        settings, training, seed: of `ReconstructionDataset`.

    Raises:
        FileNotFoundError: no pix3d.json.
        ValueError: another format, or no photograph of the categories.
    """

    def __init__(
        self,
        root: str | Path,
        categories: Sequence[str] = ("chair",),
        settings: ViewSettings | None = None,
        *,
        whole_only: bool = True,
        side: int = 32,
        quarter_turns: int = 0,
        training: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(categories, 1, settings, training=training, seed=seed)
        self.root, self.side, self.quarter_turns = Path(root), side, quarter_turns
        entries = _read_entries(self.root / "pix3d.json")
        self.entries = [
            entry
            for entry in entries
            if entry["category"] in self.class_names and not (whole_only and any(entry.get(key, False) for key in HIDDEN))
        ]
        if not self.entries:
            found = ", ".join(sorted({entry["category"] for entry in entries})) or "none"
            raise ValueError(f"{root}: no photograph of {', '.join(self.class_names)}; pix3d.json has {found}")

    def __len__(self) -> int:
        return len(self.entries)

    def category(self, index: int) -> int:
        return self.class_names.index(self.entries[index]["category"])

    def pictures(self, index: int) -> Sequence[Path]:
        return [self.root / self.entries[index]["img"]]

    def boxes(self, index: int) -> Sequence[Box]:
        width, height = self.entries[index]["img_size"]
        x0, y0, x1, y1 = self.entries[index]["bbox"]
        return [(x0 / width, y0 / height, x1 / width, y1 / height)]

    def voxels(self, index: int) -> np.ndarray:
        path = self.root / self.entries[index]["model"]
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; pix3d.json names it for {self.entries[index]['img']}")

        def make() -> dict[str, np.ndarray]:
            from geo3d.data.files.geometry import read_geometry

            mesh = read_geometry(path)
            if mesh.faces is None:
                raise ValueError(f"{path}: expected a mesh, got points without faces")
            return {"voxels": voxelize_mesh(mesh.points, mesh.faces, self.side).voxels}

        grid = cached_arrays(path.parent, f"{path.stem}_voxels{self.side}", [path], "voxelize_mesh 1", make)["voxels"]
        return np.ascontiguousarray(np.rot90(grid, self.quarter_turns, axes=(0, 2)))


def _read_entries(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; it comes with Pix3D's archive")
    try:
        entries = json.loads(path.read_text())
        missing = [key for entry in entries for key in KEYS if key not in entry]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected a list of photographs, got {error}") from None
    if missing:
        raise ValueError(f"{path}: expected photographs with {', '.join(KEYS)}, got one without {missing[0]}")
    return entries
