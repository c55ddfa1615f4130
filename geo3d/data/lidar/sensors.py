"""How the data sets mount their LiDAR: where the car drives in the frame of the points, and where the ground is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Axis = Literal["x", "-x", "y", "-y"]


@dataclass(frozen=True)
class Sensor:
    """The frame of a sweep's points.

    Attributes:
        forward: the axis that points where the car drives; z points up.
        height: metres of the origin above the ground.
        lean: degrees by which the ground rises ahead in this frame below 0: the sensor leans forward.
    """

    forward: Axis
    height: float
    lean: float = 0.0


SENSORS: dict[str, Sensor] = {
    "kitti": Sensor("x", 1.73, -0.7),  # by 0.2 to 1 degree in its frames, as the ground shows
    "nuscenes": Sensor("y", 1.84),
    "lyft": Sensor("-x", 1.83),  # as the calibration of host-a017 has it
    "waymo": Sensor("x", 0.0),  # the frame of the car, on the ground
    "argoverse2": Sensor("x", 0.33),  # the frame of the car, at its rear axle
}


def forward_angle(axis: str) -> float:
    """Radians from +x to an axis, counter-clockwise.

    Raises:
        ValueError: not one of x, -x, y, -y.
    """
    if axis not in get_args(Axis):
        raise ValueError(f"forward: expected one of {', '.join(get_args(Axis))}, got {axis!r}")
    return {"x": 0.0, "y": np.pi / 2, "-x": np.pi, "-y": -np.pi / 2}[axis]
