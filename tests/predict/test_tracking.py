"""Hands followed through frames, with networks that say where the squares of a made film are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geo3d.geometry.virtual_camera import default_camera_matrix
from geo3d.predict.hand_finder import HandBox
from geo3d.predict.hands import FoundHand, FoundHands
from geo3d.predict.tracking import HandTracker, OneEuroFilter, keypoint_box, overlap

WIDTH, HEIGHT, SIZE = 320, 240, 40.0
MATRIX = default_camera_matrix(WIDTH, HEIGHT)
SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (21, 3))  # of a hand of unit size


def hand_at(center, side="right", noise=0.0):
    """A hand of SIZE pixels around a pixel."""
    depth = MATRIX[0, 0] * 0.1 / SIZE
    place = np.append((np.asarray(center) - MATRIX[:2, 2]) * depth / MATRIX[0, 0], depth)
    joints = SHAPE * [0.1, 0.1, 0.02] + place
    pixels = joints @ MATRIX.T
    pixels = pixels[:, :2] / pixels[:, 2:] + noise
    return FoundHand(side, keypoint_box(pixels), pixels, joints, np.repeat(joints, 2, 0))


class World:
    """Where hands are; stands for both networks and counts how often the detector runs."""

    def __init__(self):
        self.hands: list[tuple[str, tuple[float, float]]] = []
        self.searches = 0
        self.wrong_side, self.side_score = False, 0.95
        self.unsure_of: str | None = None  # side of which the mesh network is not sure

    def find(self, image, score=0.3, most=8):
        self.searches += 1
        swap = {"right": "left", "left": "right"} if self.wrong_side else {}
        boxes = [(swap.get(side, side), hand_at(center).box) for side, center in self.hands]
        return tuple(HandBox(side, box, 0.9, self.side_score) for side, box in boxes)

    def predict(self, image, boxes, sides, matrix, enlarge):
        """The hand nearest to the middle of each box, or something that is no hand."""
        out = []
        for box, side in zip(boxes, sides, strict=True):
            middle = box[:2] + box[2:] / 2
            near = sorted(self.hands, key=lambda hand: np.linalg.norm(np.asarray(hand[1]) - middle))
            if near and np.linalg.norm(np.asarray(near[0][1]) - middle) < SIZE:
                hand = hand_at(near[0][1], side)
                out.append(replace(hand, score=0.4 if side == self.unsure_of else 0.6 if self.unsure_of else 1.0))
            else:  # keypoints and joints that have nothing to do with each other
                hand = hand_at(middle, side)
                out.append(FoundHand(side, box, hand.keypoints[::-1], hand.joints, hand.vertices))
        return FoundHands(image, matrix, True, tuple(out))


@pytest.fixture
def world():
    return World()


@pytest.fixture
def follow(world):
    tracker = HandTracker(world.predict, world.find, smooth=False)
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    count = iter(range(10**6))

    def step(*hands):
        world.hands = list(hands)
        return tracker(frame, next(count) / 30)

    return step


def test_a_hand_is_followed_with_few_searches(world, follow):
    results = [follow(("right", (60 + 3 * step, 100))) for step in range(60)]
    assert {tuple(hand.identity for hand in result.hands) for result in results} == {(1,)}
    assert all(result.state == "tracking" for result in results)
    np.testing.assert_allclose(results[-1].hands[0].hand.keypoints, hand_at((237, 100)).keypoints)
    assert world.searches <= 16  # for a second hand, every fourth frame
    assert results[-1].hands[0].age == 60 and results[-1].hands[0].confidence > 0.8


def test_two_hands_keep_their_identities_and_sides(world, follow):
    results = [follow(("right", (60 + 2 * step, 80)), ("left", (260 - 2 * step, 170))) for step in range(60)]
    for result in results[5:]:
        sides = {hand.identity: hand.hand.side for hand in result.hands}
        assert sides == {1: "right", 2: "left"}
    assert world.searches <= 8  # every tenth frame while both are there


def test_a_hand_that_leaves_is_lost_and_one_that_comes_back_is_found(follow):
    hand = ("right", (100, 100))
    assert follow(hand).state == "tracking"
    after = [follow() for _ in range(12)]
    assert after[-1].state == "searching" and not after[-1].hands
    back = follow(hand)
    assert [each.identity for each in back.hands] == [2]


def test_no_hand_is_a_state(world, follow):
    results = [follow() for _ in range(5)]
    assert all(result.state == "searching" and not result.hands for result in results)
    assert world.searches == 5


def test_a_hand_never_has_two_tracks(follow):
    """Two hands that come together and become one blob: one track is left, and the two are found again once they part."""
    for step in range(40):
        follow(("right", (80 + 2 * step, 100)), ("left", (240 - 2 * step, 100)))
    together = [follow(("right", (160, 100))) for _ in range(10)]
    assert all(len(result.hands) == 1 for result in together[2:])
    apart = [follow(("right", (160 - 8 * step, 100)), ("left", (160 + 8 * step, 100))) for step in range(13)]
    assert len(apart[-1].hands) == 2


def test_a_track_that_drifts_is_put_back_and_stays_the_same(world):
    """The network always says that the hand is further to the right than it is."""

    def predict(image, boxes, sides, matrix, enlarge):
        hands = tuple(hand_at(box[:2] + box[2:] / 2 + [3, 0], side) for box, side in zip(boxes, sides, strict=True))
        return FoundHands(image, matrix, True, hands)

    tracker = HandTracker(predict, world.find, smooth=False)
    world.hands = [("right", (100, 100))]
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    results = [tracker(frame, step / 30) for step in range(40)]
    assert [[each.identity for each in result.hands] for result in results] == [[1]] * 40
    places = [result.hands[0].hand.keypoints.mean(0)[0] for result in results]
    assert max(places) < 100 + 1.2 * SIZE


def test_a_wrong_side_at_first_is_put_right(world, follow):
    world.wrong_side = True
    follow(("right", (100, 100)))
    world.wrong_side = False
    results = [follow(("right", (100, 100))) for _ in range(60)]
    assert results[-1].hands[0].hand.side == "right"


def test_more_hands_than_asked_for_are_left_alone(world):
    tracker = HandTracker(world.predict, world.find, hands=1)
    world.hands = [("right", (60, 60)), ("left", (200, 160))]
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert [len(tracker(frame, step / 30).hands) for step in range(20)] == [1] * 20


def test_the_camera_is_assumed_or_given(world):
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assumed = HandTracker(world.predict, world.find)(frame, 0.0)
    given = HandTracker(world.predict, world.find, focal_length=500.0)(frame, 0.0)
    assert assumed.camera_is_assumed and not given.camera_is_assumed
    assert given.camera_matrix.tolist() == [[500, 0, 159.5], [0, 500, 119.5], [0, 0, 1]]


def test_smoothing_calms_and_follows():
    rng = np.random.default_rng(0)
    times = np.arange(120) / 30
    still = OneEuroFilter(1.0, 5.0)
    noisy = rng.normal(0, 0.01, (120, 3))
    calm = np.stack([still(value, time) for value, time in zip(noisy, times, strict=True)])
    assert calm[30:].std() < 0.6 * noisy[30:].std()
    moving = OneEuroFilter(1.0, 5.0)
    way = np.stack([moving(np.array([2.0 * time]), time) for time in times])
    slow = OneEuroFilter(1.0, 0.0)
    lagging = np.stack([slow(np.array([2.0 * time]), time) for time in times])
    delay, slow_delay = (2 * times[-1] - values[-1, 0] for values in (way, lagging))
    assert delay < 0.05 and slow_delay > 3 * delay


def test_the_first_value_and_a_clock_that_stands():
    smooth = OneEuroFilter()
    assert smooth(np.array([3.0]), 1.0).tolist() == [3.0]
    assert smooth(np.array([9.0]), 1.0).tolist() == [3.0]
    smooth.reset()
    assert smooth(np.array([9.0]), 0.5).tolist() == [9.0]


def test_overlap_of_boxes():
    assert overlap(np.array([0, 0, 2, 2.0]), np.array([1, 0, 2, 2.0])) == pytest.approx(1 / 3)
    assert overlap(np.array([0, 0, 1, 1.0]), np.array([5, 5, 1, 1.0])) == 0


def test_the_mesh_network_corrects_the_side_of_an_unsure_detector(world, follow):
    world.wrong_side, world.side_score, world.unsure_of = True, 0.55, "left"
    results = [follow(("right", (100, 100))) for _ in range(10)]  # a right hand, which the detector takes for a left one
    assert results[-1].hands[0].hand.side == "right" and results[-1].hands[0].identity == 1
