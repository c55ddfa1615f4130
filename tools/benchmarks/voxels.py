"""Workloads of voxelization and of DSVT's windows and sets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geo3d import ops
from geo3d.tools.benchmarks.clouds import RANGE, kitti_sweep, sweep
from geo3d.tools.benchmarks.workloads import Workload, Workloads, optional

OPS = ("voxelize", "voxelize_hard", "set_partition")
KITTI = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)  # metres
WINDOW, SET_SIZE = (12, 12, 32), 36


def workloads(device: torch.device) -> Workloads:
    """Dynamic and hard voxelization on coarse and fine grids; the windows and sets of a large sweep."""
    large = sweep(180_000).to(device)
    small, name = kitti_sweep()
    small = small.to(device)
    for size in ((0.32, 0.32, 0.1875), (0.1, 0.1, 0.15)):
        yield _dynamic(large, size)
    for size in ((0.32, 0.32, 0.1875), (0.1, 0.1, 0.15)):
        yield _hard(large, "sweep", size, RANGE)
    for size in ((0.16, 0.16, 4.0), (0.05, 0.05, 0.1)):
        yield _hard(small, name, size, KITTI)
    yield _windows(large)


def _dynamic(points: Tensor, size: tuple[float, float, float]) -> Workload:
    xyz = points[:, :3].contiguous()

    def keys() -> Tensor:
        low = torch.tensor(RANGE[:3], device=xyz.device)
        cells = ((xyz - low) / torch.tensor(size, device=xyz.device)).floor().long()
        shape = torch.tensor([round((RANGE[a + 3] - RANGE[a]) / size[a] + 0.49) for a in range(3)], device=xyz.device)
        cells = cells[((cells >= 0) & (cells < shape)).all(1)]
        return (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]

    def unique():
        return keys().unique(return_inverse=True, return_counts=True)

    peers = {"torch.unique": unique}
    if xyz.device.type == "cpu":
        import numpy

        peers["numpy.unique"] = lambda: numpy.unique(keys().numpy(), return_inverse=True, return_counts=True)
        if pandas := optional("pandas"):
            peers["pandas.factorize"] = lambda: pandas.factorize(keys().numpy())
    count = len(ops.voxelize(xyz, size, RANGE, allow_partial=True).coords)
    return Workload(
        "voxelize",
        f"voxelize, {len(xyz):,} points to {count:,} voxels of {_meters(size)}",
        lambda: ops.voxelize(xyz, size, RANGE, allow_partial=True),
        peers,
        num_bytes=len(xyz) * (12 + 8) + count * (16 + 8),
        agree={"ours": lambda voxels: voxels.counts, "torch.unique": lambda found: found[2]},
        limits={"pandas.factorize": "no counts; voxels in the order of the points"},
    )


def _hard(points: Tensor, name: str, size: tuple[float, float, float], bounds: tuple[float, ...]) -> Workload:
    features = points.contiguous()
    limits = {"max_points": 32, "max_voxels": 150_000}

    def ours():
        return ops.voxelize_hard(features, size, bounds, **limits, allow_partial=True)

    peers = {}
    if features.device.type == "cpu" and optional("spconv.pytorch.utils"):
        from spconv.pytorch.utils import PointToVoxel

        voxelizer = PointToVoxel(list(size), list(bounds), 4, limits["max_voxels"], limits["max_points"])
        peers["spconv PointToVoxel"] = lambda: [part.clone() for part in voxelizer(features)]
    found = ours()
    return Workload(
        "voxelize_hard",
        f"voxelize_hard, {name}, {len(features):,} points to {len(found.coords):,} voxels of {_meters(size)}, 32 each",
        ours,
        peers,
        num_bytes=features.numel() * 4 + len(found.coords) * (32 * 16 + 16 + 8),
        agree={
            "ours": lambda voxels: voxels.counts.long().sort().values,
            "spconv PointToVoxel": lambda found: found[2].long().sort().values,
        },
    )


def _windows(points: Tensor) -> Workload:
    size = (0.32, 0.32, 0.1875)
    shape = ops.grid_shape(size, RANGE)
    coords = ops.voxelize(points[:, :3], size, RANGE).coords

    def ours():
        window, inner = ops.window_partition(coords, shape, WINDOW, (6, 6, 0))
        return ops.set_partition(window, inner, WINDOW, SET_SIZE)

    return Workload(
        "set_partition",
        f"window_partition + set_partition, {len(coords):,} voxels, windows 12 x 12 x 32, sets of 36",
        ours,
        {"torch recipe": lambda: _sets_in_torch(coords, shape)},
        num_bytes=2 * coords.numel() * 4 + 2 * len(coords) * 9,
        agree={"ours": lambda sets: sets[0], "torch recipe": lambda sets: sets[0]},
    )


def _sets_in_torch(coords: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Sections 3.1 and 3.2 of the paper, step by step: sorts and index arithmetic of torch."""
    batch, z, y, x = coords.long().unbind(1)
    x, y = x + 6, y + 6
    across = [math.ceil(shape[axis] / WINDOW[axis]) + 1 for axis in range(3)]
    window = ((batch * across[0] + x // 12) * across[1] + y // 12) * across[2]
    _, window, counts = window.unique(return_inverse=True, return_counts=True)
    sets_of = -(-counts // SET_SIZE)
    slot_window = sets_of.repeat_interleave(sets_of).new_tensor(range(len(counts))).repeat_interleave(sets_of * SET_SIZE)
    begin = (sets_of * SET_SIZE).cumsum(0) - sets_of * SET_SIZE
    place = torch.arange(len(slot_window), device=coords.device) - begin[slot_window]
    rank = (place * counts[slot_window] / (sets_of * SET_SIZE)[slot_window].double()).floor().long()
    first = counts.cumsum(0) - counts
    inner_x, inner_y = x % 12, y % 12
    area = 12 * 12 * 32
    sets = []
    for major, minor in ((inner_y, inner_x), (inner_x, inner_y)):
        order = torch.argsort(window * area + (major * 12 + minor) * 32 + z)
        sets.append(order[first[slot_window] + rank].view(-1, SET_SIZE))
    stacked = torch.stack(sets)
    padding = torch.zeros_like(stacked, dtype=torch.bool)
    padding[:, :, 1:] = stacked[:, :, 1:] == stacked[:, :, :-1]
    return stacked, padding


def _meters(size: tuple[float, float, float]) -> str:
    return " x ".join(f"{side:g}" for side in size) + " m"
