"""KITTI's average precision and the recall of boxes beside plain forms written here, in float64, on random frames.

The form of KITTI's follows the steps of the benchmark's C++ evaluation, with overlaps of polygons by Shapely: objects and predictions are
graded, the scores at the recall positions are found with the surest prediction of each object, and at each of these scores objects
take the prediction that overlaps them most. Overlaps lie away from the thresholds, scores differ.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon

from geo3d.data.lidar.kitti_labels import KittiObjects
from geo3d.metrics import BoxRecall, kitti_average_precision

LEAST = {"Car": 0.7, "Pedestrian": 0.5}
NEIGHBOR = {"Car": "Van", "Pedestrian": "Person_sitting"}
GRADES = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.30), "hard": (25, 2, 0.50)}  # height, occlusion, truncation


def random_frames(count: int, seed: int) -> tuple[list[KittiObjects], list[KittiObjects]]:
    """Objects of all kinds with regions, and predictions near them, doubles, of a wrong class, and of nothing; scores all differ."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(5000) / 5000)
    truth, found = [], []
    for _ in range(count):
        size = int(rng.integers(0, 12))
        names = rng.choice(["Car", "Car", "Car", "Van", "Pedestrian", "Pedestrian", "Person_sitting", "Truck"], size)
        boxes = np.column_stack([rng.uniform(-20, 20, size), rng.normal(1.6, 0.1, size), rng.uniform(5, 40, size)])
        small = np.isin(names, ("Pedestrian", "Person_sitting"))[:, None]
        boxes = np.concatenate([boxes, np.where(small, (0.8, 1.7, 0.7), (4.0, 1.5, 1.7)), rng.uniform(-3, 3, (size, 1))], 1)
        corner, extent = rng.uniform((0, 100), (1100, 200), (size, 2)), rng.uniform((20, 20), (120, 90), (size, 2))
        rectangles = np.concatenate([corner, corner + extent], 1)
        alpha = rng.uniform(-3, 3, size)
        regions = rng.uniform((0, 100), (900, 200), (2, 2))
        truth.append(
            KittiObjects(
                (*names.tolist(), "DontCare", "DontCare"),
                np.append(rng.choice([0, 0, 0.1, 0.2, 0.4, 0.6], size), [-1, -1]),
                np.append(rng.choice([0, 0, 0, 1, 2, 3], size), [-1, -1]).astype(np.int64),
                np.append(alpha, [-10, -10]),
                np.concatenate([rectangles, np.concatenate([regions, regions + (200, 100)], 1)]),
                np.concatenate([boxes, np.tile([-1000, -1000, -1000, -1, -1, -1, -10], (2, 1))]),
            )
        )
        rows = rng.integers(0, size, int(1.4 * size)) if size else np.zeros(0, int)
        near = rectangles[rows] + rng.normal(0, 4, (len(rows), 4))
        corner, extent = rng.uniform((0, 100), (1100, 200), (4, 2)), rng.uniform((20, 20), (120, 90), (4, 2))
        stray = np.array([[x, 1.6, 20, 4, 1.5, 1.7, 0] for x in rng.uniform(-20, 20, 4)])
        moved = boxes[rows] + rng.normal(0, 1, (len(rows), 7)) * (0.1, 0.05, 0.1, 0.1, 0.05, 0.05, 0.05)
        guess = np.where(rng.random(len(rows)) < 0.1, "Pedestrian", names[rows])
        found.append(
            KittiObjects(
                (*guess.tolist(), *rng.choice(["Car", "Pedestrian"], 4).tolist()),
                np.zeros(len(rows) + 4),
                np.zeros(len(rows) + 4, np.int64),
                np.append(alpha[rows] + rng.normal(0, 0.5, len(rows)), rng.uniform(-3, 3, 4)),
                np.concatenate([near, np.concatenate([corner, corner + extent], 1)]),
                np.concatenate([moved, stray]),
                np.array([next(scores) for _ in range(len(rows) + 4)]),
            )
        )
    return truth, found


def footprint(box) -> Polygon:
    """Seen from above, x and z of the camera: rotation_y turns the length from +x towards -z."""
    x, _, z, length, _, width, turn = box
    corners = [(length / 2, width / 2), (length / 2, -width / 2), (-length / 2, -width / 2), (-length / 2, width / 2)]
    return Polygon(
        [(x + a * math.cos(turn) + b * math.sin(turn), z - a * math.sin(turn) + b * math.cos(turn)) for a, b in corners]
    )


def rectangle_area(r) -> float:
    return max(r[2] - r[0], 0) * max(r[3] - r[1], 0)


def overlap(measure: str, pred: KittiObjects, d: int, truth: KittiObjects, g: int) -> float:
    if measure == "image":
        a, b = pred.rectangles[d], truth.rectangles[g]
        common = rectangle_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
        return common / (rectangle_area(a) + rectangle_area(b) - common)
    a, b = pred.boxes_camera[d], truth.boxes_camera[g]
    first, second = footprint(a), footprint(b)
    common, sizes = first.intersection(second).area, (first.area, second.area)
    if measure == "3d":  # y is that of the bottom, downwards
        common *= max(min(a[1], b[1]) - max(a[1] - a[4], b[1] - b[4]), 0)
        sizes = (sizes[0] * a[4], sizes[1] * b[4])
    return common / (sum(sizes) - common)


def in_region(pred: KittiObjects, d: int, truth: KittiObjects, least: float) -> bool:
    a = pred.rectangles[d]
    for name, b in zip(truth.names, truth.rectangles, strict=True):
        common = rectangle_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
        if name == "DontCare" and common / rectangle_area(a) > least:
            return True
    return False


def graded(name: str, grade: str, truth: KittiObjects, pred: KittiObjects) -> tuple[list[str], list[str]]:
    """ "counts", "ignored" or "absent" of each object and prediction."""
    height, occluded, truncated = GRADES[grade]
    objects, predictions = [], []
    for g, own in enumerate(truth.names):
        low = truth.rectangles[g, 3] - truth.rectangles[g, 1] < height
        hard = low or truth.occlusion[g] > occluded or truth.truncation[g] > truncated
        objects.append("absent" if own not in (name, NEIGHBOR[name]) else "ignored" if hard or own != name else "counts")
    for d, own in enumerate(pred.names):
        low = pred.rectangles[d, 3] - pred.rectangles[d, 1] < height
        predictions.append("ignored" if low else "counts" if own == name else "absent")
    return objects, predictions


def reference(truth: list[KittiObjects], found: list[KittiObjects], name: str, measure: str, grade: str) -> dict[str, float]:
    least = LEAST[name]
    frames = []
    for gt, pred in zip(truth, found, strict=True):
        shares = {
            (d, g): overlap(measure, pred, d, gt, g)
            for d in range(len(pred))
            for g, kind in enumerate(gt.names)
            if kind != "DontCare"
        }
        assert all(abs(share - least) > 1e-6 for share in shares.values())
        frames.append((gt, pred, *graded(name, grade, gt, pred), shares))

    # The surest prediction of each object: the scores among which the thresholds are chosen.
    hits, num_objects = [], 0
    for _, pred, objects, predictions, shares in frames:
        free = {d for d, state in enumerate(predictions) if state != "absent"}
        num_objects += objects.count("counts")
        for g, state in enumerate(objects):
            fitting = [d for d in free if state != "absent" and shares[d, g] > least]
            if fitting:
                best = max(fitting, key=lambda d, pred=pred: pred.scores[d])
                free.remove(best)
                if state == "counts" and predictions[best] == "counts":
                    hits.append(pred.scores[best])
    thresholds, recall = [], 0.0
    hits.sort(reverse=True)
    for i, score in enumerate(hits):
        this, after = (i + 1) / num_objects, (i + 2) / num_objects
        if i + 1 < len(hits) and after - recall < recall - this:
            continue
        thresholds.append(score)
        recall += 1 / 40

    precision, similarity = np.zeros(41), np.zeros(41)
    for t, threshold in enumerate(thresholds):
        right, wrong, alike = 0, 0, 0.0
        for gt, pred, objects, predictions, shares in frames:
            free = {d for d, s in enumerate(predictions) if s != "absent" and pred.scores[d] >= threshold}
            for g, state in enumerate(objects):
                fitting = [d for d in sorted(free) if state != "absent" and shares[d, g] > least]
                counting = [d for d in fitting if predictions[d] == "counts"]
                if fitting:
                    best = max(counting, key=lambda d, g=g, shares=shares: shares[d, g]) if counting else fitting[0]
                    free.remove(best)
                    if state == "counts" and counting:
                        right += 1
                        alike += (1 + math.cos(gt.alpha[g] - pred.alpha[best])) / 2
            left = [d for d in free if predictions[d] == "counts"]
            wrong += sum(not (measure == "image" and in_region(pred, d, gt, least)) for d in left)
        precision[t], similarity[t] = right / (right + wrong), alike / (right + wrong)
    figures = {}
    for kind, curve in ((measure, precision), ("aos", similarity)):
        best = [max(curve[k:]) for k in range(41)]
        figures[f"{name}_{kind}_{grade}_R40"] = sum(best[1:]) / 40
        figures[f"{name}_{kind}_{grade}_R11"] = sum(best[::4]) / 11
    return {key: value for key, value in figures.items() if measure == "image" or "aos" not in key}


def test_kitti_average_precision():
    truth, found = random_frames(50, seed=1)
    results = kitti_average_precision(truth, found, LEAST)
    expected = {}
    for name in LEAST:
        for measure in ("image", "bev", "3d"):
            for grade in GRADES:
                expected |= reference(truth, found, name, measure, grade)
    assert results == pytest.approx(expected, abs=1e-12)
    assert max(expected.values()) < 0.98 and sum(value > 0.1 for value in expected.values()) > len(expected) / 2
    assert any(in_region(pred, d, gt, 0.7) for gt, pred in zip(truth, found, strict=True) for d in range(len(pred)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
def test_recall_of_boxes(dtype):
    """Boxes of 20 frames whose numbers half precision holds exactly, upright in the LiDAR's frame."""
    rng = np.random.default_rng(2)
    metric, hits, total = BoxRecall(), [0, 0, 0], 0
    for frame in range(20):
        gt = np.round(rng.uniform((-20, -20, -1, 3, 1.5, 1.4, -3), (20, 20, 1, 5, 2, 1.8, 3), (frame % 4, 7)) * 64) / 64
        rows = rng.integers(0, len(gt), 6) if len(gt) else np.zeros(0, int)
        noise = rng.normal(0, 0.15, (len(rows), 7)) * (1, 1, 1, 1, 0.5, 0.5, 1)
        pred = np.round((gt[rows] + noise) * 64) / 64
        given = [torch.from_numpy(each).to(dtype) for each in (gt, pred)]
        metric.update([given[0]], [given[1]])
        for a in given[0].double().numpy():
            best = 0.0
            for b in given[1].double().numpy():
                one, two = (footprint((x[0], 0, x[1], x[3], 0, x[4], -x[6])) for x in (a, b))
                high = max(min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2), 0)
                common = one.intersection(two).area * high
                best = max(best, common / (a[3:6].prod() + b[3:6].prod() - common))
            assert min(abs(best - limit) for limit in (0.3, 0.5, 0.7)) > 1e-4
            hits = [count + (best > limit) for count, limit in zip(hits, (0.3, 0.5, 0.7), strict=True)]
            total += 1
    expected = {f"recall_{limit}": count / total for limit, count in zip((0.3, 0.5, 0.7), hits, strict=True)}
    assert metric.compute() == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["recall_0.7"] < expected["recall_0.5"] <= expected["recall_0.3"] < 1
