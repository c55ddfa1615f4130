"""Waymo's average precision: a case worked out on paper, rules of levels and matching, and figures of the official code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geo3d.data import LidarBatch
from geo3d.metrics.waymo import WaymoAveragePrecision, area_under_curve, waymo_levels
from geo3d.models.detection import Detections
from geo3d.tasks.detection_metrics import WaymoFrames, make_metrics

CLASSES = ("Vehicle", "Pedestrian", "Cyclist")


def boxes_at(*places, yaw=0.0):
    """Boxes 2 m long, wide and high at places along x, or (x, yaw)."""
    rows = [place if isinstance(place, tuple) else (place, yaw) for place in places]
    return torch.tensor([[x, 0, 0, 2, 2, 2, turn] for x, turn in rows], dtype=torch.float32).reshape(-1, 7)


def evaluate(*frames):
    """Figures of frames (true boxes, levels, found boxes, scores), all of them vehicles."""
    metric = WaymoAveragePrecision()
    for boxes, levels, found, scores in frames:
        labels, found_labels = (torch.zeros(len(each), dtype=torch.int64) for each in (boxes, found))
        levels = torch.tensor(levels, dtype=torch.int64)
        metric.update(boxes, labels, levels, found, found_labels, torch.tensor(scores, dtype=torch.float32))
    return metric.compute()


def test_on_paper():
    """Objects A, B, C of level 1 and D of level 2. Found: A (0.9), B turned by 90 degrees (0.7: accuracy 1/2), nothing (0.5), D (0.3).

    Level 2, from the lowest scores up: precision 3/4, 2/3, 1, 1 at recall 3/4, 1/2, 1/2, 1/4. From 3/4 to 1/2 precision stays 3/4 over
    0.2 and rises in a line over the last 0.05: 0.15 + 0.04375, then 1/2. With headings 2.5/4, 1.5/3, 1.5/2, 1 in place of these.
    Level 1: D is found but not asked for, so recall is 3/4, 2/3, 2/3, 1/3.
    """
    found = boxes_at(0, (10, math.pi / 2), 50, 30)
    results = evaluate((boxes_at(0, 10, 20, 30), [1, 1, 1, 2], found, [0.9, 0.7, 0.5, 0.3]))
    assert results["Vehicle_AP_L2"] == pytest.approx(0.15 + 0.04375 + 0.5)
    assert results["Vehicle_APH_L2"] == pytest.approx(0.2 * 0.625 + 0.05 * 0.6875 + 0.2 * 0.75 + 0.05 * 0.875 + 0.25)
    assert results["Vehicle_AP_L1"] == pytest.approx(0.05 * 0.75 + 0.875 / 30 + 2 / 3)
    aph_1 = 0.05 * 0.625 + 0.6875 / 30 + 0.3 * 0.75 + 0.875 / 30 + 1 / 3
    assert results["Vehicle_APH_L1"] == results["mAPH_L1"] == pytest.approx(aph_1)
    assert math.isnan(results["Cyclist_AP_L2"])


def test_perfect_and_turned():
    boxes = boxes_at(*range(0, 60, 3))
    turned = boxes + torch.tensor([0, 0, 0, 0, 0, 0, math.pi])
    levels, scores = [1, 2] * 10, np.linspace(0.1, 1, 20).tolist()
    assert all(value == pytest.approx(1) for name, value in evaluate((boxes, levels, boxes, scores)).items() if "Veh" in name)
    results = evaluate((boxes, levels, turned, scores))
    assert results["Vehicle_AP_L2"] == pytest.approx(1) and results["Vehicle_APH_L2"] == pytest.approx(0, abs=1e-6)
    slightly = boxes + torch.tensor([0, 0, 0, 0, 0, 0, 2 * math.pi])  # a whole turn is none
    assert evaluate((boxes, levels, slightly, scores))["Vehicle_APH_L1"] == pytest.approx(1, abs=1e-6)


def test_levels():
    points, difficulty = torch.tensor([0, 1, 5, 6, 6, 3, 0]), torch.tensor([0, 0, 0, 0, 2, 1, 2])
    assert waymo_levels(points, difficulty).tolist() == [0, 2, 2, 1, 2, 1, 0]
    with pytest.raises(ValueError, match="num_points must be known, got -1"):
        waymo_levels(torch.tensor([-1]), torch.tensor([0]))


def test_objects_that_do_not_count():
    """Without points: a prediction there is wrong. Of level 2: to find it is right, to miss it no miss at level 1."""
    two = boxes_at(0, 10)
    assert evaluate((two, [1, 0], two, [0.5, 0.9]))["Vehicle_AP_L1"] == pytest.approx(0.5)
    assert evaluate((two, [1, 2], two[:1], [0.5]))["Vehicle_AP_L1"] == pytest.approx(1)
    assert evaluate((two, [1, 2], two[:1], [0.5]))["Vehicle_AP_L2"] == pytest.approx(0.5)
    assert evaluate((two, [1, 2], two, [0.5, 0.9]))["Vehicle_AP_L1"] == pytest.approx(1)


def test_least_overlap_of_each_class():
    """Shifted by a quarter of the length: IoU 3/5, enough for a pedestrian."""
    for label, expected in enumerate((0, 1, 1)):
        metric, labels = WaymoAveragePrecision(), torch.tensor([label])
        metric.update(boxes_at(0), labels, torch.tensor([1]), boxes_at(0.5), labels, torch.tensor([0.8]))
        assert metric.compute()[f"{CLASSES[label]}_AP_L2"] == pytest.approx(expected)
    metric = WaymoAveragePrecision()
    metric.update(boxes_at(0), torch.tensor([1]), torch.tensor([1]), boxes_at(0), torch.tensor([2]), torch.tensor([0.8]))
    assert metric.compute()["Pedestrian_AP_L2"] == 0  # found as another class


def test_matching_is_the_best_at_each_cut_off():
    """IoU > 0.5 of a with A and B, and of b with A alone: both are matched though a fits A best; above b's score a takes A."""
    metric = WaymoAveragePrecision({"Pedestrian": 0.5})
    objects, found = boxes_at(0, (0.5, math.pi / 2)), boxes_at(0.2, -0.3)
    labels = torch.zeros(2, dtype=torch.int64)
    metric.update(objects, labels, torch.tensor([1, 1]), found, labels, torch.tensor([0.8, 0.4]))
    predicted, matched, accuracy, _ = metric.counts[0].numpy().T
    assert predicted.tolist() == [2] * 41 + [1] * 40 + [0] * 20 == matched.tolist()
    np.testing.assert_allclose(accuracy, [1.5] * 41 + [1] * 40 + [0] * 20, atol=1e-6)


def test_frames_without_objects_or_predictions():
    none, one = boxes_at(), boxes_at(0)
    assert math.isnan(evaluate((none, [], one, [0.5]))["mAPH_L2"])
    assert evaluate((one, [1], none, []))["mAPH_L2"] == 0
    assert math.isnan(evaluate((none, [], none, []))["Vehicle_AP_L1"])
    results = evaluate((one, [1], one, [0.5]), (none, [], one, [0.9]), (none, [], none, []))
    assert results["Vehicle_AP_L1"] == pytest.approx(0.5)
    assert evaluate((one, [1], torch.tensor([[0, 0, 0, 2, 2, 0.01, 0]]), [0.5]))["Vehicle_AP_L1"] == 0
    with pytest.raises(ValueError, match=r"lengths must be G, G, G, D, D, D, got \[1, 1, 1, 1, 1, 2\]"):
        evaluate((one, [1], one, [0.5, 0.6]))


def test_scores_of_a_cut_off_are_there():
    """0.29 and 0.57, which are no sums of hundredths in binary, and 1."""
    for score, last in ((0.29, 29), (0.57, 57), (1.0, 100), (0.0, 0)):
        metric, labels = WaymoAveragePrecision(), torch.tensor([0])
        metric.update(boxes_at(0), labels, torch.tensor([1]), boxes_at(0), labels, torch.tensor([score]))
        assert metric.counts[0, :, 1].sum() == last + 1


def test_area_of_curves():
    assert area_under_curve(np.zeros(0), np.zeros(0)) == 0
    assert area_under_curve(np.array([1.0]), np.array([0.0])) == 0
    assert area_under_curve(np.array([0.5]), np.array([0.6])) == pytest.approx(0.3)
    # Steps of at most 0.05 are straight lines; a precision that rises with recall counts from the start.
    assert area_under_curve(np.array([0.4, 0.8]), np.array([0.55, 0.5])) == pytest.approx(0.05 * 0.6 + 0.5 * 0.8)
    assert area_under_curve(np.array([0.8, 0.4]), np.array([0.55, 0.5])) == pytest.approx(0.55 * 0.8)


def test_reset_and_order():
    """Frames in any order give the same; a reset forgets them."""
    frames = [(boxes_at(0, 5), [1, 2], boxes_at(0.1, 9), [0.3, 0.6]), (boxes_at(3), [1], boxes_at(3), [0.5])]
    assert evaluate(*frames) == evaluate(*frames[::-1])
    metric = WaymoAveragePrecision()
    one, label = boxes_at(0), torch.tensor([0])
    metric.update(one, label, label + 1, one, label, torch.tensor([0.5]))
    metric.reset()
    assert math.isnan(metric.compute()["mAP_L2"])


# By the op DetectionMetrics of waymo-open-dataset-tf-2-12-0 1.6.7 under TensorFlow 2.13, with Hungarian matching, 3D boxes and
# the cut-offs of its example, for the frames below: AP and APH of level 1, then of level 2.
OFFICIAL = {
    "Vehicle": [0.5468853, 0.5379266, 0.4366947, 0.4296205],
    "Pedestrian": [0.642739, 0.6299577, 0.5175815, 0.5076124],
    "Cyclist": [0.6096678, 0.5984767, 0.4984149, 0.4893496],
}


def random_frames():
    """Six frames of all classes; predictions near objects, several to some, with scores that repeat."""
    generator = np.random.default_rng(5)
    for _ in range(6):
        boxes = generator.uniform((-40, -40, -1, 4, 1.8, 1.5, -3), (40, 40, 1, 5, 2.2, 1.7, 3), (40, 7))
        labels, levels = generator.integers(0, 3, 40), generator.integers(0, 3, 40)
        rows = generator.integers(0, 40, 70)
        found = boxes[rows] + generator.normal(0, 0.12, (70, 7)) * (1, 1, 0.5, 0.5, 0.3, 0.2, 0.5)
        scores = generator.uniform(0, 1, 70).round(2)
        arrays = (boxes.astype(np.float32), labels, levels, found.astype(np.float32), labels[rows], scores.astype(np.float32))
        yield [torch.from_numpy(array) for array in arrays]


def test_equals_the_official_code():
    metric = WaymoAveragePrecision()
    for frame in random_frames():
        metric.update(*frame)
    results = metric.compute()
    for name, expected in OFFICIAL.items():
        figures = [results[f"{name}_{kind}_L{level}"] for level in (1, 2) for kind in ("AP", "APH")]
        assert figures == pytest.approx(expected, abs=1e-6)


class Frames:
    def __init__(self, *class_names):
        self.class_names = class_names


def test_metric_of_the_task():
    """Two frames of a batch: a vehicle that is found, and a pedestrian of 3 points, so of level 2, that is not."""
    boxes, labels, owners = boxes_at(0, 0), torch.tensor([1, 0]), torch.tensor([0, 1])
    points, difficulty = torch.tensor([40, 3]), torch.tensor([0, 0])
    batch = LidarBatch(torch.zeros(0, 5), owners[:0], boxes, labels, owners, points, difficulty, 2, ("a", "b"))
    nothing = Detections(boxes[:0], torch.zeros(0), labels[:0])
    metric = WaymoFrames(Frames("Pedestrian", "Vehicle"))
    metric.update(batch, [Detections(boxes[:1], torch.tensor([0.5]), labels[:1]), nothing])
    results = metric.compute()
    assert results[metric.monitor] == pytest.approx(0.5) and results["mAP_L1"] == pytest.approx(1)
    assert results["Vehicle_APH_L2"] == pytest.approx(1) and "Pedestrian_AP_L1" not in results
    metric.reset()
    metric.update(batch, [nothing, nothing])
    assert metric.compute()["mAPH_L2"] == 0
    with pytest.raises(ValueError, match="metrics: waymo evaluates Vehicle, Pedestrian, Sign, Cyclist; the data has Tram"):
        WaymoFrames(Frames("Vehicle", "Tram"))
    with pytest.raises(ValueError, match="metrics: waymo is for Waymo, got Frames"):
        make_metrics(["waymo"], Frames())
