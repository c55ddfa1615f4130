"""Clouds that are given as they are: scans of generated bodies, and the evaluation archives of ArtEq.

scans/SPLIT/body_00000_00.ply        points with `label`, of frame 0 of GeneratedBodies/SPLIT/body_00000_poses.npz
DFaust_67_val/*.tar, MPI_Limits/*.tar  members NAME.input.pth: pcl_data [N, 3], label_data [N], poses [24, 3], betas [10], trans [3]
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from geo3d.body.parts import PARTS
from geo3d.data.bodies.amass import read_amass
from geo3d.data.bodies.samples import NUM_BETAS, BodySample, make_sample
from geo3d.data.files.numpy_files import load_npz
from geo3d.data.loading import item_generator
from geo3d.data.synthetic.bodies.scans import NO_PART

MAX_MEMBER = 1 << 28  # bytes of a sample in an archive


class ScannedBodies(Dataset[BodySample]):
    """Scans of a split of generated bodies; the points on the floor, which have no part, are left out.

    Args:
        root: the folder.
        split: "val" or "test".
        num_points: drawn of each scan, the same at every access.
        seed: of the drawing.

    Raises:
        FileNotFoundError: no scans of the split.
    """

    groups = ("ordinary", "hard")

    def __init__(self, root: str | Path, split: str, num_points: int = 5000, seed: int = 0):
        self.root, self.split, self.num_points, self.seed = Path(root), split, num_points, seed
        self.paths = sorted((self.root / "scans" / split).glob("*.ply"))
        if not self.paths:
            raise FileNotFoundError(f"ScannedBodies: no scans in {self.root / 'scans' / split}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> BodySample:
        from geo3d.data.synthetic.bodies.poses import HARD

        path = self.paths[index]
        source = self.root / "GeneratedBodies" / self.split / f"{path.stem.rsplit('_', 1)[0]}_poses.npz"
        poses, betas = read_amass(source)
        placed = load_npz(source, ("trans",))[0]["trans"][0]
        names = [str(name) for name in np.load(source)["names"]]
        points, labels = _labeled_points(path)
        on_body = labels != NO_PART
        rng = item_generator(index, self.seed, True)[1]
        chosen = drawn_points(int(on_body.sum()), self.num_points, rng)
        points, labels = points[on_body][chosen] - placed, labels[on_body][chosen]
        return make_sample(points, labels, poses[0], betas, int(all(name in HARD for name in names)))


class ArchivedBodies(Dataset[BodySample]):
    """Samples of the evaluation archives, the first `num_points` points of each, as published; a group for each folder of archives.

    Args:
        folders: of .tar files.
        num_points: of each sample.

    Raises:
        FileNotFoundError: a folder without archives.
        ValueError: an archive that cannot be read; the message names it.
    """

    def __init__(self, folders: Sequence[str | Path], num_points: int = 5000):
        self.num_points = num_points
        self.groups = tuple(Path(folder).name for folder in folders)
        self.members: list[tuple[int, Path, str]] = []
        for group, folder in enumerate(folders):
            archives = sorted(Path(folder).glob("*.tar"))
            if not archives:
                raise FileNotFoundError(f"ArchivedBodies: no .tar in {folder}")
            for path in archives:
                self.members += [(group, path, name) for name in _members(path)]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> BodySample:
        group, path, name = self.members[index]
        content = _read_member(path, name)
        points, labels, pose = content["pcl_data"], content["label_data"], content["poses"]
        if len(points) < self.num_points:
            raise ValueError(f"{path}: {name} has {len(points)} points, num_points is {self.num_points}")
        return make_sample(points[: self.num_points], labels[: self.num_points], pose, content["betas"], group)


def drawn_points(available: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Indices [wanted] of points drawn without repetition, or with it where there are too few."""
    return rng.choice(available, wanted, replace=available < wanted)


def _labeled_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    try:
        cloud: Any = trimesh.load(path, process=False)
        labels = cloud.metadata["_ply_raw"]["vertex"]["data"]["label"]
        return np.asarray(cloud.vertices, dtype=np.float64), np.asarray(labels).ravel().astype(np.int64)
    except Exception as error:  # trimesh raises whatever it meets
        raise ValueError(f"{path}: expected points with a label each, got {type(error).__name__}: {error}") from None


def _members(path: Path) -> list[str]:
    try:
        with tarfile.open(path) as archive:
            return sorted(member.name for member in archive if member.isfile() and member.name.endswith("input.pth"))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path}: expected a .tar of samples, got {error}") from None


def _read_member(path: Path, name: str) -> dict[str, np.ndarray]:
    with tarfile.open(path) as archive:
        member = archive.getmember(name)
        file = archive.extractfile(member) if member.size <= MAX_MEMBER else None
        if file is None:
            raise ValueError(f"{path}: {name} is no file of at most {MAX_MEMBER} bytes")
        content = file.read()
    wanted = {"pcl_data": (-1, 3), "label_data": (-1,), "poses": (-1, 3), "betas": (-1,)}
    try:
        with torch.serialization.safe_globals(_numpy_types()):
            given = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        arrays = {key: np.asarray(given[key], dtype=np.float64).reshape(shape) for key, shape in wanted.items()}
    except Exception as error:  # torch.load raises many kinds
        raise ValueError(f"{path}: {name} is no sample of pcl_data, label_data, poses and betas: {str(error)[:100]}") from None
    if len(arrays["poses"]) < PARTS or len(arrays["betas"]) < NUM_BETAS or len(arrays["pcl_data"]) != len(arrays["label_data"]):
        sizes: dict[str, list[int]] = {key: list(array.shape) for key, array in arrays.items()}
        raise ValueError(f"{path}: {name} expected {PARTS} poses, {NUM_BETAS} betas and a label for each point, got {sizes}")
    return arrays


def _numpy_types() -> list[Any]:
    """What pickled arrays of numbers name."""
    multiarray: Any = np._core.multiarray if hasattr(np, "_core") else np.core.multiarray  # type: ignore[attr-defined]
    kinds = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64, np.int32)]
    return [multiarray._reconstruct, np.ndarray, np.dtype, *kinds]
