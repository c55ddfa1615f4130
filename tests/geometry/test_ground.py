"""The ground near a sensor: found under tilt, clutter and noise, and not where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from level_sweeps import street_sweep, turned

from geo3d.geometry.ground import find_ground, level_pose


def angles(ground) -> tuple[float, float]:
    return tuple(np.degrees(np.arctan2(ground.normal[:2], ground.normal[2])))


@pytest.mark.parametrize("height", [0.33, 1.73, 3.0])
@pytest.mark.parametrize("pitch,roll", [(0, 0), (2, 0), (-8, 3), (15, -10)])
def test_height_and_level(height, pitch, roll):
    sweep = turned(street_sweep(height=1.73), roll, pitch, 0, up=0)
    shift = np.array([0, 0, 1.73 - height], np.float32)
    ground = find_ground(sweep[:, :3] + shift)
    leveled = (sweep[:, :3] + shift) @ level_pose(ground.normal)[:3, :3].T
    expected = turned(np.array([[0, 0, 1, 0]], np.float32), roll, pitch, 0)[0, :3]
    assert np.degrees(np.arccos(min(ground.normal @ expected, 1))) < 0.2
    assert ground.height == pytest.approx(1.73 - shift[2] * expected[2], abs=0.03)
    near = leveled[(np.hypot(*leveled[:, :2].T) < 12) & (np.abs(leveled[:, 2] + ground.height) < 0.1)]
    assert len(near) > 1000 and abs(np.median(near[:, 2]) + ground.height) < 0.02


def test_the_same_for_the_same_points():
    sweep = street_sweep()
    first, second = find_ground(sweep), find_ground(sweep)
    np.testing.assert_array_equal(first.normal, second.normal)
    assert first.height == second.height


def test_a_hill_ahead_does_not_tilt_the_street():
    sweep = street_sweep()
    hill = sweep.copy()
    hill[:, 2] += 0.15 * np.clip(sweep[:, 0] - 10, 0, None)
    ground = find_ground(hill)
    assert abs(ground.height - 1.73) < 0.05 and max(map(abs, angles(ground))) < 0.5


def test_a_view_ahead_alone():
    sweep = street_sweep()
    ahead = sweep[np.abs(sweep[:, 1]) < 0.9 * sweep[:, 0]]
    assert abs(find_ground(ahead).height - 1.73) < 0.05


def room(generator) -> np.ndarray:
    """8 x 8 m with a ceiling and furniture, scanned from its middle."""
    floor = generator.uniform((-4, -4, -1.3), (4, 4, -1.29), (20_000, 3))
    ceiling = floor * [1, 1, -1]
    walls = generator.uniform((-4, -4, -1.3), (4, 4, 1.3), (20_000, 3))
    walls[:10_000, 0] = generator.choice([-4, 4], 10_000)
    walls[10_000:, 1] = generator.choice([-4, 4], 10_000)
    return np.concatenate([floor, ceiling, walls])


NO_GROUND = {
    "no_points": lambda generator: np.zeros((0, 3)),
    "one_point": lambda generator: np.ones((1, 3)),
    "line": lambda generator: np.column_stack([np.linspace(3, 19, 5000), np.zeros(5000), np.zeros(5000)]),
    "room": room,
    "from_the_air": lambda generator: generator.uniform((-30, -30, -0.05), (30, 30, 0.05), (90_000, 3)),
    "high_above": lambda generator: street_sweep()[:, :3] - [0, 0, 30],
    "wall": lambda generator: generator.uniform((5, -20, -20), (5.01, 20, 20), (40_000, 3)),
    "noise": lambda generator: generator.uniform(-20, 20, (40_000, 3)),
    "on_its_side": lambda generator: street_sweep()[:, [0, 2, 1]],
}


@pytest.mark.parametrize("name", NO_GROUND)
def test_no_ground(name):
    assert find_ground(NO_GROUND[name](np.random.default_rng(3))) is None


def test_level_pose_turns_normals_up():
    for normal in ([0, 0, 1], [0.1, -0.2, 0.9], [0.5, 0.5, 0.2]):
        unit = np.array(normal) / np.linalg.norm(normal)
        pose = level_pose(unit)
        np.testing.assert_allclose(pose[:3, :3] @ unit, [0, 0, 1], atol=1e-12)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(level_pose(np.array([0.0, 0, 1])), np.eye(4))
