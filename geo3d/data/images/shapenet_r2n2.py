"""ShapeNet as 3D-R2N2 (ECCV 2016) rendered and voxelised it, as samples for reconstruction.

root/
  ShapeNetRendering/<category id>/<model>/rendering/00.png ... 23.png
  ShapeNetVox32/<category id>/<model>/model.binvox
  ShapeNet.json    [{"taxonomy_id", "taxonomy_name", "train": [model, ...], "val": [...], "test": [...]}, ...]
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from geo3d.data.files.binvox import read_binvox
from geo3d.data.images.r2n2 import RENDERINGS, VOXELS
from geo3d.data.images.reconstruction import ReconstructionDataset, ViewSettings

Split = Literal["train", "val", "test"]
SPLITS_FILE = "ShapeNet.json"
NAMES = {
    "02691156": "aeroplane",
    "02828884": "bench",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03211117": "display",
    "03636649": "lamp",
    "03691459": "speaker",
    "04090263": "rifle",
    "04256520": "sofa",
    "04379243": "table",
    "04401088": "telephone",
    "04530566": "watercraft",
}


class Category(NamedTuple):
    """A category of a list of splits: ShapeNet's id, a name, and the models of each split."""

    id: str
    name: str
    models: dict[str, list[str]]


def read_splits(path: str | Path) -> list[Category]:
    """Categories of a list of splits.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no list of splits {path}; the authors' repository has it as ShapeNet.json")
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text())
        return [
            Category(entry["taxonomy_id"], entry["taxonomy_name"], {split: entry[split] for split in ("train", "val", "test")})
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        expected = "a list of objects with taxonomy_id, taxonomy_name, train, val and test"
        raise ValueError(f"{path}: expected {expected}, got {type(error).__name__}: {error}") from None


def find_categories(root: str | Path, splits_file: str | Path | None = None) -> list[Category]:
    """Categories of a folder by its list of splits; without one, all models are for validation and testing.

    Args:
        root: the folder drawn in this module's docstring.
        splits_file: the list, when it is not root/ShapeNet.json.

    Raises:
        FileNotFoundError: no such list, or neither a list nor models.
        ValueError: not such a list.
    """
    root = Path(root)
    if splits_file is not None or (root / SPLITS_FILE).is_file():
        return read_splits(root / SPLITS_FILE if splits_file is None else splits_file)
    models: dict[str, list[str]] = {}
    for path in sorted((root / VOXELS).glob("*/*/model.binvox")):
        models.setdefault(path.parts[-3], []).append(path.parts[-2])
    if not models:
        raise FileNotFoundError(f"{root}: no {SPLITS_FILE} and no {VOXELS}/*/*/model.binvox")
    return [Category(id, NAMES.get(id, id), {"train": [], "val": own, "test": own}) for id, own in models.items()]


class R2N2Dataset(ReconstructionDataset):
    """Models of one split. A listed model without pictures or voxels is left out, with a warning that tells how many.

    Args:
        root: the folder drawn in this module's docstring.
        split: "train", "val" or "test".
        num_views, settings, training, seed: of `ReconstructionDataset`.
        splits_file: as in `find_categories`.

    Raises:
        FileNotFoundError, ValueError: as `find_categories`; or no model is there.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split,
        num_views: int,
        settings: ViewSettings | None = None,
        *,
        splits_file: str | Path | None = None,
        training: bool = False,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        categories = find_categories(root, splits_file)
        super().__init__([category.name for category in categories], num_views, settings, training=training, seed=seed)
        listed = [(i, category.id, name) for i, category in enumerate(categories) for name in category.models[split]]
        self.models = [entry for entry in listed if self._is_there(*entry[1:])]
        if not self.models:
            raise FileNotFoundError(
                f"{root}: none of the {len(listed)} models that are listed for {split} has {RENDERINGS}/.../00.png and {VOXELS}/.../model.binvox"
            )
        if len(self.models) < len(listed):
            missing = len(listed) - len(self.models)
            warnings.warn(
                f"{root}: {missing} of {len(listed)} models of {split} have no pictures or no voxels, and are left out"
            )

    def _is_there(self, category: str, name: str) -> bool:
        voxels = self.root / VOXELS / category / name / "model.binvox"
        return voxels.is_file() and (self._folder(category, name) / "00.png").is_file()

    def _folder(self, category: str, name: str) -> Path:
        return self.root / RENDERINGS / category / name / "rendering"

    def __len__(self) -> int:
        return len(self.models)

    def category(self, index: int) -> int:
        return self.models[index][0]

    def pictures(self, index: int) -> Sequence[Path]:
        return sorted(self._folder(*self.models[index][1:]).glob("*.png"))

    def voxels(self, index: int) -> np.ndarray:
        _, category, name = self.models[index]
        return read_binvox(self.root / VOXELS / category / name / "model.binvox").voxels
