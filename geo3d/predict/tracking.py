"""Hands followed through the frames of a video: found by a detector, then each from where it was, smoothed, lost and found again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geo3d.geometry.virtual_camera import default_camera_matrix
from geo3d.predict.hand_finder import HandBox, HandFinder
from geo3d.predict.hands import FoundHand, HandPredictor, Side

SEARCH_EVERY = 4  # frames between two looks for further hands, while one is tracked
CHECK_EVERY = 10  # frames between two looks whether what is tracked is a hand
SIDE_FRAMES = 8  # first frames of a track in which the network is asked for both sides of the hand
SAME_HAND = 0.3  # common area by union from which two boxes are of one hand
DRIFTED = 0.5  # likewise, below which a track goes on from the detector's box
NEW_SCORE = 0.5  # of a box that begins a track
KEEP_SCORE = 0.2  # of a box that keeps one
CONFIDENCE_MEMORY = 0.7  # share of the last confidence in the next
MIN_CONFIDENCE = 0.25  # a track is given up below it
AGREEMENT = 0.12  # mean distance of keypoints and projected joints, of the box's side, at which confidence is 1 / e


class OneEuroFilter:
    """Smoothing whose strength falls with speed (Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012), of arrays.

    Args:
        min_cutoff: cut-off frequency at rest, Hz; lower is smoother and later.
        beta: how much the cut-off grows with speed, Hz for each unit a second.
        speed_cutoff: cut-off frequency of the speed, Hz.
    """

    def __init__(self, min_cutoff: float = 1.0, beta: float = 0.0, speed_cutoff: float = 1.0):
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forget what was."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0
        self._time = 0.0

    def __call__(self, value: np.ndarray, time: float, scale: float = 1.0) -> np.ndarray:
        """The smoothed value.

        Args:
            value: of any shape, the same at each call.
            time: seconds; a time that is not after the last one gives the last value.
            scale: what a unit is here: speeds are divided by it.
        """
        if self._value is None:
            self._value, self._time = np.array(value, float), time
            return self._value
        step = time - self._time
        if step <= 0:
            return self._value
        speed = (value - self._value) / (step * scale)
        self._speed = self._speed + _share(self.speed_cutoff, step) * (speed - self._speed)
        cutoff = self.min_cutoff + self.beta * np.abs(self._speed)
        self._value = self._value + _share(cutoff, step) * (value - self._value)
        self._time = time
        return self._value


def _share(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """How much of a new value is taken."""
    rate = 2 * math.pi * cutoff * step
    return rate / (1 + rate)


@dataclass(frozen=True, eq=False)
class TrackedHand:
    """A hand in a frame.

    Attributes:
        identity: the same in all frames in which it was followed; a hand that was lost comes back with another.
        hand: smoothed.
        confidence: from 0 to 1, of the detector's scores and of how well keypoints and joints agree.
        age: frames that it has been followed for, 1 in the first.
    """

    identity: int
    hand: FoundHand
    confidence: float
    age: int


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """What was found in a frame.

    Attributes:
        hands: the surest first.
        searched: the detector ran.
        camera_matrix: [3, 3] that places are relative to.
        camera_is_assumed: no focal length was given, so that one of a field of view of 60 degrees was taken.
    """

    hands: tuple[TrackedHand, ...]
    searched: bool
    camera_matrix: np.ndarray
    camera_is_assumed: bool

    @property
    def state(self) -> str:
        """ "tracking", or "searching" where there is no hand."""
        return "tracking" if self.hands else "searching"


@dataclass(eq=False)
class _Track:
    identity: int
    side: Side
    box: np.ndarray
    score: float
    side_vote: float
    confidence: float
    age: int = 0
    misses: int = 0
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))
    pixels: OneEuroFilter = field(default_factory=lambda: OneEuroFilter(2.0, 3.0))
    place: OneEuroFilter = field(default_factory=lambda: OneEuroFilter(1.0, 8.0))
    shape: OneEuroFilter = field(default_factory=lambda: OneEuroFilter(1.5, 20.0))

    def reset(self) -> None:
        for each in (self.pixels, self.place, self.shape):
            each.reset()


class HandTracker:
    """Follows hands: call it with one frame after the other.

    Args:
        predictor: of mesh and joints in a box.
        finder: of boxes.
        hands: that are followed at most.
        smooth: by One Euro filters: keypoints, the place of the root, and the mesh about it.
        focal_length: of the camera, pixels, the principal point being in the middle; assumed from the size of the frames when None.
    """

    def __init__(
        self,
        predictor: HandPredictor,
        finder: HandFinder,
        hands: int = 2,
        smooth: bool = True,
        focal_length: float | None = None,
    ):
        self.predictor, self.finder, self.hands, self.smooth = predictor, finder, hands, smooth
        self.focal_length = focal_length
        self._tracks: list[_Track] = []
        self._frame = 0
        self._next = 1

    def __call__(self, image: np.ndarray, time: float) -> TrackedFrame:
        """Hands of a frame.

        Args:
            image: [H, W, 3] uint8 R, G, B.
            time: of the frame, seconds.
        """
        height, width = image.shape[:2]
        matrix = default_camera_matrix(width, height)
        if self.focal_length is not None:
            matrix[0, 0] = matrix[1, 1] = self.focal_length
        searched = self._is_time_to_search()
        if searched:
            self._search(image)
        self._frame += 1
        found = []
        if self._tracks:
            for track, hand in self._predicted(image, matrix):
                if self._follows(track, hand, matrix, width, height):
                    found.append((track, hand))
                else:
                    self._tracks.remove(track)
        found = self._without_doubles(found)
        hands = [self._tracked(track, hand, time) for track, hand in found]
        hands.sort(key=lambda tracked: -tracked.confidence)
        return TrackedFrame(tuple(hands), searched, matrix, self.focal_length is None)

    def _predicted(self, image: np.ndarray, matrix: np.ndarray) -> list[tuple[_Track, FoundHand]]:
        """What the network sees where each hand should be; of some it is asked for the other side, too, which moves their vote."""
        asked = [track for track in self._tracks if track.age < SIDE_FRAMES or self._frame % CHECK_EVERY == 0]
        boxes: Any = [_moved(track) for track in (*self._tracks, *asked)]
        sides = [track.side for track in self._tracks] + [_other(track.side) for track in asked]
        hands = self.predictor(image, boxes, sides, matrix, enlarge=1.25).hands
        others = dict(zip((track.identity for track in asked), hands[len(self._tracks) :], strict=True))
        found = []
        for track, hand in zip(self._tracks, hands, strict=False):
            other = others.get(track.identity)
            if other is not None:
                self._vote(track, track.side, math.tanh(2 * (other.doubt - hand.doubt)))
            found.append((track, hand if other is None or hand.side == track.side else other))
        return found

    def _is_time_to_search(self) -> bool:
        if not self._tracks:
            return True
        wanted = SEARCH_EVERY if len(self._tracks) < self.hands else CHECK_EVERY
        return self._frame % wanted == 0 or any(track.misses or track.confidence < 2 * MIN_CONFIDENCE for track in self._tracks)

    def _search(self, image: np.ndarray) -> None:
        """Look with the detector: tracks are confirmed or doubted, hands that nobody follows begin one."""
        boxes = list(self.finder(image, score=KEEP_SCORE))
        free = list(self._tracks)
        for _, track, box in sorted(
            ((_nearness(box.box, track.box), track, box) for track in self._tracks for box in boxes), key=lambda each: -each[0]
        ):
            if track in free and box in boxes and _nearness(box.box, track.box) > 0:
                free.remove(track)
                boxes.remove(box)
                self._confirm(track, box)
        for track in free:
            track.misses += 1
            track.score *= 0.6
        for box in boxes:
            if len(self._tracks) < self.hands and box.score >= NEW_SCORE and not self._is_followed(box):
                self._tracks.append(_Track(self._next, box.side, box.box, box.score, 0.0, box.score))
                self._vote(self._tracks[-1], box.side, (2 * box.side_score - 1) * box.score)
                self._next += 1

    def _confirm(self, track: _Track, box: HandBox) -> None:
        """The detector sees the hand of a track; where the track has drifted off, it goes on from there."""
        track.misses = 0
        track.score = max(box.score, 0.5 * track.score)
        if overlap(box.box, track.box) < DRIFTED:
            track.box, track.shift = box.box, np.zeros(2)
        self._vote(track, box.side, (2 * box.side_score - 1) * box.score)

    @staticmethod
    def _vote(track: _Track, said: Side, weight: float) -> None:
        """The side is what detector and network said most of the time."""
        track.side_vote = 0.85 * track.side_vote + (weight if said == "right" else -weight)
        side: Side = "right" if track.side_vote > 0 else "left"
        if side != track.side and abs(track.side_vote) > 0.4:
            track.side = side
            track.reset()

    def _is_followed(self, box: HandBox) -> bool:
        middle = box.box[:2] + box.box[2:] / 2
        inside = [
            (np.abs(middle - track.box[:2] - track.box[2:] / 2) < 0.35 * track.box[2:]).all()
            or overlap(box.box, track.box) > SAME_HAND / 2
            for track in self._tracks
        ]
        return any(inside)

    @staticmethod
    def _follows(track: _Track, hand: FoundHand, matrix: np.ndarray, width: int, height: int) -> bool:
        """Whether what the network saw is still the hand; takes its box and confidence over."""
        inside = ((hand.keypoints > 0) & (hand.keypoints < [width, height])).all(1)
        if inside.sum() < 6 or not np.isfinite(hand.vertices).all():
            return False
        box = keypoint_box(hand.keypoints)
        grown = box[2:].max() / max(track.box[2:].max(), 1.0)
        projected = hand.joints @ matrix.T
        projected = projected[:, :2] / np.maximum(projected[:, 2:], 1e-3)
        distance = np.linalg.norm(projected - hand.keypoints, axis=1).mean() / box[2:].max()
        agreement = math.exp(-((distance / AGREEMENT) ** 2)) if 0.4 < grown < 2.5 else 0.0
        now = agreement * track.score**0.5
        track.confidence = CONFIDENCE_MEMORY * track.confidence + (1 - CONFIDENCE_MEMORY) * now
        if track.age:
            middle = box[:2] + box[2:] / 2
            track.shift = 0.5 * track.shift + 0.5 * (middle - track.box[:2] - track.box[2:] / 2)
        track.box = box
        track.age += 1
        return track.confidence >= MIN_CONFIDENCE and track.misses < 3

    def _without_doubles(self, found: Sequence[tuple[_Track, FoundHand]]) -> list[tuple[_Track, FoundHand]]:
        """Of two tracks on one hand the surer one goes on."""
        kept: list[tuple[_Track, FoundHand]] = []
        for track, hand in sorted(found, key=lambda pair: (-pair[0].confidence, pair[0].identity)):
            size = track.box[2:].max()
            near = [
                overlap(track.box, other.box) > 0.5
                or np.linalg.norm(hand.keypoints - theirs.keypoints, axis=1).mean() < 0.2 * size
                for other, theirs in kept
            ]
            if any(near):
                self._tracks.remove(track)
            else:
                kept.append((track, hand))
        return kept

    def _tracked(self, track: _Track, hand: FoundHand, time: float) -> TrackedHand:
        if self.smooth:
            root = hand.joints[9]
            size = float(max(track.box[2:].max(), 1.0))
            keypoints = track.pixels(hand.keypoints, time, size)
            place = track.place(root, time)
            around = track.shape(np.concatenate([hand.joints, hand.vertices]) - root, time)
            hand = FoundHand(hand.side, hand.box, keypoints, around[:21] + place, around[21:] + place)
        return TrackedHand(track.identity, hand, min(1.0, track.confidence), track.age)


def keypoint_box(keypoints: np.ndarray) -> np.ndarray:
    """[4] x, y of the upper left corner, width and height of the box around keypoints [J, 2]."""
    low = keypoints.min(0)
    return np.concatenate([low, np.maximum(keypoints.max(0) - low, 1.0)])


def _other(side: Side) -> Side:
    return "left" if side == "right" else "right"


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Common area by union of two boxes [4], x, y of the upper left corner, width and height."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    common = float(np.maximum(high - low, 0).prod())
    return common / max(float(first[2:].prod() + second[2:].prod()) - common, 1e-9)


def _nearness(first: np.ndarray, second: np.ndarray) -> float:
    """How much two boxes may be of one hand: 0 where they are not, more the more they overlap and the nearer their middles are."""
    apart = np.linalg.norm(first[:2] + first[2:] / 2 - second[:2] - second[2:] / 2) / max(first[2:].max(), second[2:].max())
    common = overlap(first, second)
    return common + 0.7 - min(0.7, float(apart)) if common > SAME_HAND or apart < 0.7 else 0.0


def _moved(track: _Track) -> np.ndarray:
    """Where the hand should be now, if it goes on as it went."""
    return np.concatenate([track.box[:2] + 0.5 * track.shift, track.box[2:]])
