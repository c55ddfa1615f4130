"""Workloads of sparse convolution, on the voxels of a real sweep and of a large one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from geo3d import ops
from geo3d.tools.benchmarks.clouds import RANGE, kitti_sweep, sweep
from geo3d.tools.benchmarks.workloads import Workload, Workloads, backward, optional

OPS = ("sparse_conv3d",)
KITTI = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)  # metres


def workloads(device: torch.device) -> Workloads:
    """Submanifold 64 -> 64 with the plan made anew and kept, and with backward; stride 2, 32 -> 64."""
    small, name = kitti_sweep()
    scenes = (
        (name, small, (0.05, 0.05, 0.1), KITTI),
        ("sweep", sweep(180_000), (0.1, 0.1, 0.15), RANGE),
    )
    for title, points, size, bounds in scenes:
        coords = ops.voxelize(points[:, :3].to(device), size, bounds, allow_partial=True).coords
        shape = ops.grid_shape(size, bounds, allow_partial=True)
        yield from _submanifold(f"{title}, {len(coords):,} voxels", coords, shape)
        if points is small:
            yield _strided(f"{title}, {len(coords):,} voxels", coords, shape)


def _submanifold(title: str, coords: Tensor, shape: tuple[int, int, int]) -> Workloads:
    features, weight = _random(len(coords), 64, coords.device), _random(64 * 27, 64, coords.device).view(64, 3, 3, 3, 64)
    kept = ops.submanifold_conv_plan(coords, shape, 3)
    pairs = _pairs(coords, shape)
    table = [(rows, sources, k) for k, (rows, sources) in enumerate(pairs)]
    matrices = weight.flatten(1, 3).permute(1, 2, 0)
    operations = 2 * 64 * 64 * sum(len(rows) for rows, _ in pairs)
    moved = 2 * features.numel() * 4
    name = f"submanifold 3 x 3 x 3, 64 -> 64, {title}"
    same = {"ours": Tensor.detach, "spconv (1 thread)": lambda out: out.features, "gather, mm, scatter": Tensor.detach}

    def made_anew():
        return ops.sparse_conv3d(features, weight, ops.submanifold_conv_plan(coords, shape, 3))

    def recipe_anew():
        return _gather_mm_scatter(features, matrices, [(r, s, k) for k, (r, s) in enumerate(_pairs(coords, shape))])

    anew = {"gather, mm, scatter": recipe_anew, **_spconv(features, coords, shape, weight, kept=False)}
    yield Workload("sparse_conv3d", f"{name}, plan made anew", _no_grad(made_anew), _no_grads(anew), moved, operations, same)
    again = {"gather, mm, scatter": lambda: _gather_mm_scatter(features, matrices, table)}
    again |= _spconv(features, coords, shape, weight, kept=True)
    ours = lambda: ops.sparse_conv3d(features, weight, kept)  # noqa: E731
    yield Workload("sparse_conv3d", f"{name}, plan kept", _no_grad(ours), _no_grads(again), moved, operations, same)
    features, weight = features.clone().requires_grad_(), weight.clone().requires_grad_()
    grad = torch.rand(len(coords), 64, device=coords.device)

    def trained():
        return ops.sparse_conv3d(features, weight, kept)

    def recipe_trained():
        return _gather_mm_scatter(features, weight.flatten(1, 3).permute(1, 2, 0), table)

    yield Workload(
        "sparse_conv3d",
        f"{name}, plan kept, forward + backward",
        backward(trained, [features, weight], grad),
        {"gather, mm, scatter": backward(recipe_trained, [features, weight], grad)},
        3 * moved,
        3 * operations,
    )


def _strided(title: str, coords: Tensor, shape: tuple[int, int, int]) -> Workload:
    features, weight = _random(len(coords), 32, coords.device), _random(64 * 27, 32, coords.device).view(64, 3, 3, 3, 32)
    plan = ops.sparse_conv_plan(coords, shape, 3, stride=2, padding=1)
    pairs = int((plan.sources >= 0).sum())
    return Workload(
        "sparse_conv3d",
        f"3 x 3 x 3 with stride 2, 32 -> 64, {title} to {len(plan.coords):,}, plan made anew",
        _no_grad(lambda: ops.sparse_conv3d(features, weight, ops.sparse_conv_plan(coords, shape, 3, stride=2, padding=1))),
        _no_grads(_spconv(features, coords, shape, weight, kept=False, stride=2)),
        4 * (features.numel() + 64 * len(plan.coords)),
        2 * 32 * 64 * pairs,
        {"ours": lambda out: out.sum(0), "spconv (1 thread)": lambda out: out.features.sum(0)},  # rows in another order
    )


def _spconv(features, coords, shape, weight, *, kept: bool, stride: int = 1) -> dict[str, Callable[[], Any]]:
    spconv = optional("spconv.pytorch")
    if spconv is None:
        return {}
    kind = spconv.SubMConv3d if stride == 1 else spconv.SparseConv3d
    options = {"padding": 1} if stride == 1 else {"padding": 1, "stride": stride}
    layer = kind(weight.shape[4], weight.shape[0], 3, bias=False, indice_key="same" if kept else None, **options)
    layer.weight.data = weight.clone()
    layer = layer.to(features.device)
    batch_size, places = 1, tuple(reversed(shape))
    made = spconv.SparseConvTensor(features, coords, places, batch_size)
    if kept:
        layer(made)  # keeps the pairs under its key

    def run():
        return layer(made.replace_feature(features) if kept else spconv.SparseConvTensor(features, coords, places, batch_size))

    return {"spconv (1 thread)": _alone(run)} if features.device.type == "cpu" else {"spconv": run}


def _alone(call: Callable[[], Any]) -> Callable[[], Any]:
    """With one thread: with more, spconv's results on the CPU are wrong."""

    def run():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return call()
        finally:
            torch.set_num_threads(threads)

    return run


def _pairs(coords: Tensor, shape: tuple[int, int, int]) -> list[tuple[Tensor, Tensor]]:
    """Output and input rows that meet through each of the 27 cells of the kernel, by a sorted list of keys."""
    x, y, z = (side + 2 for side in shape)
    steps = torch.tensor([z * y * x, y * x, x, 1], device=coords.device)
    keys = ((coords.long() + torch.tensor([0, 1, 1, 1], device=coords.device)) * steps).sum(1)
    ordered, order = keys.sort()
    found = []
    for step in ((a * y + b) * x + c for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)):
        place = torch.searchsorted(ordered, keys + step).clamp_(max=len(keys) - 1)
        rows = (ordered[place] == keys + step).nonzero().squeeze(1)
        found.append((rows, order[place[rows]]))
    return found


def _gather_mm_scatter(features: Tensor, matrices: Tensor, table: list[tuple[Tensor, Tensor, int]]) -> Tensor:
    result = features.new_zeros(len(features), matrices.shape[2])
    for rows, sources, k in table:
        result = (
            result.index_add(0, rows, features[sources] @ matrices[k])
            if features.requires_grad
            else result.index_add_(0, rows, features[sources] @ matrices[k])
        )
    return result


def _random(rows: int, columns: int, device: torch.device) -> Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(rows)).to(device) - 0.5


def _no_grad(call):
    return torch.no_grad()(call)


def _no_grads(calls):
    return {name: torch.no_grad()(call) for name, call in calls.items()}
