"""ModelNet10 and ModelNet40 as the original meshes (Wu et al., CVPR 2015).

    root/                             ModelNet10 or ModelNet40
      bathtub/train/bathtub_0001.off
      bathtub/test/bathtub_0107.off   z is up

Any folder of meshes sorted in this way does. The classes are the folders in the order of their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.cache import cached_arrays
from geo3d.data.shapes.classification import ClassificationDataModule, ClassificationDataset, Split, check_split
from geo3d.data.shapes.mesh_sampling import sample_meshes_evenly
from geo3d.data.shapes.transforms import Axis, unit_sphere

NUM_CANDIDATES = 10_000  # as many as the text release has a shape


class ModelNetOffDataset(ClassificationDataset):
    """Meshes of one split as clouds in the unit sphere, with the normals of the faces.

    Of 10,000 points drawn uniformly on each mesh farthest point sampling keeps some, as with the text release. The windings of
    these meshes are inconsistent, so that many normals point inwards: consider `orient_normals`. Clouds are cached beside the
    data, or in geo3d's cache folder where the data is read-only.

    Args:
        root: the folder drawn above.
        split: "train" or "test".
        num_points: N.
        options: keyword arguments of `ClassificationDataset`; the seed is also that of the drawn points.

    Raises:
        FileNotFoundError: no mesh of the split.
        ValueError: a file that is no mesh; the message names it.
    """

    def __init__(self, root: str | Path, split: Split, num_points: int = 1024, **options: Any) -> None:
        root = Path(root)
        check_split(type(self).__name__, split)
        class_names = mesh_classes(root)
        files = [path for name in class_names for path in sorted((root / name / split).glob("*.off"))]
        if not files:
            raise FileNotFoundError(f"no */{split}/*.off under {root}")
        seed = int(options.get("seed", 0))
        num_candidates = max(NUM_CANDIDATES, num_points)
        arrays = cached_arrays(
            root,
            f"meshes_{split}_{num_points}pts_{seed}",
            files,
            ("farthest of candidates", num_points, num_candidates, seed),
            lambda: {"points": sample_meshes_evenly(files, num_points, num_candidates, seed, f"{root.name} {split}")},
        )
        points = np.stack([unit_sphere(cloud) for cloud in arrays["points"]])
        labels = np.array([class_names.index(path.parent.parent.name) for path in files])
        super().__init__(points, labels, class_names, **options)


class ModelNetOff(ClassificationDataModule):
    """Loaders of ModelNet10 or ModelNet40 meshes.

    Args:
        root: the folder drawn in this module's docstring.
        num_points: points of a cloud.
        gravity_axis: axis of the rotations of protocol "z"; z in ModelNet's meshes.
        loading: options of `ClassificationDataModule`.
    """

    def __init__(
        self,
        root: str,
        num_points: int = 1024,
        gravity_axis: Axis = "z",
        **loading: Any,
    ) -> None:
        super().__init__(gravity_axis=gravity_axis, **loading)
        self.root = root
        self.num_points = num_points

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels."""
        return mesh_classes(Path(self.root))

    def make_dataset(self, split: Split, **options: Any) -> ModelNetOffDataset:
        """Read a split; `options` are the keyword arguments of `ClassificationDataset`."""
        return ModelNetOffDataset(self.root, split, self.num_points, **options)


def mesh_classes(root: Path) -> list[str]:
    """Names of the class folders, which hold a folder train or test; raises FileNotFoundError when there is none."""
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    names = sorted(folder.name for folder in root.iterdir() if (folder / "train").is_dir() or (folder / "test").is_dir())
    if not names:
        raise FileNotFoundError(f"no <class>/train or <class>/test under {root}")
    return names
