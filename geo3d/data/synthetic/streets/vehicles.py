"""Cars, vans and trucks of generated streets: lofted bodies with windows, wheel arches, wheels and a cabin inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.shapes.primitives import Solid, cylinder
from geo3d.data.synthetic.streets.mesh import Mesh, Surface, assembled, block, joined

GLASS = Surface(0.06, (60, 72, 80), gloss=0.9, transparency=0.3, loss=0.5)
TYRE = Surface(0.05, (28, 28, 30))
PLATE = Surface(2.0, (235, 235, 225))
REFLECTOR = Surface(1.2, (170, 25, 25))
HEADLAMP = Surface(0.35, (225, 228, 230), gloss=0.5)
CABIN = Surface(0.12, (45, 44, 46))
UNDERBODY = Surface(0.05, (30, 30, 30))
# Paint: reflectance in the near infrared and colour.
PAINTS = (
    (0.03, (22, 23, 26)),
    (0.05, (58, 62, 68)),
    (0.10, (95, 100, 106)),
    (0.28, (165, 170, 174)),
    (0.42, (228, 230, 230)),
    (0.25, (140, 22, 28)),
    (0.10, (28, 48, 102)),
    (0.16, (40, 78, 62)),
    (0.33, (196, 186, 150)),
    (0.35, (200, 120, 30)),
)


@dataclass(frozen=True)
class CarStyle:
    """Proportions of a kind of car.

    Attributes:
        length, width, height: metres, (mean, deviation, smallest, largest).
        outline: upper outline from the rear end to the front end, (share of the length from the middle, share of the height).
        belt: lower edge of the windows, share of the height.
        roof: width of the roof, share of the width.
        clearance: height of the sills, metres.
        rear_window, windshield: the pairs of outline points that they lie between.
        share: of all cars.
    """

    length: tuple[float, float, float, float]
    width: tuple[float, float, float, float]
    height: tuple[float, float, float, float]
    outline: tuple[tuple[float, float], ...]
    belt: float
    roof: float
    clearance: float
    rear_window: tuple[int, int]
    windshield: tuple[int, int]
    share: float


# fmt: off
CARS = {
    "sedan": CarStyle(
        (4.3, 0.25, 3.7, 5.0), (1.68, 0.08, 1.5, 1.95), (1.44, 0.04, 1.35, 1.55),
        ((-0.5, 0.5), (-0.488, 0.63), (-0.36, 0.67), (-0.21, 0.95), (-0.05, 1.0), (0.09, 0.97), (0.26, 0.67), (0.42, 0.59),
         (0.485, 0.5), (0.5, 0.4)),
        0.645, 0.72, 0.2, (2, 3), (5, 6), 0.3),
    "hatchback": CarStyle(
        (3.72, 0.25, 3.2, 4.3), (1.6, 0.07, 1.45, 1.8), (1.48, 0.05, 1.38, 1.65),
        ((-0.5, 0.4), (-0.492, 0.56), (-0.465, 0.66), (-0.36, 0.94), (-0.1, 1.0), (0.1, 0.97), (0.29, 0.66), (0.43, 0.58),
         (0.488, 0.48), (0.5, 0.38)),
        0.63, 0.74, 0.19, (2, 3), (5, 6), 0.4),
    "estate": CarStyle(
        (4.25, 0.22, 3.7, 4.8), (1.66, 0.07, 1.5, 1.9), (1.48, 0.04, 1.4, 1.6),
        ((-0.5, 0.42), (-0.493, 0.58), (-0.475, 0.66), (-0.415, 0.93), (-0.1, 1.0), (0.09, 0.97), (0.26, 0.66), (0.42, 0.58),
         (0.487, 0.49), (0.5, 0.39)),
        0.635, 0.74, 0.19, (2, 3), (5, 6), 0.17),
    "suv": CarStyle(
        (4.25, 0.25, 3.7, 4.9), (1.75, 0.08, 1.55, 1.95), (1.7, 0.08, 1.55, 1.9),
        ((-0.5, 0.4), (-0.495, 0.56), (-0.478, 0.65), (-0.42, 0.94), (-0.1, 1.0), (0.09, 0.98), (0.24, 0.67), (0.43, 0.61),
         (0.489, 0.52), (0.5, 0.36)),
        0.64, 0.77, 0.27, (2, 3), (5, 6), 0.13),
}
VANS = {
    "minibus": CarStyle(
        (4.9, 0.25, 4.4, 5.6), (1.88, 0.07, 1.7, 2.05), (2.0, 0.12, 1.85, 2.35),
        ((-0.5, 0.35), (-0.497, 0.5), (-0.488, 0.58), (-0.465, 0.95), (-0.1, 1.0), (0.2, 0.97), (0.36, 0.56), (0.46, 0.49),
         (0.493, 0.4), (0.5, 0.28)),
        0.55, 0.85, 0.24, (2, 3), (5, 6), 0.5),
    "transporter": CarStyle(
        (5.3, 0.4, 4.6, 6.3), (1.95, 0.06, 1.8, 2.1), (2.3, 0.2, 1.95, 2.75),
        ((-0.5, 0.3), (-0.499, 0.5), (-0.496, 0.6), (-0.485, 0.96), (-0.1, 1.0), (0.22, 0.97), (0.35, 0.52), (0.45, 0.46),
         (0.492, 0.38), (0.5, 0.26)),
        0.52, 0.9, 0.26, (2, 2), (5, 6), 0.5),
}
# fmt: on


def car(rng: np.random.Generator, kinds: dict[str, CarStyle] = CARS) -> Mesh:
    """A car of one of the kinds, its wheels on z = 0, its middle above the origin."""
    names = list(kinds)
    shares = np.array([kinds[name].share for name in names])
    name = names[rng.choice(len(names), p=shares / shares.sum())]
    style = kinds[name]
    size = np.array([_drawn(rng, measure) for measure in (style.length, style.width, style.height)])
    reflectance, color = PAINTS[rng.choice(len(PAINTS), p=_paint_shares())]
    paint = Surface(
        reflectance * rng.uniform(0.7, 1.4),
        tuple(int(c) for c in np.clip(np.array(color) + rng.integers(-12, 13), 0, 255)),  # type: ignore[arg-type]
        gloss=rng.uniform(0.3, 0.75),
    )
    wheels = (-rng.uniform(0.28, 0.32) * size[0], rng.uniform(0.29, 0.33) * size[0])
    radius = np.clip(rng.normal(0.215, 0.01) * size[2], 0.29, 0.4)
    body = _body(rng, style, size, wheels, radius, paint, panelled=name == "transporter")
    mesh = joined([body, assembled([*_wheels(size, wheels, radius), *_fittings(rng, style, size), *_cabin(style, size)])])
    return mesh.fitted(size)


def van(rng: np.random.Generator) -> Mesh:
    """A minibus or a transporter."""
    return car(rng, VANS)


def truck(rng: np.random.Generator) -> Mesh:
    """A lorry: cab, chassis, and a closed, open or tank body."""
    length, width, height = rng.uniform(5.8, 12.5), rng.uniform(2.15, 2.6), rng.uniform(2.7, 3.8)
    cab_length = rng.uniform(1.6, 2.2)
    cab_height = height * rng.uniform(0.75, 0.95)
    paint = Surface(rng.uniform(0.08, 0.45), tuple(int(c) for c in rng.integers(40, 235, 3)), gloss=0.4)  # type: ignore[arg-type]
    load = Surface(rng.uniform(0.15, 0.5), tuple(int(c) for c in rng.integers(70, 240, 3)), gloss=0.2)  # type: ignore[arg-type]
    front = length / 2
    bed = rng.uniform(0.9, 1.25)
    middle = front - cab_length / 2
    parts = [
        (block((cab_length, width * 0.96, cab_height * 0.5), (middle, 0, 0.45 + cab_height * 0.25)), paint),
        (block((cab_length - 0.15, width * 0.93, 0.04), (middle - 0.07, 0, cab_height - 0.02)), paint),
        (block((0.15, width * 0.93, cab_height - 0.5), (front - cab_length + 0.08, 0, cab_height / 2 + 0.25)), paint),
        (block((0.05, width * 0.9, cab_height * 0.4), (front - 0.12, 0, cab_height * 0.75)), GLASS),
        (block((cab_length - 0.25, width * 0.92, cab_height * 0.4), (middle, 0, cab_height * 0.75)), GLASS),
        (block((0.1, 0.9, 0.12), (front - 0.02, 0, 0.6)), PLATE),
        (block((length - 0.3, 0.9, 0.3), (0, 0, bed - 0.2)), UNDERBODY),
        *_load(rng, front - cab_length - rng.uniform(0.05, 0.4), -length / 2, width, bed, height, load),
    ]
    for side in (-1, 1):
        parts.append((block((0.04, 0.25, 0.14), (-length / 2 - 0.02, side * width * 0.38, bed - 0.1)), REFLECTOR))
        for z in (cab_height * 0.6, cab_height * 0.93):
            parts.append((block((cab_length * 0.25, 0.06, 0.1), (front - 0.3, side * width * 0.45, z)), paint))
    axles = [front - cab_length * 0.55, -length / 2 + rng.uniform(1.0, 1.8)]
    if length > 9:
        axles.append(axles[1] + 1.35)
    parts += _wheels(np.array([length, width, height]), tuple(axles), 0.48, 0.32)
    return assembled(parts).fitted((length, width, height))


def _load(
    rng: np.random.Generator, front: float, rear: float, width: float, bed: float, height: float, surface: Surface
) -> list[tuple[Solid, Surface]]:
    length, middle = front - rear, (front + rear) / 2
    kind = rng.choice(["box", "flat", "tank"], p=[0.7, 0.2, 0.1])
    if kind == "box":
        return [(block((length, width, height - bed), (middle, 0, (height + bed) / 2)), surface)]
    floor = (block((length, width, 0.15), (middle, 0, bed)), surface)
    if kind == "tank":
        radius = min((height - bed) / 2, width / 2)
        return [floor, (cylinder((rear, 0, bed + radius), (front, 0, bed + radius), radius), surface)]
    wall = rng.uniform(0.4, 0.9)
    sides = [(block((length, 0.05, wall), (middle, side * (width / 2 - 0.03), bed + wall / 2)), surface) for side in (-1, 1)]
    cargo = (block((length * rng.uniform(0.3, 0.8), width * 0.8, height - bed), (middle, 0, (height + bed) / 2)), surface)
    ends = [(block((0.05, width, wall), (x, 0, bed + wall / 2)), surface) for x in (rear + 0.03, front - 0.03)]
    return [floor, cargo, *sides, *ends]


def _drawn(rng: np.random.Generator, measure: tuple[float, float, float, float]) -> float:
    mean, deviation, low, high = measure
    return float(np.clip(rng.normal(mean, deviation), low, high))


def _paint_shares() -> np.ndarray:
    shares = np.array([0.2, 0.16, 0.12, 0.2, 0.13, 0.07, 0.06, 0.02, 0.02, 0.02])
    return shares / shares.sum()


def _body(
    rng: np.random.Generator,
    style: CarStyle,
    size: np.ndarray,
    wheels: tuple[float, ...],
    radius: float,
    paint: Surface,
    panelled: bool,
) -> Mesh:
    """The shell, rings of points across the car from the rear to the front."""
    length, width, height = size
    outline = np.array(style.outline)
    outline[1:-1, 0] += rng.uniform(-0.012, 0.012, len(outline) - 2) * (np.abs(outline[1:-1, 0]) < 0.45)
    outline[1:-1, 1] += rng.uniform(-0.015, 0.015, len(outline) - 2)
    arch = radius + rng.uniform(0.04, 0.08)
    around = [wheel + arch * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 7)) for wheel in wheels]
    pillar = rng.uniform(-0.03, 0.03) * length
    stations = [*outline[:, 0] * length, *np.linspace(-0.45, 0.45, 15) * length, *np.concatenate(around)]
    x = np.unique(np.round([*stations, pillar - 0.04, pillar + 0.04], 3))
    upper = np.interp(x / length, *outline.T) * height
    belt = np.minimum((style.belt - 0.03 * x / length) * height, upper - 0.01)
    floor = (
        style.clearance + rng.uniform(-0.02, 0.02) + 0.5 * np.clip(np.abs(x / length) - 0.4, 0, 1)
    )  # rising towards the ends
    bottom = floor
    for wheel in wheels:
        over = radius + np.sqrt(np.clip(arch**2 - (x - wheel) ** 2, 0, None))
        bottom = np.where(np.abs(x - wheel) < arch, np.maximum(bottom, over), bottom)
    rounding = 1 - rng.uniform(0.1, 0.2) * np.abs(2 * x / length) ** rng.uniform(6, 12) - 0.03 * np.clip(2 * x / length, 0, 1)
    half = width / 2 * rounding
    glazed = np.clip((upper - belt) / (height * (1 - style.belt)), 0, 1)
    roof = half * (0.93 - (0.93 - style.roof) * glazed)
    middle = np.maximum(0.36 * height, np.minimum(bottom + 0.03, belt - 0.02))
    columns = [
        (0 * half, floor),
        (0.84 * half, bottom),
        (0.96 * half, bottom + 0.04),
        (half, np.minimum(np.maximum(middle, bottom + 0.05), belt - 0.005)),
        (0.96 * half, belt),
        (roof, upper - 0.035 * height * (0.4 + 0.6 * glazed)),
        (0.55 * roof, upper - 0.008 * height),
        (0 * half, upper),
    ]
    left = [np.stack([x, y, z], 1) for y, z in columns]
    right = [np.stack([x, -y, z], 1) for y, z in columns[-2:0:-1]]
    return _shell(np.stack([*left, *right], 1), _is_glass(style, outline, x / length, glazed, pillar / length, panelled), paint)


def _is_glass(
    style: CarStyle, outline: np.ndarray, x: np.ndarray, glazed: np.ndarray, pillar: float, panelled: bool
) -> np.ndarray:
    """[stations - 1, 14] bool, by strip along the car."""
    glass = np.zeros((len(x) - 1, 14), bool)
    between = (x[:-1] + x[1:]) / 2
    side = (np.minimum(glazed[:-1], glazed[1:]) > 0.25) & (np.abs(between - pillar) > 0.012)
    side &= between > (0.0 if panelled else outline[style.rear_window[0], 0] + 0.02)
    glass[:, 4] = glass[:, 9] = side
    for low, high in (style.rear_window, style.windshield):
        pane = (between > outline[low, 0] + 0.01) & (between < outline[high, 0] - 0.01)
        glass[:, 5:9] |= pane[:, None]
    return glass


def _shell(rings: np.ndarray, glass: np.ndarray, paint: Surface) -> Mesh:
    """A closed skin over rings [S, 14, 3]."""
    stations, around = rings.shape[:2]
    here, after = np.arange(around), (np.arange(around) + 1) % around
    start = np.arange(stations - 1)[:, None] * around
    a, b = start + here, start + after
    c, d = a + around, b + around
    quads = np.stack([np.stack([a, d, b], -1), np.stack([a, c, d], -1)], 2)  # [S - 1, 14, 2, 3]
    ends = [np.stack([here, after, np.full(around, stations * around)], 1)]
    last = (stations - 1) * around
    ends.append(np.stack([last + after, last + here, np.full(around, stations * around + 1)], 1))
    vertices = np.concatenate([rings.reshape(-1, 3), rings[:1].mean(1), rings[-1:].mean(1)])
    index = np.concatenate([np.repeat(glass.ravel(), 2).astype(np.int64), np.zeros(2 * around, np.int64)])
    return Mesh(vertices, np.concatenate([quads.reshape(-1, 3), *ends]), index, (paint, GLASS))


def _wheels(size: np.ndarray, axles: tuple[float, ...], radius: float, thickness: float = 0.2) -> list[tuple[Solid, Surface]]:
    rim = Surface(0.25, (150, 152, 156), gloss=0.3)
    parts = []
    for axle in axles:
        for side in (-1, 1):
            outer = side * (size[1] / 2 - 0.025)
            parts.append((cylinder((axle, outer, radius), (axle, outer - side * thickness, radius), radius, sides=18), TYRE))
            hub = side * (size[1] / 2 - 0.02)
            parts.append((cylinder((axle, hub, radius), (axle, hub - side * 0.05, radius), radius * 0.62, sides=12), rim))
    return parts


def _fittings(rng: np.random.Generator, style: CarStyle, size: np.ndarray) -> list[tuple[Solid, Surface]]:
    """Plates and lamps."""
    length, width, height = size
    parts = []
    for end in (-1, 1):
        if end < 0 or rng.random() < 0.85:
            z = height * rng.uniform(0.28, 0.36)
            parts.append((block((0.02, 0.5, 0.11), (end * (length / 2 - 0.008), 0, z)), PLATE))
    lamp = rng.uniform(0.12, 0.24)
    for side in (-1, 1):
        rear = np.interp(0.55, [0.4, 0.65], [-0.495, -0.48]) * length
        parts.append((block((0.1, 0.16, lamp), (rear + 0.03, side * width * 0.39, height * 0.53)), REFLECTOR))
        parts.append((block((0.14, 0.26, 0.12), (0.474 * length, side * width * 0.34, height * 0.45)), HEADLAMP))
    return parts


def _cabin(style: CarStyle, size: np.ndarray) -> list[tuple[Solid, Surface]]:
    """Floor, dashboard and seats, which rays through the windows meet."""
    length, width, height = size
    front = style.outline[style.windshield[0]][0] * length
    parts = [
        (block((length * 0.6, width * 0.8, 0.05), (-0.08 * length, 0, 0.35 * height)), CABIN),
        (block((0.35, width * 0.8, 0.2), (front + 0.45, 0, 0.55 * height)), CABIN),
        (block((0.18, width * 0.76, 0.4 * height), (-0.24 * length, 0, 0.58 * height)), CABIN),
    ]
    for side in (-1, 1):
        parts.append((block((0.16, 0.42, 0.45 * height), (front - 0.55, side * width * 0.21, 0.6 * height)), CABIN))
    return parts
