"""Grid, codes, heatmaps and CenterHead's targets, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from models.detection.scenes import CAR, GRID, WALKER, objects

from geo3d.models.detection import BevGrid, GroundTruth, center_head, transfusion_head
from geo3d.models.detection.center_loss import assign_centers
from geo3d.models.detection.heatmaps import draw_gaussians, gaussian_radius


def test_radius_of_a_large_box():
    # 20 x 10 cells, overlap 0.1: b = 30, hw = 200. r1 = (30 + sqrt(900 - 4 * 163.6)) / 2 = 22.8, r2 = (60 + sqrt(720)) / 2 = 43.4,
    # r3 = (-6 + sqrt(36 + 288)) / 2 = 6
    radius = gaussian_radius(torch.tensor([20.0, 10.0]), torch.tensor([10.0, 20.0]), 0.1)
    torch.testing.assert_close(radius, torch.tensor([6.0, 6.0]))


def test_one_object():
    truth = objects([(CAR, 1)])
    targets = assign_centers(truth, GRID, 3)
    # (2.6, 0.1) is (2.6 / 0.5, 2.1 / 0.5) = (5.2, 4.2) cells; its size of 3 x 1 cells has a radius below the least, 2
    assert targets.cells.tolist() == [[5, 4]]
    code = [0.2, 0.2, 0.3, math.log(1.5), math.log(0.5), 0.0, math.cos(0.4), math.sin(0.4)]
    torch.testing.assert_close(targets.codes, torch.tensor([code]))
    heatmap = targets.heatmap
    assert heatmap.shape == (1, 3, 8, 16)
    assert heatmap[0, 1, 4, 5] == 1 and (heatmap == 1).sum() == 1
    # sigma = 5 / 6 cells: exp(-1 / (2 * 25 / 36)) = exp(-0.72) beside the peak, squared at the corner
    assert heatmap[0, 1, 4, 6].item() == pytest.approx(math.exp(-0.72))
    assert heatmap[0, 1, 3, 4].item() == pytest.approx(math.exp(-1.44))
    assert heatmap[0, 1, 6, 7] > 0 and heatmap[0, 1, 7, 5] == 0 and heatmap[0, 1, 4, 8] == 0  # up to 2 cells away
    assert (heatmap[0, [0, 2]] == 0).all()


def test_objects_are_combined_by_maximum():
    near = [*CAR[:1], CAR[1] + 0.5, *CAR[2:]]  # one row further
    both = assign_centers(objects([(CAR, 0), (near, 0)]), GRID, 1).heatmap
    apart = [assign_centers(objects([(box, 0)]), GRID, 1).heatmap for box in (CAR, near)]
    torch.testing.assert_close(both, torch.maximum(*apart), rtol=0, atol=0)
    assert (both == 1).sum() == 2


def test_objects_in_one_cell_keep_their_own_codes():
    close = [CAR[0] + 0.1, *CAR[1:]]
    targets = assign_centers(objects([(CAR, 0), (close, 1)]), GRID, 2)
    assert targets.cells[0].tolist() == targets.cells[1].tolist()
    assert targets.codes[1, 0].item() == pytest.approx(0.4, abs=1e-5)


def test_batch_with_an_empty_sample_equals_single_samples():
    samples = [[(CAR, 1)], [], [(WALKER, 2), (CAR, 0)]]
    together = assign_centers(objects(*samples), GRID, 3)
    assert together.batch_index.tolist() == [0, 2, 2]
    for heatmap, sample in zip(together.heatmap, samples, strict=True):
        torch.testing.assert_close(heatmap, assign_centers(objects(sample), GRID, 3).heatmap[0], rtol=0, atol=0)


def test_no_object_at_all():
    targets = assign_centers(objects([], []), GRID, 3)
    assert targets.heatmap.shape == (2, 3, 8, 16) and (targets.heatmap == 0).all()
    assert targets.codes.shape == (0, 8)


def test_boxes_without_size_are_left_out_and_the_truth_stays_as_it_was():
    flat = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    truth = objects([(flat, 0), (CAR, 1)])
    before = truth.boxes.clone(), truth.labels.clone()
    targets = assign_centers(truth, GRID, 2)
    assert len(targets.codes) == 1 and (targets.heatmap[0, 0] == 0).all()
    assert torch.equal(truth.boxes, before[0]) and torch.equal(truth.labels, before[1])


def test_a_center_outside_is_moved_to_the_border():
    outside = [9.0, -3.0, *CAR[2:]]
    targets = assign_centers(objects([(outside, 0)]), GRID, 1)
    assert targets.cells.tolist() == [[15, 0]]
    assert targets.codes[0, :2].tolist() == [0.5, 0.0]


def test_a_peak_at_the_border_is_cut_off():
    heatmap = draw_gaussians((1, 4, 5), torch.tensor([0, 0]), torch.tensor([[0, 3], [-1, 9]]), torch.tensor([2, 1]))
    assert heatmap[0, 3, 0] == 1
    assert (heatmap > 0).nonzero()[:, 1:].tolist() == [[y, x] for y in (1, 2, 3) for x in (0, 1, 2)]


@pytest.mark.parametrize("width", [7, 9])
def test_codes_are_inverted(width):
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(50, width, generator=generator, dtype=torch.float64)
    boxes[:, 0], boxes[:, 1] = boxes[:, 0] * 7.75, boxes[:, 1] * 3.75 - 2  # not in the last half cell, which CenterHead moves
    boxes[:, 6] = boxes[:, 6] * 6.2 - 3.1
    codes, cells = center_head.encode_boxes(boxes, GRID)
    torch.testing.assert_close(center_head.decode_boxes(codes, cells, GRID), boxes)
    codes = transfusion_head.encode_boxes(boxes, GRID)
    torch.testing.assert_close(codes[:, 2], boxes[:, 2] + boxes[:, 5] / 2)
    torch.testing.assert_close(transfusion_head.decode_boxes(codes, GRID), boxes)


def test_messages():
    with pytest.raises(ValueError, match="whole number of cells of 0.3 m"):
        BevGrid((0, 0, 0, 1, 1, 1), (0.3, 0.3, 1))
    with pytest.raises(ValueError, match="point_range must be"):
        BevGrid((0, 0, 0, 0, 1, 1), (0.5, 0.5, 1))
    with pytest.raises(ValueError, match="voxel_size must be three positive sizes"):
        BevGrid((0, 0, 0, 1, 1, 1), (0.5, -0.5, 1))
    with pytest.raises(ValueError, match=r"boxes must be \[K, 7\] or \[K, 9\]"):
        GroundTruth(torch.zeros(2, 8), torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"labels must be \[2\] int64"):
        GroundTruth(torch.zeros(2, 7), torch.zeros(2), torch.zeros(2, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match="batch_index must be sorted and from 0 to 1"):
        GroundTruth(torch.zeros(2, 7), torch.zeros(2, dtype=torch.int64), torch.tensor([1, 0]), 2)
    with pytest.raises(ValueError, match="labels must be classes from 0 to 1, got"):
        assign_centers(objects([(CAR, 2)]), GRID, 2)
