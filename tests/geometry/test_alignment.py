"""Alignment of points, and the place of a body before a camera."""

from __future__ import annotations

import pytest
import torch

from geo3d.geometry.alignment import rigid_aligned, similarity_aligned, solve_translation
from geo3d.geometry.rotations import axis_angle_to_matrix

MIRROR = torch.tensor([-1.0, 1, 1], dtype=torch.float64)


@pytest.fixture
def points() -> torch.Tensor:
    return torch.randn(4, 21, 3, dtype=torch.float64)


def moved(points: torch.Tensor, scale: float) -> torch.Tensor:
    turn = axis_angle_to_matrix(torch.randn(4, 3, dtype=torch.float64))
    return scale * points @ turn.mT + torch.randn(4, 1, 3, dtype=torch.float64)


def test_a_similarity_is_undone(points):
    torch.testing.assert_close(similarity_aligned(moved(points, 0.3), points), points, rtol=1e-6, atol=1e-6)


def test_a_rigid_motion_is_undone_and_a_scale_stays(points):
    torch.testing.assert_close(rigid_aligned(moved(points, 1), points), points)
    assert (rigid_aligned(moved(points, 1.5), points) - points).norm(dim=-1).mean() > 0.3


def test_mirrored_points_are_aligned_only_where_that_is_asked_for(points):
    mirrored = points * MIRROR
    torch.testing.assert_close(similarity_aligned(mirrored, points, reflections=True), points, rtol=1e-6, atol=1e-6)
    assert (similarity_aligned(mirrored, points) - points).norm(dim=-1).mean() > 0.3


def test_no_other_rotation_is_nearer(points):
    target = points + 0.2 * torch.randn_like(points)
    best = (similarity_aligned(points, target) - target).square().sum()
    center = target.mean(1, keepdim=True)
    for _ in range(20):
        turn = axis_angle_to_matrix(0.05 * torch.randn(3, dtype=torch.float64))
        other = (similarity_aligned(points, target) - center) @ turn + center
        assert (other - target).square().sum() >= best


def test_points_that_coincide_go_to_the_middle(points):
    aligned = similarity_aligned(torch.ones_like(points), points)
    torch.testing.assert_close(aligned, points.mean(1, keepdim=True).expand_as(points))


def test_shapes_that_differ_are_told(points):
    with pytest.raises(ValueError, match=r"must both be \[..., N, 3\], got \[4, 21, 3\] and \[4, 20, 3\]"):
        similarity_aligned(points, points[:, 1:])


MATRIX = torch.tensor([[500.0, 0, 120], [0, 480, 100], [0, 0, 1]], dtype=torch.float64)


def test_the_translation_is_found(points):
    hand = 0.05 * points
    place = torch.tensor([[0.1, -0.05, 0.6]], dtype=torch.float64).expand(4, 3)
    seen = (hand + place[:, None]) @ MATRIX.T
    pixels = seen[..., :2] / seen[..., 2:]
    torch.testing.assert_close(solve_translation(hand, pixels, MATRIX), place, rtol=1e-5, atol=1e-5)
    pixels[:, 3] += 500  # a point that is not to count
    weights = torch.ones(4, 21, dtype=torch.float64)
    weights[:, 3] = 0
    torch.testing.assert_close(solve_translation(hand, pixels, MATRIX, weights), place, rtol=1e-5, atol=1e-5)


def test_a_longer_focal_length_gives_a_farther_hand(points):
    hand, longer = 0.05 * points, MATRIX.clone()
    longer[[0, 1], [0, 1]] *= 1.1
    seen = (hand + torch.tensor([0, 0, 0.6], dtype=torch.float64)) @ MATRIX.T
    depth = solve_translation(hand, seen[..., :2] / seen[..., 2:], longer)[:, 2]
    torch.testing.assert_close(depth, torch.full_like(depth, 0.66), rtol=0.02, atol=0)
