"""ShapeNetPart: 16 categories of shapes with 50 parts, the text release with normals of PointNet++ (NeurIPS 2017).

    root/                             shapenetcore_partanno_segmentation_benchmark_v0_normal
      synsetoffset2category.txt       lines of a category's name and its folder, such as "Airplane 02691156"
      train_test_split/shuffled_train_file_list.json     ["shape_data/02691156/1021a0914a7207aff927ed529ad90a11", ...]
      train_test_split/shuffled_val_file_list.json
      train_test_split/shuffled_test_file_list.json
      02691156/1021a0914a7207aff927ed529ad90a11.txt      lines x y z nx ny nz part; y is up

Generated shapes come in the same format, with categories and parts of their own after the official ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from geo3d.data.cache import cached_arrays
from geo3d.data.files.point_text import read_lines, read_point_table
from geo3d.data.generated import GeneratedShapes, resolve_root
from geo3d.data.loading import EpochSampler, ItemKey, current_epoch, item_generator, make_loader
from geo3d.data.shapes import transforms
from geo3d.data.shapes.part_labels import OFFICIAL_CATEGORIES, PARTS, part_range
from geo3d.data.shapes.samples import PartBatch, PartSample, collate_parts
from geo3d.data.shapes.transforms import Augmentation, RotationProtocol
from geo3d.descriptions import CloudInput

NATIVE_FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "part")
PartSplit = Literal["train", "val", "trainval", "test"]
Draw = Literal["distinct", "replacement", "reference"]
LISTS: dict[str, tuple[str, ...]] = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}


class ShapeNetPartDataset(Dataset[PartSample]):
    """Shapes of one split in the unit sphere, of which every access draws some points.

    The parsed files are cached beside the data, or in geo3d's cache folder where the data is read-only.

    Args:
        root: the folder drawn above.
        split: "train", "val", "trainval" or "test".
        num_points: N, the points drawn.
        draw: "distinct" points as long as a shape has enough, then all of them and repetitions; "replacement" as the reference
            draws, which repeats about a third; or the "reference", which besides takes the same draw of a shape every time.
        augment: names of augmentations, in their order; see `geo3d.data.shapes.transforms`.
        rotation: protocol by which each cloud is rotated after augmentation.
        orient_normals: turn the normals away from the centroid of the whole shape.
        fixed: the same random numbers at every access, as evaluation needs.
        seed: of the random numbers.

    Raises:
        FileNotFoundError: a list, or a file that a list names, is missing.
        ValueError: a file that does not hold what it should; the message names it.
    """

    def __init__(
        self,
        root: str | Path,
        split: PartSplit,
        num_points: int = 2048,
        *,
        draw: Draw = "distinct",
        augment: Sequence[Augmentation] = (),
        rotation: RotationProtocol = "none",
        orient_normals: bool = False,
        fixed: bool = False,
        seed: int = 0,
    ) -> None:
        name = type(self).__name__
        if split not in LISTS:
            raise ValueError(f"{name}: split must be one of {list(LISTS)}, got {split!r}")
        check_draw(name, draw)
        transforms.check_augmentations(name, augment)
        transforms.check_rotation(name, rotation)
        self.category_names = known_categories(Path(root))
        files, self.categories = _listed_shapes(Path(root), LISTS[split])
        arrays = cached_arrays(
            Path(root), f"shapenet_part_{split}", files, PARTS, lambda: _read_shapes(files, self.categories, f"parts {split}")
        )
        self.points, self.parts, self.ends = arrays["points"], arrays["parts"], arrays["ends"]
        self.num_points = num_points
        self.draw = draw
        self.augment = tuple(augment)
        self.rotation = rotation
        self.orient_normals = orient_normals
        self.fixed = fixed
        self.seed = seed

    def __len__(self) -> int:
        return len(self.categories)

    def shape(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """All points [M, 6] float32 of a shape, in the unit sphere, and their parts [M] int64."""
        rows = slice(self.ends[index - 1] if index else 0, self.ends[index])
        points = self.points[rows]
        return transforms.orient_normals(points) if self.orient_normals else points, self.parts[rows].astype(np.int64)

    def __getitem__(self, key: ItemKey) -> PartSample:
        index, generator = item_generator(key, self.seed, self.fixed)
        points, parts = self.shape(index)
        picks = draw_points(len(points), self.num_points, self.draw, generator)
        # The part goes along as a seventh column, so that an augmentation which moves rows moves it too.
        rows = np.concatenate([points[picks], parts[picks, None].astype(np.float32)], 1)
        rows = transforms.augmented(rows, self.augment, generator)
        points = transforms.randomly_rotated(rows[:, :6], self.rotation, generator, "y")
        return PartSample(
            torch.from_numpy(np.ascontiguousarray(points)),
            self.categories[index],
            torch.from_numpy(rows[:, 6].astype(np.int64)),
        )


def draw_points(count: int, num_points: int, draw: Draw, generator: np.random.Generator) -> np.ndarray:
    """Indices [num_points] of the points drawn from a shape of `count` points; see `ShapeNetPartDataset`."""
    if draw == "reference":  # the legacy generator that the authors' loader seeds with 2 for every item
        return np.random.RandomState(2).choice(count, num_points, replace=True)
    if draw == "replacement":
        return generator.integers(0, count, num_points)
    if count >= num_points:
        return generator.choice(count, num_points, replace=False)
    return np.concatenate([generator.permutation(count), generator.integers(0, count, num_points - count)])


def check_draw(name: str, draw: str) -> None:
    """Raise ValueError, in the name of the caller, when a draw is not one of `Draw`."""
    if draw not in get_args(Draw):
        raise ValueError(f"{name}: draw must be one of {list(get_args(Draw))}, got {draw!r}")


class ShapeNetPart(lightning.LightningDataModule):
    """Loaders of ShapeNetPart or of generated shapes in the same format: training on train and val, evaluation on test.

    Args:
        root: the folder drawn in this module's docstring, or "generated".
        num_points: points drawn from a shape: anew at every access in training, the same every time in testing.
        batch_size: shapes of a training batch; an incomplete last batch is dropped.
        test_batch_size: shapes of a batch in validation and testing, in the order of the files.
        generate: what to generate with root "generated"; 2,000 shapes by default.
        draw: how points are drawn; see `ShapeNetPartDataset`.
        num_workers: worker processes of each loader.
        pin_memory: put batches in page-locked memory, for training on a GPU.
        augment: names of training augmentations, in their order; see `geo3d.data.shapes.transforms`.
        train_rotation, test_rotation: protocol by which clouds are rotated. A test cloud is rotated the same way every time.
        orient_normals: turn the normals away from the centroid.
        seed: of order, draws, augmentation and rotation.
    """

    def __init__(
        self,
        root: str = "generated",
        num_points: int = 2048,
        batch_size: int = 16,
        test_batch_size: int = 32,
        generate: GeneratedShapes | None = None,
        draw: Draw = "distinct",
        num_workers: int = 0,
        pin_memory: bool = False,
        augment: Sequence[Augmentation] = ("scale", "shift"),
        train_rotation: RotationProtocol = "none",
        test_rotation: RotationProtocol = "none",
        orient_normals: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_draw(name, draw)
        transforms.check_augmentations(name, augment)
        transforms.check_rotation(name, train_rotation)
        transforms.check_rotation(name, test_rotation)
        self.root = root
        self.num_points = num_points
        self.batch_size = batch_size
        self.test_batch_size = test_batch_size
        self.generate = generate
        self.draw = draw
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.augment = tuple(augment)
        self.train_rotation = train_rotation
        self.test_rotation = test_rotation
        self.orient_normals = orient_normals
        self.seed = seed
        self._datasets: dict[str, ShapeNetPartDataset] = {}

    @property
    def category_names(self) -> list[str]:
        """Names of the categories, in the order of the category labels; the 16 official ones where the files have no others."""
        return known_categories(self._folder())

    @property
    def num_categories(self) -> int:
        """Number of categories."""
        return len(self.category_names)

    @property
    def part_ranges(self) -> list[range]:
        """Part labels of each category, in the order of `category_names`."""
        return [part_range(name) for name in self.category_names]

    @property
    def part_names(self) -> list[str]:
        """Name of each part label, without its category."""
        return [part for name in self.category_names for part in PARTS[name]]

    @property
    def num_classes(self) -> int:
        """Number of part labels over all categories."""
        return self.part_ranges[-1].stop

    @property
    def class_names(self) -> list[str]:
        """Name of each part label, after that of its category."""
        return [f"{name} {part}" for name in self.category_names for part in PARTS[name]]

    def preprocessing(self) -> CloudInput:
        """How clouds are prepared, for the description of trained weights."""
        return CloudInput(self.num_points, self.orient_normals, None if self.generate is None else self.generate.num_points)

    def prepare_data(self) -> None:
        """Write what is generated and fill the caches, on one process only."""
        for split in ("trainval", "test"):
            self.dataset(split)

    def setup(self, stage: str) -> None:
        """Read the splits that a stage ("fit", "validate", "test", "predict") needs."""
        if stage == "fit":
            self.dataset("trainval")
        self.dataset("test")

    def dataset(self, split: Literal["trainval", "test"]) -> ShapeNetPartDataset:
        """A split as the loaders use it, read on first use."""
        if split not in self._datasets:
            is_train = split == "trainval"
            self._datasets[split] = ShapeNetPartDataset(
                self._folder(),
                split,
                self.num_points,
                draw=self.draw,
                augment=self.augment if is_train else (),
                rotation=self.train_rotation if is_train else self.test_rotation,
                orient_normals=self.orient_normals,
                fixed=not is_train,
                seed=self.seed,
            )
        return self._datasets[split]

    def _folder(self) -> Path:
        return resolve_root(type(self).__name__, self.root, self.generate, GeneratedShapes(), NATIVE_FOLDER)

    def train_dataloader(self) -> DataLoader[PartBatch]:
        """Training and validation lists together, as the papers train; shuffled and augmented, in whole batches."""
        sampler = EpochSampler(len(self.dataset("trainval")), self.seed, current_epoch(self))
        return self._loader("trainval", self.batch_size, sampler)

    def val_dataloader(self) -> DataLoader[PartBatch]:
        """The test split, by which the papers choose their checkpoints."""
        return self._loader("test", self.test_batch_size)

    def test_dataloader(self) -> DataLoader[PartBatch]:
        """Test split, in the order of the files."""
        return self._loader("test", self.test_batch_size)

    def _loader(
        self, split: Literal["trainval", "test"], batch_size: int, sampler: EpochSampler | None = None
    ) -> DataLoader[PartBatch]:
        return make_loader(
            self.dataset(split),
            collate_parts,
            batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            sampler=sampler,
        )


def known_categories(root: Path) -> list[str]:
    """The categories that labels count: the 16 official ones, or all that geo3d knows where the folder lists another."""
    names = list(PARTS)
    return names if max(_category_folders(root).values()) >= OFFICIAL_CATEGORIES else names[:OFFICIAL_CATEGORIES]


def _listed_shapes(root: Path, lists: tuple[str, ...]) -> tuple[list[Path], list[int]]:
    """Files of the lists and the category of each."""
    folders = _category_folders(root)
    files, categories = [], []
    for name in lists:
        listing = root / "train_test_split" / f"shuffled_{name}_file_list.json"
        for entry in _read_json_list(listing):
            folder, shape = entry.split("/")[-2:] if entry.count("/") else ("", entry)
            if folder not in folders:
                raise ValueError(
                    f"{listing}: expected entries shape_data/<folder of synsetoffset2category.txt>/<id>, got {entry}"
                )
            files.append(root / folder / f"{shape}.txt")
            categories.append(folders[folder])
            if not files[-1].is_file():
                raise FileNotFoundError(f"no {folder}/{shape}.txt under {root}; {listing.name} names it")
    return files, categories


def _category_folders(root: Path) -> dict[str, int]:
    """Category index of each folder."""
    path = root / "synsetoffset2category.txt"
    names, folders = list(PARTS), {}
    for line in read_lines(path):
        words = line.split()
        if len(words) != 2 or words[0] not in names:
            raise ValueError(f"{path}: expected lines of a known category and its folder, got {line!r}")
        folders[words[1]] = names.index(words[0])
    return folders


def _read_json_list(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected a JSON list of names, got {error}") from None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"{path}: expected a JSON list of names, got {str(entries)[:60]}")
    return entries


def _read_shapes(files: list[Path], categories: list[int], title: str) -> dict[str, np.ndarray]:
    """All shapes one after the other: points [T, 6] float32, parts [T] int16, and the end of each shape [M]."""
    points, parts, names = [], [], list(PARTS)
    for path, category in zip(tqdm(files, desc=title, unit="shape", disable=None), categories, strict=True):
        table = read_point_table(path, COLUMNS)
        labels = table[:, 6]
        strange = ~np.isin(labels, part_range(names[category]))
        if strange.any():
            row = int(np.argmax(strange))
            wanted = list(part_range(names[category]))
            raise ValueError(f"{path}: expected parts {wanted} of {names[category]}, got {labels[row]:g} in line {row + 1}")
        points.append(transforms.unit_sphere(table[:, :6]))
        parts.append(labels.astype(np.int16))
    ends = np.cumsum([len(cloud) for cloud in points])
    return {"points": np.concatenate(points), "parts": np.concatenate(parts), "ends": ends}
