"""Part IoU, worked out by hand and against a plain loop."""

from __future__ import annotations

import torch

from geo3d.metrics.part_iou import PartIoU, restricted_argmax, shape_iou

RANGES = [range(0, 3), range(3, 5)]


def test_shape_iou_by_hand():
    parts, predicted = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    # part 0: 1 of 2; part 1: 2 of 3; part 2: neither present nor predicted, counts as 1
    torch.testing.assert_close(shape_iou(predicted, parts, RANGES[0]), torch.tensor((1 / 2 + 2 / 3 + 1) / 3))


def test_argmax_stays_in_the_category():
    scores = torch.tensor([[9.0, 0, 0, 1, 2], [9, 0, 0, 2, 1]])
    assert restricted_argmax(scores, RANGES[1]).tolist() == [4, 3]


def test_metric_against_a_loop():
    scores, categories = torch.rand(7, 30, 5), torch.tensor([0, 1, 0, 0, 1, 0, 0])
    parts = torch.stack([torch.randint(RANGES[c].start, RANGES[c].stop, (30,)) for c in categories.tolist()])
    metric = PartIoU(RANGES)
    metric.update(scores[:4], parts[:4], categories[:4])
    metric.update(scores[4:], parts[4:], categories[4:])
    result = metric.compute()
    by_category = {0: [], 1: []}
    correct = 0
    for s, p, c in zip(scores, parts, categories.tolist(), strict=True):
        ious = []
        predicted = [max(RANGES[c], key=lambda k, row=row: float(row[k])) for row in s]
        for k in RANGES[c]:
            union = sum(a == k or b == k for a, b in zip(predicted, p.tolist(), strict=True))
            both = sum(a == k and b == k for a, b in zip(predicted, p.tolist(), strict=True))
            ious.append(both / union if union else 1.0)
        by_category[c].append(sum(ious) / len(ious))
        correct += sum(a == b for a, b in zip(predicted, p.tolist(), strict=True))
    everything = by_category[0] + by_category[1]
    means = [sum(by_category[c]) / len(by_category[c]) for c in (0, 1)]
    torch.testing.assert_close(result["instance_miou"], torch.tensor(sum(everything) / 7))
    torch.testing.assert_close(result["category_miou"], torch.tensor(sum(means) / 2))
    torch.testing.assert_close(result["point_accuracy"], torch.tensor(correct / 210))
