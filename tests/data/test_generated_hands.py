"""Generated hands: labels that fit the pictures, poses within limits, files that do not depend on the workers."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from geo3d.data.generated import GeneratedHands, resolve_root
from geo3d.data.hands.frames import find_hand_frames
from geo3d.data.synthetic.hands import poses
from geo3d.data.synthetic.hands.generate import LISTS, write_hands
from geo3d.data.synthetic.hands.model import hand_model
from geo3d.data.synthetic.hands.scene import SIZE, Materials, make_picture
from geo3d.tools.make_data import main

MATERIALS = Materials()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("hands") / "out"
    write_hands(out, 52, 3, workers=1, evaluation_size=2)
    return out


def test_freihand_folders(folder):
    for split, count in (("training", 50), ("evaluation", 2)):
        files = sorted((folder / split / "rgb").iterdir())
        assert [path.name for path in files] == [f"{number:08d}.jpg" for number in range(count)]
        lists = {name: json.loads((folder / f"{split}_{name}.json").read_text()) for name in LISTS}
        assert {name: np.shape(value) for name, value in lists.items()} == {
            "K": (count, 3, 3),
            "xyz": (count, 21, 3),
            "verts": (count, 778, 3),
            "mano": (count, 1, 61),
            "scale": (count,),
        }
        xyz = np.array(lists["xyz"])
        np.testing.assert_allclose(np.linalg.norm(xyz[:, 10] - xyz[:, 9], axis=1), lists["scale"], atol=2e-6)
    assert {path.name for path in folder.iterdir()} == {"training", "evaluation"} | {
        f"{split}_{name}.json" for split in ("training", "evaluation") for name in LISTS
    }
    frames = list(find_hand_frames(folder))  # the viewer reads them too
    assert len(frames) == 52


def test_the_same_whatever_the_workers(folder, tmp_path):
    write_hands(tmp_path / "out", 52, 3, workers=2, evaluation_size=2)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 52 + 10
    for path in files:
        assert (folder / path).read_bytes() == (tmp_path / "out" / path).read_bytes(), path
    assert (make_picture(4, 0, MATERIALS).image != make_picture(3, 0, MATERIALS).image).any()


@pytest.mark.parametrize("index", range(4))
def test_labels_fit_the_picture(index):
    picture = make_picture(0, index, MATERIALS)
    assert picture.image.shape == (SIZE, SIZE, 3) and picture.image.dtype == np.uint8
    uv = picture.xyz @ picture.K.T
    uv = uv[:, :2] / uv[:, 2:]
    assert (picture.verts[:, 2] > 0.02).all()
    assert ((uv > -0.1 * SIZE) & (uv < 1.1 * SIZE)).all()
    # MANO's parameters give the vertices, the root being at the pixel and depth that FreiHAND's rule says.
    pose, betas, (column, row), scale = (*np.split(picture.mano, [48, 58])[:2], picture.mano[58:60], picture.mano[60])
    from scipy.spatial.transform import Rotation

    hand = hand_model().pose(betas, pose[3:].reshape(15, 3), np.zeros(3))
    turn = Rotation.from_rotvec(pose[:3]).as_matrix()
    root = picture.xyz[9]
    np.testing.assert_allclose((hand.vertices - hand.keypoints[9]) @ turn.T + root, picture.verts, atol=1e-9)
    np.testing.assert_allclose([column, row], uv[9])
    assert scale == pytest.approx(picture.scale)


def test_the_hand_is_where_the_labels_say():
    """The same picture with the hand taken away differs where the vertices are and hardly elsewhere."""
    from dataclasses import replace

    from geo3d.data.synthetic.hands import scene
    from geo3d.data.synthetic.hands.light import draw_lighting

    rng = np.random.default_rng(5)
    pose = poses.draw_pose(rng, "spread")
    hand = hand_model().pose(np.zeros(10), pose.joints, pose.wrist)
    turn = scene.draw_view(rng)
    camera, place = scene.draw_camera(hand, turn, rng)
    skin = scene.dressed_hand(hand, pose, MATERIALS, rng)[0].moved(turn, place)
    made = scene.Scene(camera, draw_lighting(rng), np.zeros((SIZE, SIZE, 3), np.float32), [replace(skin)])
    _, owner = made.render()
    seen = owner[::2, ::2] == 0
    uv, depth = camera.project(hand.vertices @ turn.T + place)
    columns, rows = uv.round().astype(int).T
    inside = (columns >= 0) & (columns < SIZE) & (rows >= 0) & (rows < SIZE)
    grown = cv2.dilate(seen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert grown[rows[inside], columns[inside]].mean() > 0.98
    hull = cv2.convexHull(uv[inside].astype(np.float32))
    assert seen.sum() > 0.3 * cv2.contourArea(hull)


@pytest.mark.parametrize("kind", list(poses.KINDS))
def test_poses_within_limits(kind):
    rng = np.random.default_rng(0)
    axes = poses.joint_axes()
    for _ in range(15):
        pose = poses.draw_pose(rng, kind)
        assert pose.kind == kind and np.isfinite(pose.joints).all()
        middle = [1, 4, 7, 10]  # rows of the fingers' middle joints
        bend = np.degrees(np.einsum("ji,ji->j", pose.joints[middle], axes.flex[middle]) + axes.rest[middle])
        assert bend.min() >= poses.LIMITS["pip"][0] - 1e-6 and bend.max() <= poses.LIMITS["pip"][1] + 1e-6


def test_gestures_are_what_they_are_called():
    rng = np.random.default_rng(0)
    reach = {kind: [] for kind in ("fist", "spread", "point", "pinch")}
    for kind, values in reach.items():
        for _ in range(20):
            chains = poses.finger_chains(poses.draw_pose(rng, kind).joints[None])[0]
            values.append(
                [np.linalg.norm(chain[3] - chain[0]) for chain in chains] + [np.linalg.norm(chains[0, 3] - chains[1, 3])]
            )
    means = {kind: np.mean(values, 0) for kind, values in reach.items()}
    assert (means["fist"][1:5] < 0.6 * means["spread"][1:5]).all()
    assert means["point"][1] > 0.9 * means["spread"][1] and (means["point"][2:5] < 0.75 * means["spread"][2:5]).all()
    assert np.median([values[5] for values in reach["pinch"]]) < 0.03


def test_fingers_do_not_go_through_each_other():
    rng = np.random.default_rng(1)
    chosen = np.stack([poses.draw_pose(rng).joints for _ in range(60)])
    overlap = poses.intersection(chosen)
    assert np.median(overlap) < 0.002 and np.quantile(overlap, 0.9) < 0.01
    crossed = np.zeros((1, 15, 3))
    crossed[0, 0] = 0.5 * poses.joint_axes().spread[0]
    crossed[0, 3] = -0.5 * poses.joint_axes().spread[3]
    bent = -crossed
    assert max(poses.intersection(crossed)[0], poses.intersection(bent)[0]) > 0.005


def test_folders_of_skins_and_backgrounds(tmp_path):
    for name, size in (("skins", 512), ("backgrounds", 64)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "one.png"), np.full((size, size, 3), (40, 120, 200), np.uint8))
    materials = Materials.of(tmp_path / "skins", tmp_path / "backgrounds")
    assert len(materials.skins) == 1 and len(materials.photographs) == 1
    assert (make_picture(0, 0, materials).image != make_picture(0, 0, MATERIALS).image).any()


def test_the_command_and_its_errors(tmp_path, capsys):
    assert main(["hands", "--out", str(tmp_path / "out"), "--size", "2", "--workers", "1", "--evaluation-size", "1"]) == 0
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2
    assert main(["hands", "--out", str(tmp_path / "out"), "--size", "2"]) == 2
    assert main(["hands", "--out", str(tmp_path / "other"), "--skins", str(tmp_path / "missing")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_made_once_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    wanted = GeneratedHands(size=2, workers=1)
    first = resolve_root("test", "generated", wanted, GeneratedHands())
    stamp = (first / "training_xyz.json").stat().st_mtime_ns
    assert resolve_root("test", "generated", wanted, GeneratedHands()) == first
    assert (first / "training_xyz.json").stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="generate goes with root 'generated'"):
        resolve_root("test", str(tmp_path), wanted, GeneratedHands())
