"""Fitting bodies to scans, with a network that knows parts and pose up to an error: what stands before and after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_bodies import INFO, Known, scanned
from scipy.spatial.transform import Rotation

from geo3d.body import load_body_model
from geo3d.data.synthetic.bodies.scans import ScanSettings
from geo3d.geometry.scans import find_floor, guess_units, person_piece
from geo3d.predict.bodies import BodyFitter


@pytest.mark.parametrize(
    ("scale", "turn", "moved"),
    [
        (1.0, Rotation.identity(), (0, 0, 0)),
        (100.0, Rotation.from_rotvec([np.pi / 2, 0, 0]), (40, -30, 500)),  # z up, centimetres
        (1000.0, Rotation.from_rotvec([0, 0, np.pi]), (0, 9000, 0)),  # upside down, millimetres
        (0.01, Rotation.random(random_state=1), (3, 4, 5)),
    ],
)
def test_the_body_lies_on_the_scan_whatever_its_units_and_axes(scale, turn, moved):
    pose, betas, points, parts = scanned()
    fitter = BodyFitter(Known(pose, betas, points, parts, turn, 0.0), INFO)
    given = scale * turn.apply(points) + moved
    fit = fitter(given)
    if scale == 0.01:  # no unit: it was made 1.7 m long, and that is said
        assert fit.units.name is None and any("1.7 m" in note for note in fit.notes)
        return
    assert fit.units.scale == pytest.approx(1 / scale)
    assert fit.mean_distance < 0.004
    assert np.abs(fit.vertices.mean(0) - given.mean(0)).max() < 0.15 * scale
    assert (fit.labels == parts).mean() > 0.95
    [assumed] = [note for note in fit.notes if "taken for" in note]
    assert f"taken for {({1: 'm', 100: 'cm', 1000: 'mm'})[scale]} by its size" in assumed
    made = load_body_model()(
        betas=torch.from_numpy(fit.betas)[None],
        global_orient=torch.from_numpy(fit.global_orient)[None],
        body_pose=torch.from_numpy(fit.body_pose)[None],
        transl=torch.from_numpy(fit.transl).float()[None],
    ).vertices[0]
    assert np.allclose(made.detach().numpy() * scale, fit.vertices, atol=2e-3 * scale)


def test_refinement_brings_a_wrong_pose_onto_the_scan():
    pose, betas, points, parts = scanned()
    fitter = BodyFitter(Known(pose, betas, points, parts, Rotation.identity(), 0.12), INFO)
    steps: list[int] = []
    before, after = fitter(points), fitter(points, refine_steps=25, progress=steps.append)
    assert before.mean_distance > 0.012
    assert after.mean_distance < 0.6 * before.mean_distance
    assert steps == list(range(25))


def test_floor_and_clutter_are_left_out_and_said():
    pose, betas, points, parts = scanned(ScanSettings(noise=0.001, floor=0.2))
    on_body = parts >= 0
    fitter = BodyFitter(Known(pose, betas, points[on_body], parts[on_body], Rotation.identity(), 0.0), INFO)
    chair = np.random.default_rng(0).uniform((2.0, 0, 0), (2.4, 0.5, 0.4), (300, 3))
    fit = fitter(np.concatenate([points, chair]))
    assert (fit.labels[-300:] == -1).all()
    assert (fit.labels[: len(points)][~on_body] == -1).mean() > 0.9
    assert (fit.labels[: len(points)][on_body] >= 0).mean() > 0.95  # soles lie on the floor
    assert any("floor" in note for note in fit.notes) and any("away from the person" in note for note in fit.notes)


def test_displacements_reach_the_clothes():
    pose, betas, points, parts = scanned(ScanSettings(clothes=0.04))
    fitter = BodyFitter(Known(pose, betas, points, parts, Rotation.identity(), 0.0), INFO)
    bare, clothed = fitter(points), fitter(points, displacements=True)
    assert bare.displacements is None and clothed.displacements.shape == clothed.vertices.shape
    assert clothed.mean_distance < 0.6 * bare.mean_distance
    assert np.abs(clothed.displacements).max() < 0.08


def test_what_is_no_body_is_said():
    pose, betas, points, parts = scanned()
    fitter = BodyFitter(Known(pose, betas, points, parts, Rotation.identity(), 0.0), INFO)
    box = np.random.default_rng(0).uniform(-0.8, 0.8, (3000, 3))
    fit = fitter(box)
    assert any("is it a person" in note for note in fit.notes)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((5, 3)), {}, "at least 100 points"),
        (np.full((200, 3), np.nan), {}, "finite"),
        (np.random.default_rng(0).random((200, 3)), {"units": "miles"}, "units must be one of m, cm, mm, in, ft"),
    ],
)
def test_bad_scans(source, options, message):
    pose, betas, points, parts = scanned()
    fitter = BodyFitter(Known(pose, betas, points, parts, Rotation.identity(), 0.0), INFO)
    with pytest.raises(ValueError, match=message):
        fitter(source, **options)


def test_units_of_a_person():
    person = np.random.default_rng(0).uniform((-0.9, 0, -0.2), (0.9, 1.8, 0.2), (1000, 3))
    assert [guess_units(person * scale).name for scale in (1, 100, 1000, 7)] == ["m", "cm", "mm", None]
    far = np.concatenate([person, [[1e6, 0, 0]]])
    assert guess_units(far).name == "m"  # one point decides nothing


def test_a_body_alone_has_no_floor_and_is_one_piece():
    points = scanned(seed=3)[2]
    assert not find_floor(points, np.random.default_rng(0)).any()
    assert person_piece(points).all()
