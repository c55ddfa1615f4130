"""Every launcher of Triton kernels at a size of one's choice: what tests compile, count the programs of and place on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor
from triton.runtime.jit import KernelInterface

from geo3d.ops.cuda import (
    boxes,
    distinct,
    grouping,
    hash_table,
    interpolation,
    kernel_point_conv,
    neighbors,
    sampling,
    scatter,
    set_attention,
    sparse_conv,
    voxelize,
    windows,
)

HALF = (torch.float32, torch.float16, torch.bfloat16)
EVERY = (*HALF, torch.float64)
EXACT = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Launch:
    """A call of one or more kernels.

    Attributes:
        call: takes a number of rows and a dtype, makes tensors on the default device, whose values do not matter, and launches.
        dtypes: that the public op passes on.
        most: rows of the largest workload that has to be possible.
    """

    call: Callable[[int, torch.dtype], object]
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    most: int = 20_000_000


def _plan(rows: int, outputs: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(rows, dtype=torch.int64), torch.zeros(outputs + 1, dtype=torch.int64)


def _ranges(rows: int, clouds: int = 2) -> tuple[Tensor, Tensor]:
    begin = torch.arange(clouds) * (rows // clouds)
    return begin, begin + rows // clouds


def _set_attention(channels: int, heads: int, slots: int) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        tensors = [torch.zeros(rows, channels, dtype=dtype) for _ in range(4)]
        sets = torch.zeros(max(1, rows // slots), slots, dtype=torch.int64)
        arguments = (sets, torch.zeros_like(sets, dtype=torch.bool), heads, 0.2)
        set_attention.set_attention(*tensors[1:], *arguments)
        set_attention.set_attention_backward(*tensors, *arguments)

    return call


def _scatter(channels: int, outputs_per_row: float) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        values, plan = torch.zeros(rows, channels, dtype=dtype), _plan(rows, max(1, int(rows * outputs_per_row)))
        scatter.scatter_sum(values, *plan, False)
        scatter.scatter_sum(values, *plan, True)
        scatter.scatter_max(values, *plan, False)
        scatter.scatter_amax(values, *plan, True)
        scatter.scatter_softmax(values, plan[0], *plan)
        scatter.scatter_logsumexp(values, *plan)

    return call


def _rows(channels: int) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        values, index = torch.zeros(rows, channels, dtype=dtype), torch.zeros(2 * rows, dtype=torch.int64)
        grouping.add_rows(grouping.gather_rows(values, index), index, rows)
        nearest, weights = torch.zeros(rows, 3, dtype=torch.int64), torch.zeros(rows, 3)
        interpolation.add_weighted_rows(interpolation.weighted_rows(values, nearest, weights), nearest, weights, rows)

    return call


def _neighbors(k: int, more: int = 0) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        rows += more
        points, ranges = torch.zeros(rows, 3, dtype=dtype), _ranges(rows)
        neighbors.knn(points, points, *ranges, *ranges, k)
        neighbors.ball_query(points, points, *ranges, *ranges, torch.ones(1, dtype=dtype), k)

    return call


def _farthest_points(clouds: int, cuda_ties: bool, more: int = 0) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        rows += more
        begin, end = _ranges(rows, clouds)
        sampling.farthest_point_sample(torch.zeros(rows, 3, dtype=dtype), begin, end, torch.zeros_like(begin), 4, cuda_ties)

    return call


def _sparse_conv(channels: int, out_channels: int) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        coords, kernel, one = torch.zeros(rows, 4, dtype=torch.int32), [3, 3, 3], [1, 1, 1]
        sources, _ = sparse_conv.sparse_conv_tables(coords, coords, [1408, 1600, 40], kernel, one, one, one, [-1, -1, -1])
        sparse_conv.submanifold_tables(coords, [1408, 1600, 40], kernel, one)
        features, weight = torch.zeros(rows, channels, dtype=dtype), torch.zeros(27, channels, out_channels, dtype=dtype)
        grad = sparse_conv.sparse_conv(features, weight, torch.zeros(out_channels, dtype=dtype), sources)
        sparse_conv.sparse_conv(features, weight, None, sources)
        sparse_conv.sparse_conv_weight_grad(features, grad, sources)

    return call


def _kernel_point_conv(rows: int, dtype: torch.dtype) -> None:
    anchors, kernel, neighbors, channels, outputs = 4, 24, 33, 32, 32
    points, indices = torch.zeros(1, rows, 3), torch.zeros(1, rows, neighbors, dtype=torch.int64)
    geometry = (points, points, indices, torch.zeros(anchors, kernel, 3), 0.5)
    features = torch.zeros(1, anchors, rows, channels, dtype=dtype)
    weight, grad = torch.zeros(outputs, kernel, channels, dtype=dtype), torch.zeros(1, anchors, rows, outputs, dtype=dtype)
    kernel_point_conv.kernel_point_conv(features, *geometry, weight)
    kernel_point_conv.weight_grad(grad, features, *geometry)
    kernel_point_conv.features_grad(grad, *geometry, weight)


def _voxelize(batched: bool) -> Callable:
    def call(rows: int, dtype: torch.dtype) -> None:
        """The launches alone: how many voxels there are is known on a device only."""
        batch = torch.zeros(rows if batched else 0, dtype=torch.int64)
        keys = voxelize.keys_of_points(torch.zeros(rows, 5, dtype=dtype), batch, [0.1] * 3, [0.0] * 3, [999, 999, 40])
        counted = distinct.count_keys(keys, 999 * 999 * 40)
        hash_table.look_up(counted.slot_of_key, counted.counts)
        slot_of_key, firsts = voxelize.first_rows(keys, 999 * 999 * 40)
        voxelize.first_points(slot_of_key, firsts, rows // 10, 5)

    return call


def _set_partition(rows: int, dtype: torch.dtype) -> None:
    """The launches alone: how many sets there are is known on a device only."""
    index, places = torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, 3, dtype=torch.int32)
    orders, sets = windows.keys_of_sets(index, places, [12, 12, 1]), torch.empty(2, rows // 30 + 1, 36, dtype=torch.int64)
    windows.fill_sets(orders, index, index, sets, torch.empty_like(sets, dtype=torch.bool))


def _box_iou(rows: int, dtype: torch.dtype) -> None:
    for volume in (False, True):
        boxes.box_iou(torch.zeros(2, 7, dtype=dtype), torch.zeros(rows, 7, dtype=dtype), volume)


def _suppression(rows: int, dtype: torch.dtype) -> None:
    boxes.nms_rotated(torch.zeros(rows, 7, dtype=dtype), torch.zeros(rows, dtype=torch.int64), 0.5)


def _points_in_boxes(rows: int, dtype: torch.dtype) -> None:
    batch = torch.zeros(rows, dtype=torch.int64)
    boxes.points_in_boxes(torch.zeros(rows, 3, dtype=dtype), torch.zeros(rows // 2, 7, dtype=dtype), batch, batch[: rows // 2])


LAUNCHES = {
    "set_attention as in DSVT": Launch(_set_attention(192, 8, 36), HALF),
    "set_attention as in pillars": Launch(_set_attention(128, 8, 48)),
    "set_attention, largest sets": Launch(_set_attention(128, 4, 256)),
    "set_attention, wide heads": Launch(_set_attention(256, 2, 36)),
    "set_attention, widest heads": Launch(_set_attention(512, 2, 256), HALF[1:2]),
    "scatter": Launch(_scatter(64, 0.2), EVERY),
    "scatter to few rows": Launch(_scatter(192, 1e-6)),
    "scatter, odd channels": Launch(_scatter(5, 1.0)),
    "rows": Launch(_rows(64), EVERY),
    "rows, odd channels": Launch(_rows(3)),
    "neighbors": Launch(_neighbors(16), EXACT, 200_000_000),
    "neighbors in large clouds": Launch(_neighbors(16, 40_000), EXACT, 200_000_000),
    "many neighbors": Launch(_neighbors(100), most=200_000_000),
    "farthest points": Launch(_farthest_points(2, False), EXACT),
    "farthest points, ties of CUDA": Launch(_farthest_points(1, True), EXACT),
    "farthest points of large clouds": Launch(_farthest_points(1, False, 40_000), EXACT),
    "farthest points of large clouds, ties of CUDA": Launch(_farthest_points(1, True, 40_000)),
    "sparse_conv": Launch(_sparse_conv(64, 64), EVERY),
    "sparse_conv, odd channels": Launch(_sparse_conv(4, 33)),
    "kernel_point_conv": Launch(_kernel_point_conv),
    "voxelize": Launch(_voxelize(False), most=500_000_000),
    "voxelize a batch": Launch(_voxelize(True), most=500_000_000),
    "set_partition": Launch(_set_partition),
    "box_iou": Launch(_box_iou, EXACT, 10_000_000),
    "suppression": Launch(_suppression, EXACT, 100_000),
    "points_in_boxes": Launch(_points_in_boxes, EXACT),
}


def kernels() -> list[str]:
    """Every kernel of the package, as module.name: a `@triton.jit` function whose name ends so; others are parts of kernels."""
    folder = Path(set_attention.__file__).parent
    modules = [import_module(f"geo3d.ops.cuda.{path.stem}") for path in sorted(folder.glob("[!_]*.py"))]
    return [
        f"{module.__name__}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if name.endswith("_kernel") and isinstance(value, KernelInterface) and value.fn.__module__ == module.__name__
    ]
