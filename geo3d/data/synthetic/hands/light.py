"""Light of a picture: one or two suns with shadows and coloured light from all around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.shading import Light, even_directions


@dataclass(frozen=True, eq=False)
class Lighting:
    """Lights in the frame of the camera (x right, y down, z forward).

    Attributes:
        suns: with shadows.
        radiance: unit directions [D, 3] to colours [D, 3] of the light from around.
        color: [3] of all the light together, what a camera's white balance goes by.
    """

    suns: list[Light]
    radiance: Callable[[np.ndarray], np.ndarray]
    color: np.ndarray


def draw_lighting(rng: np.random.Generator) -> Lighting:
    """Daylight, a room with lamps, a lamp beside the camera, or nearly even light."""
    kind = rng.choice(["sun", "room", "flash", "even"], p=[0.25, 0.4, 0.1, 0.25])
    strength = {
        "sun": rng.uniform(0.8, 3.0),
        "room": rng.uniform(0.2, 1.2),
        "flash": rng.uniform(0.4, 2.0),
        "even": rng.uniform(0, 0.25),
    }[kind]
    warm = temperature(rng.normal(0, 0.5) if kind != "room" else rng.normal(0.4, 0.6))
    if kind == "flash":
        direction = np.array([rng.normal(0, 0.12), rng.normal(0, 0.12), -1.0])
    else:
        direction = rng.normal(0, 1, 3) + [0, -1.1, -0.5]
    suns = [
        _light(direction, warm * strength, rng.uniform(0.004, 0.02) if kind in ("sun", "flash") else rng.uniform(0.02, 0.09))
    ]
    if rng.random() < 0.3:
        side = rng.normal(0, 1, 3) + [0, -0.4, 0]
        suns.append(_light(side, temperature(rng.normal(0, 0.8)) * strength * rng.uniform(0.1, 0.7), rng.uniform(0.01, 0.08)))
    radiance = _surroundings(rng, temperature(rng.normal(-0.1, 0.45)))
    total = radiance(even_directions(24)).mean(0) + 0.4 * sum((np.array(sun.color) for sun in suns), np.zeros(3))
    return Lighting(suns, radiance, total / total.mean())


def _light(direction: np.ndarray, color: np.ndarray, softness: float) -> Light:
    x, y, z = (float(value) for value in direction)
    red, green, blue = (float(value) for value in color)
    return Light((x, y, z), (red, green, blue), softness)


def temperature(warmth: float) -> np.ndarray:
    """[3] colour of light, warm (above 0) or cold, of green 1."""
    return np.exp(np.array([0.3, 0.0, -0.42]) * np.clip(warmth, -1.5, 1.8))


def _surroundings(rng: np.random.Generator, color: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Light from above and below and some windows, walls and lamps, each a wide lobe."""
    up = rng.normal(0, 0.25, 3) + [0, -1.0, 0]
    up /= np.linalg.norm(up)
    above, below = color * rng.uniform(0.35, 1.0), color * np.exp(rng.normal(0, 0.12, 3)) * rng.uniform(0.1, 0.7)
    count = int(rng.integers(1, 5))
    towards = rng.normal(0, 1, (count, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    lobes = color * np.exp(rng.normal(0, 0.22, (count, 3))) * rng.uniform(0.2, 2.5, (count, 1))
    width = rng.uniform(1.5, 10, count)

    def radiance(directions: np.ndarray) -> np.ndarray:
        share = (directions @ up)[:, None] * 0.5 + 0.5
        lobe = np.exp((directions @ towards.T - 1) * width)
        light: np.ndarray = above * share + below * (1 - share) + lobe @ lobes
        return light

    return radiance
