"""The ground around a sensor: a plane through the flat places of a sweep, and the pose that levels it.

ground = find_ground(points)  # None in a room, or from the air
level = level_pose(ground.normal)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_DISTANCE, MIN_DISTANCE = 20.0, 2.0  # metres around the sensor where ground is looked for; nearer points are on the car
NEAR = 6.0  # metres; places further out count less and less, as streets bend and yards rise
CELL, FLAT, MIN_POINTS = 0.5, 0.25, 3  # metres, metres, points: what makes a place flat
MAX_TILT = 25.0  # degrees
CLOSE, BELOW = 0.12, 0.3  # metres off the plane: up to which a place lies on it, from which one below speaks against it
HYPOTHESES, STARTS, ROUNDS, SCORED = 600, 12, 10, 1000
MIN_AREA = 45  # square metres with flat ground: floors of rooms have about 25, streets seen by one camera alone 75
FAR, MIN_FAR_AREA = 10.0, 10  # metres, square metres: a floor ends before
HEIGHTS = (-0.5, 6.0)  # metres of a car's, a robot's or a pole's sensor above the ground
MIN_FALLOFF = 1.6  # of the density of ground points from 4..8 to 12..20 m; from the air it is 1, of LiDARs on cars 2.7 to 11


@dataclass(frozen=True, eq=False)
class Ground:
    """The plane of the ground: points with normal @ point + height = 0.

    Attributes:
        normal: [3] float64 unit vector that points up.
        height: metres of the origin above the plane.
        area: square metres with flat ground, within 20 m.
    """

    normal: np.ndarray
    height: float
    area: float


def find_ground(points: np.ndarray) -> Ground | None:
    """The ground near a sensor at the origin, or None where points show none.

    Flat places vote for planes through three of them, near places more than far ones; the best planes are fitted to the places
    on them by weighted least squares with a biweight. A plane is the ground if enough of it is seen, if the origin is as high
    above it as sensors are, and if its points thin out with the distance, as those of a sensor do.

    Args:
        points: [N, 3 or more], metres, z up within 25 degrees.

    Returns:
        The same for the same points; the order of the points may matter within the noise.
    """
    xyz = np.asarray(points)[:, :3].astype(np.float64)
    distance = np.hypot(xyz[:, 0], xyz[:, 1])
    xyz = xyz[(distance < MAX_DISTANCE) & (distance > MIN_DISTANCE)]
    places = _flat_places(xyz)
    plane = _best_plane(places) if len(places) >= MIN_AREA else None
    if plane is None:
        return None
    normal, height = plane
    ground, points_on = (each[np.abs(each @ normal + height) < CLOSE] for each in (places, xyz))
    area, far_area = _area(ground), _area(ground[np.hypot(ground[:, 0], ground[:, 1]) > FAR])
    seen = area >= MIN_AREA and far_area >= MIN_FAR_AREA and _falloff(points_on) >= MIN_FALLOFF
    return Ground(normal, height, float(area)) if seen and HEIGHTS[0] <= height <= HEIGHTS[1] else None


def level_pose(normal: np.ndarray) -> np.ndarray:
    """[4, 4] the smallest rotation about the origin that turns a unit vector [3] that points upwards to +z."""
    axis = np.array([normal[1], -normal[0], 0.0])  # normal x z
    cross = np.array([[0, 0, axis[1]], [0, 0, -axis[0]], [-axis[1], axis[0], 0]])
    pose = np.eye(4)
    pose[:3, :3] += cross + cross @ cross / (1 + normal[2])
    return pose


def _flat_places(xyz: np.ndarray) -> np.ndarray:
    """[P, 3] the mean of the points in each cell that holds some, all at about one height."""
    cell = np.floor(xyz[:, :2] / CELL).astype(np.int64)
    key = cell[:, 0] * 4096 + cell[:, 1]
    order = np.lexsort((xyz[:, 2], key))
    xyz, key = xyz[order], key[order]
    first = np.flatnonzero(np.diff(key, prepend=key[:1] - 1))
    if not len(first):
        return np.zeros((0, 3))
    count = np.diff(first, append=len(key))
    flat = (count >= MIN_POINTS) & (xyz[first + count - 1, 2] - xyz[first, 2] < FLAT)
    return (np.add.reduceat(xyz, first, axis=0) / count[:, None])[flat]


def _best_plane(places: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Normal and height of the plane that most places are on, and few below."""
    generator = np.random.default_rng(0)
    weights = 1 / (1 + (places[:, 0] ** 2 + places[:, 1] ** 2) / NEAR**2)
    corners = places[generator.choice(len(places), (HYPOTHESES, 3), p=weights / weights.sum())]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    upright = np.abs(normals[:, 2]) > np.cos(np.radians(MAX_TILT)) * np.maximum(lengths, 4.0)  # thin triangles say nothing
    if not upright.any():
        return None
    normals = normals[upright] / lengths[upright, None] * np.sign(normals[upright, 2:])
    heights = -(normals * corners[upright, 0]).sum(1)
    some = generator.permutation(len(places))[:SCORED]
    scores = _score(places[some], weights[some], normals, heights)
    found = [_fit(places, weights, normals[row], heights[row]) for row in np.argsort(-scores, kind="stable")[:STARTS]]
    planes = [plane for plane in found if plane is not None]
    if not planes:
        return None
    scores = _score(places, weights, np.stack([normal for normal, _ in planes]), np.array([height for _, height in planes]))
    return planes[int(scores.argmax())]


def _score(places: np.ndarray, weights: np.ndarray, normals: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """[H] weight of the places on each plane, less that of those below it: nothing is below the ground."""
    distance = places @ normals.T + heights  # [P, H]
    return weights @ (np.clip(1 - (distance / CLOSE) ** 2, 0, 1) - (distance < -BELOW))


def _fit(places: np.ndarray, weights: np.ndarray, normal: np.ndarray, height: float) -> tuple[np.ndarray, float] | None:
    """The plane moved to the places near it, in rounds that look less and less far; None if it loses them."""
    columns = np.column_stack([places[:, :2], np.ones(len(places))])
    for turn in range(ROUNDS):
        distance = (places @ normal + height) / max(2 * CLOSE * 0.8**turn, CLOSE)
        share = weights * np.clip(1 - distance**2, 0, 1) ** 2
        matrix = (columns * share[:, None]).T @ columns
        if np.count_nonzero(share) < 10 or np.linalg.cond(matrix) > 1e8:
            return None
        slope_x, slope_y, middle = np.linalg.solve(matrix, columns.T @ (share * places[:, 2]))
        normal = np.array([-slope_x, -slope_y, 1]) / np.sqrt(slope_x**2 + slope_y**2 + 1)
        height = float(-normal[2] * middle)
    return normal, height


def _area(places: np.ndarray) -> int:
    """Square metres that hold some."""
    return len(np.unique(np.floor(places[:, :2]).astype(np.int64), axis=0))


def _falloff(on_ground: np.ndarray) -> float:
    """How much denser ground points are at 4..8 m than at 12..20 m."""
    distance = np.hypot(on_ground[:, 0], on_ground[:, 1])
    near, far = (on_ground[(distance > low) & (distance < high)] for low, high in ((4, 8), (12, MAX_DISTANCE)))
    return (len(near) / max(_area(near), 1)) / max(len(far) / max(_area(far), 1), 1e-9)
