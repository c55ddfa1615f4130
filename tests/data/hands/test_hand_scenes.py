"""Scenes with any number of hands: what is generated, and how training cuts it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo3d.data.hands.modules import HandScenes
from geo3d.data.hands.photographs import CutOut
from geo3d.data.hands.scenes import (
    SceneDataset,
    SceneFrames,
    SceneHand,
    collate_scenes,
    labels_of,
    letterbox,
    letterboxed,
    mirrored,
    with_pasted_photograph,
)
from geo3d.data.synthetic.hands.scene import Materials
from geo3d.data.synthetic.hands.wide import WIDE_SIZE, make_wide_picture
from geo3d.tools.make_data import main

HANDS = (SceneHand(0, np.linspace([20, 30], [80, 110], 21)),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "out"
    arguments = ["hands", "--wide", "--out", str(out), "--size", "14", "--evaluation-size", "4", "--workers", "1"]
    assert main(arguments) == 0
    return out


def test_generated_scenes(folder):
    rows = json.loads((folder / "training_hands.json").read_text())
    assert len(rows) == 10 and {len(row) for row in rows} <= {0, 1, 2}
    frames = SceneFrames(folder, "train")
    picture, hands = frames.picture(0)
    assert picture.shape == (WIDE_SIZE, WIDE_SIZE, 3) and len(hands) == len(rows[0])
    assert len(SceneFrames(folder, "test")) == 4


def test_scenes_have_none_one_and_two_hands_of_all_sizes_and_both_sides():
    pictures = [make_wide_picture(5, index, Materials()) for index in range(24)]
    again = make_wide_picture(5, 3, Materials())
    assert (again.image == pictures[3].image).all() and again.sides == pictures[3].sides
    assert {len(picture.sides) for picture in pictures} == {0, 1, 2}
    assert {"left", "right"} <= {side for picture in pictures for side in picture.sides}
    extents = [np.ptp(points, axis=0).max() / WIDE_SIZE for picture in pictures for points in picture.keypoints]
    assert min(extents) < 0.15 and max(extents) > 0.5


def test_the_letterbox_keeps_places():
    transform, content = letterbox(640, 480, 192)
    assert content == (0, 24, 192, 168)
    np.testing.assert_allclose(transform @ [319.5, 239.5, 1], [95.5, 95.5])
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:140, 400:440] = 255
    square, [hand] = letterboxed(image, [SceneHand(1, np.tile([419.5, 119.5], (21, 1)))], 192)
    rows, columns = np.nonzero(square[..., 0] > 127)
    np.testing.assert_allclose(hand.keypoints[0], [columns.mean(), rows.mean()], atol=0.5)


def test_a_window_cuts_hands_off():
    image = np.full((256, 256, 3), 90, np.uint8)
    _, [hand] = letterboxed(image, HANDS, 192, (60.0, 60.0, 128.0, 72.0))
    inside = (hand.keypoints >= 0).all(1)
    assert 0 < inside.sum() < 21
    boxes, sides = labels_of([hand], 192)
    assert boxes.shape == (1, 4) and sides.tolist() == [0 if inside.sum() >= 9 else -1]
    _, [gone] = letterboxed(image, HANDS, 192, (120.0, 120.0, 100.0, 100.0))
    assert len(labels_of([gone], 192)[1]) == 0


def test_mirroring_swaps_sides():
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    flipped, [hand, hidden] = mirrored(image, [SceneHand(0, np.full((21, 2), 10.0)), SceneHand(-1, np.full((21, 2), 3.0))])
    assert hand.side == 1 and hidden.side == -1 and hand.keypoints[0].tolist() == [53, 10]
    assert (flipped[10, 53] == image[10, 10]).all()


def test_training_pictures_differ_and_evaluation_ones_do_not(folder):
    training = SceneDataset(SceneFrames(folder, "train"), 96, augment=True)
    evaluation = SceneDataset(SceneFrames(folder, "test"), 96)
    assert (training[0, 0].image == training[0, 0].image).all()
    assert (training[0, 0].image != training[0, 1].image).any()
    assert (evaluation[1].image == evaluation[1].image).all()
    batch = collate_scenes([training[index, 0] for index in range(8)])
    assert batch.image.shape == (8, 3, 96, 96) and len(batch.boxes) == len(batch.sides) == len(batch.batch_index)
    assert ((batch.boxes[:, :2] > 0) & (batch.boxes[:, :2] < 1)).all()


class _OnePhotograph:
    """A grey hand of 20 x 20 pixels on 40 x 40."""

    names = ("one",)

    def cut_out(self, name):
        opacity = np.zeros((40, 40), np.uint8)
        opacity[10:30, 10:30] = 255
        return CutOut(np.full((40, 40, 3), 200, np.uint8), opacity, np.linspace([12.0, 12.0], [28.0, 28.0], 21))


def test_photographs_are_pasted_where_their_keypoints_are():
    image = np.zeros((256, 256, 3), np.uint8)
    for seed in range(6):
        made, [hand] = with_pasted_photograph(image, [], _OnePhotograph(), np.random.default_rng(seed))
        row, column = hand.keypoints[10, ::-1].round().astype(int)
        if 0 <= row < 256 and 0 <= column < 256:
            assert made[row, column].min() > 50
        assert hand.side == 0
    covered = [SceneHand(1, np.array([[0.0, 0.0], *[[255.0, 255.0]] * 20]))]
    same, left = with_pasted_photograph(image, covered, _OnePhotograph(), np.random.default_rng(0))
    assert same is image and left == covered


def test_damaged_lists_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="make-data hands --wide"):
        SceneFrames(tmp_path)
    (tmp_path / "training_hands.json").write_text('[[{"side": "both", "keypoints": []}]]')
    with pytest.raises(ValueError, match=r"training_hands.json: expected side and 21 keypoints"):
        SceneFrames(tmp_path)
    (tmp_path / "training_hands.json").write_text("[[]]")
    with pytest.raises(ValueError, match="0 pictures, got 1 rows"):
        SceneFrames(tmp_path)
    with pytest.raises(ValueError, match="photograph_share goes with photographs"):
        HandScenes(str(folder), photograph_share=0.5)
