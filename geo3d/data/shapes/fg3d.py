"""FG3D: fine-grained classes of airplanes, cars and chairs (Liu et al., IEEE TIP 2021).

root/
  Airplane_off_train.txt          ids of the training meshes; the class is what comes before the last underscore
  Airplane_off_test.txt
  Airplane_subcategories.txt      one class a line; its line is the label
  airplane_off/<id>.off
  FG3D_airplane_train_1024pts_fps_processed.dat      optional cache of RISurConv's code (pickle)
  Car_..., car_off/, Chair_..., chair_off/           likewise
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from geo3d.data.cache import cached_arrays
from geo3d.data.files.array_pickle import read_cloud_pickle
from geo3d.data.files.point_text import read_lines
from geo3d.data.shapes.classification import ClassificationDataModule, ClassificationDataset, Split, check_split
from geo3d.data.shapes.mesh_sampling import sample_meshes_evenly
from geo3d.data.shapes.transforms import unit_sphere

Category = Literal["airplane", "car", "chair"]
CANDIDATES_PER_POINT = 5  # also the first factor of the reference's Poisson-disk sampling


class FG3DDataset(ClassificationDataset):
    """Meshes of one category and split as clouds in the unit sphere, with the normals of the faces.

    Uniform candidates on each mesh are thinned by farthest point sampling; the reference thins as many by Poisson-disk sampling,
    which spreads them about as evenly. A cache of RISurConv's code for the same number of points is read in place of the meshes.
    Clouds are cached beside the data, or in geo3d's cache folder where the data is read-only.

    Args:
        root: the folder drawn above.
        category: "airplane", "car" or "chair".
        split: "train" or "test".
        num_points: N.
        options: keyword arguments of `ClassificationDataset`; the seed is also that of the drawn points.

    Raises:
        FileNotFoundError: a list, or a mesh that a list names, is missing.
        ValueError: a file that does not hold what it should; the message names it.
    """

    def __init__(self, root: str | Path, category: Category, split: Split, num_points: int = 1024, **options: Any) -> None:
        root = Path(root)
        check_split(type(self).__name__, split)
        class_names = read_lines(_classes_file(root, category))
        seed = int(options.get("seed", 0))
        pickled = root / f"FG3D_{category}_{split}_{num_points}pts_fps_processed.dat"
        if pickled.is_file():
            points, labels = read_cloud_pickle(pickled, num_points)
        else:
            points, labels = _read_meshes(root, category, split, num_points, class_names, seed)
        points = np.stack([unit_sphere(cloud) for cloud in points])
        super().__init__(points, labels, class_names, **options)


class FG3D(ClassificationDataModule):
    """Loaders of one category of FG3D.

    Args:
        root: the folder drawn in this module's docstring.
        category: "airplane" (13 classes), "car" (20) or "chair" (33).
        num_points: points of a cloud.
        loading: options of `ClassificationDataModule`.
    """

    def __init__(
        self,
        root: str,
        category: Category,
        num_points: int = 1024,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.root = root
        self.category = category
        self.num_points = num_points

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels."""
        return read_lines(_classes_file(Path(self.root), self.category))

    def make_dataset(self, split: Split, **options: Any) -> FG3DDataset:
        """Read a split; `options` are the keyword arguments of `ClassificationDataset`."""
        return FG3DDataset(self.root, self.category, split, self.num_points, **options)


def _classes_file(root: Path, category: str) -> Path:
    if category not in get_args(Category):
        raise ValueError(f"FG3D: category must be one of {list(get_args(Category))}, got {category!r}")
    return root / f"{category.capitalize()}_subcategories.txt"


def _read_meshes(
    root: Path, category: str, split: Split, num_points: int, class_names: list[str], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Clouds [M, num_points, 6] float32 and labels [M] int64 of the meshes, cached."""
    listing = root / f"{category.capitalize()}_off_{split}.txt"
    files, labels = [], []
    for shape in read_lines(listing):
        class_name = shape.rpartition("_")[0]
        if class_name not in class_names:
            raise ValueError(f"{listing}: expected ids of {category.capitalize()}_subcategories.txt's classes, got {shape}")
        files.append(root / f"{category}_off" / f"{shape}.off")
        labels.append(class_names.index(class_name))
        if not files[-1].is_file():
            raise FileNotFoundError(f"no {category}_off/{shape}.off under {root}; {listing.name} names it")
    num_candidates = CANDIDATES_PER_POINT * num_points
    arrays = cached_arrays(
        root,
        f"fg3d_{category}_{split}_{num_points}pts_{seed}",
        files,
        ("farthest of candidates", num_points, num_candidates, seed),
        lambda: {"points": sample_meshes_evenly(files, num_points, num_candidates, seed, f"FG3D {category} {split}")},
    )
    return arrays["points"], np.array(labels, dtype=np.int64)
