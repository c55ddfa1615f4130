"""Voxels, sets and plans of a fixed size: those of the ops that wait for the host, filled up, and which op waits how often."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from triton_device import OnDevice

from geo3d import ops
from geo3d.ops.cuda import neighbors as triton_neighbors
from geo3d.ops.cuda import sparse_conv as triton_sparse_conv
from geo3d.ops.cuda import voxelize as triton_voxelize
from geo3d.ops.cuda import windows as triton_windows
from geo3d.ops.reference import sparse_conv as reference

cuda_conv, cuda_voxelize, cuda_windows = OnDevice(triton_sparse_conv), OnDevice(triton_voxelize), OnDevice(triton_windows)
cuda_neighbors = OnDevice(triton_neighbors)
SIZE, RANGE, SHAPE = (0.5, 0.5, 1.0), (0.0, -4.0, -2.0, 8.0, 4.0, 2.0), (16, 16, 4)
POINTS = {"no_points": 0, "one": 1, "some": 60, "many": 500}
CAPACITIES = {"too_small": 0.5, "exact": 1.0, "larger": 1.7}


@pytest.fixture(params=POINTS)
def cloud(request):
    """Points of two clouds, some outside the grid, in any order."""
    count = POINTS[request.param]
    points = torch.rand(count, 4) * torch.tensor([9, 9, 5, 1]) - torch.tensor([0.5, 4.5, 2.5, 0])
    return points, torch.randint(0, 2, (count,))


@pytest.fixture(params=CAPACITIES)
def room(request):
    """A capacity for a number of rows."""
    return lambda number: max(1, int(number * CAPACITIES[request.param]))


def filled(rows: Tensor, capacity: int, value: float, axis: int = 0) -> Tensor:
    """The first rows, and as many of the value as are missing."""
    rows = rows.narrow(axis, 0, min(rows.shape[axis], capacity))
    shape = [capacity - rows.shape[axis] if at == axis else size for at, size in enumerate(rows.shape)]
    return torch.cat((rows, rows.new_full(shape, value)), axis)


def test_voxels(cloud, room):
    points, batch = cloud
    expected = ops.voxelize(points, SIZE, RANGE, batch_index=batch, batch_size=2)
    capacity = room(len(expected.coords))
    result = ops.voxelize_padded(points, SIZE, RANGE, batch_index=batch, batch_size=2, capacity=capacity)
    assert int(result.num_voxels) == len(expected.coords)
    assert torch.equal(result.coords, filled(expected.coords, capacity, -1))
    assert torch.equal(result.counts, filled(expected.counts, capacity, 0))
    kept = expected.point_to_voxel < capacity
    assert torch.equal(result.point_to_voxel, torch.where(kept, expected.point_to_voxel, -1))


def voxels(cloud: tuple[Tensor, Tensor], more: int) -> tuple[Tensor, Tensor]:
    """Coordinates of the voxels of a cloud, and with `more` rows that are not used."""
    points, batch = cloud
    coords = ops.voxelize(points, SIZE, RANGE, batch_index=batch, batch_size=2).coords
    return coords, filled(coords, len(coords) + more, -1)


@pytest.mark.parametrize("more", [0, 5])
def test_sets(cloud, room, more):
    coords, padded = voxels(cloud, more)
    window = (5, 3, 2)
    index, places = ops.window_partition(coords, SHAPE, window, (2, 1, 0))
    padded_index, padded_places = ops.window_partition(padded, SHAPE, window, (2, 1, 0))
    assert torch.equal(padded_index, filled(index, len(padded), -1))
    assert torch.equal(padded_places, filled(places, len(padded), 0))
    sets, padding = ops.set_partition(index, places, window, 4)
    capacity = room(sets.shape[1])
    result = ops.set_partition_padded(padded_index, padded_places, window, 4, capacity=capacity)
    assert int(result.num_sets) == sets.shape[1]
    assert torch.equal(result.sets, filled(sets, capacity, 0, 1))
    assert torch.equal(result.padding, filled(padding, capacity, True, 1))


def test_attention_among_padded_sets(cloud):
    coords, padded = voxels(cloud, 7)
    window, x = (5, 3, 2), torch.randn(len(padded), 8)
    index, places = ops.window_partition(coords, SHAPE, window)
    sets, padding = ops.set_partition(index, places, window, 4)
    expected = ops.set_attention(*[x[: len(coords)]] * 3, sets[0], padding[0], 2)
    fixed = ops.set_partition_padded(*ops.window_partition(padded, SHAPE, window), window, 4, capacity=sets.shape[1] + 3)
    result = ops.set_attention(x, x, x, fixed.sets[0], fixed.padding[0], 2)
    torch.testing.assert_close(result, filled(expected, len(padded), 0))


GEOMETRY = {"kernel_size": (3, 2, 3), "stride": (2, 1, 2), "padding": (1, 0, 1)}


@pytest.mark.parametrize("more", [0, 5])
def test_plans(cloud, room, more):
    coords, padded = voxels(cloud, more)
    expected = ops.sparse_conv_plan(coords, SHAPE, **GEOMETRY)
    capacity = room(len(expected.coords))
    plan, number = ops.sparse_conv_plan_padded(padded, SHAPE, **GEOMETRY, capacity=capacity)
    assert int(number) == len(expected.coords)
    assert torch.equal(plan.coords, filled(expected.coords, capacity, -1))
    assert torch.equal(plan.sources, filled(expected.sources, capacity, -1, 1))
    kept = torch.where(expected.targets < capacity, expected.targets, -1)
    assert torch.equal(plan.targets, filled(kept, len(padded), -1, 1))


@pytest.mark.parametrize("more", [0, 5])
def test_tables_in_triton(cloud, more):
    _, padded = voxels(cloud, more)
    shuffled = padded[torch.randperm(len(padded))]
    down = ops.sparse_conv_plan_padded(padded, SHAPE, **GEOMETRY, capacity=len(padded) + 3)[0].coords
    same = (list(SHAPE), [3, 3, 3], [1, 1, 1], [1, 1, 1], [1, 1, 1], [-1, -1, -1])
    strided = ([8, 15, 2], [3, 2, 3], [1, 1, 1], [2, 1, 2], [1, 0, 1], [-1, -1, -1])
    for out_coords, geometry in ((shuffled, same), (down, strided)):
        expected = reference.sparse_conv_tables(shuffled, out_coords, *geometry)
        for actual, wanted in zip(cuda_conv.sparse_conv_tables(shuffled, out_coords, *geometry), expected, strict=True):
            assert torch.equal(actual, wanted)


def test_convolutions_and_the_map_of_padded_voxels(cloud):
    coords, padded = voxels(cloud, 6)
    features, weight = torch.randn(len(padded), 3), torch.randn(4, 3, 3, 3, 3)

    def network(coords: Tensor, features: Tensor) -> Tensor:
        out = ops.sparse_conv3d(features, weight, ops.submanifold_conv_plan(coords, SHAPE))
        return ops.SparseTensor(out, coords, SHAPE, 2).dense()

    torch.testing.assert_close(network(padded, features), network(coords, features[: len(coords)]))


class Waits(TorchDispatchMode):
    """Names of the operators for which the host would wait on CUDA."""

    WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "unique_consecutive", "masked_select", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        name = operator.__name__.split(".")[0]
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        if name in self.WAITING or by_mask:
            self.seen.append(name)
        return operator(*arguments, **(options or {}))


def waits(function) -> list[str]:
    with Waits() as mode:
        function()
    return mode.seen


POINTS_IN, BATCH = torch.rand(300, 4) * 8 - 1, torch.arange(300) // 200
ARGUMENTS = (POINTS_IN, BATCH, list(SIZE), list(RANGE[:3]), list(SHAPE), 2)
COORDS = ops.voxelize(POINTS_IN, SIZE, RANGE, batch_index=BATCH, batch_size=2).coords
STRIDED = ([8, 15, 2], [3, 2, 3], [1, 1, 1], [2, 1, 2], [1, 0, 1], [-1, -1, -1])
ONCE = {
    "voxelize": lambda: cuda_voxelize.voxelize(*ARGUMENTS),
    "voxelize_hard": lambda: cuda_voxelize.voxelize_hard(*ARGUMENTS, 3, 40),
    "set_partition": lambda: cuda_windows.set_partition(*ops.window_partition(COORDS, SHAPE, (5, 3, 2)), (5, 3, 2), 4),
    "pooling_partition": lambda: cuda_windows.pooling_partition(COORDS, (2, 2, 1), SHAPE),
    "sparse_conv_cells": lambda: cuda_conv.sparse_conv_cells(COORDS, *STRIDED),
}
SOME, RANGES = POINTS_IN[:40, :3].double(), (torch.tensor([0, 20]), torch.tensor([20, 40]))
NEVER = {
    "knn in float64": lambda: cuda_neighbors.knn(SOME, SOME, *RANGES, *RANGES, 3),
    "window_partition": lambda: cuda_windows.window_partition(COORDS, SHAPE, (5, 3, 2), (0, 0, 0)),
    "set_partition_padded": lambda: ops.set_partition_padded(
        *cuda_windows.window_partition(COORDS, SHAPE, (5, 3, 2), (0, 0, 0)), (5, 3, 2), 4, capacity=99
    ),
    "sparse_conv_tables": lambda: cuda_conv.sparse_conv_tables(COORDS, COORDS, *STRIDED),
    "distinct_padded": lambda: ops.distinct.distinct_padded(cuda_voxelize.keys_of_points(*ARGUMENTS[:-1]), 999, 99),
}


@pytest.mark.parametrize("name", ONCE)
def test_an_op_waits_once(name):
    assert len(waits(ONCE[name])) == 1


@pytest.mark.parametrize("name", NEVER)
def test_an_op_of_a_fixed_size_never_waits(name):
    assert waits(NEVER[name]) == []


def test_registration():
    torch.library.opcheck(torch.ops.geo3d.voxel_keys, ARGUMENTS[:-1])


def test_the_public_ops_of_a_fixed_size_are_one_graph():
    """Of static shapes, as CUDA graphs need them."""

    def network(points, batch):
        voxels = ops.voxelize_padded(points, SIZE, RANGE, batch_index=batch, batch_size=2, capacity=300)
        index, places = ops.window_partition(voxels.coords, SHAPE, (5, 3, 2))
        sets = ops.set_partition_padded(index, places, (5, 3, 2), 4, capacity=200)
        plan, number = ops.sparse_conv_plan_padded(voxels.coords, SHAPE, **GEOMETRY, capacity=250)
        return voxels.counts, sets.sets, plan.sources, number

    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=False)(POINTS_IN, BATCH)
    for actual, expected in zip(compiled, network(POINTS_IN, BATCH), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.voxelize_padded(POINTS_IN, SIZE, RANGE, capacity=0),
            "voxelize_padded: capacity must be at least 1, got 0",
        ),
        (lambda: ops.voxelize_padded(POINTS_IN[:, :2], SIZE, RANGE, capacity=1), "voxelize_padded: points must be"),
        (lambda: ops.set_partition_padded(BATCH, COORDS, (1, 1, 1), 2, capacity=3), "set_partition_padded: in_window must be"),
        (lambda: ops.sparse_conv_plan_padded(COORDS, (2, 2, 2), 3, capacity=3), "sparse_conv_plan_padded: .*must be in"),
        (lambda: ops.window_partition(COORDS - 1, SHAPE, (1, 1, 1)), "window_partition: batch of coords must be in"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
