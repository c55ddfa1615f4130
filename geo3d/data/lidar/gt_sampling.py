"""Ground-truth sampling: labelled objects of other frames pasted into a scene (SECOND, Sensors 2018).

    folder/
      objects.npz     names, boxes, number of points, difficulty, frames and features of M objects, and where their points end
      points.bin      float32 rows of all objects, one after the other, positions relative to the centre of the box

The file of points is mapped into memory, so that worker processes share it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from geo3d.data.lidar.sweeps import LidarSample
from geo3d.ops import box_iou_rotated, points_in_boxes

MIN_POINTS = 5  # objects with fewer points teach little
ARRAYS = ("names", "boxes", "num_points", "difficulty", "ends", "features", "frames")


@dataclass(frozen=True)
class GroundTruthSampling:
    """What to sample.

    Attributes:
        groups: for each class the number of objects that a scene should have.
        min_points: fewest points of an object, by class; 5 for those not named.
        every: for some classes, take only every so many frames into the database.
        folder: of the database, which is built on first use; None for one in geo3d's cache folder.
    """

    groups: dict[str, int]
    min_points: dict[str, int] = field(default_factory=dict)
    every: dict[str, int] = field(default_factory=dict)
    folder: str | None = None

    def check_classes(self, name: str, class_names: Sequence[str]) -> None:
        """Raise ValueError, in the name of the caller, for a class that is not one of `class_names`."""
        for argument in ("groups", "min_points", "every"):
            unknown = [each for each in getattr(self, argument) if each not in class_names]
            if unknown:
                raise ValueError(f"{name}: {argument} takes classes of {list(class_names)}, got {unknown[0]!r}")


class LidarFrames(Protocol):
    """What a LiDAR data set is: frames by index, and the names of its classes and columns."""

    class_names: tuple[str, ...]
    features: tuple[str, ...]
    frames: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> LidarSample: ...


def build_database(dataset: LidarFrames, folder: str | Path, *, every: Mapping[str, int] | None = None) -> Path:
    """Write the objects of a data set into a folder; one that is there already is left as it is.

    Args:
        dataset: frames with boxes, before any augmentation.
        folder: to be made. It appears only when it is complete.
        every: for some classes, take only every so many frames; 4 for vehicles and 2 for pedestrians in Waymo.

    Returns:
        The folder.

    Raises:
        ValueError: no object in the data set, or `every` names an unknown class or a number below 1.
    """
    folder = Path(folder)
    for name, step in (every or {}).items():
        if name not in dataset.class_names or step < 1:
            raise ValueError(f"build_database: every must map {list(dataset.class_names)} to 1 or more, got {name!r}: {step}")
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_objects(dataset, temporary, every or {})
        temporary.chmod(0o755)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


class GroundTruthSampler:
    """Pastes objects of a database into scenes.

    Of each class, scenes get as many objects as it takes to reach the class's number. Candidates are drawn without replacement
    within a scene; those that overlap a box of the scene, or each other, as seen from above are left out. Points of the scene
    inside pasted boxes are removed, and the objects' points come first. The reference walks through one permutation of the
    objects from scene to scene instead; here a scene depends on its generator alone, whatever the number of worker processes.

    Args:
        folder: a database of `build_database`.
        groups: for each class the number of objects that a scene should have.
        min_points: fewest points of an object, by class; 5 for those not named.

    Raises:
        FileNotFoundError: no database there.
        ValueError: a damaged database, or a negative number.
    """

    def __init__(self, folder: str | Path, groups: Mapping[str, int], min_points: Mapping[str, int] | None = None) -> None:
        self.folder = Path(folder)
        self.groups = dict(groups)
        if any(number < 0 for number in self.groups.values()):
            raise ValueError(f"GroundTruthSampler: groups must not be negative, got {self.groups}")
        arrays = _read_objects(self.folder)
        self.boxes = torch.from_numpy(arrays["boxes"])
        self.num_points, self.difficulty, self.ends = arrays["num_points"], arrays["difficulty"], arrays["ends"]
        self.features: tuple[str, ...] = tuple(arrays["features"].tolist())
        self._points: np.ndarray | None = None  # mapped on first use, in each worker process
        fewest = min_points or {}
        self.candidates: dict[str, np.ndarray] = {}
        for name in self.groups:
            wanted = (arrays["names"] == name) & (self.difficulty != -1)
            self.candidates[name] = np.flatnonzero(wanted & (self.num_points >= fewest.get(name, MIN_POINTS)))

    def __call__(self, sample: LidarSample, generator: np.random.Generator) -> LidarSample:
        """The sample with objects pasted in.

        Raises:
            ValueError: the sample has other columns or other boxes than the database, or lacks a class of `groups`.
        """
        self._check(sample)
        taken = torch.cat((sample.boxes[:, :7], sample.other_boxes[:, :7]))
        chosen: list[int] = []
        labels: list[int] = []
        for name, number in self.groups.items():
            label = sample.class_names.index(name)
            missing = number - int((sample.labels == label).sum())
            picks = self._draw(name, missing, generator)
            picks = picks[_free(self.boxes[picks], taken)] if len(picks) else picks
            taken = torch.cat((taken, self.boxes[picks, :7]))
            chosen += picks.tolist()
            labels += [label] * len(picks)
        return self._pasted(sample, np.array(chosen, dtype=np.int64), labels) if chosen else sample

    def object_points(self, index: int) -> np.ndarray:
        """Points [n, 3 + F] of an object in its scene."""
        if self._points is None:
            self._points = np.memmap(self.folder / "points.bin", "<f4", "r").reshape(-1, 3 + len(self.features))
        rows = np.array(self._points[self.ends[index - 1] if index else 0 : self.ends[index]])
        rows[:, :3] += self.boxes[index, :3].numpy()
        return rows

    def _draw(self, name: str, number: int, generator: np.random.Generator) -> np.ndarray:
        """Rows of up to `number` different objects of a class, in random order."""
        candidates = self.candidates[name]
        return generator.choice(candidates, min(max(number, 0), len(candidates)), replace=False).astype(np.int64)

    def _pasted(self, sample: LidarSample, chosen: np.ndarray, labels: list[int]) -> LidarSample:
        boxes = self.boxes[chosen]
        outside = points_in_boxes(sample.points[:, :3].contiguous(), boxes[:, :7].contiguous()) < 0
        clouds = [torch.from_numpy(self.object_points(index)) for index in chosen]
        if self.features != sample.features:  # a database of joined sweeps: the moment itself, without the age
            clouds = [cloud[cloud[:, -1] == 0, :-1] for cloud in clouds]

        def appended(values: Tensor | None, new: np.ndarray) -> Tensor | None:
            return None if values is None else torch.cat((values, torch.from_numpy(new[chosen])))

        return replace(
            sample,
            points=torch.cat((*clouds, sample.points[outside])),
            boxes=torch.cat((sample.boxes, boxes)),
            labels=torch.cat((sample.labels, torch.tensor(labels, dtype=torch.int64))),
            num_points=appended(sample.num_points, self.num_points),
            difficulty=appended(sample.difficulty, self.difficulty),
            cameras=(),
        )

    def _check(self, sample: LidarSample) -> None:
        if self.features not in (sample.features, (*sample.features, "time")):
            raise ValueError(f"{self.folder}: expected points with {list(sample.features)}, got {list(self.features)}")
        if sample.boxes.shape[1] != self.boxes.shape[1]:
            raise ValueError(f"{self.folder}: expected boxes of {sample.boxes.shape[1]} numbers, got {self.boxes.shape[1]}")
        unknown = [name for name in self.groups if name not in sample.class_names]
        if unknown:
            raise ValueError(f"GroundTruthSampler: groups takes classes of {list(sample.class_names)}, got {unknown[0]!r}")


def _free(boxes: Tensor, taken: Tensor) -> np.ndarray:
    """[n] bool, True for boxes [n, 7 or 9] that overlap neither one another nor the taken ones [m, 7]."""
    footprints = boxes[:, :7].double()
    overlap = box_iou_rotated(footprints, torch.cat((taken.double(), footprints)))
    overlap[torch.arange(len(boxes)), len(taken) + torch.arange(len(boxes))] = 0  # with itself
    return (overlap == 0).all(1).numpy()


def _write_objects(dataset: LidarFrames, folder: Path, every: Mapping[str, int]) -> None:
    columns: dict[str, list] = {"names": [], "boxes": [], "num_points": [], "difficulty": [], "frames": []}
    progress = tqdm(range(len(dataset)), desc="ground-truth database", unit="frame", disable=None)
    with (folder / "points.bin").open("wb") as file:
        for index in progress:
            sample = dataset[index]
            positions = sample.points[:, :3].contiguous()
            for row, name in enumerate(sample.names):
                if index % every.get(name, 1):
                    continue
                box = sample.boxes[row]
                points = sample.points[points_in_boxes(positions, box[None, :7]) == 0].numpy().astype("<f4")
                points[:, :3] -= box[:3].numpy()
                file.write(points.tobytes())
                columns["names"].append(name)
                columns["boxes"].append(box.numpy())
                columns["num_points"].append(len(points))
                columns["difficulty"].append(0 if sample.difficulty is None else int(sample.difficulty[row]))
                columns["frames"].append(sample.frame)
    if not columns["names"]:
        raise ValueError(f"build_database: expected labelled objects of {list(dataset.class_names)}, got none")
    arrays = {name: np.array(values) for name, values in columns.items()}
    arrays["ends"] = np.cumsum(arrays["num_points"])
    arrays["features"] = np.array(dataset.features, dtype=str)
    np.savez(folder / "objects.npz", **arrays)  # type: ignore[arg-type]


def _read_objects(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "objects.npz"
    for needed in (path, folder / "points.bin"):
        if not needed.is_file():
            raise FileNotFoundError(f"{folder}: no {needed.name}; build_database makes a ground-truth database")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected arrays {', '.join(ARRAYS)}, got {str(error).splitlines()[0]}") from None
    size = 4 * (3 + len(arrays["features"])) * int(arrays["ends"][-1])
    if (folder / "points.bin").stat().st_size != size:
        raise ValueError(
            f"{folder / 'points.bin'}: expected {size} bytes, got {(folder / 'points.bin').stat().st_size} (truncated?)"
        )
    return arrays
