"""Data of hands: FreiHAND's folders, crops and their augmentation, photographs with pseudo labels."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from data.hands.hand_folders import MATRIX, write_freihand

from geo3d.data.hands.crops import CropDraws, HandAugmentation, crop_hand
from geo3d.data.hands.freihand import FreiHandFrames
from geo3d.data.hands.modules import FreiHand, HandDataset
from geo3d.data.hands.photographs import HandPhotographs
from geo3d.data.hands.predictions import write_predictions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    return write_freihand(tmp_path / "hands")


def test_versions_share_their_labels(folder):
    frames = FreiHandFrames(folder)
    assert len(frames) == 12 and frames.path(8).name == "00000008.jpg"
    np.testing.assert_array_equal(frames.labels(8).joints, frames.labels(2).joints)
    second = FreiHandFrames(folder, looks=("hom",))
    assert len(second) == 6 and second.path(0).name == "00000006.jpg"
    assert len(FreiHandFrames(folder, "test")) == 3


def test_lists_are_those_of_the_files_also_from_the_cache(folder):
    wanted = json.loads((folder / "training_verts.json").read_text())[4]
    for _ in range(2):
        np.testing.assert_allclose(FreiHandFrames(folder).labels(4).vertices, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("draws", "sign"),
    [(CropDraws(), 1), (CropDraws((0.1, -0.1), 1.3, 2.0), 1), (CropDraws(angle=-0.5, mirrored=True), -1)],
    ids=["evaluation", "turned", "mirrored"],
)
def test_points_of_a_crop_are_seen_at_its_keypoints(folder, draws, sign):
    image, labels = FreiHandFrames(folder).picture(1, np.random.default_rng())
    sample = crop_hand(image, labels, 160, draws, 778)
    seen = (sample.joints + sample.root) @ sample.camera_matrix.T
    torch.testing.assert_close(seen[:, :2] / seen[:, 2:] / 160, sample.keypoints, rtol=1e-4, atol=1e-4)
    assert sample.joints[9].abs().max() < 1e-6 and sample.mesh_valid == 1
    span = (labels.joints[5] - labels.joints[17]) @ np.cross(
        labels.joints[9] - labels.joints[0], labels.joints[4] - labels.joints[0]
    )
    found = torch.linalg.cross(sample.joints[9] - sample.joints[0], sample.joints[4] - sample.joints[0])
    assert np.sign(float((sample.joints[5] - sample.joints[17]) @ found)) == sign * np.sign(span)


def test_the_image_of_a_crop_shows_the_hand_at_its_keypoints(folder):
    image, labels = FreiHandFrames(folder).picture(1, np.random.default_rng())
    for draws in (CropDraws(), CropDraws(mirrored=True)):
        sample = crop_hand(image, labels, 160, draws, 778)
        columns, rows = (sample.keypoints[[0, 5, 9, 17]] * 160).round().long().T
        lightest = torch.nn.functional.max_pool2d(sample.image[:1].float(), 7, 1, 3)[0]  # the hand is drawn as light dots
        assert (lightest[rows, columns] > 150).all()


def test_crops_of_evaluation_hold_the_hand_and_are_the_same_every_time(folder):
    dataset = HandDataset(FreiHandFrames(folder, "test"), 64, fixed=True)
    first, again = dataset[1], dataset[1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.keypoints.min() > 0.05 and first.keypoints.max() < 0.95


def test_augmented_crops_differ_by_epoch_and_not_by_access(folder):
    dataset = HandDataset(FreiHandFrames(folder), 64, HandAugmentation(), seed=3)
    assert torch.equal(dataset[2, 0].image, dataset[2, 0].image)
    assert not torch.equal(dataset[2, 0].keypoints, dataset[2, 1].keypoints)


def test_turns_are_in_degrees_unless_the_released_recipe_is_asked_for():
    angles = [HandAugmentation().draw(np.random.default_rng(seed)).angle for seed in range(200)]
    assert max(np.abs(angles)) <= np.pi + 1e-9 and np.std(angles) == pytest.approx(np.pi / 2, rel=0.2)
    released = [HandAugmentation(angle_in_radians=True).draw(np.random.default_rng(seed)).angle for seed in range(200)]
    np.testing.assert_allclose(np.radians(released), angles)


@pytest.fixture
def photographs(tmp_path):
    root = tmp_path / "photographs"
    (root / "images" / "1").mkdir(parents=True)
    image = np.full((100, 100, 3), 215, np.uint8)
    keypoints = np.stack(([50.0] * 21, np.linspace(90, 25, 21)), 1)
    cv2.ellipse(image, (50, 60), (14, 40), 0, 0, 360, (120, 150, 200), -1)
    cv2.imwrite(str(root / "images" / "1" / "a.png"), image)
    labels = {"1/a.png": {"uv": keypoints.tolist(), "score": 0.99}, "1/b.png": {"uv": keypoints.tolist(), "score": 0.1}}
    labels["1/c.png"] = {"uv": (50 + keypoints / 9).tolist(), "score": 0.99}  # all points in a heap
    (root / "pseudo_labels.json").write_text(json.dumps(labels))
    return root


def test_hands_are_cut_out_of_a_light_wall(photographs):
    source = HandPhotographs(photographs)
    assert len(source) == 1
    opacity = source.cut_out("1/a.png").opacity / 255
    truth = ((np.mgrid[:100, :100] - np.array([60, 50])[:, None, None]) / np.array([40, 14])[:, None, None]) ** 2
    assert ((opacity > 0.5) != (truth.sum(0) < 1)).mean() < 0.02


def test_large_photographs_are_shrunk_with_their_keypoints(photographs):
    small = HandPhotographs(photographs).cut_out("1/a.png")
    path = photographs / "images" / "1" / "a.png"
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (3000, 3000), interpolation=cv2.INTER_CUBIC))
    labels = json.loads((photographs / "pseudo_labels.json").read_text())
    labels["1/a.png"]["uv"] = (30 * np.array(labels["1/a.png"]["uv"])).tolist()
    (photographs / "pseudo_labels.json").write_text(json.dumps(labels))
    large = HandPhotographs(photographs).cut_out("1/a.png")
    assert large.photograph.shape == (320, 320, 3)
    np.testing.assert_allclose(large.keypoints, 3.2 * small.keypoints)
    whole = cv2.resize(small.opacity, (320, 320))
    assert ((large.opacity > 127) != (whole > 127)).mean() < 0.02


def test_photographs_have_keypoints_and_no_mesh(photographs):
    image, labels = HandPhotographs(photographs, keep_wall=0).picture(0, np.random.default_rng(0))
    sample = crop_hand(image, labels, 64, CropDraws(), 778)
    assert sample.keypoint_valid.sum() == 21 and sample.mesh_valid == 0 and sample.joint_valid == 0
    rows, columns = labels.keypoints[10].astype(int)[::-1]
    assert image[rows, columns, 0] > image[rows, columns, 2]  # skin is red, in R, G, B


def test_photographs_are_mixed_in(folder, photographs):
    data = FreiHand(str(folder), image_size=64, photographs=str(photographs), photograph_share=0.5, batch_size=4, epoch_size=40)
    with_mesh = torch.cat([batch.mesh_valid for batch in data.train_dataloader()])
    assert len(with_mesh) == 40 and 10 < with_mesh.sum() < 30


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "training_K.json").unlink(), "FreiHAND: no list .*training_K.json"),
        (
            lambda root: (root / "training_xyz.json").write_text("[[[1, 2]]]"),
            "training_xyz.json: expected a multiple of 63 numbers",
        ),
        (lambda root: (root / "training_xyz.json").write_text('{"a": 1}'), "training_xyz.json: expected a list of"),
        (lambda root: (root / "training" / "rgb" / "00000011.jpg").unlink(), "expected a multiple of 6 pictures.* got 11"),
        (
            lambda root: (root / "training_verts.json").write_text(json.dumps([[[0, 0, 0]] * 778] * 5)),
            "training_verts.json: expected 6",
        ),
    ],
)
def test_damaged_folders_are_told(folder, spoil, message):
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        FreiHandFrames(folder)


def test_photographs_that_are_not_there_are_told(folder):
    with pytest.raises(ValueError, match="photograph_share goes with photographs"):
        FreiHand(str(folder), photograph_share=0.3)


def test_predictions_are_written_as_the_challenge_takes_them(tmp_path):
    write_predictions(tmp_path / "pred.json", [[[0.1, 0.2, 0.3]] * 21] * 2, [[[0.0, 0.0, 1.0]] * 778] * 2)
    joints, vertices = json.loads((tmp_path / "pred.json").read_text())
    assert np.shape(joints) == (2, 21, 3) and np.shape(vertices) == (2, 778, 3) and MATRIX[2][2] == 1
