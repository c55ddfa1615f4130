"""ModelNet40 (and 10) as text files of points with normals, the "normal resampled" release of PointNet++ (NeurIPS 2017).

    root/
      modelnet40_shape_names.txt      one class a line; its line is the label
      modelnet40_train.txt            ids of the training shapes, such as airplane_0001
      modelnet40_test.txt
      airplane/airplane_0001.txt      10,000 lines x,y,z,nx,ny,nz; y is up
      modelnet40_train_1024pts_fps.dat, modelnet40_test_1024pts_fps.dat    optional caches of PointNet++'s descendants (pickle)

Generated shapes come in the same format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from geo3d.data.cache import cached_arrays
from geo3d.data.files.array_pickle import read_cloud_pickle
from geo3d.data.files.point_text import read_lines, read_point_table
from geo3d.data.generated import GeneratedShapes, resolve_root
from geo3d.data.shapes.classification import (
    ClassificationDataModule,
    ClassificationDataset,
    Split,
    check_split,
    farthest_points,
)
from geo3d.data.shapes.transforms import unit_sphere

NATIVE_FOLDER = "modelnet40_normal_resampled"
COLUMNS = ("x", "y", "z", "nx", "ny", "nz")
Variant = Literal["modelnet40", "modelnet10"]


class ModelNet40Dataset(ClassificationDataset):
    """Shapes of one split in the unit sphere, each reduced by farthest point sampling from the first point of its file.

    The reduced clouds are cached beside the data, or in geo3d's cache folder where the data is read-only. A pickle cache of
    PointNet++'s descendants for the same number of points, if there is one, is read in place of the text files: its points are
    those that published results were measured on (they were sampled from random starts).

    Args:
        root: the folder drawn above.
        split: "train" or "test".
        num_points: N.
        variant: which lists of the folder are used.
        options: keyword arguments of `ClassificationDataset`.

    Raises:
        FileNotFoundError: a list, or a file that a list names, is missing.
        ValueError: a file that does not hold what it should; the message names it.
    """

    def __init__(
        self, root: str | Path, split: Split, num_points: int = 1024, *, variant: Variant = "modelnet40", **options: Any
    ) -> None:
        root = Path(root)
        check_split(type(self).__name__, split)
        class_names = read_lines(root / f"{variant}_shape_names.txt")
        pickled = root / f"{variant}_{split}_{num_points}pts_fps.dat"
        if pickled.is_file():
            points, labels = read_cloud_pickle(pickled, num_points)
        else:
            points, labels = _read_text(root, split, num_points, variant, class_names)
        points = np.stack([unit_sphere(cloud) for cloud in points])
        super().__init__(points, labels, class_names, **options)


class ModelNet40(ClassificationDataModule):
    """Loaders of ModelNet40, of ModelNet10, or of generated shapes in the same format.

    Args:
        root: the folder drawn in this module's docstring, or "generated".
        num_points: points of a cloud.
        variant: "modelnet40" or "modelnet10".
        generate: what to generate with root "generated"; 2,000 shapes by default.
        loading: options of `ClassificationDataModule`.
    """

    def __init__(
        self,
        root: str = "generated",
        num_points: int = 1024,
        variant: Variant = "modelnet40",
        generate: GeneratedShapes | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.root = root
        self.num_points = num_points
        self.variant = variant
        self.generate = generate

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels."""
        return read_lines(self._folder() / f"{self.variant}_shape_names.txt")

    def make_dataset(self, split: Split, **options: Any) -> ModelNet40Dataset:
        """Read a split; `options` are the keyword arguments of `ClassificationDataset`."""
        return ModelNet40Dataset(self._folder(), split, self.num_points, variant=self.variant, **options)

    def _folder(self) -> Path:
        return resolve_root(type(self).__name__, self.root, self.generate, GeneratedShapes(), NATIVE_FOLDER)


def _read_text(
    root: Path, split: Split, num_points: int, variant: str, class_names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Reduced clouds [M, num_points, 6] float32 and labels [M] int64 of the text files, cached."""
    listing = root / f"{variant}_{split}.txt"
    files, labels = [], []
    for shape in read_lines(listing):
        class_name = shape.rpartition("_")[0]
        if class_name not in class_names:
            raise ValueError(f"{listing}: expected ids of {variant}_shape_names.txt's classes, got {shape}")
        files.append(root / class_name / f"{shape}.txt")
        labels.append(class_names.index(class_name))
        if not files[-1].is_file():
            raise FileNotFoundError(f"no {class_name}/{shape}.txt under {root}; {listing.name} names it")

    def read_all() -> dict[str, np.ndarray]:
        progress = tqdm(files, desc=f"{root.name} {split}", unit="shape", disable=None)
        return {
            "points": np.stack([farthest_points(read_point_table(path, COLUMNS, ","), num_points, path) for path in progress])
        }

    arrays = cached_arrays(root, f"{variant}_{split}_{num_points}pts", files, ("farthest points from 0", num_points), read_all)
    return arrays["points"], np.array(labels, dtype=np.int64)
