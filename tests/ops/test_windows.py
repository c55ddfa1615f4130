"""Window, set and pooling partitions: the definition, its laws, recorded cases of the published model, and registration."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from shared_folders import PARITY
from torch import Tensor
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops import windows as ops
from geo3d.ops.cpu import windows as cpu
from geo3d.ops.cuda import windows as triton_windows
from geo3d.ops.reference import windows as reference

cuda = OnDevice(triton_windows)

IMPLEMENTATIONS = {"cpu": cpu, "triton": cuda}
CASES = {  # voxels, grid, window, shift, set size, stride
    "no_voxels": (0, (5, 6, 4), (2, 2, 2), (0, 0, 0), 3, (1, 1, 2)),
    "one_voxel": (1, (1, 1, 1), (1, 1, 1), (0, 0, 0), 1, (1, 1, 1)),
    "pillars": (150, (25, 31, 1), (6, 6, 1), (3, 3, 0), 9, (2, 3, 1)),
    "odd": (333, (20, 17, 5), (6, 4, 2), (5, 1, 1), 7, (3, 2, 4)),
    "one_window": (90, (7, 5, 3), (30, 20, 9), (0, 0, 0), 12, (7, 5, 3)),
    "small_windows": (200, (9, 7, 8), (1, 2, 3), (1, 2, 3), 36, (1, 1, 1)),
}


def random_voxels(count: int, shape: tuple[int, int, int], dtype: torch.dtype = torch.int32) -> Tensor:
    """[count, 4] unlike (batch, z, y, x) in random order, batch entry 1 of 3 without any."""
    x, y, z = shape
    cells = torch.randperm(2 * x * y * z)[:count]
    return torch.stack((cells // (x * y * z) * 2, cells % z, cells // z % y, cells // (z * y) % x), 1).to(dtype)


def assert_same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, case, dtype):
    implementation = IMPLEMENTATIONS[name]
    count, shape, window, shift, set_size, stride = CASES[case]
    coords = random_voxels(count, shape, dtype)
    partition = reference.window_partition(coords, shape, window, shift)
    assert_same(implementation.window_partition(coords, shape, window, shift), partition)
    arguments = (*partition, window, set_size)
    assert_same(implementation.set_partition(*arguments), reference.set_partition(*arguments))
    assert_same(implementation.pooling_partition(coords, stride, shape), reference.pooling_partition(coords, stride, shape))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_sorted_voxels_and_copies(name):
    implementation = IMPLEMENTATIONS[name]
    _, shape, window, _, set_size, stride = CASES["odd"]
    coords = random_voxels(200, shape)
    batch, z, y, x = coords.unbind(1)
    coords = coords[(((batch * 20 + x) * 17 + y) * 5 + z).argsort()].repeat_interleave(2, 0)
    partition = ops.window_partition(coords, shape, window)
    assert_same(
        implementation.set_partition(*partition, window, set_size), reference.set_partition(*partition, window, set_size)
    )
    assert_same(implementation.pooling_partition(coords, stride, shape), reference.pooling_partition(coords, stride, shape))


def test_windows_by_hand():
    coords = torch.tensor([[0, 0, 0, 0], [0, 0, 4, 3], [1, 1, 2, 7]], dtype=torch.int32)
    index, place = ops.window_partition(coords, (8, 6, 2), (4, 3, 1), (1, 0, 1))  # 3 x 3 x 3 windows
    assert index.tolist() == [0 * 9 + 0 * 3 + 1, 1 * 9 + 1 * 3 + 1, 27 + 2 * 9 + 0 * 3 + 2]
    assert place.tolist() == [[0, 0, 1], [0, 1, 0], [0, 2, 0]]
    assert index.dtype == torch.int64 and place.dtype == torch.int32


def test_no_shift_in_z_where_a_window_spans_the_height():
    coords = random_voxels(50, (8, 6, 4))
    assert_same(
        ops.window_partition(coords, (8, 6, 4), (4, 3, 4), (2, 1, 2)),
        ops.window_partition(coords, (8, 6, 4), (4, 3, 4), (2, 1, 0)),
    )


def test_sets_by_hand():
    places = torch.tensor([[0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 2, 2], [0, 1, 1]])  # (z, y, x)
    sets, padding = ops.set_partition(torch.tensor([4, 4, 4, 9, 4]), places, (3, 3, 1), 3)
    assert sets[0].tolist() == [[2, 2, 0], [1, 1, 4], [3, 3, 3]]  # ranks 0 0 1, 2 2 3 of four voxels in six slots
    assert sets[1].tolist() == [[2, 2, 1], [0, 0, 4], [3, 3, 3]]
    assert padding[0].tolist() == padding[1].tolist() == [[False, True, False], [False, True, False], [False, True, True]]


def test_every_voxel_is_valid_in_one_slot_and_sets_keep_to_windows():
    coords = random_voxels(400, (20, 17, 5))
    index, place = ops.window_partition(coords, (20, 17, 5), (6, 6, 2), (3, 3, 1))
    sets, padding = ops.set_partition(index, place, (6, 6, 2), 5)
    for rows, repeats in zip(sets, padding, strict=True):
        assert torch.equal(rows[~repeats].sort().values, torch.arange(400))
        assert (index[rows] == index[rows[:, :1]]).all()
        assert (index[rows[1:, 0]] >= index[rows[:-1, 0]]).all()


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_very_sparse_grids(name):
    """Window numbers and cells far too many for a table."""
    coords = torch.tensor([[7, 3, 70_000, 90_000], [0, 3, 5, 2], [7, 3, 70_001, 90_000]])
    shape = (100_000, 100_000, 4)
    arguments = (coords, (2, 2, 1), shape)
    assert_same(IMPLEMENTATIONS[name].pooling_partition(*arguments), reference.pooling_partition(*arguments))
    partition = IMPLEMENTATIONS[name].window_partition(coords, shape, (6, 6, 4), (3, 3, 0))
    assert partition[0].max() > 2**31
    sets = IMPLEMENTATIONS[name].set_partition(*partition, (6, 6, 4), 2)
    assert_same(sets, reference.set_partition(*partition, (6, 6, 4), 2))


def test_strides_and_int32_windows():
    coords = random_voxels(60, (9, 8, 3))
    strided = coords.t().contiguous().t()
    assert_same(ops.pooling_partition(strided, (2, 2, 2), (9, 8, 3)), ops.pooling_partition(coords, (2, 2, 2), (9, 8, 3)))
    index, place = ops.window_partition(strided, (9, 8, 3), (4, 4, 3))
    assert_same(
        ops.set_partition(index.int(), place.t().contiguous().t(), (4, 4, 3), 4), ops.set_partition(index, place, (4, 4, 3), 4)
    )


@pytest.mark.parametrize("case", ["backbone_pillar_small", "backbone_voxel_small"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_the_published_model(name, case):
    """Sets, masks and pooling of every stage as the authors' code recorded them."""
    folder = PARITY / "dsvt" / case
    if not folder.is_dir():
        pytest.skip(f"no recorded case in {folder} (GEO3D_PARITY)")
    implementation = IMPLEMENTATIONS[name]
    arrays, layer = np.load(folder / "arrays.npz"), json.loads((folder / "meta.json").read_text())["config"]["INPUT_LAYER"]
    coords, shape = torch.from_numpy(arrays["in.voxel_coords"]), layer["sparse_shape"]
    for stage, window in enumerate(layer["window_shape"]):
        assert coords.tolist() == arrays[f"mid.coors.stage{stage}"].tolist()
        for k, size in enumerate((window, [w * f for w, f in zip(window, layer["hybrid_factor"], strict=True)])):
            index, place = ops.window_partition(coords, shape, size, layer["shifts_list"][stage][k])
            sets, padding = implementation.set_partition(index, place, size, layer["set_info"][stage][0])
            assert sets.tolist() == arrays[f"mid.set_inds.stage{stage}.shift{k}"].tolist()
            assert padding.tolist() == arrays[f"mid.set_mask.stage{stage}.shift{k}"].astype(bool).tolist()
        if stage < len(layer["downsample_stride"]):
            stride = layer["downsample_stride"][stage]
            coords, cell, slot = implementation.pooling_partition(coords, stride, shape)
            assert cell.tolist() == arrays[f"mid.pool_index.stage{stage + 1}"].tolist()
            assert slot.tolist() == arrays[f"mid.pool_slot.stage{stage + 1}"].tolist()
            shape = [-(-size // step) for size, step in zip(shape, stride, strict=True)]


@pytest.mark.parametrize("case", ["no_voxels", "odd"])
def test_registration(case):
    count, shape, window, shift, set_size, stride = CASES[case]
    coords = random_voxels(count, shape)
    torch.library.opcheck(torch.ops.geo3d.window_partition, (coords, shape, window, shift))
    partition = ops.window_partition(coords, shape, window, shift)
    torch.library.opcheck(torch.ops.geo3d.set_partition, (*partition, window, set_size))
    torch.library.opcheck(torch.ops.geo3d.pooling_partition, (coords, stride, shape))


def test_compiles_in_one_graph():
    def function(coords):
        index, place = ops.window_partition(coords, (9, 8, 6), (4, 4, 3), (2, 2, 1))
        return (*ops.set_partition(index, place, (4, 4, 3), 5), *ops.pooling_partition(coords, (1, 1, 2), (9, 8, 6)))

    coords = random_voxels(70, (9, 8, 6))
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):  # sets and cells are counted at run time only
        assert_same(torch.compile(function, fullgraph=True, backend="aot_eager")(coords), function(coords))


VOXEL, INDEX, PLACE = torch.tensor([[0, 1, 2, 3]]), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.window_partition(VOXEL[:, :3], (9, 9, 9), (3, 3, 3)), r"coords must be \[V, 4\]"),
        (lambda: ops.window_partition(VOXEL.float(), (9, 9, 9), (3, 3, 3)), "int32 or int64"),
        (lambda: ops.window_partition(VOXEL, (9, 9), (3, 3, 3)), "sparse_shape must be three integers"),
        (lambda: ops.window_partition(VOXEL, (9, 9, 9), (3, 0, 3)), "window_shape .* at least 1"),
        (lambda: ops.window_partition(VOXEL, (9, 9, 9), (3, 3, 3), (4, 0, 0)), "shift must not exceed the window"),
        (lambda: ops.window_partition(VOXEL, (3, 9, 9), (3, 3, 3)), r"grid of .*\[3, 9, 9\], got \[0, 1, 2, 3\] in row 0"),
        (lambda: ops.pooling_partition(-VOXEL, (1, 1, 1), (9, 9, 9)), "in row 0"),
        (lambda: ops.pooling_partition(VOXEL, (1, 1), (9, 9, 9)), "stride must be three"),
        (lambda: ops.set_partition(INDEX, PLACE[:, :2], (3, 3, 3), 4), r"in_window must be \[1, 3\]"),
        (lambda: ops.set_partition(INDEX.float(), PLACE, (3, 3, 3), 4), "window_index must be"),
        (lambda: ops.set_partition(INDEX - 1, PLACE, (3, 3, 3), 4), "not be negative"),
        (lambda: ops.set_partition(INDEX, PLACE + 3, (3, 3, 3), 4), r"got \[3, 3, 3\] in row 0"),
        (lambda: ops.set_partition(INDEX, PLACE, (3, 3, 3), 0), "set_size"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
@pytest.mark.parametrize("case", CASES)
def test_cuda_equals_cpu(case):
    count, shape, window, shift, set_size, stride = CASES[case]
    coords = random_voxels(count, shape)

    def run(coords):
        partition = ops.window_partition(coords, shape, window, shift)
        return (*partition, *ops.set_partition(*partition, window, set_size), *ops.pooling_partition(coords, stride, shape))

    assert_same(tuple(result.cpu() for result in run(coords.cuda())), run(coords))
