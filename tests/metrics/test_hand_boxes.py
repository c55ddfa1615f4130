"""Metrics of detected hands on cases worked out by hand."""

from __future__ import annotations

import pytest
import torch

from geo3d.metrics.hand_boxes import HandBoxScores, box_overlap

A, B, C = [0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0.2, 0.8, 0.2, 0.2]
AWAY = [0.5, 0.1, 0.1, 0.1]


def scores(boxes, sides, values, true_boxes, true_sides):
    metric = HandBoxScores(0.4)
    metric.update(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(sides, dtype=torch.int64),
        torch.tensor(values),
        torch.tensor(true_boxes).reshape(-1, 4),
        torch.tensor(true_sides, dtype=torch.int64),
    )
    return {name: float(value) for name, value in metric.compute().items()}


def test_all_right():
    figures = scores([A, B], [0, 1], [0.9, 0.8], [B, A], [1, 0])
    assert figures == pytest.approx({"average_precision": 1, "recall": 1, "precision": 1, "side_accuracy": 1})


def test_average_precision_counts_ranks():
    # hit, miss, hit of three hands: 1/3 * 1 + 1/3 * 2/3
    figures = scores([A, AWAY, B], [0, 0, 0], [0.9, 0.8, 0.7], [A, B, C], [0, 1, 1])
    assert figures["average_precision"] == pytest.approx(1 / 3 + 2 / 9)
    assert figures["recall"] == pytest.approx(2 / 3) and figures["precision"] == pytest.approx(2 / 3)
    assert figures["side_accuracy"] == pytest.approx(0.5)


def test_a_hand_is_hit_once():
    figures = scores([A, A], [0, 0], [0.9, 0.8], [A], [0])
    assert figures["precision"] == pytest.approx(0.5) and figures["recall"] == 1


def test_hands_that_may_be_found_or_not():
    figures = scores([A, B], [0, 0], [0.9, 0.8], [A, B], [0, -1])
    assert figures["precision"] == 1 and figures["recall"] == 1 and figures["average_precision"] == 1


def test_weak_boxes_are_left_out_of_recall():
    figures = scores([A], [0], [0.3], [A], [0])
    assert figures["recall"] == 0 and figures["average_precision"] == 1


def test_nothing_found():
    figures = scores([], [], [], [A], [0])
    assert figures["average_precision"] == 0 and figures["recall"] == 0


def test_overlap():
    pairs = box_overlap(torch.tensor([[0.5, 0.5, 1, 1]]), torch.tensor([[0.5, 0.5, 0.5, 1], [1.0, 0.5, 1, 1], [3, 3, 1, 1]]))
    torch.testing.assert_close(pairs, torch.tensor([[0.5, 1 / 3, 0]]))
