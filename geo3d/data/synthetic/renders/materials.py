"""Colours, patterns and gloss of generated objects. Patterns run through the solid, so that no texture coordinates are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Pattern = Literal["plain", "stripes", "checks", "grain", "spots"]
PATTERNS: tuple[Pattern, ...] = ("plain", "stripes", "checks", "grain", "spots")
SHARES = (0.55, 0.1, 0.07, 0.18, 0.1)
WOOD = np.array([[0.35, 0.18, 0.08], [0.55, 0.36, 0.2], [0.2, 0.1, 0.05]])  # linear light


@dataclass(frozen=True, eq=False)
class Material:
    """What the surface of a part is like.

    Attributes:
        colors: [2, 3] linear light, between which the pattern mixes.
        pattern: how.
        waves: [3, 3] directions of the pattern's axes, by waves per unit of length.
        gloss: strength and exponent of the highlight.
    """

    colors: np.ndarray
    pattern: Pattern
    waves: np.ndarray
    gloss: tuple[float, float]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Linear colours [N, 3] float32 of points [N, 3] of the object."""
        if self.pattern == "plain":
            return np.broadcast_to(self.colors[0].astype(np.float32), points.shape)
        a, b, c = (points @ self.waves.T).T
        if self.pattern == "stripes":
            share = np.sin(2 * np.pi * a) > 0
        elif self.pattern == "checks":
            share = (np.floor(a) + np.floor(b) + np.floor(c)) % 2 == 0
        elif self.pattern == "grain":
            rings = np.hypot(a + 0.3 * np.sin(2 * c), b + 0.2 * np.sin(3 * c))
            share = 0.5 + 0.5 * np.sin(2 * np.pi * rings)
        else:
            share = np.sin(2 * np.pi * a) * np.sin(2 * np.pi * b) + np.sin(2 * np.pi * c) > 0.9
        mix = np.asarray(share, np.float32)[:, None]
        return self.colors[0].astype(np.float32) * (1 - mix) + self.colors[1].astype(np.float32) * mix


def draw_material(rng: np.random.Generator) -> Material:
    """A material: painted, plastic, metal, wood or cloth."""
    pattern = PATTERNS[rng.choice(len(PATTERNS), p=SHARES)]
    if pattern == "grain":
        base = WOOD[rng.integers(len(WOOD))] * rng.uniform(0.6, 1.3)
        colors = np.stack([base, base * rng.uniform(0.5, 0.85)])
        turn = np.diag([1.0, 0.2, 1.0])[rng.permutation(3)]  # the grain runs along one of the axes
        waves = turn * rng.uniform(8, 20)
    else:
        colors = np.stack([_color(rng), _color(rng)])
        waves = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(4, 14)
    gloss = (float(rng.uniform(0, 0.35)), float(rng.uniform(4, 60))) if rng.random() < 0.6 else (0.0, 1.0)
    return Material(colors.clip(0.01, 0.95), pattern, waves, gloss)


def _color(rng: np.random.Generator) -> np.ndarray:
    """Greys, which most CAD models have, or any hue."""
    gray = rng.uniform(0.02, 0.85)
    if rng.random() < 0.45:
        return np.full(3, gray) * rng.uniform(0.92, 1.08, 3)
    return gray * (1 - rng.uniform(0.3, 1) * rng.dirichlet([1.0, 1.0, 1.0]) * 1.5)
