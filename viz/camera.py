"""Where a picture is taken from: named and free views, and the camera that makes the content fill the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

AXES = {name: np.array(axis, dtype=np.float64) for name, axis in (("x", (1, 0, 0)), ("y", (0, 1, 0)), ("z", (0, 0, 1)))}
AXES |= {f"-{name}": -axis for name, axis in AXES.items()}
_FRONT = {"x": "z", "y": "z", "z": "x"}  # seen from the front, the camera stands on this axis


@dataclass(frozen=True)
class View:
    """A direction to look from.

    Attributes:
        azimuth_deg: around the up axis, counter-clockwise seen from above; 0 is the front: +x where z is up (the way a
            LiDAR car drives), +z where y is up.
        elevation_deg: above the horizon, -90 to 90.
        fov_deg: opening angle along the shorter side of the picture; small angles flatten the perspective.
        coverage: share of the points that must be in the picture, those nearest to the middle; less than 1 lets a
            LiDAR sweep's few far points leave it.
        frame: [2, 3] lowest and highest corner of the part to show, in the scene's coordinates,
            instead of the points.
    """

    azimuth_deg: float = 40.0
    elevation_deg: float = 25.0
    fov_deg: float = 30.0
    coverage: float = 1.0
    frame: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    def __post_init__(self) -> None:
        if not -90 <= self.elevation_deg <= 90:
            raise ValueError(f"elevation_deg must be in -90..90, got {self.elevation_deg}")
        if not 1 <= self.fov_deg <= 120:
            raise ValueError(f"fov_deg must be in 1..120, got {self.fov_deg}")
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage must be in 0..1, got {self.coverage}")
        if self.frame is not None and not (np.shape(self.frame) == (2, 3) and (np.diff(self.frame, axis=0) > 0).all()):
            raise ValueError(f"frame must be [2, 3], lowest corner first, got {self.frame}")


VIEWS = {
    "corner": View(),
    "front": View(0, 8),
    "back": View(180, 8),
    "left": View(90, 8),
    "right": View(-90, 8),
    "top": View(-90, 90),
    "driver": View(180, 28, fov_deg=40, coverage=0.85),
}


@dataclass(frozen=True)
class Camera:
    """A perspective camera: `axes` [3, 3] has rows right, down, forward; `eye` [3]; focal length in pixels; picture in pixels.

    `stretch` is the vertical focal length over the horizontal one, and `center` the pixel straight ahead, the picture's
    middle when None.
    """

    axes: np.ndarray
    eye: np.ndarray
    focal: float
    width: int
    height: int
    stretch: float = 1.0
    center: tuple[float, float] | None = None

    @property
    def middle(self) -> tuple[float, float]:
        """The pixel straight ahead."""
        return (self.width / 2, self.height / 2) if self.center is None else self.center

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """points [N, 3] -> [N, 3] right, down, forward of the eye."""
        return (points - self.eye) @ self.axes.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """points [N, 3] before the camera -> pixels [N, 2], x right, y down."""
        local = self.to_camera(points)
        return local[:, :2] / local[:, 2:] * (self.focal, self.focal * self.stretch) + self.middle


def pinhole_camera(
    intrinsics: np.ndarray, camera_from_world: np.ndarray, scale: tuple[float, float], size: tuple[int, int]
) -> Camera:
    """The camera of an image that is shown larger or smaller.

    Args:
        intrinsics: [3, 3] in pixels of the image.
        camera_from_world: [4, 4].
        scale: pixels shown for a pixel of the image, across and down.
        size: (width, height) of what is shown.
    """
    axes, shift = camera_from_world[:3, :3], camera_from_world[:3, 3]
    focal, focal_down = intrinsics[0, 0] * scale[0], intrinsics[1, 1] * scale[1]
    center = (float(intrinsics[0, 2] * scale[0]), float(intrinsics[1, 2] * scale[1]))
    return Camera(axes, -axes.T @ shift, float(focal), *size, stretch=float(focal_down / focal), center=center)


def as_view(view: str | View) -> View:
    """The view of a name, or the view itself.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(view, View):
        return view
    if view not in VIEWS:
        raise ValueError(f"view must be a View or one of {', '.join(VIEWS)}, got {view!r}")
    return VIEWS[view]


@dataclass(frozen=True)
class Orbit:
    """What a viewer turns around: `up` and `front` [3] axes, target [3], distance of the eye from it, radius of the content."""

    up: np.ndarray
    front: np.ndarray
    target: np.ndarray
    distance: float
    radius: float


def orbit_around(camera: Camera, up: str, content: np.ndarray) -> Orbit:
    """The orbit of a camera that `fit_camera` placed for this content [N, 3]: around the middle of what it sees, straight ahead."""
    ahead = content[camera.to_camera(content)[:, 2] > 0]
    pixels = camera.project(ahead)
    seen = ahead[((pixels >= 0) & (pixels <= (camera.width, camera.height))).all(axis=1)]
    distance = float(np.median(camera.to_camera(seen)[:, 2])) if len(seen) else 1.0
    radius = float(np.linalg.norm(content, axis=1).max()) if len(content) else 1.0
    return Orbit(AXES[up], _front(up), camera.eye + distance * camera.axes[2], distance, max(radius, 1e-6))


def fit_camera(points: np.ndarray, view: View, up: str, size: tuple[int, int], margin: float) -> Camera:
    """The nearest camera of this direction that sees all points, at least `margin` pixels from the border.

    Each side of the picture is a plane through the eye, and each point must be on its inner side: that bounds the eye
    along two axes, and the nearest eye within the bounds is exact for perspective.

    Args:
        points: [N, 3], N > 0, what must be seen.
        view: the direction.
        up: the axis that points up.
        size: (width, height) of the picture in pixels.
        margin: pixels that stay empty at each side.
    """
    width, height = size
    up_axis, front = AXES[up], _front(up)
    side = np.cross(up_axis, front)
    azimuth, elevation = math.radians(view.azimuth_deg), math.radians(view.elevation_deg)
    outward = math.cos(azimuth) * front + math.sin(azimuth) * side  # from the scene to the camera, on the ground
    backward = math.cos(elevation) * outward + math.sin(elevation) * up_axis
    right = np.cross(up_axis, outward)
    axes = np.stack([right, np.cross(right, backward), -backward])  # right, down, forward
    focal = 0.5 * min(width, height) / math.tan(math.radians(view.fov_deg) / 2)
    local = points @ axes.T
    extent = float(np.ptp(local, axis=0).max()) or 1.0  # a single point gets a picture, too
    slopes = [max(half - margin, 0.25 * half) / focal for half in (width / 2, height / 2)]
    bounds = [
        (float((local[:, k] - slope * local[:, 2]).max()), float((local[:, k] + slope * local[:, 2]).min()))
        for k, slope in enumerate(slopes)
    ]
    depth = min((low - high) / (2 * slope) for (high, low), slope in zip(bounds, slopes, strict=True))
    depth = min(depth, float(local[:, 2].min()) - 0.05 * extent)  # nothing touches the lens
    eye = np.array([(high + low) / 2 for high, low in bounds] + [depth])
    camera = Camera(axes, eye @ axes, focal, width, height)
    for _ in range(4):  # the side with room to spare: centre what is seen, which perspective makes a little off centre
        pixels = camera.project(points)
        shift = (pixels.min(axis=0) + pixels.max(axis=0) - (width, height)) / 2 / focal
        eye[:2] += shift * (np.median(local[:, 2]) - depth)
        eye[:2] = [np.clip(eye[k], high + slopes[k] * depth, low - slopes[k] * depth) for k, (high, low) in enumerate(bounds)]
        camera = Camera(axes, eye @ axes, focal, width, height)
    return camera


def _front(up: str) -> np.ndarray:
    """[3] where the camera stands that sees the front."""
    front: np.ndarray = AXES[_FRONT[up[-1]]] * (-1 if up.startswith("-") else 1)
    return front
