"""Models of ShapeNet as 3D-R2N2 (ECCV 2016) rendered and voxelised them.

root/
  ShapeNetRendering/02691156/<model>/rendering/00.png ... 23.png    137 x 137 RGBA
                                    rendering_metadata.txt          azimuth elevation tilt distance fov, a line a view
  ShapeNetVox32/02691156/<model>/model.binvox                       see `geo3d.data.files.binvox`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geo3d.data.files.binvox import read_binvox

RENDERINGS, VOXELS = "ShapeNetRendering", "ShapeNetVox32"


@dataclass(frozen=True)
class R2N2Model:
    """A model: its class (ShapeNet's id) and name, the images of its views in order, and its voxels where they are there."""

    synset: str
    name: str
    views: tuple[Path, ...]
    voxels: Path | None

    def read_views(self, count: int | None = None) -> list[np.ndarray]:
        """The first `count` views, or all, [H, W, 3 or 4] uint8.

        Raises:
            ValueError: not an image.
        """
        from PIL import Image, UnidentifiedImageError

        images = []
        for path in self.views[:count]:
            try:
                with Image.open(path) as image:
                    images.append(np.asarray(image.convert("RGBA" if image.mode in ("RGBA", "LA", "P") else "RGB")))
            except (UnidentifiedImageError, OSError):
                raise ValueError(f"{path}: expected an image") from None
        return images

    def read_voxels(self) -> np.ndarray:
        """[32, 32, 32] bool, indexed z, y, x; y is up.

        Raises:
            FileNotFoundError: the model has none.
            ValueError: a damaged file.
        """
        if self.voxels is None:
            raise FileNotFoundError(f"{self.synset}/{self.name}: no {VOXELS}/.../model.binvox")
        return read_binvox(self.voxels).voxels


def is_r2n2_folder(folder: Path) -> bool:
    """Whether a folder is drawn above: the root, one of its two folders, or a model's own."""
    return any((folder / name).is_dir() for name in (RENDERINGS, VOXELS, "rendering")) or folder.name in (RENDERINGS, VOXELS)


def find_r2n2_models(root: str | Path) -> list[R2N2Model]:
    """All models with views or voxels, by class and name.

    Args:
        root: the folder drawn above, one of its two folders, or the folder of one model's views.

    Raises:
        FileNotFoundError: no model.
    """
    root = Path(root)
    if (root / "rendering").is_dir():  # .../ShapeNetRendering/<class>/<model>
        top, wanted = root.parents[2], {(root.parent.name, root.name)}
    else:
        top, wanted = (root.parent if root.name in (RENDERINGS, VOXELS) else root), set()
    rendered = {(path.parts[-3], path.parts[-2]) for path in (top / RENDERINGS).glob("*/*/rendering")}
    voxelized = {(path.parts[-3], path.parts[-2]) for path in (top / VOXELS).glob("*/*/model.binvox")}
    names = sorted((rendered | voxelized) & wanted if wanted else rendered | voxelized)
    if not names:
        raise FileNotFoundError(f"{root}: no {RENDERINGS}/*/*/rendering and no {VOXELS}/*/*/model.binvox")
    models = []
    for synset, name in names:
        views = tuple(sorted((top / RENDERINGS / synset / name / "rendering").glob("*.png")))
        voxels = top / VOXELS / synset / name / "model.binvox"
        models.append(R2N2Model(synset, name, views, voxels if voxels.is_file() else None))
    return models
