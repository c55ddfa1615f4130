"""From the frame of any sensor to the one that a detector was trained in: heading, height and level of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geo3d.data.lidar.sensors import Sensor, forward_angle
from geo3d.data.lidar.sweeps import LidarSample
from geo3d.geometry.boxes import transform_boxes
from geo3d.geometry.cameras import Camera, invert_rigid
from geo3d.geometry.ground import Ground, find_ground, level_pose

# Within these a sweep stays as it is: trainings have seen as much, and finding the ground errs by as much. The streets of the generator
# differ by 0.1 m and 1.2 degrees along the street; KITTI's sensor leans forward by up to 1 degree, so that the band for the pitch is both
# about level and about the lean of the training's sensor. Across, streets and what is beside them lean by up to 3 degrees under a level
# car (KITTI's frames 000003 and 000008), and objects are nearer.
HEIGHT_BAND = 0.15  # metres
PITCH_BAND, ROLL_BAND = 1.25, 3.0  # degrees
LOOKS_FORWARD = np.cos(np.radians(45.0))


@dataclass(frozen=True)
class Mounting:
    """What the user knows about the sensor.

    Attributes:
        forward: the axis that points where the car drives: "x", "-x", "y" or "-y"; None: as the data set has it, else x.
        height: metres of the origin above the ground; None: as found in the points.
        level: look for the ground and bring the sweep to its height and level. False: as the user or the data set says.
    """

    forward: str | None = None
    height: float | None = None
    level: bool = True

    def __post_init__(self) -> None:
        if self.forward is not None:
            forward_angle(self.forward)
        if self.height is not None and not abs(self.height) < 100:
            raise ValueError(f"sensor height: expected metres above the ground, got {self.height}")


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a sweep stands in the frame of the training.

    Attributes:
        network_from_points: [4, 4] float64 from the frame of the points to that of the training.
        ground: as it was found in the points' frame turned so that x points forward; None where none was found or looked for.
        forward: axis of the points that was taken as pointing forward.
        moved: metres up that the sweep was moved by; pitch and roll: degrees, nose down and left side down, that it was levelled by.
        note: what a user should know, in one line; "" where nothing.
    """

    network_from_points: np.ndarray
    ground: Ground | None
    forward: str
    moved: float
    pitch: float
    roll: float
    note: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the files of results."""
        ground = None if self.ground is None else {"height": round(self.ground.height, 3), "area": self.ground.area}
        return {
            "ground": ground,
            "forward": self.forward,
            "moved_up": round(self.moved, 3),
            "levelled_pitch_deg": round(self.pitch, 2),
            "levelled_roll_deg": round(self.roll, 2),
            "note": self.note,
        }


def place(sample: LidarSample, trained: Sensor, mounting: Mounting | None = None, *, all_around: bool = False) -> Placement:
    """Where a sweep stands: as its data set or the user says, and beyond the bands above as its ground says.

    Args:
        sample: the sweep.
        trained: the frame of the network's training.
        mounting: what the user knows.
        all_around: objects are looked for on all sides, so that level is level, and the narrow band holds for both angles.
    """
    return placements(sample, trained, mounting, all_around=all_around)[0]


def placements(
    sample: LidarSample, trained: Sensor, mounting: Mounting | None = None, *, all_around: bool = False
) -> list[Placement]:
    """As `place`, or where that is doubtful as the sweep stands and, second, levelled: the ground leans as streets do under a level
    sensor, and as none does under one that leans as the training's (0.55 to 1.25 degrees up for KITTI's); or the other way round."""
    known, mounting = sample.sensor or trained, mounting or Mounting()
    forward = known.forward if mounting.forward is None else mounting.forward
    turn, back = turned(-forward_angle(forward)), turned(forward_angle(trained.forward))
    height = known.height if mounting.height is None else mounting.height
    ground = find_ground(sample.points[:, :3].numpy() @ turn[:3, :3].T) if mounting.level else None
    if ground is None:
        note = f"no ground found within 20 m of the origin; taken as {height:.2f} m below it" if mounting.level else ""
        level = np.eye(4)
        level[2, 3] = height - trained.height
        return [Placement(back @ level @ turn, None, forward, float(level[2, 3]), 0.0, 0.0, note)]
    is_found = mounting.height is None and abs(ground.height - height) > HEIGHT_BAND
    up = (ground.height if is_found else height) - trained.height
    lean = 0.0 if all_around else trained.lean
    roll_band = PITCH_BAND if all_around else ROLL_BAND
    found = []
    for keep in _kept(ground.normal, lean):
        level, pitch, roll = _levelled(ground.normal, None if keep else lean, roll_band, up)
        note = ""
        if is_found or pitch or roll:
            steps = [f"moved {up:+.2f} m", *_leaning(pitch, roll)]
            note = f"ground found {ground.height:.2f} m below the origin: {', '.join(steps)} to stand as in training"
        found.append(Placement(back @ level @ turn, ground, forward, up, pitch, roll, note))
    return found


def _kept(normal: np.ndarray, lean: float) -> list[bool]:
    """Whether the pitch stays as it is: yes, no, or both."""
    pitch = np.degrees(np.arctan2(normal[0], normal[2]))
    near = [abs(pitch - usual) <= PITCH_BAND for usual in (0.0, lean)]
    return [all(near)] if all(near) == any(near) else [True, False]


def _levelled(normal: np.ndarray, lean: float | None, roll_band: float, up: float) -> tuple[np.ndarray, float, float]:
    """[4, 4] the pose that brings the ground to a lean (degrees; None: leaves its pitch) and up, and pitch and roll that it changes."""
    pitch, roll = (float(np.degrees(np.arctan2(normal[axis], normal[2]))) for axis in (0, 1))
    keeps_roll = abs(roll) <= roll_band
    normal = normal * [lean is not None, not keeps_roll, 1]
    level = level_pose(normal / np.linalg.norm(normal))
    level[2, 3] = up
    if lean is not None:
        angle = np.radians(lean)
        level = invert_rigid(level_pose(np.array([np.sin(angle), 0, np.cos(angle)]))) @ level
    return level, 0.0 if lean is None else pitch - lean, 0.0 if keeps_roll else roll


def move_points(points: Tensor, pose: np.ndarray) -> Tensor:
    """Points [N, 3 + F] in another frame; the very same where the pose is none."""
    if np.array_equal(pose, np.eye(4)):
        return points
    rotation, translation = torch.from_numpy(pose[:3, :3]), torch.from_numpy(pose[:3, 3])
    return torch.cat([(points[:, :3].double() @ rotation.T + translation).to(points.dtype), points[:, 3:]], 1)


def move_boxes_back(boxes: Tensor, pose: np.ndarray) -> Tensor:
    """Boxes [K, 7 or 9] from the frame that a pose leads to."""
    if np.array_equal(pose, np.eye(4)):
        return boxes
    return transform_boxes(boxes.double(), invert_rigid(pose)).to(boxes.dtype)


def looks_forward(camera: Camera, forward: str) -> bool:
    """Whether a camera looks where the car drives, within 45 degrees."""
    sight = camera.lidar_from_camera[:3, 2]
    angle = forward_angle(forward)
    return bool(sight[0] * np.cos(angle) + sight[1] * np.sin(angle) > LOOKS_FORWARD)


def turned(angle: float) -> np.ndarray:
    """[4, 4] rotation about z; right angles are exact."""
    cos, sin = (round(value, 15) for value in (np.cos(angle), np.sin(angle)))
    pose = np.eye(4)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    return pose


def _leaning(pitch: float, roll: float) -> list[str]:
    return [f"levelled by {name} {angle:+.1f} degrees" for name, angle in (("pitch", pitch), ("roll", roll)) if angle]
