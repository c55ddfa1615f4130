"""Metrics beside plain float64 forms of their definitions, written here, on random inputs in single, double and half precision.

The inputs are drawn away from ties and thresholds, or so that every precision holds them exactly; what a metric is given in half
precision, the reference is given as the same numbers in float64. Elsewhere: KITTI and recall of boxes in
test_kitti_reference.py; nuScenes and Waymo beside figures of the official code in test_nuscenes_score.py and
test_waymo_average_precision.py; hands beside those of FreiHAND's, and bodies beside those of ArtEq's, in the parity cases, too.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from geo3d.metrics import (
    HandErrors,
    PartIoU,
    ReconstructionScores,
    RootErrors,
    class_accuracy,
    keypoint_auc_2d,
    overall_accuracy,
)
from geo3d.metrics.body import BodyErrors
from geo3d.metrics.hand_boxes import HandBoxScores
from geo3d.metrics.voxel_surfaces import points_on, surface_f_score, voxel_surface
from geo3d.metrics.voxels import THRESHOLDS, voxel_iou

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request):
    return request.param


def plain(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [tensor.double().numpy() for tensor in tensors]


def check(figures: dict[str, torch.Tensor | float], expected: dict[str, float], names: tuple[str, ...] = ()) -> None:
    """All of the figures, or those named, to float32's precision."""
    found = {name: float(value) for name, value in figures.items() if name in names or not names}
    assert found == pytest.approx(expected, rel=2e-6, abs=1e-6)


def test_accuracies():
    """Counts of right answers among 500, the seventh class never true."""
    generator = np.random.default_rng(0)
    true, pred = generator.integers(0, 6, 500), generator.integers(0, 7, 500)
    pred = np.where(generator.random(500) < 0.5, true, pred)
    confusion = np.zeros((7, 7), np.int64)
    for t, p in zip(true, pred, strict=True):
        confusion[t, p] += 1
    right = [t == p for t, p in zip(true, pred, strict=True)]
    recalls = [np.mean([r for r, t in zip(right, true, strict=True) if t == c]) for c in range(6)]
    for counts in (torch.from_numpy(confusion), torch.from_numpy(confusion).double()):
        assert float(overall_accuracy(counts)) == pytest.approx(np.mean(right), rel=2e-6)
        assert float(class_accuracy(counts)) == pytest.approx(np.mean(recalls), rel=2e-6)


def test_part_iou(dtype):
    """Sets of points by part: a part that is neither there nor predicted counts as found. Scores are whole numbers without ties."""
    ranges = [range(0, 2), range(2, 5), range(5, 6), range(6, 10)]
    scores = torch.rand(12, 40, 10).argsort(-1).to(dtype)
    categories = torch.tensor([0, 1, 3] * 4)
    parts = torch.stack([torch.randint(ranges[c].start, ranges[c].stop, (40,)) for c in categories.tolist()])
    metric = PartIoU(ranges)
    metric.update(scores[:5], parts[:5], categories[:5])
    metric.update(scores[5:], parts[5:], categories[5:])

    of_shapes, right = [], []
    for score, part, category in zip(*plain(scores, parts), categories.tolist(), strict=True):
        allowed = ranges[category]
        pred = [max(allowed, key=lambda k, row=row: row[k]) for row in score]
        ious = []
        for k in allowed:
            a, b = ({i for i, value in enumerate(values) if value == k} for values in (pred, part))
            ious.append(len(a & b) / len(a | b) if a | b else 1.0)
        of_shapes.append(np.mean(ious))
        right += [p == t for p, t in zip(pred, part, strict=True)]
    means = {c: np.mean([iou for iou, own in zip(of_shapes, categories.tolist(), strict=True) if own == c]) for c in (0, 1, 3)}
    found = metric.compute()
    by_category = found.pop("iou_by_category")
    expected = {"instance_miou": np.mean(of_shapes), "category_miou": np.mean([*means.values()])}
    check(found, {**expected, "point_accuracy": np.mean(right)})
    assert by_category.isnan().tolist() == [False, False, True, False]
    assert by_category[[0, 1, 3]].tolist() == pytest.approx([*means.values()], rel=2e-6)


def test_voxel_iou_and_its_means(dtype):
    """Voxels counted one by one; occupancies lie 1/80 and more away from the thresholds. Means by category, and the best of the overall."""
    steps = torch.randint(0, 40, (6, 5, 4, 3))
    occupancy, target = ((steps + 0.5) / 40).to(dtype), torch.rand(6, 5, 4, 3) < 0.4
    categories = torch.tensor([2, 0, 2, 2, 0, 2])
    expected = np.zeros((6, 3))
    for i, (values, full) in enumerate(zip(*plain(occupancy, target), strict=True)):
        for j, threshold in enumerate(THRESHOLDS):
            assert np.abs(values - threshold).min() > 5e-3
            both = sum(v >= threshold and f > 0 for v, f in zip(values.flat, full.flat, strict=True))
            either = sum(v >= threshold or f > 0 for v, f in zip(values.flat, full.flat, strict=True))
            expected[i, j] = both / either
    np.testing.assert_allclose(voxel_iou(occupancy, target), expected, rtol=2e-6)
    scores = ReconstructionScores(3)
    for rows in (slice(0, 4), slice(4, 6)):
        scores.update(occupancy[rows], target[rows], categories[rows], torch.arange(6)[rows])
    found = scores.compute()
    own = categories.numpy()
    np.testing.assert_allclose(found["iou_by_category"][[0, 2]], [expected[own == c].mean(0) for c in (0, 2)], rtol=2e-6)
    means = expected.mean(0)
    check(found, {"iou": max(means), "iou_0.3": means[0]}, ("iou", "iou_0.3"))


def test_f_score_of_surfaces():
    """All distances between the points that are drawn on both surfaces (by our own code), none at the threshold."""
    generator = np.random.default_rng(3)
    grids = [generator.random((6, 6, 6)) < 0.2 for _ in range(2)]
    found = surface_f_score(*grids, distance=0.07, points=300, seed=4)
    rng = np.random.default_rng(4)
    a, b = (points_on(*voxel_surface(grid), 300, rng).astype(np.float64) for grid in grids)
    between = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    assert np.abs(between - 0.07).min() > 1e-9
    precision, recall = (between.min(1) < 0.07).mean(), (between.min(0) < 0.07).mean()
    assert 0.1 < recall < 0.9 and found == pytest.approx(2 / (1 / precision + 1 / recall), rel=1e-12)


def test_errors_of_bodies(dtype):
    """Distances point by point, and the share of the points whose part has the largest score, in mean over the bodies of each group."""
    vertices, joints = torch.randn(2, 5, 50, 3).to(dtype), torch.randn(2, 5, 24, 3).to(dtype)
    scores, labels = torch.rand(5, 30, 7).argsort(-1).to(dtype), torch.randint(0, 7, (5, 30))
    group = torch.tensor([0, 1, 1, 0, 1])
    errors = BodyErrors(("a", "b"))
    for rows in (slice(0, 2), slice(2, 5)):
        given = (tuple(vertices[:, rows]), tuple(joints[:, rows]), scores[rows], labels[rows], group[rows])
        errors.update(*given)
    distances = [100 * np.sqrt(((x[0] - x[1]) ** 2).sum(-1)).mean(-1) for x in plain(vertices, joints)]
    right = (plain(scores)[0].argmax(-1) == labels.numpy()).mean(-1)
    expected = {}
    for name, values in zip(BodyErrors.names, (*distances, right), strict=True):
        expected[name] = values.mean()
        expected |= {f"{name}/{each}": values[group.numpy() == number].mean() for number, each in enumerate("ab")}
    check(errors.compute(), expected)


def best_aligned(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points [N, 3] after the rotation or mirroring, the scale and the translation that bring them nearest to others in the sum of squares."""
    a, b = pred - pred.mean(0), target - target.mean(0)
    turn, product = orthogonal_procrustes(a, b)
    return a @ turn * product / (a**2).sum() + target.mean(0)


def plain_f_score(a: np.ndarray, b: np.ndarray, limit: float) -> float:
    between = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    assert np.abs(between - limit).min() > 1e-12
    shares = (between.min(0) < limit).mean(), (between.min(1) < limit).mean()
    return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0


def test_errors_of_hands(dtype):
    """Procrustes by SciPy, curves and F-scores point by point; hands of 0.1 m half a metre away, errors of some millimetres."""
    joints, vertices = ((0.05 * torch.randn(4, count, 3) + 0.5) for count in (21, 80))
    found = [(1.1 * each + 0.006 * torch.randn_like(each)).to(dtype) for each in (joints, vertices)]
    joints, vertices = joints.to(dtype), vertices.to(dtype)
    keypoints, valid = torch.rand(2, 4, 21, 2).to(dtype), torch.rand(4, 21) < 0.8
    errors = HandErrors()
    for rows in (slice(0, 1), slice(1, 4)):
        errors.update(found[0][rows], joints[rows], found[1][rows], vertices[rows])
        errors.update_keypoints(keypoints[0, rows], keypoints[1, rows], valid[rows])

    figures: dict[str, float] = {}
    for kind, name, pair in (("joints", "mpjpe", (found[0], joints)), ("vertices", "mpvpe", (found[1], vertices))):
        hands = [(best_aligned(a, b), b) for a, b in zip(*plain(*pair), strict=True)]
        distance = np.array([np.sqrt(((a - b) ** 2).sum(-1)) for a, b in hands])
        figures[f"pa_{name}_mm"] = 1000 * distance.mean()
        curve = [np.mean(distance <= limit) for limit in np.linspace(0, 0.05, 100)]
        figures[f"pa_{kind}_auc"] = sum((left + right) / 2 for left, right in zip(curve[1:], curve[:-1], strict=True)) / 99
        if name == "mpvpe":
            figures |= {f"f_{mm}mm": np.mean([plain_f_score(a, b, mm / 1000) for a, b in hands]) for mm in (5, 15)}
    a, b = plain(found[0], joints)
    figures["mpjpe_mm"] = 1000 * np.sqrt((((a - a[:, 9:10]) - (b - b[:, 9:10])) ** 2).sum(-1)).mean()
    a, b = plain(*keypoints)
    figures["keypoint_error"] = np.sqrt(((a - b) ** 2).sum(-1))[valid.numpy()].mean()
    check(errors.compute(), figures)
    assert 0.1 < figures["f_5mm"] < 0.9 and figures["mpjpe_mm"] > figures["pa_mpjpe_mm"] > 2


def test_errors_of_roots_and_keypoints_in_pixels(dtype):
    pred, target = torch.rand(2, 6, 3).to(dtype)
    errors = RootErrors()
    errors.update(pred[:2], target[:2])
    errors.update(pred[2:], target[2:])
    a, b = plain(pred, target)
    expected = {"camera_root_mm": 1000 * np.mean([np.sqrt(sum((x - y) ** 2)) for x, y in zip(a, b, strict=True)])}
    check(
        errors.compute(), {**expected, "camera_depth_mm": 1000 * np.mean([abs(x[2] - y[2]) for x, y in zip(a, b, strict=True)])}
    )
    pixels = (100 + 20 * torch.randn(2, 3, 21, 2)).to(dtype)
    for hand in range(3):
        a, b = plain(pixels[0, hand], pixels[1, hand])
        distance = np.sqrt(((a - b) ** 2).sum(-1)) / 30
        expected = np.mean([np.mean(distance < 0.05 * step) for step in range(20)])
        assert float(keypoint_auc_2d(*pixels[:, hand, None])) == pytest.approx(expected, rel=1e-12)


def plain_hand_scores(images: list[tuple[np.ndarray, ...]], least: float) -> dict[str, float]:
    """By the definition: the surest box of an image takes the hand that it overlaps most of those left, if by half or more."""
    rows, hands = [], 0
    for boxes, sides, scores, true, true_sides in images:
        left = list(range(len(true)))
        hands += sum(side >= 0 for side in true_sides)
        for k in sorted(range(len(boxes)), key=lambda k, scores=scores: -scores[k]):
            shared = {}
            for n in left:
                (ax, ay, aw, ah), (bx, by, bw, bh) = boxes[k], true[n]
                wide = min(ax + aw / 2, bx + bw / 2) - max(ax - aw / 2, bx - bw / 2)
                high = min(ay + ah / 2, by + bh / 2) - max(ay - ah / 2, by - bh / 2)
                common = max(wide, 0) * max(high, 0)
                shared[n] = common / (aw * ah + bw * bh - common)
                assert abs(shared[n] - 0.5) > 1e-5
            best = max(shared, key=shared.__getitem__, default=-1)
            if best < 0 or shared[best] < 0.5:
                rows.append((scores[k], False, False))
                continue
            left.remove(best)
            if true_sides[best] >= 0:
                rows.append((scores[k], True, sides[k] == true_sides[best]))
    rows.sort(key=lambda row: -row[0])
    hits = np.cumsum([hit for _, hit, _ in rows])
    precision = [hits[i] / (i + 1) for i in range(len(rows))]
    area = sum(max(precision[i:]) / hands for i, (_, hit, _) in enumerate(rows) if hit)
    sure = [row for row in rows if row[0] >= least]
    right = [side for _, hit, side in sure if hit]
    figures = {"average_precision": area, "recall": len(right) / hands, "precision": len(right) / len(sure)}
    return {**figures, "side_accuracy": np.mean(right)}


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_scores_of_hand_boxes(dtype):
    """Up to four hands in 30 images, some that may be found or not; boxes near them, doubles, and boxes of nothing. Scores differ."""
    generator = np.random.default_rng(0)
    scores = iter(generator.permutation(400) / 512)  # which half precision holds exactly
    images, metric = [], HandBoxScores(0.4)
    for _ in range(30):
        count = generator.integers(0, 5)
        true = np.column_stack([generator.random((count, 2)), generator.uniform(0.1, 0.3, (count, 2))])
        true_sides = generator.integers(-1, 2, count)
        rows = generator.integers(0, count, 2 * count)
        boxes = true[rows] * generator.uniform(0.85, 1.15, (len(rows), 4))
        boxes = np.concatenate([boxes, generator.uniform(0.1, 0.3, (2, 4))])
        sides = generator.integers(0, 2, len(boxes))
        mine = np.array([next(scores) for _ in boxes])
        boxes, true = (torch.from_numpy(each).to(torch.promote_types(dtype, torch.float32)) for each in (boxes, true))
        metric.update(boxes, torch.from_numpy(sides), torch.from_numpy(mine).to(dtype), true, torch.from_numpy(true_sides))
        images.append((*plain(boxes), sides, mine, *plain(true), true_sides))
    expected = plain_hand_scores(images, 0.4)
    assert 0.2 < expected["average_precision"] < 0.9
    check(metric.compute(), expected)
