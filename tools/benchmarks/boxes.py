"""Workloads of rotated boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d import ops
from geo3d.tools.benchmarks.workloads import Workload, Workloads, optional

OPS = ("box_iou_rotated", "nms_rotated")


def workloads(device: torch.device) -> Workloads:
    """The overlaps of an evaluation, and the suppression that ends a detector."""
    a, b = _boxes(4096, 0).to(device), _boxes(128, 1).to(device)
    yield Workload(
        "box_iou_rotated",
        "box_iou_rotated, 4,096 x 128",
        lambda: ops.box_iou_rotated(a, b),
        _iou_peers(a.cpu(), b.cpu()),
        num_bytes=4 * (a.numel() + b.numel() + len(a) * len(b)),
        agree={"shapely": lambda overlap: overlap, "OpenCV, near pairs": lambda overlap: overlap},
        limits={"OpenCV, near pairs": "exact to 1e-3", "shapely": "near pairs by STRtree"},
    )
    generator = torch.Generator().manual_seed(2)
    scores = torch.rand(len(a), generator=generator).to(device)
    peers = {"shapely STRtree": lambda: _nms_by_shapely(a.cpu(), scores.cpu(), 0.7)} if optional("shapely") else {}
    yield Workload(
        "nms_rotated",
        "nms_rotated, 4,096 boxes, IoU > 0.7",
        lambda: ops.nms_rotated(a, scores, 0.7),
        peers,
        num_bytes=a.numel() * 4,
        agree={"shapely STRtree": lambda kept: kept.cpu()},
    )


def _boxes(count: int, seed: int) -> Tensor:
    """Cars in groups around places of a street scene, as a detector's proposals before suppression are."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(120, 2, generator=torch.Generator().manual_seed(7)) * 140 - 70
    xy = places[torch.randint(120, (count,), generator=generator)] + 0.5 * torch.randn(count, 2, generator=generator)
    size = torch.tensor([4.2, 1.8, 1.6]) * (1 + 0.1 * torch.randn(count, 3, generator=generator)).clamp(0.5, 1.5)
    yaw = torch.rand(count, 1, generator=generator) * 6.28
    return torch.cat([xy, torch.zeros(count, 1), size, yaw], 1)


def _iou_peers(a: Tensor, b: Tensor) -> dict:
    peers = {}
    if shapely := optional("shapely"):
        peers["shapely"] = lambda: _iou_by_shapely(shapely, a, b)
    if cv2 := optional("cv2"):
        peers["OpenCV, near pairs"] = lambda: _iou_by_opencv(cv2, a, b)
    return peers


def _polygons(shapely, boxes: Tensor):
    """Footprints as polygons."""
    unit = torch.tensor([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
    corners = unit * boxes[:, None, 3:5]
    cos, sin = boxes[:, 6].cos()[:, None], boxes[:, 6].sin()[:, None]
    x, y = corners.unbind(-1)
    turned = torch.stack([x * cos - y * sin, x * sin + y * cos], -1) + boxes[:, None, :2]
    return shapely.polygons(turned.double().numpy())


def _iou_by_shapely(shapely, a: Tensor, b: Tensor) -> Tensor:
    first, second = _polygons(shapely, a), _polygons(shapely, b)
    i, j = shapely.STRtree(second).query(first)
    common = shapely.area(shapely.intersection(first[i], second[j]))
    result = torch.zeros(len(a), len(b))
    result[i, j] = torch.from_numpy(common / (shapely.area(first)[i] + shapely.area(second)[j] - common)).float()
    return result


def _iou_by_opencv(cv2, a: Tensor, b: Tensor) -> Tensor:
    radius = (a[:, 3:5].norm(dim=1) / 2)[:, None] + (b[:, 3:5].norm(dim=1) / 2)[None]
    near = (torch.cdist(a[:, :2], b[:, :2]) < radius).nonzero().tolist()
    rectangles = [
        [((x, y), (dx, dy), yaw * 57.29577951308232) for x, y, _, dx, dy, _, yaw in boxes.tolist()] for boxes in (a, b)
    ]
    areas = [(boxes[:, 3] * boxes[:, 4]).tolist() for boxes in (a, b)]
    result = torch.zeros(len(a), len(b))
    table = result.numpy()
    for i, j in near:
        found, corners = cv2.rotatedRectangleIntersection(rectangles[0][i], rectangles[1][j])
        if found:
            common = cv2.contourArea(cv2.convexHull(corners))
            table[i, j] = common / (areas[0][i] + areas[1][j] - common)
    return result


def _nms_by_shapely(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    import shapely

    polygons = _polygons(shapely, boxes)
    tree, areas = shapely.STRtree(polygons), shapely.area(polygons)
    alive = torch.ones(len(boxes), dtype=torch.bool).numpy()
    kept = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not alive[i]:
            continue
        kept.append(i)
        near = tree.query(polygons[i])
        near = near[alive[near]]
        common = shapely.area(shapely.intersection(polygons[i], polygons[near]))
        alive[near[common / (areas[i] + areas[near] - common) > threshold]] = False
        alive[i] = False
    return torch.tensor(kept)
