"""CenterHead: network, losses and decoding."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from models.detection.scenes import CAR, GRID, WALKER, center_maps, objects

from geo3d.models.detection import BevBackbone, BevGrid, CenterDecoder, CenterHead, CenterLoss, CenterOutputs, scatter_to_bev
from geo3d.models.detection.center_loss import distance_iou
from geo3d.models.detection.heatmaps import heatmap_focal_loss

DECODER = CenterDecoder(GRID, nms_thresholds=(0.3, 0.3, 0.3), iou_weights=(0.5, 0.5, 0.5))


def stacked(*samples: CenterOutputs) -> CenterOutputs:
    values = {f.name: [getattr(sample, f.name) for sample in samples] for f in fields(CenterOutputs)}
    return CenterOutputs(**{name: None if maps[0] is None else torch.cat(maps) for name, maps in values.items()})


def small_head(**options) -> tuple[BevBackbone, CenterHead]:
    backbone = BevBackbone(8, (0, 1), (1, 2), (8, 16), (1, 2), (8, 8))
    return backbone, CenterHead(backbone.out_channels, 3, channels=8, **options)


def test_focal_loss_by_hand():
    logits = torch.tensor([0.0, math.log(3), -math.log(3)])  # probabilities 1/2, 3/4, 1/4
    target = torch.tensor([1.0, 0.5, 0.0])
    # peak: -log(1/2) / 4; beside it: -log(1/4) * 9/16 * (1/2)^4; far from it: -log(3/4) / 16
    expected = math.log(2) / 4 + math.log(4) * 9 / 256 + math.log(4 / 3) / 16
    assert heatmap_focal_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)
    assert heatmap_focal_loss(torch.cat((logits, logits)), torch.cat((target, target))).item() == pytest.approx(
        expected, rel=1e-5
    )
    without = math.log(2) / 4 + math.log(4) * 9 / 256 + math.log(4 / 3) / 16  # no peak: not divided
    assert heatmap_focal_loss(logits, torch.tensor([0.0, 0.5, 0.0])).item() == pytest.approx(without, rel=1e-5)


def test_perfect_maps_have_no_loss():
    truth = objects([(CAR, 0), (WALKER, 1)])
    losses = CenterLoss(GRID)(center_maps(truth.boxes, truth.labels), truth)
    for value in (losses.loc, losses.iou, losses.iou_reg):
        assert value.item() == pytest.approx(0, abs=1e-5)
    assert 0 < losses.heatmap.item() < 1e-5


def test_losses_by_hand():
    truth = objects([([2.5, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0], 0)])
    shifted = truth.boxes + torch.tensor([0.2, 0, 0, 0, 0, 0, 0])  # in the same cell
    outputs = replace(center_maps(shifted, truth.labels), iou=torch.zeros(1, 1, *GRID.shape))
    losses = CenterLoss(GRID)(outputs, truth)
    # shift of 0.4 cells, weight 2; IoU 1.8 / 2.2, so the IoU to predict is 2 * 9/11 - 1 = 7/11;
    # the box around both is 2.2 x 1 x 1, its squared diagonal 6.84, the squared distance 0.04; weight 2
    assert losses.loc.item() == pytest.approx(0.8, abs=1e-4)
    assert losses.iou.item() == pytest.approx(7 / 11, abs=1e-4)
    assert losses.iou_reg.item() == pytest.approx(2 * (1 - 9 / 11 + 0.04 / 6.84), abs=1e-4)


def test_overlap_loss_minds_the_yaw_unless_told_otherwise():
    true = torch.tensor([[0.0, 0, 0, 4, 2, 1, 0.3]])
    turned = true + torch.tensor([0, 0, 0, 0, 0, 0, math.pi / 2])
    assert distance_iou(true, true).item() == pytest.approx(1)
    assert distance_iou(turned, true).item() == pytest.approx(4 / 12)  # a cross of 2 x 2 out of 8 + 8 - 4
    assert distance_iou(turned, true, axis_aligned=True).item() == pytest.approx(1)
    apart = true + torch.tensor([100.0, 0, 0, 0, 0, 0, 0])
    assert distance_iou(apart, true).item() == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("axis_aligned", [False, True])
def test_overlap_loss_gradient(axis_aligned):
    generator = torch.Generator().manual_seed(2)
    true = torch.rand(6, 7, generator=generator, dtype=torch.float64) + 1
    boxes = (true + 0.3 * torch.rand(6, 7, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: distance_iou(b, true, axis_aligned=axis_aligned), boxes)


def test_a_heading_of_zero_length_gives_no_infinite_gradient():
    truth = objects([(CAR, 0)])
    outputs = center_maps(truth.boxes, truth.labels)
    rot = torch.zeros_like(outputs.rot).requires_grad_()
    CenterLoss(GRID)(replace(outputs, rot=rot), truth).total.backward()
    assert rot.grad.isfinite().all() and rot.grad.abs().sum() > 0


def test_maps_learn_the_objects():
    """Gradient descent on the maps themselves ends at boxes that decode to the objects, with velocities, in every sample."""
    torch.manual_seed(3)
    boxes = torch.tensor([[*CAR, 1.0, -0.5], [*WALKER, 0.0, 0.3], [*CAR[:6], 2.5, 2.0, 0.0]])
    truth = replace(objects([(CAR, 0), (WALKER, 1)], [(CAR, 2)]), boxes=boxes)
    widths = {"heatmap": 3, "center": 2, "center_z": 1, "dim": 3, "rot": 2, "iou": 1, "velocity": 2}
    maps = {name: (0.3 * torch.randn(2, width, *GRID.shape)).requires_grad_() for name, width in widths.items()}
    optimizer = torch.optim.Adam(maps.values(), lr=0.4)
    loss = CenterLoss(GRID)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 80)
    for _ in range(80):
        optimizer.zero_grad()
        loss(CenterOutputs(**maps), truth).total.backward()
        optimizer.step()
        schedule.step()
    first, second = replace(DECODER, score_threshold=0.5)(CenterOutputs(**maps))
    assert first.labels.tolist() == [0, 1] and second.labels.tolist() == [2]
    torch.testing.assert_close(torch.cat((first.boxes, second.boxes)), boxes, rtol=0, atol=0.02)
    assert (torch.cat((first.scores, second.scores)) > 0.8).all()


@pytest.mark.parametrize("width", [7, 9])
def test_a_head_without_velocity_ignores_those_of_the_truth(width):
    truth = objects([(CAR, 0)])
    outputs = center_maps(truth.boxes, truth.labels)
    truth = replace(truth, boxes=torch.cat((truth.boxes, torch.ones(1, width - 7)), 1))
    assert CenterLoss(GRID)(outputs, truth).loc.item() == pytest.approx(0, abs=1e-5)


def test_decoding_gives_boxes_by_class_then_score():
    boxes = torch.tensor([WALKER, CAR, [4.2, 1.2, *CAR[2:]]])
    labels, logits = torch.tensor([2, 0, 0]), torch.tensor([3.0, 1.0, 2.0])
    [found] = DECODER(center_maps(boxes, labels, logits))
    assert found.labels.tolist() == [0, 0, 2]
    torch.testing.assert_close(found.boxes, boxes[[2, 1, 0]])
    torch.testing.assert_close(found.scores, logits[[2, 1, 0]].sigmoid().sqrt())  # weight 1/2, IoU 1


def test_scores_are_rectified_before_the_threshold():
    outputs = center_maps(torch.tensor([CAR]), torch.tensor([0]), torch.tensor([0.0]), iou=-0.92)  # score 0.5, IoU 0.04
    strict = replace(DECODER, score_threshold=0.2)
    [found] = strict(outputs)  # 0.5^0.5 * 0.04^0.5 = 0.141
    assert len(found) == 0 and found.boxes.shape == (0, 7)
    [found] = replace(strict, threshold_raw_scores=True)(outputs)
    assert found.scores.tolist() == pytest.approx([math.sqrt(0.02)], rel=1e-4)


def test_only_peaks_are_decoded_unless_told_otherwise():
    outputs = center_maps(torch.tensor([CAR]), torch.tensor([0]))
    x, y = 5, 4
    outputs.heatmap[0, 0, y, x + 1] = 4.0  # beside the peak, with a tiny box of its own that overlaps nothing
    outputs.dim[0, :, y, x + 1] = -3.0
    outputs.rot[0, 0, y, x + 1] = 1.0
    assert len(DECODER(outputs)[0]) == 1
    assert len(replace(DECODER, peaks_only=False)(outputs)[0]) == 2
    assert len(replace(DECODER, peaks_only=False, max_objects=1)(outputs)[0]) == 1


def test_close_cars_stay_apart_and_the_turned_footprints_of_the_reference_merge_them():
    """Cars of 4 x 1.5 m, 1.2 m beside each other: IoU 1.2 / 10.8 = 0.11, with length and width exchanged 4.2 / 7.8 = 0.54."""
    boxes = torch.tensor([[4.2, -0.7, 0, 4, 1.5, 1.5, 0.0], [4.2, 0.5, 0, 4, 1.5, 1.5, 0.0]])
    outputs = center_maps(boxes, torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    [found] = DECODER(outputs)
    torch.testing.assert_close(found.boxes, boxes[[1, 0]])
    [found] = replace(DECODER, rotate_footprints=True)(outputs)
    torch.testing.assert_close(found.boxes, boxes[[1]])
    # one behind the other they do overlap, 2.8 * 1.5 / 7.8, and turned they hardly do
    behind = torch.tensor([[3.0, 0.1, 0, 4, 1.5, 1.5, 0.0], [4.2, 0.1, 0, 4, 1.5, 1.5, 0.0]])
    outputs = center_maps(behind, torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert len(DECODER(outputs)[0]) == 1
    assert len(replace(DECODER, rotate_footprints=True)(outputs)[0]) == 2


def test_suppression_is_within_class_and_sample_and_limits_are_per_class():
    boxes = torch.tensor([CAR, [CAR[0] + 1, *CAR[1:]], [CAR[0] + 2, *CAR[1:]]])  # far enough from each other along x
    cars = center_maps(boxes, torch.zeros(3, dtype=torch.int64), torch.tensor([1.0, 2.0, 3.0]))
    limited = replace(DECODER, max_after_nms=(2, 1, 1))
    assert [sample.scores.argsort().tolist() for sample in limited(stacked(cars, cars))] == [[1, 0], [1, 0]]
    assert len(replace(DECODER, max_before_nms=(1, 1, 1))(cars)[0]) == 1
    same_place = torch.tensor([CAR, CAR])
    assert len(DECODER(center_maps(same_place, torch.tensor([0, 1])))[0]) == 2


def test_center_range_has_its_bounds_included():
    outputs = center_maps(torch.tensor([[2.5, 0.0, 0.0, 2, 1, 1, 0.0]]), torch.tensor([0]))
    for last, count in ((2.5, 1), (2.4, 0)):
        assert len(replace(DECODER, center_range=(0, -1, -1, last, 1, 1))(outputs)[0]) == count


def test_nothing_found():
    outputs = center_maps(torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64))
    found = DECODER(stacked(outputs, outputs))
    assert [len(sample) for sample in found] == [0, 0]
    assert found[0].boxes.shape == (0, 7) and found[0].labels.dtype == torch.int64


def test_no_objects_teach_the_heatmap_alone():
    backbone, head = small_head()
    outputs = head(backbone(torch.randn(2, 8, *GRID.shape)))
    losses = CenterLoss(GRID)(outputs, objects([], []))
    losses.total.backward()
    assert losses.loc == losses.iou == losses.iou_reg == 0
    assert head.branches["heatmap"][-1].bias.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in head.parameters())  # none without: several GPUs need all


def test_gradient_reaches_every_parameter():
    backbone, head = small_head(velocity=True)
    truth = objects([(CAR, 0)], [(WALKER, 1)])
    truth = replace(truth, boxes=torch.cat((truth.boxes, torch.ones(2, 2)), 1))
    CenterLoss(GRID)(head(backbone(torch.randn(2, 8, *GRID.shape))), truth).total.backward()
    for module in (backbone, head):
        for name, parameter in module.named_parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_samples_do_not_depend_on_each_other():
    backbone, head = small_head()
    features = torch.randn(3, 8, *GRID.shape)
    decoder = replace(DECODER, score_threshold=0.0, max_objects=20)
    with torch.no_grad():
        together = decoder(head.eval()(backbone.eval()(features)))
        for i, expected in enumerate(together):
            [alone] = decoder(head(backbone(features[i : i + 1])))
            torch.testing.assert_close(alone.boxes, expected.boxes, rtol=1e-4, atol=1e-4)
            assert torch.equal(alone.labels, expected.labels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    backbone, head = small_head()
    truth = objects([(CAR, 0)], [(WALKER, 1)])
    features = torch.randn(2, 8, *GRID.shape)
    exact = CenterLoss(GRID)(head(backbone(features)), truth)
    with torch.autocast("cpu", dtype):
        outputs = head(backbone(features))
        assert outputs.center.dtype == dtype
        losses = CenterLoss(GRID)(outputs, truth)
        found = replace(DECODER, score_threshold=0.0)(outputs)
    losses.total.backward()
    assert losses.heatmap.dtype == found[0].boxes.dtype == torch.float32
    torch.testing.assert_close(losses.total, exact.total, rtol=0.05, atol=0)  # a convolution's output has 8 or 11 bits


def test_scatter_puts_voxels_into_their_cells():
    coords = torch.tensor([[0, 0, 2, 1], [2, 0, 0, 3]], dtype=torch.int32)  # sample 1 has none, sample 3 neither
    features = torch.randn(2, 5, requires_grad=True)
    bev = scatter_to_bev(features, coords, 4, (3, 4))
    assert bev.shape == (4, 5, 3, 4) and (bev != 0).any(1).sum() == 2
    torch.testing.assert_close(bev[0, :, 2, 1], features[0])
    torch.testing.assert_close(bev[2, :, 0, 3], features[1])
    bev.sum().backward()
    assert (features.grad == 1).all()
    assert (scatter_to_bev(features[:0], coords[:0], 2, (3, 4)) == 0).all()


@pytest.mark.parametrize("up_strides, stride", [((1, 2, 4), 1), ((0.5, 1, 2), 2)])
def test_backbone_resolution(up_strides, stride):
    backbone = BevBackbone(4, (0, 0, 0), (1, 2, 2), (4, 4, 8), up_strides, (2, 3, 4))
    assert backbone.stride == stride and backbone.out_channels == 9
    assert backbone(torch.randn(1, 4, 8, 12)).shape == (1, 9, 8 // stride, 12 // stride)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    truth = objects([(CAR, 0), (WALKER, 1)], [])
    maps = stacked(center_maps(truth.boxes, truth.labels), center_maps(truth.boxes[:1], truth.labels[:1], iou=0.5))
    on_gpu = CenterOutputs(**{f.name: None if (v := getattr(maps, f.name)) is None else v.cuda() for f in fields(maps)})
    loss = CenterLoss(GRID)
    torch.testing.assert_close(loss(on_gpu, truth.to("cuda")).total.cpu(), loss(maps, truth).total)
    for a, b in zip(DECODER(on_gpu), DECODER(maps), strict=True):
        torch.testing.assert_close(a.to("cpu").boxes, b.boxes)
        assert torch.equal(a.to("cpu").labels, b.labels)


def test_messages():
    with pytest.raises(ValueError, match="must end at one resolution"):
        BevBackbone(4, (0, 0), (1, 2), (4, 4), (1, 1), (2, 2))
    with pytest.raises(ValueError, match="must be as many"):
        BevBackbone(4, (0, 0), (1, 2), (4, 4), (1,), (2, 2))
    with pytest.raises(ValueError, match="whole number or the inverse of one, got 1.5"):
        BevBackbone(4, (0,), (1,), (4,), (1.5,), (2,))
    with pytest.raises(ValueError, match=r"multiples of 2, got \[3, 4\]"):
        BevBackbone(4, (0, 0), (1, 2), (4, 4), (1, 2), (2, 2))(torch.zeros(1, 4, 3, 4))
    outputs = center_maps(torch.tensor([CAR]), torch.tensor([0]))
    other = BevGrid((0, 0, 0, 4, 4, 1), (0.5, 0.5, 1))
    with pytest.raises(ValueError, match=r"CenterDecoder: the grid has \(8, 8\) cells \(y, x\), the network's maps \(8, 16\)"):
        replace(DECODER, grid=other)(outputs)
    with pytest.raises(ValueError, match="nms_thresholds must be one for each of 3 classes"):
        replace(DECODER, nms_thresholds=(0.1,))(outputs)
    with pytest.raises(ValueError, match="the network saw 1 samples, the true objects are of 2"):
        CenterLoss(GRID)(outputs, objects([], []))
    with pytest.raises(ValueError, match=r"a head with velocities needs boxes \[K, 9\]"):
        CenterLoss(GRID)(replace(outputs, velocity=torch.zeros(1, 2, *GRID.shape)), objects([(CAR, 0)]))
