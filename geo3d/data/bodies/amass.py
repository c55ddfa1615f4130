"""Poses and shapes from AMASS's files (Mahmood et al., ICCV 2019), and clouds of points sampled on them.

SUBSET/SUBJECT/SEQUENCE_poses.npz: poses [F, 156] axis-angle of SMPL-H (or [F, 3 J], root first), betas [16], trans [F, 3], gender
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from geo3d.body.parts import PARTS, part_labels
from geo3d.data.bodies.samples import NUM_BETAS, BodySample, make_sample
from geo3d.data.files.numpy_files import load_npz
from geo3d.data.loading import ItemKey, item_generator
from geo3d.data.synthetic.bodies.scans import ScanSettings, sample_scan, sample_settings

Turn = Literal["none", "euler", "uniform"]
IGNORED = ("shape.npz", "neutral_stagei.npz", "male_stagei.npz", "female_stagei.npz")  # AMASS's files without poses


class AmassPoses:
    """Poses and shapes of all frames in folders of AMASS.

    Args:
        folders: searched with all folders below.
        every: take each so many-th frame of a file; AMASS has up to 120 a second.

    Raises:
        FileNotFoundError: a folder that is not there, or no files in it.
        ValueError: a file with other arrays; the message names it.
    """

    def __init__(self, folders: Sequence[str | Path], every: int = 1):
        if every < 1:
            raise ValueError(f"AmassPoses: every must be at least 1, got {every}")
        self.files: list[Path] = []
        poses, betas, counts = [], [], []
        for folder in folders:
            found = sorted(path for path in Path(folder).rglob("*.npz") if path.name not in IGNORED)
            if not found:
                raise FileNotFoundError(f"AmassPoses: no .npz of AMASS in {folder}")
            for path in found:
                pose, shape = read_amass(path)
                self.files.append(path)
                poses.append(pose[::every])
                betas.append(shape)
                counts.append(len(poses[-1]))
        self.poses, self.betas = np.concatenate(poses), np.stack(betas)
        self.file_of_frame = np.repeat(np.arange(len(counts)), counts)

    def __len__(self) -> int:
        return len(self.poses)

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pose [66] axis-angle and shape [10] of a frame."""
        return self.poses[index], self.betas[self.file_of_frame[index]]


def read_amass(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Poses [F, 66] and shape [10] of a file of AMASS, float32.

    Raises:
        ValueError: other arrays.
    """
    arrays, names = load_npz(path, ("poses", "betas"))
    missing = [name for name in ("poses", "betas") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: expected poses and betas of AMASS, found {', '.join(names) or 'nothing'}")
    poses, betas = arrays["poses"], arrays["betas"]
    if poses.ndim != 2 or poses.shape[1] < 3 * PARTS or poses.shape[1] % 3 or betas.ndim != 1 or len(betas) < NUM_BETAS:
        raise ValueError(
            f"{path}: expected poses [F, at least {3 * PARTS}] and betas [at least {NUM_BETAS}], "
            f"got {list(poses.shape)} and {list(betas.shape)}"
        )
    poses, betas = poses[:, : 3 * PARTS].astype(np.float32), betas[:NUM_BETAS].astype(np.float32)
    if not (np.isfinite(poses).all() and np.isfinite(betas).all()):
        raise ValueError(f"{path}: expected finite poses and betas")
    return poses, betas


class SampledBodies(Dataset[BodySample]):
    """Points sampled on bodies anew at each access.

    Args:
        poses: of the bodies.
        body: file of the body model; None for the packaged one.
        num_points: of each cloud.
        turn: rotation of the whole body at random: "uniform" over all rotations, "euler" adds uniform angles to the root's Euler angles as
            published, which favours some, "none".
        scan: how the points are taken; None draws it anew for each (`sample_settings`), without floor.
        fixed: the same random numbers at every access.
        seed: of the random numbers.
    """

    def __init__(
        self,
        poses: AmassPoses,
        body: str | None = None,
        num_points: int = 5000,
        turn: Turn = "uniform",
        scan: ScanSettings | None = None,
        fixed: bool = False,
        seed: int = 0,
    ):
        if turn not in ("none", "euler", "uniform"):
            raise ValueError(f"SampledBodies: turn must be 'none', 'euler' or 'uniform', got {turn!r}")
        self.poses, self.body, self.num_points, self.turn, self.scan = poses, body, num_points, turn, scan
        self.fixed, self.seed = fixed, seed

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, key: ItemKey) -> BodySample:
        index, rng = item_generator(key, self.seed, self.fixed)
        pose, betas = self.poses.frame(index)
        pose = pose.copy()
        pose[:3] = turned(pose[:3], self.turn, rng)
        settings = replace(sample_settings(rng), floor=0.0) if self.scan is None else self.scan
        vertices, faces, labels = _body_mesh(self.body, pose, betas)
        points, parts = sample_scan(vertices, faces, labels, self.num_points, rng, settings)
        return make_sample(points, parts, pose, betas)


def turned(root: np.ndarray, turn: Turn, rng: np.random.Generator) -> np.ndarray:
    """The root's axis-angle [3] after a random rotation of the body."""
    if turn == "none":
        return root
    rotation = Rotation.from_rotvec(root)
    if turn == "uniform":
        rotation = Rotation.random(random_state=rng) * rotation
    else:
        rotation = Rotation.from_euler("XYZ", rotation.as_euler("XYZ") + rng.uniform(-np.pi, np.pi, 3))
    return rotation.as_rotvec().astype(np.float32)


@cache
def _model(path: str | None) -> tuple[Any, np.ndarray, np.ndarray]:  # a module of smplx, which is imported where it is used
    from geo3d.body.models import load_body_model

    body = load_body_model(path)
    return body, np.asarray(body.faces).astype(np.int64), part_labels(body.lbs_weights).numpy()


def _body_mesh(path: str | None, pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] of a posed body without translation, faces [F, 3] and the part of each vertex [V]."""
    body, faces, labels = _model(path)
    vectors = torch.from_numpy(pose).view(1, -1)
    with torch.no_grad():
        vertices = body(
            betas=torch.from_numpy(betas)[None],
            global_orient=vectors[:, :3],
            body_pose=torch.cat([vectors[:, 3:], vectors.new_zeros(1, 6)], 1),
        ).vertices[0]
    return vertices.numpy(), faces, labels
