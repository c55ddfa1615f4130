"""Metrics of hands; that they equal the official ones is told by the parity case."""

from __future__ import annotations

import pytest
import torch

from geo3d.metrics.hands import HandErrors, f_score


def hands(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    return 0.05 * torch.randn(batch, 21, 3), 0.05 * torch.randn(batch, 300, 3)


def test_a_turned_and_scaled_hand_has_no_aligned_error():
    joints, vertices = hands(3)
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    errors = HandErrors()
    errors.update(1.2 * joints @ turn, joints, 1.2 * vertices @ turn + 1, vertices)
    figures = errors.compute()
    assert figures["pa_mpjpe_mm"] < 1e-3 and figures["pa_mpvpe_mm"] < 1e-3
    assert figures["pa_joints_auc"] > 0.99 and figures["f_5mm"] == 1 and figures["f_15mm"] == 1
    assert figures["mpjpe_mm"] > 30


def test_figures_are_means_over_all_batches():
    parts, whole = HandErrors(), HandErrors()
    joints, vertices = hands(5)
    found = joints + 0.01 * torch.randn_like(joints), vertices + 0.01 * torch.randn_like(vertices)
    whole.update(found[0], joints, found[1], vertices)
    for rows in (slice(0, 2), slice(2, 5)):
        parts.update(found[0][rows], joints[rows], found[1][rows], vertices[rows])
    torch.testing.assert_close(parts.compute(), whole.compute())
    assert 5 < whole.compute()["pa_mpjpe_mm"] < 20


def test_keypoints_alone_give_their_error():
    errors = HandErrors()
    target = torch.rand(2, 21, 2)
    valid = torch.ones(2, 21)
    valid[0] = 0
    found = target + torch.tensor([0.03, 0.04])
    found[0] += 9
    errors.update_keypoints(found, target, valid)
    assert errors.compute() == {"keypoint_error": pytest.approx(0.05, abs=1e-6)}


def test_f_score_of_half_a_set():
    points = torch.arange(10.0)[:, None] * torch.tensor([1.0, 0, 0])
    score, found, right = f_score(points[:5], points, 0.5)
    assert (found, right) == (0.5, 1.0) and score == pytest.approx(2 / 3)
    assert f_score(points + 100, points, 0.5) == (0.0, 0.0, 0.0)
