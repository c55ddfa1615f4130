"""Labelled hands of real data sets as crops for evaluation."""

from __future__ import annotations

import json

import cv2
import lightning
import numpy as np
import pytest
import torch
from small_hands import NETWORK

from geo3d.data import HandFolder
from geo3d.data.hands.frames import RHD_ORDER
from geo3d.data.hands.labeled import LabeledHands
from geo3d.models.rejshand import ReJSHand
from geo3d.tasks import HandMesh

FOCAL, CENTER = 300.0, (90.0, 70.0)


@pytest.fixture
def rhd(tmp_path):
    """A left hand in RHD's format; a red dot is at the tip of its little finger."""
    generator = np.random.default_rng(0)
    joints = np.concatenate((generator.uniform(-0.08, 0.08, (21, 2)), generator.uniform(0.5, 0.6, (21, 1))), 1)
    pixels = FOCAL * joints[:, :2] / joints[:, 2:] + CENTER
    image = np.full((140, 180, 3), 90, np.uint8)
    cv2.circle(image, tuple(np.rint(pixels[20]).astype(int).tolist()), 3, (0, 0, 255), -1)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    stored = np.empty((21, 3))
    stored[RHD_ORDER] = 1000 * joints
    content = {
        "images": [{"id": 1, "file_name": "a.png", "cam_param": {"focal": [FOCAL] * 2, "princpt": list(CENTER)}}],
        "annotations": [{"image_id": 1, "keypoints": [], "joint_cam": stored.tolist(), "hand_type": "left"}],
    }
    (tmp_path / "test_rhd.json").write_text(json.dumps(content))
    return tmp_path


def test_left_hands_become_right_ones(rhd):
    image, labels = LabeledHands(rhd).picture(0, np.random.default_rng(0))
    column, row = np.rint(labels.keypoints[20]).astype(int)
    assert image[row, column].tolist() == [255, 0, 0]
    projected = labels.joints @ labels.camera_matrix.T  # the mirrored camera sees the mirrored hand
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], labels.keypoints, atol=1e-9)
    sample = HandFolder(str(rhd), image_size=64).dataset("test")[0]
    column, row = (64 * sample.keypoints[20]).long().tolist()
    assert sample.image[0, row, column] > 150 > sample.image[1, row, column]
    assert sample.joint_valid == 1 and sample.mesh_valid == 0 and sample.keypoint_valid.sum() == 21


def test_keypoints_that_are_not_labelled_do_not_count(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((100, 100, 3), np.uint8))
    rows = [[20 + 3 * joint, 50 + joint, 1] for joint in range(21)]
    rows[4] = [0, 0, 0]
    content = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7, "keypoints": sum(rows, [])}]}
    (tmp_path / "test.json").write_text(json.dumps(content))
    sample = HandFolder(str(tmp_path), image_size=64).dataset("test")[0]
    assert sample.keypoint_valid.tolist() == [1, 1, 1, 1, 0, *[1] * 16] and sample.joint_valid == 0


def test_hands_without_meshes_are_evaluated(rhd, tmp_path):
    torch.manual_seed(0)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    data = HandFolder(str(rhd), image_size=NETWORK["image_size"])
    [figures] = trainer.test(HandMesh(ReJSHand(**NETWORK)), data, verbose=False)
    assert {"test/pa_mpjpe_mm", "test/mpjpe_mm", "test/keypoint_error", "test/camera_root_mm"} <= set(figures)
    assert not [name for name in figures if "mpvpe" in name or "f_5mm" in name]


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        LabeledHands(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no hand with joints or keypoints"):
        LabeledHands(tmp_path)
    with pytest.raises(ValueError, match="for evaluation; FreiHand is for training"):
        HandFolder(str(tmp_path)).dataset("train")
