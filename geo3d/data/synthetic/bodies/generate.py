"""Generated bodies: AMASS's files of poses and shapes, and scans of those that are not for training.

GeneratedBodies/{train,val,test}/body_00000_poses.npz   gender, betas [16], poses [F, 156], trans [F, 3], mocap_framerate, names [F] of the poses
scans/{val,test}/body_00000_00.ply                      points of frame 0 of such a file, in metres, with the part of each as `label`

The frames of a file are poses of one body and no movement. Shapes are those of the packaged body (`geo3d.body.load_body_model`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from geo3d.body.models import load_body_model
from geo3d.body.parts import part_labels
from geo3d.data.files.geometry import write_ply
from geo3d.data.synthetic.bodies.poses import HARD, POSES, sample_orientation, sample_pose
from geo3d.data.synthetic.bodies.scans import sample_scan, sample_settings
from geo3d.data.synthetic.writing import new_folder, write_each

VERSION = 1  # raised when the same seed gives other files
FOLDER, SCANS = "GeneratedBodies", "scans"
SMPLH_JOINTS = 52  # of AMASS: SMPL's without its two hands, and thirty of fingers
BODY_JOINTS = 22
SHAPE_SPREAD = 1.2  # standard deviations of the packaged body's coefficients
SCAN_POINTS = 10_000


def write_bodies(out: str | Path, size: int, seed: int, *, frames: int = 8, workers: int = 2) -> None:
    """Write bodies. A tenth is for validation and a fifth for testing; every other one of these is scanned in hard poses alone.

    Body i depends on the seed and i alone.

    Args:
        out: folder to write; it must not exist, or be empty. An interrupted run leaves nothing in it.
        size: number of bodies.
        seed: another seed gives other bodies.
        frames: poses of each body.
        workers: processes.

    Raises:
        FileExistsError: `out` holds something.
        ValueError: numbers below one.
    """
    if min(size, frames, workers) < 1:
        raise ValueError(f"write_bodies: size, frames and workers must be at least 1, got {size}, {frames} and {workers}")
    with new_folder(out) as folder:
        write = partial(_write_body, out=folder, seed=seed, frames=frames)
        write_each(write, size, workers, title="bodies", unit="body", fewest=16, chunk=4)


def split_of(number: int) -> str:
    """Split of a body."""
    return "test" if number % 5 == 4 else "val" if number % 10 == 3 else "train"


def _write_body(number: int, out: Path, seed: int, frames: int) -> None:
    rng = np.random.default_rng([seed, number])
    split, name = split_of(number), f"body_{number:05d}"
    betas = np.clip(rng.normal(0, SHAPE_SPREAD, 10), -3, 3)
    is_hard = split != "train" and (number // 10) % 2 == 1
    names = [(HARD if is_hard else tuple(POSES))[rng.integers(len(HARD) if is_hard else len(POSES))] for _ in range(frames)]
    poses = np.stack([sample_pose(rng, pose) for pose in names])
    poses[:, 0] = [sample_orientation(rng) for _ in range(frames)]
    placed = rng.uniform(-1, 1, (frames, 3))
    written = np.zeros((frames, 3 * SMPLH_JOINTS))
    written[:, : 3 * BODY_JOINTS] = poses[:, :BODY_JOINTS].reshape(frames, -1)
    home = out / FOLDER / split
    home.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        home / f"{name}_poses.npz",
        gender=np.array("neutral"),
        betas=np.append(betas, np.zeros(6)),
        poses=written,
        trans=placed,
        mocap_framerate=np.array(120.0),
        names=np.array(names),
    )
    if split != "train":
        _write_scan(out / SCANS / split / f"{name}_00.ply", betas, written[0], placed[0], rng)


def _write_scan(path: Path, betas: np.ndarray, pose: np.ndarray, placed: np.ndarray, rng: np.random.Generator) -> None:
    body = load_body_model()
    vectors = torch.from_numpy(pose[: 3 * BODY_JOINTS]).float()
    with torch.no_grad():
        vertices = body(
            betas=torch.from_numpy(betas).float()[None],
            global_orient=vectors[None, :3],
            body_pose=torch.cat([vectors[3:], torch.zeros(6)])[None],
            transl=torch.from_numpy(placed).float()[None],
        ).vertices[0]
    labels = part_labels(body.lbs_weights).numpy()
    points, parts = sample_scan(vertices.numpy(), body.faces.astype(np.int64), labels, SCAN_POINTS, rng, sample_settings(rng))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ply(path, points, labels=parts)
