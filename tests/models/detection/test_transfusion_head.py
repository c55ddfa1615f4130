"""TransFusion's head: proposals, local attention, matching, losses and decoding."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from models.detection.scenes import CAR, GRID, WALKER, objects, proposals
from torch import Tensor

from geo3d.models.detection import BevGrid, Matcher, TransFusionDecoder, TransFusionHead, TransFusionLoss, TransFusionOutputs
from geo3d.models.detection.local_attention import CountedBatchNorm, LocalDecoderLayer
from geo3d.models.detection.transfusion_loss import focal_loss

DECODER = TransFusionDecoder(GRID, nms_thresholds=(None, 0.3, 0.3))


def small_head(**options) -> TransFusionHead:
    settings = {"num_classes": 3, "num_proposals": 12, "hidden": 16, "branch_channels": 8, "heads": 4, "feedforward": 24}
    return TransFusionHead(8, **{**settings, "key_radius": 2, "crowded_classes": (2,), "velocity": False, **options})


def test_proposals_are_the_peaks_of_a_class_and_all_cells_of_a_crowded_one():
    head = small_head(num_proposals=9)
    heatmap = torch.full((1, 3, 8, 16), -9.0)
    heatmap[0, 0, 3, 5:7] = torch.tensor([2.0, 1.0])  # a peak and its neighbour
    heatmap[0, 1, 5, 2] = 3.0
    heatmap[0, 1, 0, 9] = 4.0  # on the border: no peak
    heatmap[0, 2, 2, 2:4] = torch.tensor([1.5, 0.5])  # crowded
    heatmap[0, 2, 0, 0] = 0.25
    scores, labels, cells = head.propose(heatmap)
    assert labels[0, :5].tolist() == [1, 0, 2, 2, 2]
    assert cells[0, :5].tolist() == [[2, 5], [5, 3], [2, 2], [3, 2], [0, 0]]
    torch.testing.assert_close(scores[0, :5], torch.tensor([3, 2, 1.5, 0.5, 0.25]).sigmoid())
    assert (scores[0, 5:] < 0.001).all()


def naive_layer(layer: LocalDecoderLayer, queries: Tensor, cells: Tensor, features: Tensor, shape: tuple[int, int]) -> Tensor:
    """The layer query by query, over the cells that it may see; keys embedded anew for each."""
    rows, columns = shape
    seen = [
        [
            [(x, y) for y in range(rows) for x in range(columns) if max(abs(x - qx), abs(y - qy)) <= layer.radius]
            for qx, qy in sample
        ]
        for sample in cells.tolist()
    ]
    positions = torch.tensor([cell for sample in seen for keys in sample for cell in keys]) + 0.5
    embedded = list(layer.key_position(positions).split([len(keys) for sample in seen for keys in sample]))
    query_position = layer.query_position(cells.flatten(0, 1) + 0.5).view_as(queries)
    x = layer.norm1(queries + layer.self_project(layer.self_value(queries + query_position)))
    mixed = torch.zeros_like(x)
    for b, sample in enumerate(seen):
        for p, keys in enumerate(sample):
            key = features[b, [y * columns + x for x, y in keys]] + embedded.pop(0)
            heads = layer.heads
            query = layer.query(x[b, p] + query_position[b, p]).view(heads, 1, -1)
            k, v = (part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in layer.key_value(key).chunk(2, -1))
            weights = (query @ k.transpose(1, 2) / math.sqrt(k.shape[-1])).softmax(-1)
            mixed[b, p] = layer.project((weights @ v).flatten())
    x = layer.norm2(x + mixed)
    return layer.norm3(x + layer.narrow(F.relu(layer.widen(x))))


@pytest.mark.parametrize("training", [True, False])
def test_decoder_layer_equals_attention_query_by_query(training):
    """Also on a map that is not square, at its corners, and in training, where the norm of the positions sees every key."""
    generator = torch.Generator().manual_seed(4)
    layer = LocalDecoderLayer(8, 2, 12, radius=2).train(training)
    for norm in (layer.key_position.norm, layer.query_position.norm):
        norm.running_mean.fill_(0.5)
        norm.running_var.fill_(3.0)
    other = LocalDecoderLayer(8, 2, 12, radius=2).train(training)
    other.load_state_dict(layer.state_dict())
    cells = torch.tensor([[[0, 0], [6, 3]], [[3, 1], [6, 0]]])
    queries, features = torch.randn(2, 2, 8, generator=generator), torch.randn(2, 28, 8, generator=generator)
    ours, expected = layer(queries, cells, features, (4, 7)), naive_layer(other, queries, cells, features, (4, 7))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-5)


def test_wrapped_keys_are_those_of_the_flat_index():
    """A map of 3 rows (y) and 5 columns (x), radius 1, query in the cell x = 2, y = 2: in the map flattened along y the neighbours
    beyond the border, at y = 3, are those at y = 0 of the next x."""
    layer = LocalDecoderLayer(8, 2, 12, radius=1, wrap=True)
    logs, counts = layer._visible(torch.tensor([[[2, 2]]]), (3, 5))
    seen = logs.exp().view(3, 5)  # rows y
    expected = torch.zeros(3, 5)
    expected[1:, 1:4] = 1
    expected[0, 2:5] = 1
    torch.testing.assert_close(seen, expected)
    assert counts.sum() == 9
    logs, counts = layer._visible(torch.tensor([[[0, 0]]]), (3, 5))  # -4, -3, -2 and -1 are off the map
    assert logs.exp().sum() == 5 and counts.sum() == 9 and counts[0] == 5


def test_counted_batch_norm_equals_batch_norm_of_repeated_rows():
    ours, theirs = CountedBatchNorm(3), torch.nn.BatchNorm1d(3)
    x, counts = torch.randn(5, 3), torch.tensor([1, 0, 4, 2, 1])
    torch.testing.assert_close(ours(x, counts).repeat_interleave(counts, 0), theirs(x.repeat_interleave(counts, 0)))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_a_box_costs_less_the_nearer_and_surer_it_is():
    """Object 0 at x = 2 of class 0, object 1 at x = 6 of class 1; proposals: far away, right at 1, right at 0."""
    box = [0.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0]
    at = [[x, *box[1:]] for x in (2.0, 6.0)]
    boxes = torch.tensor([[[4.0, 1.5, *box[2:]], at[1], at[0]]])
    truth = objects([(at[0], 0), (at[1], 1)])
    pairs = Matcher()(boxes, torch.zeros(1, 3, 2), truth, GRID)
    assert pairs.proposals.tolist() == [2, 1] and pairs.objects.tolist() == [0, 1]
    assert pairs.iou.tolist() == pytest.approx([1, 1])
    sure = torch.zeros(1, 3, 2)
    sure[0, 0] = 9.0  # the class cost of the far proposal is 0.15 * (0 - 9 * 0.75) and outweighs distance and overlap
    assert 0 in Matcher()(boxes, sure, truth, GRID).proposals.tolist()


def test_matching_of_several_samples():
    """More objects than proposals, none, and one: samples do not see each other."""
    box = [2.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0]
    moved = [[2.0 + 0.1 * i, *box[1:]] for i in range(3)]
    truth = objects([(b, 0) for b in moved], [], [(moved[1], 0)])
    boxes = torch.tensor([moved[:2], moved[:2], moved[:2]])
    pairs = Matcher()(boxes, torch.zeros(3, 2, 1), truth, GRID)
    assert pairs.batch_index.tolist() == [0, 0, 2]
    assert pairs.proposals[:2].tolist() == [0, 1] and pairs.proposals[2] == 1
    assert pairs.objects.tolist()[2] == 3 and len(set(pairs.objects.tolist())) == 3
    none = Matcher()(boxes, torch.zeros(3, 2, 1), objects([], [], []), GRID)
    assert len(none.objects) == 0 and len(none.iou) == 0


def test_overlap_counts_z_as_the_center_unless_told_otherwise():
    low, high = [2.0, 0, 0.0, 1, 1, 1, 0], [2.0, 0, 1.0, 1, 1, 3, 0]
    boxes, truth = torch.tensor([[high]]), objects([(low, 0)])
    # volumes: z in [-0.5, 0.5] and [-0.5, 2.5] share 1 of 3; as bottoms [0, 1] and [1, 4] touch
    assert Matcher()(boxes, torch.zeros(1, 1, 1), truth, GRID).iou.item() == pytest.approx(1 / 3)
    assert Matcher(z_from_bottom=True)(boxes, torch.zeros(1, 1, 1), truth, GRID).iou.item() == pytest.approx(0, abs=1e-6)


def test_losses_by_hand():
    box = [2.5, 0.1, 0.0, 2.0, 1.0, 1.0, 0.0]
    truth = objects([(box, 1)])
    boxes = truth.boxes[None] + torch.tensor([0.2, 0, 0, 0, 0, 0, 0])
    boxes = torch.cat((boxes, boxes + torch.tensor([0, 5.0, 0, 0, 0, 0, 0])), 1)  # the second stays background
    outputs = proposals(boxes, torch.tensor([[1, 1]]), torch.tensor([[0.0, 0.0]]), iou=0.0)
    losses = TransFusionLoss(GRID)(outputs, truth)
    assert losses.matched_iou.item() == pytest.approx(9 / 11, abs=1e-5)
    assert losses.boxes.item() == pytest.approx(0.25 * 0.4, abs=1e-5)  # 0.4 cells
    assert losses.iou.item() == pytest.approx(0.5 * 7 / 11, abs=1e-5)
    # at p = 1/2: 1/4 * 1/4 * log 2 for the matched one, 3/4 * 1/4 * log 2 for the other; classes at -9 have next to none
    assert losses.classes.item() == pytest.approx(0.25 * math.log(2), abs=1e-4)
    assert losses.total.item() == pytest.approx(
        sum(v.item() for v in (losses.heatmap, losses.classes, losses.boxes, losses.iou))
    )


def test_iou_of_unequal_heights_depends_on_the_option():
    """Boxes of 1 and 2 m that stand on the same ground."""
    truth = objects([([2.5, 0.1, 0.5, 2.0, 1.0, 1.0, 0.0], 0)])
    boxes = torch.tensor([[[2.5, 0.1, 1.0, 2.0, 1.0, 2.0, 0.0]]])
    outputs = proposals(boxes, torch.tensor([[0]]), torch.tensor([[0.0]]), iou=0.0)
    assert TransFusionLoss(GRID)(outputs, truth).iou.item() == pytest.approx(0, abs=1e-5)  # IoU 1/2: 2 IoU - 1 = 0
    # tops 1 and 2 as centres: [0.5, 1.5] and [1, 3] share 0.5 of 2.5; |2 / 5 - 1| / 2
    assert TransFusionLoss(GRID, iou_from_top=True)(outputs, truth).iou.item() == pytest.approx(0.3, abs=1e-5)


def test_focal_loss_at_extreme_logits_is_finite():
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0.0, 1.0, 1.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(200 * (0.25 + 0.75)) and logits.grad.isfinite().all()


def test_no_objects_teach_background():
    head = small_head()
    losses = TransFusionLoss(GRID)(head(torch.randn(2, 8, *GRID.shape)), objects([], []))
    losses.total.backward()
    assert losses.boxes == losses.iou == losses.matched_iou == 0 and losses.classes > 0
    assert all(p.grad.isfinite().all() for p in head.parameters())  # none without: several GPUs need all


def test_gradient_reaches_every_parameter():
    head = small_head(velocity=True)
    truth = objects([(CAR, 0)], [(WALKER, 1)])
    truth = replace(truth, boxes=torch.cat((truth.boxes, torch.ones(2, 2)), 1))
    outputs = head(torch.randn(2, 8, *GRID.shape))
    TransFusionLoss(GRID)(outputs, truth).total.backward()
    idle = ("branches.iou", "key_value.bias")  # no overlap may exist at the start; a bias common to all keys has no effect
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0 or name.startswith(idle), name


def test_decoding_keeps_the_order_of_proposals_and_suppresses_chosen_classes():
    near = [CAR[0] + 0.05, *CAR[1:]]
    boxes = torch.tensor([[CAR, near, CAR, near, WALKER]])
    labels, logits = torch.tensor([[1, 1, 0, 0, 2]]), torch.tensor([[0.0, 1.0, 0.0, 1.0, -1.0]])
    [found] = DECODER(proposals(boxes, labels, logits))
    assert found.labels.tolist() == [1, 0, 0, 2]  # of the two of class 1 the better, second one
    torch.testing.assert_close(found.boxes, boxes[0, 1:])
    torch.testing.assert_close(found.scores, logits[0, 1:].sigmoid().sqrt())
    [limited] = replace(DECODER, center_range=(0, -1, -1, 5, 1, 1))(proposals(boxes, labels, logits))
    assert limited.labels.tolist() == [1, 0, 0]


def test_nothing_found():
    outputs = proposals(torch.tensor([[CAR]]), torch.tensor([[0]]), torch.tensor([[0.0]]))
    found = DECODER(replace(outputs, query_scores=torch.zeros(1, 1)))
    assert len(found) == 1 and found[0].boxes.shape == (0, 7)
    outputs = replace(outputs, iou=torch.full((1, 1, 1), -1.0))  # predicted not to overlap with anything
    assert len(DECODER(outputs)[0]) == 0
    assert len(replace(DECODER, threshold_raw_scores=True)(outputs)[0]) == 1


def test_samples_do_not_depend_on_each_other():
    head = small_head().eval()
    features = torch.randn(3, 8, *GRID.shape)
    with torch.no_grad():
        together = head(features)
        for i in range(3):
            alone = head(features[i : i + 1])
            for field in fields(TransFusionOutputs):
                if getattr(together, field.name) is not None:
                    torch.testing.assert_close(
                        getattr(alone, field.name), getattr(together, field.name)[i : i + 1], rtol=1e-4, atol=1e-4
                    )


def test_map_smaller_than_the_number_of_proposals():
    outputs = small_head(num_proposals=500)(torch.randn(1, 8, 4, 6))
    assert outputs.center.shape == (1, 3 * 4 * 6, 2)


@pytest.mark.parametrize("wrap", [False, True])
def test_half_precision(wrap):
    head = small_head(wrap_keys=wrap)
    truth = objects([(CAR, 0)], [(WALKER, 1)])
    features = torch.randn(2, 8, *GRID.shape)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = head(features)
        losses = TransFusionLoss(GRID)(outputs, truth)
        found = DECODER(outputs)
    losses.total.backward()
    assert outputs.dim.dtype == torch.bfloat16 and outputs.center.dtype == losses.total.dtype == torch.float32
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())
    assert found[0].boxes.dtype == torch.float32 and found[0].boxes.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("wrap", [False, True])
def test_cuda_equals_cpu(wrap):
    head = small_head(wrap_keys=wrap)
    truth, features = objects([(CAR, 0)], [(WALKER, 1)], []), torch.randn(3, 8, *GRID.shape)
    losses, found = {}, {}
    for device in ("cpu", "cuda"):
        outputs = head.to(device)(features.to(device))
        losses[device] = TransFusionLoss(GRID)(outputs, truth.to(device)).total.cpu()
        found[device] = DECODER(outputs)
    torch.testing.assert_close(losses["cuda"], losses["cpu"], rtol=1e-3, atol=1e-3)
    for a, b in zip(found["cuda"], found["cpu"], strict=True):
        torch.testing.assert_close(a.to("cpu").boxes, b.boxes, rtol=1e-2, atol=1e-2)  # TF32 may be on


def test_messages():
    with pytest.raises(ValueError, match="crowded_classes must be from 0 to 2"):
        small_head(crowded_classes=(8,))
    with pytest.raises(ValueError, match="heads must divide channels"):
        small_head(heads=3)
    outputs = proposals(torch.tensor([[CAR]]), torch.tensor([[0]]), torch.tensor([[0.0]]))
    with pytest.raises(ValueError, match="nms_thresholds must be one for each of 3 classes"):
        TransFusionDecoder(GRID)(outputs)
    with pytest.raises(ValueError, match="TransFusionLoss: the grid has"):
        TransFusionLoss(BevGrid((0, 0, 0, 4, 4, 1), (0.5, 0.5, 1)))(outputs, objects([]))
    with pytest.raises(ValueError, match="the network diverged"):
        broken = replace(outputs, heatmap=torch.full_like(outputs.heatmap, torch.nan))
        TransFusionLoss(GRID)(broken, objects([(CAR, 0)]))
