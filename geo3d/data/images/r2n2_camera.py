"""The camera of 3D-R2N2's renderings (Choy et al., ECCV 2016): Blender's, 35 mm focal length on a 32 mm sensor, around the origin.

rendering_metadata.txt has a line a view: azimuth, elevation and tilt in degrees, distance, and field of view in degrees. The camera
looks at the origin from 1.75 times the distance, which the released renderings bear out. Objects are as ShapeNet has them, y up, the
diagonal of their box of length 1, and the middle of their voxel grid is the origin.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from geo3d.geometry.cameras import Camera, pinhole

FOCAL_MM, SENSOR_MM, STEP = 35.0, 32.0, 1.75
IMAGE_SIZE = 137  # pixels
FIELD_OF_VIEW = 25.0  # degrees, as every line says; the focal length is what holds
METADATA = "rendering_metadata.txt"


class R2N2View(NamedTuple):
    """A line of the metadata: degrees, and the distance before it is multiplied by STEP."""

    azimuth: float
    elevation: float
    distance: float

    def camera(self, image_size: int = IMAGE_SIZE) -> Camera:
        """The camera in the object's frame, which stands for the LiDAR's."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        flat = np.cos(elevation)
        forward = -np.array([flat * np.cos(azimuth), np.sin(elevation), flat * np.sin(azimuth)])
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        pose[2, 3] = STEP * self.distance
        focal, middle = FOCAL_MM / SENSOR_MM * image_size, (image_size - 1) / 2
        intrinsics = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
        return pinhole(intrinsics, pose, (image_size, image_size))


def draw_views(count: int, rng: np.random.Generator) -> list[R2N2View]:
    """Views as those of the released renderings: all around, from 25 to 30 degrees above, at distances from 0.65 to 0.95."""
    azimuth, elevation, distance = rng.uniform(0, 360, count), rng.uniform(25, 30, count), rng.uniform(0.65, 0.95, count)
    return [R2N2View(*map(float, view)) for view in zip(azimuth, elevation, distance, strict=True)]


def read_views(path: str | Path) -> list[R2N2View]:
    """The views of a model, in the order of its pictures.

    Args:
        path: its rendering_metadata.txt.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not as this module's docstring says.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    views = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            azimuth, elevation, _, distance, _ = (float(word) for word in line.split())
        except ValueError:
            raise ValueError(f"{path}: expected five numbers in line {number}, got {line[:60]!r}") from None
        views.append(R2N2View(azimuth, elevation, distance))
    return views


def write_views(path: str | Path, views: list[R2N2View]) -> None:
    """Write a rendering_metadata.txt."""
    lines = (f"{v.azimuth:.9f} {v.elevation:.9f} 0 {v.distance:.9f} {FIELD_OF_VIEW:g}\n" for v in views)
    Path(path).write_text("".join(lines))
