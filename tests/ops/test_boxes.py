"""Rotated boxes: hand-worked overlaps, shapely, every implementation against the definition, gradients and registration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops import boxes as ops
from geo3d.ops.cpu import boxes as cpu
from geo3d.ops.cuda import boxes as triton_boxes
from geo3d.ops.reference import boxes as reference

cuda = OnDevice(triton_boxes)

IMPLEMENTATIONS = {"cpu": cpu, "triton": cuda}
SIZES = {"none": (0, 0), "no_rows": (0, 3), "no_columns": (3, 0), "one": (1, 1), "odd": (37, 21)}
CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # float64 sums in a different order


def random_boxes(count: int, extent: float = 8.0, seed: int = 0) -> Tensor:
    """[count, 7] float64, dense enough to overlap, with copies, right angles, zero sizes and turns beyond 2 pi among them."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=generator, dtype=torch.float64)
    boxes[:, :3] = (boxes[:, :3] - 0.5) * torch.tensor([extent, extent, 2.0], dtype=torch.float64)
    boxes[:, 3:6] = 0.5 + boxes[:, 3:6] * torch.tensor([4.0, 1.5, 1.5], dtype=torch.float64)
    boxes[:, 6] = (boxes[:, 6] - 0.5) * 30
    boxes[3::7] = boxes[: len(boxes[3::7])]
    boxes[4::7, 6] = math.pi / 2
    boxes[5::7, 6] = 0
    boxes[6::21, 3] = 0
    return boxes


def polygons_iou(a: Tensor, b: Tensor) -> Tensor:
    shapely = pytest.importorskip("shapely", reason="shapely is the peer of exact overlaps")
    from shapely import affinity

    def polygon(box):
        x, y, _, dx, dy, _, yaw = box.tolist()
        return affinity.rotate(shapely.box(x - dx / 2, y - dy / 2, x + dx / 2, y + dy / 2), yaw, (x, y), use_radians=True)

    first, second = [polygon(box) for box in a], [polygon(box) for box in b]
    shared = torch.tensor([[p.intersection(q).area for q in second] for p in first], dtype=torch.float64)
    areas = [torch.tensor([p.area for p in side], dtype=torch.float64) for side in (first, second)]
    return shared / (areas[0][:, None] + areas[1] - shared)


@pytest.fixture(params=SIZES)
def pair(request) -> tuple[Tensor, Tensor]:
    rows, columns = SIZES[request.param]
    return random_boxes(rows), random_boxes(columns, seed=0 if request.param == "odd" else 1)  # "odd" has identical pairs


@pytest.mark.parametrize("volume", [False, True], ids=["footprint", "volume"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_iou_equals_reference(name, volume, pair):
    torch.testing.assert_close(IMPLEMENTATIONS[name].box_iou(*pair, volume), reference.box_iou(*pair, volume), **CLOSE)
    single = [boxes.float() for boxes in pair]
    torch.testing.assert_close(IMPLEMENTATIONS[name].box_iou(*single, volume), reference.box_iou(*single, volume))


def test_iou_equals_shapely():
    a, b = random_boxes(60), random_boxes(50, seed=2)
    a, b = a[a[:, 3] > 0], b[b[:, 3] > 0]
    torch.testing.assert_close(ops.box_iou_rotated(a, b), polygons_iou(a, b), rtol=1e-9, atol=1e-12)


HALF_DIAGONAL = math.sqrt(2)
OCTAGON = 8 * (HALF_DIAGONAL - 1)  # area shared by two squares of side 2, one turned by 45 degrees
BY_HAND = {  # x, y, dx, dy, yaw of two footprints, and their IoU
    "identical": ((1, 2, 4, 2, 0.3), (1, 2, 4, 2, 0.3), 1),
    "half_turn": ((1, 2, 4, 2, 0.3), (1, 2, 4, 2, 0.3 + math.pi), 1),
    "beyond_two_pi": ((1, 2, 4, 2, 0.3), (1, 2, 4, 2, 0.3 + 6 * math.pi), 1),
    "quarter_turn": ((0, 0, 4, 2, 0), (0, 0, 4, 2, math.pi / 2), 4 / 12),
    "contained": ((0, 0, 4, 4, 0.7), (0.2, 0.1, 2, 1, 1.9), 2 / 16),
    "shifted": ((0, 0, 2, 2, 0), (1, 1, 2, 2, 0), 1 / 7),
    "octagon": ((0, 0, 2, 2, 0), (0, 0, 2, 2, math.pi / 4), OCTAGON / (8 - OCTAGON)),
    "corner_in_side": ((0, 0, 2, 2, 0), (HALF_DIAGONAL, 0, 2, 2, math.pi / 4), 1 / 7),
    "crossing": ((0, 0, 10, 1, 0), (0, 0, 1, 10, 0), 1 / 19),
    "far_away": ((10_000, -10_000, 4, 2, 1), (10_000 + 2 * math.cos(1), -10_000 + 2 * math.sin(1), 4, 2, 1), 1 / 3),
}
WITHOUT_OVERLAP = {
    "touching_sides": ((0, 0, 2, 2, 0), (2, 0, 2, 2, 0)),
    "touching_corners": ((0, 0, 2, 2, 0), (2, 2, 2, 2, 0)),
    "bounds_meet": ((0, 0, 6, 0.5, math.pi / 4), (1.5, -1.5, 6, 0.5, math.pi / 4)),
    "disjoint": ((0, 0, 2, 2, 0.4), (30, 5, 2, 2, 1)),
    "line": ((0, 0, 2, 2, 0), (0, 0, 2, 0, 0.4)),
    "two_points": ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
}


@pytest.mark.parametrize("turn", [0.0, 0.6, -2.0])
@pytest.mark.parametrize("case", BY_HAND)
def test_overlaps_by_hand(case, turn):
    *footprints, expected = BY_HAND[case]
    a, b = (turned(torch.tensor([box], dtype=torch.float64), turn) for box in footprints)
    tolerance = {"rtol": 1e-11, "atol": 0}  # a centre at 10 km is known to 2e-12 m
    wanted = torch.tensor([[expected]], dtype=torch.float64)
    torch.testing.assert_close(ops.box_iou_rotated(a, b), wanted, **tolerance)
    torch.testing.assert_close(ops.box_iou_rotated(b, a), wanted, **tolerance)
    torch.testing.assert_close(ops.box_iou_rotated(a, b, paired=True), wanted[0], **tolerance)


@pytest.mark.parametrize("case", WITHOUT_OVERLAP)
def test_no_overlap_is_exactly_zero(case):
    a, b = (torch.tensor([box], dtype=torch.float64) for box in WITHOUT_OVERLAP[case])
    for first, second in ((a, b), (b, a)):
        assert ops.box_iou_rotated(first, second).item() == 0
        assert ops.box_iou_rotated(first, second, paired=True).item() == 0


def turned(footprints: Tensor, angle: float) -> Tensor:
    """The whole plane turned about the origin."""
    x, y, dx, dy, yaw = footprints.unbind(1)
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.stack((cos * x - sin * y, sin * x + cos * y, dx, dy, yaw + angle), 1)


def test_volume_by_hand():
    a = torch.tensor([[0, 0, 0, 2, 2, 2, 0]], dtype=torch.float64)
    b = torch.tensor([[1, 0, 1, 2, 2, 2, 0], [0, 0, 2, 2, 2, 2, 0], [0, 0, 0.5, 2, 2, 1, math.pi]], dtype=torch.float64)
    expected = torch.tensor([[2 / 14, 0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(ops.box_iou_3d(a, b), expected)
    torch.testing.assert_close(ops.box_iou_3d(a.expand(3, 7), b, paired=True), expected[0])
    assert ops.box_iou_3d(a, b)[0, 1] == 0


def test_float32_far_away_is_exact_for_the_given_numbers():
    a, b = random_boxes(20).float(), random_boxes(20, seed=1).float()
    for boxes in (a, b):
        boxes[:, :2] += 10_000
    torch.testing.assert_close(ops.box_iou_rotated(a, b), ops.box_iou_rotated(a.double(), b.double()).float())


def test_footprints_half_precision_and_strides():
    a, b = random_boxes(9).half(), random_boxes(7, seed=1).half()
    expected = ops.box_iou_rotated(a.float(), b.float())
    assert expected.dtype == torch.float32 and expected.max() > 0
    columns = [0, 1, 3, 4, 6]
    assert torch.equal(ops.box_iou_rotated(a[:, columns], b[:, columns]), expected)
    assert torch.equal(ops.box_iou_rotated(a.t().contiguous().t(), b), expected)


@pytest.mark.parametrize("function", [ops.box_iou_rotated, ops.box_iou_3d])
def test_gradients_of_pairs(function):
    a, b = (random_boxes(3, extent=2, seed=seed).requires_grad_() for seed in (0, 3))
    assert (function(a, b, paired=True) > 0).all()
    assert torch.autograd.gradcheck(lambda a, b: function(a, b, paired=True), (a, b))


def test_gradients_at_coinciding_edges_are_finite():
    a = random_boxes(21).requires_grad_()
    ops.box_iou_3d(a, a.detach().clone(), paired=True).sum().backward()
    assert torch.isfinite(a.grad).all()
    shifted = torch.tensor([[0.5, 0, 0, 2, 2, 2, 0]], dtype=torch.float64, requires_grad=True)
    (iou,) = ops.box_iou_rotated(shifted, torch.tensor([[0, 0, 0, 2, 2, 2, 0]], dtype=torch.float64), paired=True)
    iou.backward()
    assert shifted.grad[0, 0].item() == pytest.approx(-2 * 8 / 5**2)  # IoU = (4 - 2x) / (4 + 2x) at x = 1/2


NMS_CASES = {"none": 0, "one": 1, "odd": 61}


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("count", NMS_CASES.values(), ids=NMS_CASES)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_nms_equals_reference(name, count, threshold):
    boxes, group = random_boxes(count), torch.arange(count) // 40
    expected = reference.nms_rotated(boxes, group, threshold)
    assert torch.equal(IMPLEMENTATIONS[name].nms_rotated(boxes, group, threshold), expected)


def test_nms_in_several_chunks(monkeypatch):
    monkeypatch.setattr(triton_boxes, "CHUNK", 32)
    boxes, group = random_boxes(75), torch.arange(75) // 50
    assert torch.equal(cuda.nms_rotated(boxes, group, 0.2), reference.nms_rotated(boxes, group, 0.2))


def test_nms_of_many_boxes():
    boxes, group = random_boxes(700, extent=40), torch.arange(700) // 300
    expected = reference.nms_rotated(boxes, group, 0.25)
    assert 0 < expected.sum() < 600 and torch.equal(cpu.nms_rotated(boxes, group, 0.25), expected)


def test_nms_order_and_ties():
    boxes = torch.tensor([[0, 0, 0, 4, 2, 1, 0.5]] * 3 + [[9, 0, 0, 4, 2, 1, 0.0], [20, 0, 0, 4, 2, 1, 0.0]])
    scores = torch.tensor([0.5, 0.5, 0.2, 0.9, 0.5])
    assert ops.nms_rotated(boxes, scores, 0.5).tolist() == [3, 0, 4]
    assert ops.nms_rotated(boxes[:, [0, 1, 3, 4, 6]], scores, 0.5).tolist() == [3, 0, 4]
    classes = torch.tensor([0, 1, 1, 0, 0], dtype=torch.int32)
    assert ops.nms_rotated(boxes, scores, 0.5, classes=classes).tolist() == [3, 0, 1, 4]
    assert ops.nms_rotated(boxes, scores, 0.5, classes=classes, max_output=1).tolist() == [3, 1]
    assert ops.nms_rotated(boxes, scores, 0.5, batch_index=torch.tensor([7, 2, 7, 7, 2])).tolist() == [3, 0, 1, 4]
    assert ops.nms_rotated(boxes, scores, 0.5, max_output=0).tolist() == []
    assert ops.nms_rotated(boxes[:0], scores[:0], 0.5, classes=classes[:0]).tolist() == []


def test_nms_by_class_and_entry_is_the_union_of_single_calls():
    boxes, scores = random_boxes(120), (torch.rand(120) * 20).round()
    classes, batch = torch.randint(0, 3, (120,)), torch.randint(0, 2, (120,))
    together = ops.nms_rotated(boxes, scores, 0.1, classes=classes, batch_index=batch, max_output=5)
    single = []
    for c in range(3):
        for b in range(2):
            rows = ((classes == c) & (batch == b)).nonzero()[:, 0]
            single.append(rows[ops.nms_rotated(boxes[rows], scores[rows], 0.1)[:5]])
    assert sorted(torch.cat(single).tolist()) == sorted(together.tolist())
    ranks = [(-float(scores[i]), int(i)) for i in together]
    assert ranks == sorted(ranks)


def lattice_points(count: int, seed: int = 0) -> Tensor:
    """Points on quarters, many of them exactly on faces of upright boxes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-20, 21, (count, 3), generator=generator).double() / 4


@pytest.mark.parametrize("size", [(0, 0), (0, 4), (5, 0), (1, 1), (150, 21)], ids=str)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_points_in_boxes_equals_reference(name, size):
    points, boxes = lattice_points(size[0]), random_boxes(size[1])
    point_batch, box_batch = torch.arange(size[0]) % 4, torch.arange(size[1]) % 5 * 2  # entries without boxes, without points
    arguments = (points, boxes, point_batch, box_batch)
    for actual, expected in zip(
        IMPLEMENTATIONS[name].points_in_boxes(*arguments), reference.points_in_boxes(*arguments), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_points_in_unlike_boxes():
    boxes = torch.cat((random_boxes(200, extent=100), torch.tensor([[0, 0, 0, 300, 200, 1, 0.3]], dtype=torch.float64)))
    points = (torch.rand(5000, 3, dtype=torch.float64) - 0.5) * torch.tensor([120, 120, 4])
    expected = reference.points_in_boxes(points, boxes, torch.zeros(5000).long(), torch.zeros(201).long())
    assert torch.equal(ops.points_in_boxes(points, boxes), expected[0])
    assert torch.equal(ops.count_points_in_boxes(points, boxes), expected[1])


def test_points_in_boxes_by_hand():
    boxes = torch.tensor([[10_000.0, 0, 0, 4, 2, 2, math.pi / 2], [10_000, 0, 0, 8, 8, 8, 0]])
    points = torch.tensor([[10_000, 1.9, 1], [10_000, 0, 1.01], [10_004, 4, 4], [10_004.01, 0, 0], [math.nan, 0, 0]])
    assert ops.points_in_boxes(points, boxes).tolist() == [0, 1, 1, -1, -1]
    assert ops.count_points_in_boxes(points, boxes).tolist() == [1, 3]
    batched = ops.points_in_boxes(points, boxes, point_batch=torch.tensor([1, 1, 3, 0, 0]), box_batch=torch.tensor([2, 1]))
    assert batched.tolist() == [1, 1, -1, -1, -1]
    assert torch.equal(ops.points_in_boxes(points.bfloat16(), boxes), ops.points_in_boxes(points.bfloat16().float(), boxes))


def test_registration():
    boxes, group = random_boxes(9), torch.zeros(9, dtype=torch.int64)
    torch.library.opcheck(torch.ops.geo3d.box_iou, (boxes.float(), boxes[:4].float(), True))
    torch.library.opcheck(torch.ops.geo3d.nms_rotated, (boxes, group, 0.3))
    torch.library.opcheck(torch.ops.geo3d.points_in_boxes, (lattice_points(6), boxes, group[:6], group))


def test_compiles_in_one_graph():
    def function(boxes, scores, points):
        iou = ops.box_iou_rotated(boxes, boxes).sum() + ops.box_iou_3d(boxes, boxes, paired=True).sum()
        return iou, ops.nms_rotated(boxes, scores, 0.2), ops.points_in_boxes(points, boxes)

    arguments = (random_boxes(15), torch.rand(15), lattice_points(20))
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):  # how many boxes stay is known at run time only
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(*arguments)
    for actual, expected in zip(compiled, function(*arguments), strict=True):
        torch.testing.assert_close(actual, expected, **({"rtol": 0, "atol": 0} if actual.dtype == torch.int64 else {}))


BOXES, SCORES, POINTS = torch.ones(2, 7), torch.rand(2), torch.rand(4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.box_iou_rotated(torch.rand(2, 6), BOXES), r"a must be \[N, 5\] or \[N, 7\] .*got \[2, 6\]"),
        (lambda: ops.box_iou_3d(BOXES, torch.ones(2, 5)), r"b must be \[N, 7\]"),
        (lambda: ops.box_iou_3d(BOXES, BOXES.double()), "share dtype"),
        (lambda: ops.box_iou_3d(BOXES, BOXES[:1], paired=True), "got 2 and 1"),
        (lambda: ops.box_iou_rotated(BOXES, -BOXES), "sizes of at least 0.*row 0"),
        (lambda: ops.box_iou_rotated(BOXES * math.nan, BOXES), "finite"),
        (lambda: ops.nms_rotated(BOXES, SCORES[:1], 0.5), r"scores must be \[2\]"),
        (lambda: ops.nms_rotated(BOXES, SCORES * math.nan, 0.5), "NaN, got one at 0"),
        (lambda: ops.nms_rotated(BOXES, SCORES, 1.5), r"in \[0, 1\], got 1.5"),
        (lambda: ops.nms_rotated(BOXES, SCORES, 0.5, max_output=-1), "negative"),
        (lambda: ops.nms_rotated(BOXES, SCORES, 0.5, classes=SCORES), "classes must be"),
        (lambda: ops.points_in_boxes(POINTS[:, :2], BOXES), r"points must be \[N, 3\]"),
        (lambda: ops.points_in_boxes(POINTS, BOXES, point_batch=torch.zeros(4).long()), "go together"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu():
    a, b, scores, points = random_boxes(3000, 60), random_boxes(500, 60, seed=1), torch.rand(3000), lattice_points(4000)
    for volume in (False, True):
        on_cuda = torch.ops.geo3d.box_iou(a.cuda(), b.cuda(), volume).cpu()
        torch.testing.assert_close(on_cuda, torch.ops.geo3d.box_iou(a, b, volume), **CLOSE)
    assert torch.equal(ops.nms_rotated(a.cuda(), scores.cuda(), 0.3).cpu(), ops.nms_rotated(a, scores, 0.3))
    assert torch.equal(ops.points_in_boxes(points.cuda(), b.cuda()).cpu(), ops.points_in_boxes(points, b))
