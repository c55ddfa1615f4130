"""ScanObjectNN: objects cut from indoor scans, in 15 classes (Uy et al., ICCV 2019).

    root/                                                          h5_files
      main_split/training_objectdataset_augmentedrot_scale75.h5    "hardest" (PB_T50_RS): shifted, turned, scaled, background
      main_split/test_objectdataset_augmentedrot_scale75.h5
      main_split/training_objectdataset.h5, test_objectdataset.h5             "objectbg": with background
      main_split_nobg/training_objectdataset.h5, test_objectdataset.h5        "objectonly"

Each .h5 file holds `data` [M, 2048, 3] and `label` [M].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from geo3d.data.cache import cached_arrays
from geo3d.data.shapes.classification import (
    ClassificationDataModule,
    ClassificationDataset,
    Split,
    check_split,
    farthest_points,
)
from geo3d.data.shapes.normals import estimate_normals
from geo3d.data.shapes.transforms import Augmentation

CLASS_NAMES = (
    "bag",
    "bin",
    "box",
    "cabinet",
    "chair",
    "desk",
    "display",
    "door",
    "shelf",
    "table",
    "bed",
    "pillow",
    "sink",
    "sofa",
    "toilet",
)
Variant = Literal["hardest", "objectbg", "objectonly"]
FILES = {
    "hardest": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
    "objectbg": "main_split/{}_objectdataset.h5",
    "objectonly": "main_split_nobg/{}_objectdataset.h5",
}

MAX_BYTES = 2**32  # of an array; those of the data set have less than a tenth
MAX_PACKED = 1100  # times that deflate makes an array smaller at best


class ScanObjectNNDataset(ClassificationDataset):
    """Scans of one split, reduced by farthest point sampling from their first point, with estimated normals.

    The clouds keep their place and size, as in the reference. Normals are estimated on the reduced cloud. The result is cached
    beside the file, or in geo3d's cache folder where the data is read-only.

    Args:
        root: the folder drawn above.
        split: "train" or "test".
        num_points: N.
        variant: "hardest", "objectbg" or "objectonly".
        options: keyword arguments of `ClassificationDataset`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that does not hold what it should; the message names it.
    """

    def __init__(
        self, root: str | Path, split: Split, num_points: int = 1024, *, variant: Variant = "hardest", **options: Any
    ) -> None:
        check_split(type(self).__name__, split)
        if variant not in FILES:
            raise ValueError(f"{type(self).__name__}: variant must be one of {list(FILES)}, got {variant!r}")
        name = FILES[variant].format("training" if split == "train" else "test")
        path = Path(root) / name
        if not path.is_file():
            raise FileNotFoundError(f"no {name} under {root}")
        arrays = cached_arrays(
            path.parent,
            f"{path.stem}_{num_points}pts_normals",
            [path],
            ("farthest points from 0, normals of 32 neighbours", num_points),
            lambda: _reduce(path, num_points),
        )
        super().__init__(arrays["points"], arrays["labels"], CLASS_NAMES, **options)


class ScanObjectNN(ClassificationDataModule):
    """Loaders of ScanObjectNN.

    Args:
        root: the folder drawn in this module's docstring.
        variant: "hardest", "objectbg" or "objectonly".
        num_points: points of a cloud.
        batch_size: clouds of a training batch; an incomplete last batch is dropped.
        loading: options of `ClassificationDataModule`.
    """

    def __init__(
        self,
        root: str,
        variant: Variant = "hardest",
        num_points: int = 1024,
        batch_size: int = 16,
        augment: Sequence[Augmentation] = ("shuffle",),
        **loading: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, augment=augment, **loading)
        self.root = root
        self.variant = variant
        self.num_points = num_points

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels."""
        return list(CLASS_NAMES)

    def make_dataset(self, split: Split, **options: Any) -> ScanObjectNNDataset:
        """Read a split; `options` are the keyword arguments of `ClassificationDataset`."""
        return ScanObjectNNDataset(self.root, split, self.num_points, variant=self.variant, **options)


def _reduce(path: Path, num_points: int) -> dict[str, np.ndarray]:
    """Reduced clouds with normals [M, num_points, 6] float32 and labels [M] int64."""
    clouds, labels = _read_h5(path)
    points = np.empty((len(clouds), num_points, 6), np.float32)
    for index, cloud in enumerate(tqdm(clouds, desc=path.stem, unit="cloud", disable=None)):
        points[index, :, :3] = farthest_points(cloud, num_points, path)
        points[index, :, 3:] = estimate_normals(points[index, :, :3])
    return {"points": points, "labels": labels}


def _read_h5(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Clouds [M, P, 3] float32 and labels [M] int64 of a file."""
    import h5py

    try:
        with h5py.File(path) as file:
            missing = [key for key in ("data", "label") if file.get(key, getlink=True, default=None) is None]
            if missing:
                raise ValueError(f"{path}: expected data and label, got {sorted(file)}")
            clouds, labels = (_array(file, key, path) for key in ("data", "label"))
            labels = labels.reshape(-1)
    except (OSError, RuntimeError, KeyError) as error:  # h5py's words for damage
        raise ValueError(f"{path}: expected an HDF5 file, got {' '.join(str(error).split())}") from None
    if clouds.ndim != 3 or clouds.shape[2] != 3 or len(clouds) == 0 or clouds.dtype.kind != "f":
        raise ValueError(f"{path}: expected data [M, P, 3] floating point, got {list(clouds.shape)} {clouds.dtype}")
    if len(labels) != len(clouds):
        raise ValueError(f"{path}: expected a label for each of {len(clouds)} clouds, got {len(labels)}")
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise ValueError(f"{path}: expected labels in [0, {len(CLASS_NAMES)}), got {labels.min()} to {labels.max()}")
    finite = np.isfinite(clouds).all((1, 2))
    if not finite.all():
        raise ValueError(f"{path}: expected finite points, got a value that is not in cloud {int(np.argmin(finite))}")
    return clouds.astype(np.float32), labels


def _array(file: Any, key: str, path: Path) -> np.ndarray:
    """A dataset of numbers that lies in the file itself, and is not larger than the file can hold."""
    import h5py

    link = file.get(key, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise ValueError(f"{path}: expected {key} in the file itself, got a link to {link.filename}")
    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected {key} as an array of numbers, got {'nothing' if dataset is None else dataset}")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{path}: expected {key} in the file itself, got one that lies in other files")
    room = dataset.id.get_storage_size() * (MAX_PACKED if dataset.compression else 1)
    if dataset.nbytes > min(room, MAX_BYTES):
        raise ValueError(
            f"{path}: expected {key} {list(dataset.shape)} to be in the file, which has {room:,} of its {dataset.nbytes:,} bytes"
        )
    return np.asarray(dataset)
