"""Where things stand in a generated street: nothing overlaps, cars keep to lanes and bays, people mostly to the sidewalks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from geo3d.data.synthetic.streets import people, surroundings, vehicles
from geo3d.data.synthetic.streets.ground import Street, draw_street, ground
from geo3d.data.synthetic.streets.mesh import Mesh

KINDS = {"city": 0.45, "suburb": 0.38, "country": 0.17}
Maker = Callable[[np.random.Generator], Mesh]


@dataclass(frozen=True, eq=False)
class StreetScene:
    """A street with all that is in it, in the frame of the LiDAR.

    Attributes:
        kind: "city", "suburb" or "country".
        meshes: the labelled objects, then everything else.
        names: KITTI's class of each labelled object.
        boxes: [K, 7] float64 their boxes, which fit tightly; see `geo3d.geometry.boxes`.
    """

    kind: str
    meshes: tuple[Mesh, ...]
    names: tuple[str, ...]
    boxes: np.ndarray


@dataclass
class _Plan:
    """A street while it is being filled."""

    rng: np.random.Generator
    street: Street
    kind: str
    setback: tuple[float, float]
    objects: list[Mesh] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    rest: list[Mesh] = field(default_factory=list)
    footprints: list[tuple[float, float, float, float, float]] = field(default_factory=list)  # x, y, dx, dy, yaw

    def edge(self, side: int) -> float:
        """Distance of the curb on a side (-1 right, 1 left) from the middle."""
        return self.street.edges[(side + 1) // 2]

    def walk(self, side: int) -> float:
        """Width of the sidewalk on a side."""
        return self.street.sidewalk[(side + 1) // 2]

    def place(
        self,
        mesh: Mesh,
        s: float,
        t: float,
        turn: float,
        name: str | None = None,
        margin: float = 0.25,
        trunk: float | None = None,
    ) -> bool:
        """Put a mesh, turned relative to the street, on the ground; False where something stands already.

        `trunk` is the width that it takes on the ground, where that is less than the whole.
        """
        x, y, heading = (float(value) for value in self.street.pose(s, t))
        yaw = float(heading + turn)
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        middle = (low + high) / 2
        cos, sin = np.cos(yaw), np.sin(yaw)
        center = np.array([x + cos * middle[0] - sin * middle[1], y + sin * middle[0] + cos * middle[1]])
        footprint = (center[0], center[1], high[0] - low[0], high[1] - low[1], yaw)
        if trunk is not None:
            footprint = (x, y, trunk, trunk, yaw)
        if _overlaps(footprint, self.footprints, margin):
            return False
        self.footprints.append(footprint)
        z = float(self.street.height(s, t))
        placed = mesh.placed((x, y, z), yaw)
        if name is None:
            self.rest.append(placed)
            return True
        self.objects.append(placed)
        self.names.append(name)
        wrapped = np.arctan2(np.sin(yaw), np.cos(yaw))
        self.boxes.append(np.array([*center, z + middle[2], *(high - low), wrapped]))
        return True


def draw_scene(rng: np.random.Generator) -> StreetScene:
    """A street with its buildings, plants, cars and people."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    street = draw_street(rng, kind)
    low, high = {"city": (0.0, 2.0), "suburb": (2.5, 8.0), "country": (5.0, 14.0)}[kind]
    plan = _Plan(rng, street, kind, (rng.uniform(low, high), rng.uniform(low, high)))
    plan.footprints.append((-0.2, 0.0, 5.2, 2.2, 0.0))  # the car that carries the LiDAR
    _traffic(plan)
    _parked(plan)
    for side in (-1, 1):
        _houses(plan, side)
    _people(plan)
    for side in (-1, 1):
        _roadside(plan, side)
    grassy = (kind != "city" or rng.random() < 0.2, kind != "city" or rng.random() < 0.2)
    meshes = (*plan.objects, ground(rng, street, grassy), *plan.rest)
    boxes = np.array(plan.boxes).reshape(-1, 7)
    return StreetScene(kind, meshes, tuple(plan.names), boxes)


def _overlaps(footprint: tuple[float, ...], others: list[tuple[float, float, float, float, float]], margin: float) -> bool:
    """Whether a rectangle, widened by a margin, meets one of the others: no side of either separates them."""
    if not others:
        return False
    table = np.array(others)
    x, y, dx, dy, yaw = footprint
    half, halves = np.array([dx, dy]) / 2 + margin, table[:, 2:4] / 2
    offset = table[:, :2] - [x, y]
    near = np.linalg.norm(offset, axis=1) < np.linalg.norm(half) + np.linalg.norm(halves, axis=1)
    if not near.any():
        return False
    offset, halves, yaws = offset[near], halves[near], table[near, 4]
    cos, sin = np.abs(np.cos(yaws - yaw)), np.abs(np.sin(yaws - yaw))
    apart = np.zeros(len(offset), bool)
    for axis in (0, 1):
        own = yaw + axis * np.pi / 2
        reach = np.abs(offset @ [np.cos(own), np.sin(own)])
        apart |= reach > half[axis] + halves[:, axis] * cos + halves[:, 1 - axis] * sin
        other = yaws + axis * np.pi / 2
        reach = np.abs(offset[:, 0] * np.cos(other) + offset[:, 1] * np.sin(other))
        apart |= reach > halves[:, axis] + half[axis] * cos + half[1 - axis] * sin
    return bool((~apart).any())


def _vehicle(rng: np.random.Generator) -> tuple[Mesh, str]:
    name = str(rng.choice(["Car", "Van", "Truck"], p=[0.86, 0.1, 0.04]))
    maker: Maker = {"Car": vehicles.car, "Van": vehicles.van, "Truck": vehicles.truck}[name]
    return maker(rng), name


def _traffic(plan: _Plan) -> None:
    """Driving vehicles, with the traffic on the right, against it on the left, and across on the side street."""
    rng, street = plan.rng, plan.street
    for direction in (-1, 1):  # the lane on the right heads along +s
        s = -70 + rng.exponential(20)
        density = rng.uniform(9, 45)
        while s < 75:
            mesh, name = _vehicle(rng)
            t = direction * street.lanes / 2 + rng.normal(0, 0.25)
            plan.place(mesh, s, t, (np.pi if direction > 0 else 0) + rng.normal(0, 0.03), name, 0.8)
            s += mesh.size[0] + 3 + rng.exponential(density)
        for _ in range(rng.integers(0, 3)):
            t = direction * (street.lanes - rng.uniform(0.4, 0.9))
            turn = (np.pi if direction > 0 else 0) + rng.normal(0, 0.1)
            plan.place(people.cyclist(rng), _ahead(rng), t, turn, "Cyclist")
    if street.crossing is None:
        return
    middle, width = street.crossing
    for _ in range(rng.integers(0, 6)):
        mesh, name = _vehicle(rng)
        direction = rng.choice([-1, 1])
        t = rng.choice([-1, 1]) * rng.uniform(2, 32)
        plan.place(mesh, middle + direction * width / 4, t, direction * np.pi / 2 + rng.normal(0, 0.08), name, 0.6)
    for _ in range(rng.integers(0, 2)):
        plan.place(people.cyclist(rng), middle, rng.uniform(-15, 15), rng.uniform(-np.pi, np.pi), "Cyclist")


def _ahead(rng: np.random.Generator, reach: float = 55) -> float:
    """A place along the street, more often ahead, where the camera looks, and near."""
    return float((1 if rng.random() < 0.72 else -1) * (3 + reach * rng.beta(1.1, 1.8)))


def _parked(plan: _Plan) -> None:
    """Vehicles along the curbs, in bays across them, and in yards."""
    rng, street = plan.rng, plan.street
    for side in (-1, 1):
        strip = street.parking[(side + 1) // 2]
        fill = rng.uniform(0.25, 0.95)
        across = strip > 3
        s = -72 + rng.uniform(0, 5)
        while strip and s < 72:
            mesh, name = _vehicle(rng)
            length, width, _ = mesh.size
            room = max(2.5, width + 0.6) if across else length + rng.uniform(0.7, 1.6)
            inside = not street.in_crossing(s + room / 2, room)
            if rng.random() < fill and inside and not (across and length > 5.2):
                t = side * (street.lanes + (strip / 2 if across else 0.15 + width / 2)) + rng.normal(0, 0.08)
                back = np.pi * (rng.random() < (0.4 if across else (0.1 if side < 0 else 0.85)))
                turn = back + (np.pi / 2 if across else 0) + rng.normal(0, 0.04)
                plan.place(mesh, s + room / 2, t, turn, name, 0.15)
            s += room
        setback = plan.setback[(side + 1) // 2]
        for _ in range(rng.integers(0, 5) if setback > 5.5 else 0):
            s, t = rng.uniform(-60, 60), side * (plan.edge(side) + plan.walk(side) + setback / 2 + rng.uniform(-0.3, 0.3))
            mesh = vehicles.car(rng)
            if not street.in_crossing(s, 4):
                plan.place(mesh, s, t, rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.1), "Car")


def _houses(plan: _Plan, side: int) -> None:
    """Houses with gaps, and between sidewalk and houses a hedge, a fence, a wall or nothing."""
    rng, street = plan.rng, plan.street
    line = plan.edge(side) + plan.walk(side)
    setback = plan.setback[(side + 1) // 2]
    gaps, chance = {"city": (0.15, 1.0), "suburb": (6.0, 0.85), "country": (15.0, 0.3)}[plan.kind]
    turn = 0.0 if side > 0 else np.pi
    s = -85 + rng.uniform(0, 8)
    while s < 80:
        length = rng.uniform(7, 18)
        middle = s + length / 2
        t = side * (line + setback + rng.uniform(0, 0.6 if plan.kind == "city" else 3))
        if rng.random() < chance and not street.in_crossing(middle, length / 2 + 1.5):
            plan.place(surroundings.building(rng, length), middle, t, turn, margin=0.0)
        elif not street.in_crossing(middle, length / 2 + 3):
            plan.place(surroundings.tree(rng), middle, side * (line + setback + 3), 0.0, trunk=0.5)
        s += length + (rng.uniform(3, 9) if rng.random() < 0.3 or plan.kind != "city" else 0.02) + rng.exponential(gaps) / 2
    if setback < 2:
        return
    maker = (surroundings.hedge, surroundings.fence, surroundings.wall)[rng.integers(3)]
    s = -60 + rng.uniform(0, 8)
    while s < 60:
        length = rng.uniform(3, 11)
        if rng.random() < 0.65 and not street.in_crossing(s + length / 2, length / 2 + 1):
            if rng.random() < 0.3:
                maker = (surroundings.hedge, surroundings.fence, surroundings.wall)[rng.integers(3)]
            plan.place(maker(rng, length), s + length / 2, side * (line + 0.3), turn, margin=0.05)
        s += length + (rng.uniform(2.5, 5) if rng.random() < 0.4 else 0.05)


def _people(plan: _Plan) -> None:
    """People on the sidewalks, alone and in groups, some on the carriageway; cyclists; rarely someone who sits."""
    rng = plan.rng
    crowd = {"city": 14, "suburb": 8, "country": 4}[plan.kind] * rng.uniform(0.3, 1.8)
    for _ in range(rng.poisson(crowd)):
        side = rng.choice([-1, 1])
        s = _ahead(rng, 42)
        on_road = rng.random() < 0.12
        t = (
            rng.uniform(-1, 1) * plan.edge(-1)
            if on_road
            else side * (plan.edge(side) + rng.uniform(0.3, plan.walk(side) - 0.2))
        )
        turn = rng.choice([0, np.pi]) + rng.normal(0, 0.25) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
        for companion in range(1 if rng.random() < 0.7 else rng.integers(2, 4)):
            offset = companion * rng.uniform(0.6, 1.1)
            plan.place(
                people.pedestrian(rng), s + rng.normal(0, 0.2), t + offset, turn + rng.normal(0, 0.15), "Pedestrian", 0.08
            )
    for _ in range(rng.poisson(3)):
        side = rng.choice([-1, 1])
        t = side * (plan.edge(side) + rng.uniform(0.5, plan.walk(side)))
        plan.place(people.cyclist(rng), _ahead(rng, 45), t, rng.choice([0, np.pi]) + rng.normal(0, 0.15), "Cyclist")
    if rng.random() < 0.06:
        side = rng.choice([-1, 1])
        t, s = side * (plan.edge(side) + plan.walk(side) * 0.8), 5 + 20 * rng.random()
        plan.place(people.sitting_person(rng), s, t, -side * np.pi / 2, "Person_sitting")


def _roadside(plan: _Plan, side: int) -> None:
    """Trees, poles, small things and parked bicycles along the sidewalk, bushes and trees in the yards."""
    rng = plan.rng
    edge, line = plan.edge(side), plan.edge(side) + plan.walk(side)
    setback = plan.setback[(side + 1) // 2]

    def scatter(maker: Maker, count: float, low: float, high: float, reach: float = 65, trunk: float | None = None) -> None:
        for _ in range(rng.poisson(count)):
            s, t = rng.uniform(-reach, reach), side * rng.uniform(low, high)
            if not plan.street.in_crossing(s, 1):
                plan.place(maker(rng), s, t, np.pi / 2 * rng.integers(4) + rng.normal(0, 0.1), margin=0.1, trunk=trunk)

    scatter(surroundings.pole, 7, edge + 0.3, edge + 0.6, trunk=0.3)
    scatter(surroundings.clutter, 4, edge + 0.3, line)
    scatter(people.parked_bicycle, 2, edge + 0.5, line, 35)
    trees = {"city": 1.5, "suburb": 4, "country": 7}[plan.kind]
    if rng.random() < 0.5:
        scatter(surroundings.tree, trees, edge + 0.5, edge + 0.9, trunk=0.5)
    if setback > 2:
        scatter(surroundings.tree, trees, line + 1.2, line + setback + 8, trunk=0.5)
        scatter(surroundings.conifer, trees / 3, line + 2, line + setback + 8)
        scatter(surroundings.bush, 6, line + 0.5, line + setback)
    if plan.kind == "country":
        scatter(surroundings.tree, 10, line + 4, line + 40, trunk=0.5)
        scatter(surroundings.bush, 8, line + 2, line + 25)
