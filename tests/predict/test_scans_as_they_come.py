"""What users' scans are like, whatever the network: any size and axis, one side alone, no faces, no person. What was assumed is said in a line."""

from __future__ import annotations

import numpy as np
import pytest
from known_bodies import INFO, Known, scanned
from scipy.spatial.transform import Rotation

from geo3d.data.files.geometry import write_ply
from geo3d.data.synthetic.bodies.scans import ScanSettings
from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape
from geo3d.data.synthetic.streets.generate import make_street
from geo3d.geometry.scans import find_floor, guess_units
from geo3d.predict.bodies import BodyFit, BodyFitter

UPRIGHT = Rotation.identity()
TURNS = {
    "y": UPRIGHT,
    "z": Rotation.from_rotvec([np.pi / 2, 0, 0]),
    "-y": Rotation.from_rotvec([0, 0, np.pi]),
    "x": Rotation.from_rotvec([0, 0, -np.pi / 2]),  # lying on a side
    "-z": Rotation.from_rotvec([-np.pi / 2, 0, 0]),  # lying on the back of a world with y up, or head down
}


@pytest.fixture(scope="module")
def person():
    return scanned()


def fitted(person, points: np.ndarray, turn: Rotation = UPRIGHT, **options) -> BodyFit:
    return BodyFitter(Known(*person, turn, 0.0), INFO)(points, **options)


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0])
def test_any_scale(person, scale):
    points = person[2] * scale
    fit = fitted(person, points)
    assumed = fit.notes[0]
    unit = {1.0: "m", 100.0: "cm", 1000.0: "mm"}.get(scale)
    assert fit.units.name == unit
    assert assumed.startswith(f"taken for {unit} by its size" if unit else "no unit makes a person of this size; scaled by ")
    assert "\n" not in assumed and "--units" in assumed and len(fit.notes) == 1
    assert fit.mean_distance < (0.004 if unit else 0.03)  # a person is not 1.7 m
    assert np.abs(fit.vertices.mean(0) - points.mean(0)).max() < 0.15 * scale  # in the scan's own units and place


@pytest.mark.parametrize("up", TURNS)
def test_any_axis(person, up):
    fit = fitted(person, TURNS[up].apply(person[2]), TURNS[up])
    assert fit.up == up and fit.notes == (f"taken for m by its size (--units names another); the head is towards {up}",)
    assert fit.mean_distance < 0.004


def test_given_units_are_not_guessed(person):
    fit = fitted(person, person[2] / 0.0254, units="in")
    assert fit.notes == ("the head is towards y",)
    assert fit.mean_distance < 0.004


@pytest.mark.parametrize("kind", ["[0, 1]", "[-1, 1]", "ball"])
def test_scaled_to_a_unit_box_or_ball(person, kind):
    """A box of side 1 would be a child in metres, one of side 2 a giant."""
    points = person[2].astype(np.float64)
    points = points - points.min(0) if kind == "[0, 1]" else points - points.mean(0)
    points /= np.linalg.norm(points, axis=1).max() if kind == "ball" else np.ptp(points, axis=0).max()
    fit = fitted(person, points * (2 if kind == "[-1, 1]" else 1))
    assert fit.units.is_normalized and fit.notes[0].startswith("it was scaled to a unit box or ball; scaled by ")
    assert fit.mean_distance < 0.03


def test_one_side_alone_is_said_and_a_whole_scan_is_not_doubted():
    for seed in range(2):
        for one_sided in (True, False):
            person = scanned(ScanSettings(noise=0.001, one_sided=one_sided), seed)
            fit = fitted(person, person[2])
            assert fit.mean_distance < 0.02
            assert any("one side was scanned" in note for note in fit.notes) == one_sided, fit.notes


@pytest.mark.parametrize("ending", [".ply", ".xyz", ".npy"])
def test_files_without_faces(person, ending, tmp_path):
    path = tmp_path / f"scan{ending}"
    if ending == ".ply":
        write_ply(path, person[2])
    elif ending == ".npy":
        np.save(path, person[2])
    else:
        np.savetxt(path, person[2])
    fit = fitted(person, path)
    assert fit.mean_distance < 0.004 and "taken for m" in fit.notes[0]


@pytest.mark.parametrize("steps", [0, 15])
def test_a_chair_is_doubted(person, steps):
    rng = np.random.default_rng(1)
    chair = sample_shape(make_shape("chair", rng), 3000, rng)[0][:, :3]
    fit = fitted(person, 0.9 * chair / np.ptp(chair, axis=0).max(), refine_steps=steps)
    assert any("is it a person" in note for note in fit.notes), fit.mean_distance


def test_a_street_is_doubted(person):
    fit = fitted(person, make_street(0, 0).sweep.points[:, :3])
    assert any("is it a person" in note for note in fit.notes), fit.mean_distance


def test_a_person_in_a_room_is_found_in_metres(person):
    """As a depth camera sees it: more points on the wall than on head and shoulders; the whole is no size of a person."""
    rng = np.random.default_rng(0)
    _, _, points, parts = person
    shown = points[:, 1] > np.quantile(points[:, 1], 0.7)
    wall = rng.uniform((-1.5, -1.2, -1.5), (1.5, 1.4, -1.45), (4000, 3))
    side = rng.uniform((-1.5, -1.2, -1.5), (-1.45, 1.4, 1.5), (4000, 3))
    room = np.concatenate([points[shown], wall, side])
    fit = fitted((*person[:2], points[shown], parts[shown]), 1000 * room)
    assert fit.units.name == "mm" and "left out 8000 points away from the person" in fit.notes
    assert (fit.labels[: shown.sum()] >= 0).all() and (fit.labels[shown.sum() :] == -1).all()


@pytest.mark.parametrize("seed", range(4))
def test_no_floor_is_seen_under_a_body_alone(seed):
    points = scanned(ScanSettings(noise=0.001, one_sided=seed == 3), seed, "cross_legged" if seed == 2 else "standing")[2]
    assert not find_floor(points, np.random.default_rng(0)).any()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_floor_of_few_points_is_seen(share):
    _, _, points, parts = scanned(ScanSettings(noise=0.002, floor=share))
    is_floor = find_floor(points, np.random.default_rng(0))
    assert is_floor[parts < 0].mean() > 0.95 and is_floor[parts >= 0].mean() < 0.04


def test_a_person_of_two_metres_is_in_metres():
    person = np.random.default_rng(0).uniform((-0.9, 0, -0.2), (0.9, 1.993, 0.2), (1000, 3))
    assert guess_units(person).name == "m"
