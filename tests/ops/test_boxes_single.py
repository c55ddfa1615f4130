"""The Triton kernels of boxes decide in float32 what it can tell, and never otherwise than float64 alone would."""

from __future__ import annotations

import math

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton_device import DEVICE, OnDevice

from geo3d.ops.cuda import boxes as triton_boxes
from geo3d.ops.cuda import points_in_boxes, rectangles
from geo3d.ops.reference import boxes as reference

cuda = OnDevice(triton_boxes)
MODULES = (triton_boxes, points_in_boxes)


@pytest.fixture
def single_alone(monkeypatch):
    """float64 knows nothing: what is right now float32 has decided."""
    for module in MODULES:
        monkeypatch.setattr(module, "table", lambda boxes, of=module.table: Poisoned.of(of(boxes)))
        monkeypatch.setattr(module, "single_table", lambda table, of=module.single_table: of(table.whole))


class Poisoned(Tensor):
    """A table of NaN that still knows what it was."""

    whole: Tensor

    @staticmethod
    def of(table: Tensor) -> Poisoned:
        poisoned = torch.full_like(table, torch.nan).as_subclass(Poisoned)
        poisoned.whole = table
        return poisoned


def double_alone(monkeypatch):
    """float32 knows nothing, so that float64 decides everything, as it does on the CPU."""
    for module in MODULES:
        monkeypatch.setattr(
            module, "single_table", lambda table: torch.full((13, table.shape[1]), torch.nan, device=table.device)
        )


def street(count: int, seed: int = 0) -> Tensor:
    """[count, 7] float32: cars about 25 places, a few decimetres and degrees apart, as a detector proposes them."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(25, 7, generator=generator) * torch.tensor([70, 80, 1, 0, 0, 0, 6.3])
    noise = torch.randn(count, 7, generator=generator) * torch.tensor([0.5, 0.3, 0.1, 0.2, 0.1, 0.1, 0.1])
    return places[torch.arange(count) % 25] + noise + torch.tensor([0, -40, -1, 4.2, 1.8, 1.6, 0])


@pytest.mark.parametrize("threshold", [0.1, 0.4])
def test_overlaps_of_a_street_are_decided_in_float32(single_alone, threshold):
    boxes, group = street(100), torch.arange(100) // 70
    expected = reference.nms_rotated(boxes, group, threshold)
    assert 10 < expected.sum() < 95
    assert torch.equal(cuda.nms_rotated(boxes, group, threshold), expected)


def test_points_of_a_street_are_decided_in_float32(single_alone):
    boxes = street(40)
    points = torch.rand(1000, 3, dtype=torch.float64) * torch.tensor([70, 80, 4]) - torch.tensor([0, 40, 3])
    batches = torch.zeros(1000, dtype=torch.int64), torch.zeros(40, dtype=torch.int64)
    expected = reference.points_in_boxes(points, boxes, *batches)
    assert (expected[0] >= 0).sum() > 10
    for actual, wanted in zip(cuda.points_in_boxes(points, boxes, *batches), expected, strict=True):
        assert torch.equal(actual, wanted)


PAIRS = {  # x, y, dx, dy, yaw of the second footprint beside a first one of 4 x 2 at the origin
    "identical": (0, 0, 4, 2, 0),
    "turned by a hair": (0, 0, 4, 2, 1e-7),
    "half a turn and a hair": (0, 0, 4, 2, math.pi + 1e-8),
    "a third": (2, 0, 4, 2, 0),
    "just touching": (4, 0, 4, 2, 0),
    "overlapping by a micrometre": (4 - 1e-6, 0, 4, 2, 0),
    "apart by a micrometre": (4 + 1e-6, 0, 4, 2, 0),
    "corner in side": (2 + math.sqrt(2), 0, 2, 2, math.pi / 4),
    "contained": (0.2, 0.1, 2, 1, 1.9),
    "sharing an edge": (0, 0.5, 4, 1, 0),
    "hair across": (0, 0, 30, 1e-6, 0.7),
    "thin and long": (1, 0, 40, 0.01, 1e-3),
    "line": (0, 0, 4, 0, 0.3),
    "point": (0, 0, 0, 0, 0),
    "huge": (10, 10, 1e5, 1e5, 0.2),
    "tiny": (0, 0, 1e-12, 1e-12, 0.2),
    "no number": (math.nan, 0, 4, 2, 0),
}
PLACES = {"here": (0, 0, 0), "turned": (3, -5, 0.6), "10 km away": (1e4, -1e4, 2.1), "1,000 km away": (1e6, 3e5, -1)}


def pairs(place: tuple[float, float, float]) -> Tensor:
    """[2 P, 7] float64, pairs of boxes one behind the other, all of them moved and turned to a place."""
    second = torch.tensor(list(PAIRS.values()), dtype=torch.float64)
    first = torch.tensor([0, 0, 4, 2, 0], dtype=torch.float64).expand_as(second)
    x, y, dx, dy, yaw = torch.stack((first, second), 1).flatten(0, 1).unbind(1)
    cos, sin = math.cos(place[2]), math.sin(place[2])
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack((x * cos - y * sin + place[0], x * sin + y * cos + place[1], zero, dx, dy, one, yaw + place[2]), 1)


@triton.jit
def _pairs_kernel(double, single, group, thresholds, answers, count, PAIRS: tl.constexpr, THRESHOLDS: tl.constexpr):
    """One program: does the first box of each pair suppress the second, at each threshold, and what float32 says of it."""
    p, t = tl.arange(0, PAIRS)[:, None], tl.arange(0, THRESHOLDS)[None, :]
    i, limits = 2 * p + 0 * t, thresholds + t + 0 * p
    has = i < count
    nothing = single + 13 * count  # a table of NaN
    hit = triton_boxes._hits(double, nothing, group, i, has, i + 1, has, count, limits)
    near = rectangles.maybe_near(single, i, count, has, single, i + 1, count, has)
    above, decided = rectangles.exceeds(single, i, count, has, single, i + 1, count, has, tl.load(limits).to(tl.float32))
    answer = hit.to(tl.int32) + 2 * near.to(tl.int32) + 4 * above.to(tl.int32) + 8 * decided.to(tl.int32)
    tl.store(answers + p * THRESHOLDS + t, answer, has)


@pytest.mark.parametrize("place", PLACES)
def test_suppression_at_the_threshold_is_that_of_float64(place):
    """Thresholds at the overlap of each pair, and less and less away from it."""
    boxes = pairs(PLACES[place])
    overlap = reference.box_iou_paired(boxes[::2], boxes[1::2], False)[:, None]
    away = torch.tensor([0, 1e-16, 1e-12, 1e-9, 1e-7, 1e-6, 1e-4], dtype=torch.float64)
    thresholds = torch.cat((overlap * (1 - away), overlap * (1 + away), away[None])).flatten()
    thresholds = thresholds[(thresholds >= 0) & (thresholds <= 1)].unique()
    double = rectangles.table(boxes)
    single = rectangles.single_table(double)
    single = torch.cat((single, single * torch.nan))
    limits = torch.ones(256, dtype=torch.float64)
    limits[: len(thresholds)] = thresholds
    tensors = (double, single, torch.zeros(len(boxes), dtype=torch.int64), limits, torch.zeros(32, 256, dtype=torch.int32))
    tensors = [tensor.to(DEVICE) for tensor in tensors]
    _pairs_kernel[(1,)](*tensors, len(boxes), PAIRS=32, THRESHOLDS=256, enable_fp_fusion=False)
    answers = tensors[-1][: len(boxes) // 2, : len(thresholds)].cpu()
    hit, near, above, decided = (answers >> bit & 1 == 1 for bit in range(4))
    assert hit.any() and not hit.all() and decided.sum() > 0.5 * decided.numel()
    assert not (hit & ~near).any()
    assert torch.equal(above[decided & near], hit[decided & near])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_overlaps_are_those_of_float64(monkeypatch, place, volume, dtype):
    boxes = pairs(PLACES[place]).to(dtype)
    mixed = cuda.box_iou(boxes, boxes, volume)
    double_alone(monkeypatch)
    torch.testing.assert_close(mixed, cuda.box_iou(boxes, boxes, volume), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("place", PLACES)
def test_points_near_faces_are_those_of_float64(place):
    """On corners and faces of boxes, and less and less away from them, inside and outside."""
    x, y, turn = PLACES[place]
    sizes = torch.tensor([[4.0, 2, 1.5], [1e-3, 30, 1e-3], [0, 0, 0], [1e-9, 1e-9, 1e-9]], dtype=torch.float64)
    boxes = torch.cat((sizes.new_tensor([[x, y, -1.0]]).expand(4, 3), sizes, sizes.new_full((4, 1), turn)), 1)
    away = torch.tensor([0, 1e-16, 1e-12, 1e-9, 1e-7, 1e-6, 1e-4, 0.1], dtype=torch.float64)
    scales = torch.cat((1 - away, 1 + away)) / 2
    signs = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, -1, 0], [0, 0, 1], [-1, 1, 0]], dtype=torch.float64)
    local = (scales[:, None, None, None] * signs[:, None] * sizes).reshape(-1, 3)
    cos, sin = math.cos(turn), math.sin(turn)
    points = torch.stack(
        (local[:, 0] * cos - local[:, 1] * sin + x, local[:, 0] * sin + local[:, 1] * cos + y, local[:, 2] - 1), 1
    )
    batches = torch.zeros(len(points), dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    for places in (points, points.float().double()):
        first, counts = reference.points_in_boxes(places, boxes, *batches)
        for actual, wanted in zip(cuda.points_in_boxes(places, boxes, *batches), (first, counts), strict=True):
            assert torch.equal(actual, wanted)
        answers = torch.zeros(512, 4, dtype=torch.int32, device=DEVICE)
        tables = places.to(DEVICE), rectangles.single_table(rectangles.table(boxes)).to(DEVICE)
        _points_kernel[(1,)](*tables, answers, len(points), POINTS=512, BOXES=4, enable_fp_fusion=False)
        inside, decided = (answers[: len(points)].cpu() >> bit & 1 == 1 for bit in range(2))
        alone = [reference.points_in_boxes(places, box[None], batches[0], batches[1][:1])[0] == 0 for box in boxes]
        assert torch.equal(inside[decided], torch.stack(alone, 1)[decided])
        assert decided.sum() > 0.3 * decided.numel()


@triton.jit
def _points_kernel(points, single, answers, count, POINTS: tl.constexpr, BOXES: tl.constexpr):
    """One program: which points are in which boxes as float32 says, and where it can say so."""
    i, j = tl.arange(0, POINTS), tl.arange(0, BOXES)[None, :]
    has = i < count
    x = tl.load(points + i * 3, has, other=0.0)[:, None]
    y = tl.load(points + i * 3 + 1, has, other=0.0)[:, None]
    z = tl.load(points + i * 3 + 2, has, other=0.0)[:, None]
    inside, decided = points_in_boxes._inside_single(x, y, z, single, j, BOXES, j < BOXES)
    tl.store(answers + i[:, None] * BOXES + j, inside.to(tl.int32) + 2 * decided.to(tl.int32), has[:, None])
