"""Voxelization: every implementation against the definition, the definition against torch.unique and a plain loop, real sweeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from triton_device import IS_INTERPRETED, NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops.cpu import voxelize as cpu
from geo3d.ops.cuda import voxelize as triton_voxelize
from geo3d.ops.grouping import gather
from geo3d.ops.reference import voxelize as reference
from geo3d.ops.voxelize import grid_shape, voxel_features, voxelize, voxelize_hard

cuda = OnDevice(triton_voxelize)

SIZE, RANGE, GRID = [0.5, 0.25, 1.0], [-2.0, -1.0, -1.0, 2.0, 1.0, 3.0], [8, 8, 4]
IMPLEMENTATIONS = {"cpu": cpu, "triton": cuda}
CASES = {  # points of each cloud; none: without batch index
    "no_points": [0],
    "one_point": [1],
    "one_cloud": None,
    "empty_entry": [40, 0, 33, 0],
    "no_clouds": [],
}


@pytest.fixture(params=CASES)
def case(request):
    """Points on a lattice of eighths, so that copies and points on edges happen, some outside; arguments of the custom op."""
    counts = CASES[request.param]
    points = torch.randint(-20, 21, (90 if counts is None else sum(counts), 4)) / 8
    batch = torch.empty(0, dtype=torch.int64)
    if counts is not None:
        batch = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    return points, batch, SIZE, RANGE[:3], GRID, 1 if counts is None else len(counts)


def read_sweep(samples, name):
    patterns = {"kitti": ("kitti/training/velodyne/*.bin", 4), "nuscenes": ("nuscenes/samples/LIDAR_TOP/*.bin", 5)}
    pattern, columns = patterns[name]
    files = sorted(samples.glob(pattern))
    if not files:
        pytest.skip(f"no {pattern} in {samples}")
    return torch.from_numpy(np.fromfile(files[0], np.float32).reshape(-1, columns))


SWEEPS = {
    "kitti_pillars": ("kitti", [0.16, 0.16, 4.0], [0, -39.68, -3, 69.12, 39.68, 1]),
    "kitti_fine": ("kitti", [0.05, 0.05, 0.1], [0, -40, -3, 70.4, 40, 1]),
    "nuscenes": ("nuscenes", [0.3, 0.3, 8.0], [-54, -54, -5, 54, 54, 3]),
    "nuscenes_voxels": ("nuscenes", [0.32, 0.32, 0.1875], [-74.88, -74.88, -2, 74.88, 74.88, 4]),
}


@pytest.fixture(params=SWEEPS)
def sweep(request, samples):
    """Points of a real sweep, their cell indices (x, y, z) by numpy, and the arguments of voxelize."""
    name, size, bounds = SWEEPS[request.param]
    points = read_sweep(samples, name)
    low, high = np.float32(bounds[:3]), np.float32(bounds[3:])
    grid = np.round((high - low) / np.float32(size))
    cells = np.floor((points[:, :3].numpy() - low) / np.float32(size))
    return points, cells.astype(np.int64), ((cells >= 0) & (cells < grid)).all(1), size, bounds


def test_real_sweep_has_the_voxels_of_torch_unique(sweep):
    points, cells, inside, size, bounds = sweep
    voxels = voxelize(points, size, bounds)
    unique, inverse, counts = torch.unique(torch.from_numpy(cells[inside]), dim=0, return_inverse=True, return_counts=True)
    assert len(unique) > 1000
    assert torch.equal(voxels.coords[:, [3, 2, 1]].long(), unique) and not voxels.coords[:, 0].any()
    assert torch.equal(voxels.point_to_voxel[torch.from_numpy(inside)], inverse)
    assert bool((voxels.point_to_voxel[torch.from_numpy(~inside)] == -1).all())
    assert torch.equal(voxels.counts, counts)


def test_real_sweep_has_the_voxels_of_spconv(sweep):
    pytest.importorskip("spconv", reason="spconv is an optional peer: pip install spconv")
    from spconv.pytorch.utils import PointToVoxel

    points, _, _, size, bounds = sweep
    peer = PointToVoxel(size, bounds, points.shape[1], len(points), 5)
    features, coords, counts = (part.clone() for part in peer(points))
    ours = voxelize_hard(points, size, bounds, max_points=5, max_voxels=len(points))
    assert len(coords) > 1000
    assert torch.equal(ours.coords[:, 1:], coords)  # their order too: that of the voxels' first points
    assert torch.equal(ours.counts, counts.long())
    assert torch.equal(gather(points, ours.point_indices), features)


def test_real_sweep_first_come_first_served(sweep):
    points, cells, inside, size, bounds = sweep
    groups: dict[tuple, list[int]] = {}
    for i in np.flatnonzero(inside):
        cell = tuple(cells[i])
        if cell in groups or len(groups) < 4000:
            groups.setdefault(cell, []).append(int(i))
    indices, coords, counts = voxelize_hard(points, size, bounds, max_points=5, max_voxels=4000)
    expected = [(group + [-1] * 5)[:5] for group in groups.values()]
    assert indices.tolist() == expected
    assert coords.tolist() == [[0, z, y, x] for x, y, z in groups]
    assert counts.tolist() == [min(5, len(group)) for group in groups.values()]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, case):
    for ours, defined in zip(IMPLEMENTATIONS[name].voxelize(*case), reference.voxelize(*case), strict=True):
        torch.testing.assert_close(ours, defined, rtol=0, atol=0)


@pytest.mark.parametrize(("max_points", "max_voxels"), [(1, 1), (2, 9), (5, 1000)])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_hard_equals_reference(name, max_points, max_voxels, case):
    result = IMPLEMENTATIONS[name].voxelize_hard(*case, max_points, max_voxels)
    for ours, defined in zip(result, reference.voxelize_hard(*case, max_points, max_voxels), strict=True):
        torch.testing.assert_close(ours, defined, rtol=0, atol=0)


@pytest.fixture
def last_program_first(monkeypatch):
    """What a GPU may do, and the interpreter does not by itself."""
    if IS_INTERPRETED:
        builder = pytest.importorskip("triton.runtime.interpreter").interpreter_builder
        forward = builder.set_grid_idx
        monkeypatch.setattr(builder, "set_grid_idx", lambda x, y, z: forward(builder.grid_dim[0] - 1 - x, y, z))


def test_the_order_of_programs_changes_nothing(last_program_first):
    points = torch.randint(-20, 21, (1000, 3)) / 8
    case = (points, torch.arange(1000) // 700, SIZE, RANGE[:3], GRID, 2)
    for ours, defined in zip(cuda.voxelize(*case), reference.voxelize(*case), strict=True):
        assert torch.equal(ours, defined)
    for ours, defined in zip(cuda.voxelize_hard(*case, 3, 90), reference.voxelize_hard(*case, 3, 90), strict=True):
        assert torch.equal(ours, defined)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_cells_of_uneven_sizes_are_divided_in_float32(name):
    size, low, grid = [0.32, 0.05, 0.1875], [-74.88, -40.0, -2.0], [468, 1600, 32]
    edges = torch.arange(468, dtype=torch.float64)[:, None] * torch.tensor(size) + torch.tensor(low)
    points = edges.float()  # where another formula, or a fused or approximate division, falls on the other side
    assert torch.equal(
        IMPLEMENTATIONS[name].voxelize(points, torch.empty(0, dtype=torch.int64), size, low, grid, 1)[1],
        reference.voxelize(points, torch.empty(0, dtype=torch.int64), size, low, grid, 1)[1],
    )


def test_clouds_of_a_batch_are_those_of_single_clouds():
    points, lengths = torch.rand(60, 3) * 4 - 2, [25, 0, 35]
    batch = torch.arange(3, dtype=torch.int32).repeat_interleave(torch.tensor(lengths))
    together = voxelize_hard(points, SIZE, RANGE, max_points=2, max_voxels=10, batch_index=batch)
    begin = 0
    for cloud, length in enumerate(lengths):
        alone = voxelize_hard(points[begin : begin + length], SIZE, RANGE, max_points=2, max_voxels=10)
        mine = together.coords[:, 0] == cloud
        assert torch.equal(together.coords[mine, 1:], alone.coords[:, 1:])
        assert torch.equal(together.point_indices[mine], torch.where(alone.point_indices < 0, -1, alone.point_indices + begin))
        begin += length


def test_batch_index_in_any_order():
    points, batch = torch.rand(50, 3), torch.randint(0, 3, (50,))
    order = batch.argsort(stable=True)
    mixed = voxelize(points, SIZE, RANGE, batch_index=batch, batch_size=3)
    ascending = voxelize(points[order], SIZE, RANGE, batch_index=batch[order], batch_size=3)
    assert torch.equal(mixed.coords, ascending.coords) and torch.equal(mixed.point_to_voxel[order], ascending.point_to_voxel)


def test_outside_and_non_finite_points_are_dropped():
    outside = [[2.0, 0, 0], [-2.01, 0, 0], [math.nan, 0, 0], [0, math.inf, 0], [0, 0, -math.inf], [3e38, 0, 0]]
    voxels = voxelize(torch.tensor([*outside, [-2.0, -1, -1]]), SIZE, RANGE)
    assert voxels.coords.tolist() == [[0, 0, 0, 0]] and voxels.point_to_voxel.tolist() == [-1] * 6 + [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtypes_and_strides(dtype):
    points = (torch.randint(-20, 21, (6, 30)) / 8).to(dtype).t()[::2]
    for ours, expected in zip(voxelize(points, SIZE, RANGE), voxelize(points.float().contiguous(), SIZE, RANGE), strict=True):
        assert torch.equal(ours, expected)


def test_a_grid_of_many_cells():
    points = torch.tensor([[9e5, 1.0, 2], [1, 9e5, 2], [9e5, 1, 2]])
    voxels = voxelize(points, [1.0, 1.0, 2.5e-6], [0.0, 0.0, 0.0, 1e6, 1e6, 10.0])  # keys of 62 bits leave no room for rows
    assert voxels.point_to_voxel.tolist() == [1, 0, 1]


@pytest.mark.parametrize("reduce", ["mean", "max", "sum"])
def test_voxel_features(reduce):
    points = torch.rand(40, 3) * 5 - 2.5
    values = torch.rand(40, 6, requires_grad=True)
    voxels = voxelize(points, SIZE, RANGE)
    features = voxel_features(values, voxels, reduce)
    groups = [values[voxels.point_to_voxel == m] for m in range(len(voxels.coords))]
    expected = torch.stack([group.amax(0) if reduce == "max" else getattr(group, reduce)(0) for group in groups])
    torch.testing.assert_close(features, expected)
    (gradient,) = torch.autograd.grad(features.sum(), values)
    assert not gradient[voxels.point_to_voxel < 0].any()
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), values)[0])


def test_registration():
    points, batch = torch.rand(20, 4), torch.arange(2).repeat_interleave(10)
    torch.library.opcheck(torch.ops.geo3d.voxelize, (points, batch, SIZE, RANGE[:3], GRID, 2))
    torch.library.opcheck(torch.ops.geo3d.voxelize_hard, (points, batch, SIZE, RANGE[:3], GRID, 2, 3, 7))


def test_compiles_in_one_graph():
    def function(points, values):
        voxels = voxelize(points, SIZE, RANGE)
        hard = voxelize_hard(points, SIZE, RANGE, max_points=2, max_voxels=5)
        return voxels.coords, voxel_features(values, voxels, "mean") * 2, hard.point_indices

    points, values = torch.rand(30, 3), torch.rand(30, 2)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(points, values)
    torch.testing.assert_close(compiled, function(points, values), rtol=0, atol=0)


def test_grid_shape():
    assert grid_shape([0.32, 0.32, 6], [-74.88, -74.88, -2, 74.88, 74.88, 4]) == (468, 468, 1)
    assert grid_shape([0.05, 0.05, 0.1], [0, -40, -3, 70.4, 40, 1]) == (1408, 1600, 40)
    assert grid_shape(np.float32([0.1, 0.1, 0.15]), [-75, -75, -2, 75, 75, 4]) == (1500, 1500, 40)
    assert grid_shape([0.4, 0.4, 1.5], [0, 0, 0, 4, 4.1, 4], allow_partial=True) == (10, 11, 3)


@pytest.mark.parametrize(
    ("size", "bounds", "message"),
    [
        (
            [0.5, 0.3, 1],
            RANGE,
            "-1 to 1 in y is 6.66667 voxels of 0.3.* end it at 1.1, set the voxel size in y to 0.285714, or",
        ),
        ([0.5, 0.25], RANGE, "voxel_size must be 3 positive numbers"),
        ([0.5, -0.25, 1], RANGE, "voxel_size must be 3 positive numbers"),
        (SIZE, RANGE[:4], "point_range must be 6 finite numbers"),
        (SIZE, [0, 0, 0, 1, 1, 0], "0 to 0 in z"),
        ([1e-10] * 3, [0, 0, 0, 1, 1, 1], "do not fit int32"),
        ([1e-9] * 3, [0, 0, 0, 1, 1, 1], "do not fit int64 keys"),
    ],
)
def test_bad_grids(size, bounds, message):
    with pytest.raises(ValueError, match=message):
        voxelize(torch.zeros(1, 3), size, bounds)


@pytest.mark.parametrize(
    ("points", "arguments", "message"),
    [
        (torch.zeros(3, 2), {}, r"got \[3, 2\]"),
        (torch.zeros(3, 3, dtype=torch.int64), {}, "floating point, got"),
        (torch.zeros(3, 3), {"batch_size": 2}, "one cloud, got batch_size=2"),
        (torch.zeros(3, 3), {"batch_index": torch.zeros(2, dtype=torch.int64)}, r"must be \[3\] int32 or int64"),
        (torch.zeros(3, 3), {"batch_index": torch.tensor([0, 2, 1]), "batch_size": 2}, r"in \[0, 2\), got 0 to 2"),
        (torch.zeros(3, 3), {"batch_index": torch.tensor([0, 2, 1])}, "sorted in ascending order"),
        (torch.zeros(3, 3), {"max_points": 0}, "must be positive, got 0 and 8"),
    ],
)
def test_bad_arguments(points, arguments, message):
    with pytest.raises(ValueError, match=message):
        voxelize_hard(points, SIZE, RANGE, **{"max_points": 4, "max_voxels": 8, **arguments})


def test_unknown_reduction():
    with pytest.raises(ValueError, match="got 'median'"):
        voxel_features(torch.rand(1, 1), voxelize(torch.zeros(1, 3), SIZE, RANGE), "median")


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu(sweep):
    points, _, _, size, bounds = sweep
    for ours, expected in zip(voxelize(points.cuda(), size, bounds), voxelize(points, size, bounds), strict=True):
        assert torch.equal(ours.cpu(), expected)
    hard = voxelize_hard(points.cuda(), size, bounds, max_points=5, max_voxels=4000)
    for ours, expected in zip(hard, voxelize_hard(points, size, bounds, max_points=5, max_voxels=4000), strict=True):
        assert torch.equal(ours.cpu(), expected)
