"""The course of a generated street and its ground: carriageway with a crown, curbs, sidewalks, yards, a crossing, markings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.streets.mesh import Mesh, Surface, joined

REACH = 88.0  # metres of street ahead and behind, farther than the LiDAR sees
CURB_RAMP = 0.05  # metres across over which a curb rises


@dataclass(frozen=True)
class Street:
    """A street in the frame of a LiDAR that drives along it.

    Places on it are (s, t): metres along its middle, 0 at the LiDAR, and metres to the left of the middle. Pairs are right, left.

    Attributes:
        lanes: half the width of the carriageway without parking strips.
        parking: widths of the parking strips; 0 for none.
        sidewalk: widths of the sidewalks.
        crown: fall of the carriageway with the square of the distance from the middle, 1 / metres.
        curb: height of the curbs.
        lidar_t: place of the LiDAR across the street.
        lidar_yaw: its direction relative to the street, radians.
        lidar_height: above the carriageway.
        curvature: of the middle line, 1 / metres, positive to the left.
        slope: of the ground in the frame of the LiDAR, along and across.
        bend: rise of the ground with the square of s, 1 / metres.
        wave: amplitude (metres) and length (metres) of gentle undulation, and its phase (radians).
        rise: slope of the yards away from the street.
        crossing: place along the street and width of a side street, or None.
    """

    lanes: float
    parking: tuple[float, float]
    sidewalk: tuple[float, float]
    crown: float
    curb: float
    lidar_t: float
    lidar_yaw: float
    lidar_height: float
    curvature: float
    slope: tuple[float, float]
    bend: float
    wave: tuple[float, float, float]
    rise: tuple[float, float]
    crossing: tuple[float, float] | None

    @property
    def edges(self) -> tuple[float, float]:
        """Distance of the curbs from the middle."""
        return self.lanes + self.parking[0], self.lanes + self.parking[1]

    def in_crossing(self, s: np.ndarray | float, margin: float = 0.0) -> np.ndarray:
        """Whether the side street passes at s."""
        if self.crossing is None:
            return np.zeros(np.shape(s), bool)
        return np.abs(np.asarray(s) - self.crossing[0]) < self.crossing[1] / 2 + margin

    def pose(self, s: np.ndarray | float, t: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and the direction of the street (radians) at places, in the frame of the LiDAR."""
        s, t = np.asarray(s, float), np.asarray(t, float)
        angle = s * self.curvature
        x = s * np.sinc(angle / np.pi) - t * np.sin(angle)
        y = s * angle / 2 * np.sinc(angle / (2 * np.pi)) ** 2 + t * np.cos(angle) - self.lidar_t
        cos, sin = np.cos(self.lidar_yaw), np.sin(self.lidar_yaw)
        return x * cos + y * sin, y * cos - x * sin, angle - self.lidar_yaw

    def height(self, s: np.ndarray | float, t: np.ndarray | float) -> np.ndarray:
        """z of the ground at places."""
        s, t = np.broadcast_arrays(np.asarray(s, float), np.asarray(t, float))
        amplitude, length, phase = self.wave
        wave = amplitude * (np.sin(2 * np.pi * s / length + phase) - np.sin(phase))
        z = -self.lidar_height + self.slope[0] * s + self.slope[1] * (t - self.lidar_t) + self.bend * s**2 + wave
        edge = np.where(t < 0, self.edges[0], self.edges[1])
        side = np.where(t < 0, self.sidewalk[0], self.sidewalk[1])
        rise = np.where(t < 0, self.rise[0], self.rise[1])
        z = z - self.crown * (np.minimum(np.abs(t), edge) ** 2 - self.lidar_t**2)
        step = self.curb * np.clip((np.abs(t) - edge) / CURB_RAMP, 0, 1)
        yard = rise * np.clip(np.abs(t) - edge - side, 0, 25)
        return z + np.where(self.in_crossing(s), 0.0, step + yard)


def draw_street(rng: np.random.Generator, kind: str) -> Street:
    """A street of a kind: "city", "suburb" or "country"."""
    lanes = rng.uniform(2.5, 4.0) if kind != "city" or rng.random() < 0.7 else rng.uniform(5.5, 7.0)
    strips = {"city": 0.75, "suburb": 0.5, "country": 0.15}[kind]
    parking = [rng.choice([2.1, 4.9], p=[0.75, 0.25]) if rng.random() < strips else 0.0 for _ in range(2)]
    crossing = (rng.choice([-1, 1], p=[0.25, 0.75]) * rng.uniform(12, 60), rng.uniform(6, 9)) if rng.random() < 0.6 else None
    return Street(
        lanes=lanes,
        parking=(float(parking[0]), float(parking[1])),
        sidewalk=(rng.uniform(1.1, 3.5), rng.uniform(1.1, 3.5)),
        crown=rng.uniform(0, 0.03) / (lanes + max(parking)),
        curb=rng.uniform(0.06, 0.15) if kind != "country" else rng.uniform(0.0, 0.1),
        lidar_t=-lanes / 2 + rng.uniform(-0.3, 0.5),
        lidar_yaw=rng.normal(0, 0.03),
        lidar_height=1.73 + rng.normal(0, 0.015),
        curvature=rng.normal(0, 1 / 500) if rng.random() < 0.6 else 0.0,
        slope=(float(np.clip(rng.normal(0, 0.006), -0.013, 0.013)), float(np.clip(rng.normal(0, 0.007), -0.015, 0.015))),
        bend=float(np.clip(rng.normal(0, 8e-5), -2e-4, 2e-4)),
        wave=(rng.uniform(0, 0.15), rng.uniform(50, 120), rng.uniform(0, 2 * np.pi)),
        rise=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        crossing=crossing,
    )


def ground(rng: np.random.Generator, street: Street, grassy: tuple[bool, bool]) -> Mesh:
    """The surface that everything stands on, with markings."""
    s = np.arange(-REACH, REACH + 1, 1.6)
    if street.crossing is not None:
        middle, width = street.crossing
        s = np.unique(np.concatenate([s, *(middle + side * (width / 2 + np.array([-0.02, 0.02])) for side in (-1, 1))]))
    t = _columns(street)
    along, across = np.meshgrid(s, t, indexing="ij")
    z = street.height(along, across)
    edge, side = (np.where(across < 0, *pair) for pair in (street.edges, street.sidewalk))
    rough = (np.abs(across) > edge + side + 0.1) & np.where(across < 0, *grassy) & ~street.in_crossing(along, 0.5)
    z = z + rough * rng.normal(0, 0.025, z.shape) + _lumps(rng, along, across)
    x, y, _ = street.pose(along, across)
    rows, columns = len(s) - 1, len(t) - 1
    start = (np.arange(rows)[:, None] * len(t) + np.arange(columns)).reshape(-1, 1)
    faces = np.concatenate([start + [0, len(t), 1], start + [1, len(t), len(t) + 1]], 1).reshape(-1, 3)
    kinds = _kinds(street, (s[:-1] + s[1:]) / 2, (t[:-1] + t[1:]) / 2, grassy)
    surfaces = (
        Surface(rng.uniform(0.24, 0.36), (92, 92, 96)),
        Surface(rng.uniform(0.28, 0.4), (150, 147, 142)),
        Surface(rng.uniform(0.28, 0.45), (88, 118, 62)),
    )
    mesh = Mesh(np.stack([x, y, z], -1).reshape(-1, 3), faces, np.repeat(kinds.ravel(), 2), surfaces)
    return joined([mesh, _markings(rng, street)])


def _lumps(rng: np.random.Generator, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Unevenness of a centimetre or two that worn ground has."""
    angle = rng.uniform(0, np.pi, (12, 1, 1))
    length, phase = rng.uniform(3.5, 16, (12, 1, 1)), rng.uniform(0, 2 * np.pi, (12, 1, 1))
    waves = np.sin(2 * np.pi * (s * np.cos(angle) + t * np.sin(angle)) / length + phase)
    return waves.sum(0) * rng.uniform(0.001, 0.004)


def _columns(street: Street) -> np.ndarray:
    """Places across the street where the mesh has vertices."""
    columns = [np.linspace(-street.edges[0], street.edges[1], 11), np.zeros(1)]
    for sign, edge, side in zip((-1, 1), street.edges, street.sidewalk, strict=True):
        outer = edge + side
        columns.append(sign * np.array([edge + CURB_RAMP, outer, outer + 0.2]))
        columns.append(sign * (outer + np.concatenate([np.arange(1, 14, 1.2), [17, 21, 26, 34, 46, 62, 85]])))
    return np.unique(np.concatenate(columns))


def _kinds(street: Street, s: np.ndarray, t: np.ndarray, grassy: tuple[bool, bool]) -> np.ndarray:
    """[S, T] 0 asphalt, 1 stone, 2 grass."""
    edge, side = (np.where(t < 0, *pair) for pair in (street.edges, street.sidewalk))
    row = np.where(np.abs(t) < edge, 0, np.where(np.abs(t) < edge + side, 1, np.where(np.where(t < 0, *grassy), 2, 1)))
    return np.where(street.in_crossing(s)[:, None], 0, row[None])


def _markings(rng: np.random.Generator, street: Street) -> Mesh:
    """Dashes along the middle and lines along the lanes' edges, 4 mm above the ground."""
    dash, gap = rng.uniform(2, 4), rng.uniform(3, 8)
    strips = [(first, first + dash, 0.0) for first in np.arange(-REACH + rng.uniform(0, 6), REACH - dash, dash + gap)]
    for sign, parking in zip((-1, 1), street.parking, strict=True):
        if parking:
            strips += [(first, first + 6, sign * street.lanes) for first in np.arange(-REACH, REACH - 6, 6.0)]
    strips = [strip for strip in strips if not street.in_crossing(np.array(strip[:2]), 1.0).any()]
    s = np.array([[first, last, last, first] for first, last, _ in strips])
    t = np.array([[t - 0.06, t - 0.06, t + 0.06, t + 0.06] for _, _, t in strips])
    x, y, _ = street.pose(s, t)
    vertices = np.stack([x, y, street.height(s, t) + 0.004], -1).reshape(-1, 3)
    faces = (np.arange(len(strips))[:, None, None] * 4 + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    return Mesh(vertices, faces, np.zeros(len(faces), np.int64), (Surface(rng.uniform(0.4, 0.8), (215, 215, 210)),))
