"""Hands found in boxes of an image, with a network that says what it is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from small_hands import SIDE, info_of, small_network

from geo3d.geometry.virtual_camera import default_camera_matrix, virtual_camera
from geo3d.models.rejshand import HandOutput
from geo3d.predict.hands import HandPredictor
from geo3d.predict.images import upright_rgb


@pytest.fixture(scope="module")
def predictor() -> HandPredictor:
    return HandPredictor(small_network(), info_of("hand_mesh"))


def truth() -> tuple[np.ndarray, np.ndarray]:
    """Joints [21, 3] before the camera of a 320 x 240 image, and that camera."""
    joints = np.random.default_rng(1).normal([0.05, 0.02, 0.5], 0.03, (21, 3))
    return joints, default_camera_matrix(320, 240)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_right_answer_in_the_crop_is_right_in_the_camera(predictor, monkeypatch, side):
    joints, matrix = truth()
    box = (150, 90, 90, 90)
    camera = virtual_camera(matrix, (195, 135), (112.5, 112.5), SIDE)
    turned = camera.turn(joints)
    pixels = joints @ matrix.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    keypoints, local = camera.to_crop(pixels), turned - turned[9]
    if side == "left":  # what a network of right hands sees in the mirrored crop
        keypoints, local = np.array([SIDE - 1, 0]) + keypoints * [-1, 1], local * [-1, 1, 1]
    arrays = (keypoints / SIDE, local, np.repeat(local, 2, axis=0), np.array(0.7))
    answer = HandOutput(*(torch.from_numpy(a)[None] for a in arrays))
    monkeypatch.setattr(predictor, "folded", lambda images: answer)
    found = predictor(np.zeros((240, 320, 3), np.uint8), [box], [side])
    [hand] = found.hands
    assert hand.side == side and found.camera_is_assumed
    assert hand.score == 0.7 and hand.disagreement < 1e-6
    np.testing.assert_allclose(hand.keypoints, pixels, atol=1e-6)
    np.testing.assert_allclose(hand.joints, joints, atol=1e-5)
    np.testing.assert_allclose(hand.vertices[::2], joints, atol=1e-5)


def test_the_side_is_that_of_which_the_network_is_surer(predictor, monkeypatch):
    """A network that is sure where the crop is brighter on its left."""

    def answer(images):
        left, right = images[..., : SIDE // 2].float().mean((1, 2, 3)), images[..., SIDE // 2 :].float().mean((1, 2, 3))
        joints = torch.rand(len(images), 21, 3)
        return HandOutput(torch.rand(len(images), 21, 2), joints, joints.repeat(1, 2, 1), (0.5 + (left - right) / 400))

    monkeypatch.setattr(predictor, "folded", answer)
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :40], image[:, 160:] = 250, 250
    monkeypatch.setattr("geo3d.predict.hands.DOUBT_OF_DISAGREEMENT", 0.0)
    found = predictor(image, [(10, 10, 60, 60), (130, 10, 60, 60), (10, 10, 60, 60)], [None, None, "left"])
    assert [hand.side for hand in found.hands] == ["right", "left", "left"]


def test_a_left_hand_is_the_mirrored_right_one(predictor):
    rows, columns = np.mgrid[:100, :100]
    image = np.stack((2 * rows, 2 * columns, rows + columns), -1).astype(np.uint8)
    right = predictor(image, [(20, 10, 50, 60)]).hands[0]
    left = predictor(np.ascontiguousarray(image[:, ::-1]), [(99 - 70, 10, 50, 60)], ["left"]).hands[0]
    np.testing.assert_allclose(
        left.keypoints, np.array([99, 0]) + right.keypoints * [-1, 1], atol=0.05
    )  # OpenCV rounds places to 1/32 pixel
    np.testing.assert_allclose(left.vertices - left.joints[9], (right.vertices - right.joints[9]) * [-1, 1, 1], atol=1e-4)


def test_results_are_written_and_drawn(predictor, tmp_path):
    found = predictor(np.zeros((80, 120, 3), np.uint8), [(0, 0, 60, 60), (50, 10, 60, 60)], ["right", "left"])
    found.write_json(tmp_path / "hands.json", vertices=True)
    content = json.loads((tmp_path / "hands.json").read_text())
    assert [hand["side"] for hand in content["hands"]] == ["right", "left"] and content["camera_is_assumed"]
    assert np.shape(content["hands"][0]["vertices"]) == (778, 3) and np.shape(content["hands"][1]["joints"]) == (21, 3)
    assert found.overlay().shape == (80, 120, 3) and not found.image.any()


IMAGES = {
    "grey": (np.full((4, 6), 90, np.uint8), 90),
    "sixteen_bits": (np.full((4, 6), 90 * 256, np.uint16), 90),
    "four_channels": (np.full((4, 6, 4), 90, np.uint8), 197),  # on white
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_all_kinds_are_read(kind, tmp_path):
    array, value = IMAGES[kind]
    Image.fromarray(array).save(tmp_path / "a.png")
    for source in (array, tmp_path / "a.png"):
        image = upright_rgb(source)
        assert image.shape == (4, 6, 3) and image.dtype == np.uint8 and (image == value).all()


def test_images_are_turned_as_their_exif_says(tmp_path):
    array = np.zeros((4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    Image.fromarray(array).save(tmp_path / "a.png", exif=exif)
    assert upright_rgb(tmp_path / "a.png").shape == (6, 4, 3)


def test_bad_input_is_told(predictor, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"a.jpg: expected a picture"):
        predictor(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match="b.jpg: no such file"):
        predictor(tmp_path / "b.jpg")
    with pytest.raises(
        ValueError, match=r"expected \[H, W\], \[H, W, 3\] or \[H, W, 4\] uint8 or uint16, got \[3, 3\] float64"
    ):
        predictor(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="expected 'right', 'left' or None for each of 1 boxes"):
        predictor(np.zeros((9, 9, 3), np.uint8), [(0, 0, 5, 5)], ["up"])
    with pytest.raises(ValueError, match="expected sizes and focal lengths above 0"):
        predictor(np.zeros((9, 9, 3), np.uint8), [(0, 0, 0, 5)])
