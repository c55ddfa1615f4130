"""IoU and F-score of voxel grids: by hand, at corners, over processes and repeated samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.metrics.voxel_surfaces import points_on, surface_f_score, triangle_areas, voxel_surface
from geo3d.metrics.voxels import ReconstructionScores, voxel_iou


def block(start: int, stop: int, side: int = 8) -> np.ndarray:
    grid = np.zeros((side, side, side), bool)
    grid[start:stop, start:stop, start:stop] = True
    return grid


def test_iou_by_hand():
    occupancy = torch.zeros(1, 2, 2, 2)
    occupancy.view(-1)[:4] = torch.tensor([0.3, 0.4, 0.9, 0.5])
    target = torch.zeros(1, 2, 2, 2)
    target.view(-1)[2:5] = 1
    iou = voxel_iou(occupancy, target, (0.3, 0.5, 0.95))  # full from the threshold on: 4, 2 and none
    torch.testing.assert_close(iou, torch.tensor([[2 / 5, 2 / 3, 0.0]]))


def test_two_empty_grids_agree():
    assert voxel_iou(torch.zeros(2, 3, 3, 3), torch.zeros(2, 3, 3, 3), (0.5,)).tolist() == [[1.0], [1.0]]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"alike, got \[1, 2, 2, 2\] and \[2, 2, 2\]"):
        voxel_iou(torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 2))


@pytest.mark.parametrize("size", [1, 3])
def test_surface_runs_through_the_empty_neighbors(size):
    """An octahedron about one voxel; about a cube, six faces of its own width two apart, twelve bevels and eight corners."""
    vertices, faces = voxel_surface(block(2, 2 + size))
    assert np.allclose(vertices.min(0) * 9, 2, atol=1e-5) and np.allclose(vertices.max(0) * 9, 3 + size, atol=1e-5)
    width = size - 1
    expected = 6 * width**2 + 12 * width * np.sqrt(2) + 8 * np.sqrt(3) / 2
    assert triangle_areas(vertices, faces).sum() * 81 == pytest.approx(expected, rel=1e-5)


def test_points_are_uniform_on_a_surface():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [3, 1, 0], [0, 0, 5], [0, 0, 5]])
    points = points_on(vertices, np.array([[0, 1, 2], [1, 3, 2], [4, 5, 4]]), 20_000, np.random.default_rng(0))
    assert (points[:, 2] == 0).all()  # nothing on a triangle without area
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=[6, 4], range=[[0, 3], [0, 1]])[0]
    assert counts.sum() == 20_000 and abs(counts - 20_000 / 24).max() < 5 * np.sqrt(20_000 / 24)


def test_f_score_of_grids():
    assert surface_f_score(block(2, 6), block(2, 6)) > 0.5  # points of two draws, not the same ones
    assert surface_f_score(block(2, 6), block(2, 6), distance=0.1) == 1.0
    assert surface_f_score(block(0, 2, 32), block(28, 32, 32)) == 0.0
    assert surface_f_score(block(0, 0), block(2, 6)) == surface_f_score(block(2, 6), block(0, 0)) == 0.0
    assert surface_f_score(block(0, 0), block(0, 0)) == 1.0
    assert surface_f_score(block(2, 6), block(3, 6), seed=3) == surface_f_score(block(2, 6), block(3, 6), seed=3)
    with pytest.raises(ValueError, match=r"grids must be \[D, H, W\] alike"):
        surface_f_score(block(2, 6), block(2, 6, 9))


def test_scores_by_category_and_overall():
    """Categories weigh by their samples; the best threshold is that of the mean, not of each sample."""
    target = torch.ones(3, 2, 2, 2)
    occupancy = torch.full((3, 2, 2, 2), 0.35)
    occupancy[1, 0] = 0.6
    occupancy[2] = 0.45
    scores = ReconstructionScores(5)
    for i, category in enumerate((1, 1, 3)):
        scores.update(occupancy[i : i + 1], target[i : i + 1], torch.tensor([category]), torch.tensor([i]))
    found = scores.compute()
    overall = [1.0, (0 + 0.5 + 1) / 3, (0 + 0.5 + 0) / 3]
    torch.testing.assert_close(torch.stack([found[f"iou_{t}"] for t in (0.3, 0.4, 0.5)]), torch.tensor(overall))
    assert found["iou"] == 1.0
    torch.testing.assert_close(found["iou_by_category"][[1, 3]], torch.tensor([[1.0, 0.25, 0.25], [1.0, 1.0, 0.0]]))
    assert found["iou_by_category"][[0, 2, 4]].isnan().all() and "f_score" not in found


def test_a_sample_given_twice_counts_once():
    """As two processes are given it whose shares must be equally long."""
    scores = ReconstructionScores(1, (0.5,), f_score_threshold=0.5)
    full, empty = torch.ones(1, 4, 4, 4), torch.zeros(1, 4, 4, 4)
    for key, occupancy in ((0, full), (7, empty), (0, full)):
        scores.update(occupancy, full, torch.tensor([0]), torch.tensor([key]))
    found = scores.compute()
    own = surface_f_score(full[0].numpy() > 0, full[0].numpy() > 0, seed=0)
    assert found["iou"] == 0.5 and found["f_score"] == pytest.approx(own / 2)


def test_no_sample():
    assert ReconstructionScores(2).compute()["iou"].isnan()
