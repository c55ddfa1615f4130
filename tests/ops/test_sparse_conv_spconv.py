"""Sparse convolutions beside spconv's, on small grids and on a real sweep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sparse_grids import BATCH, SHAPE, make_coords

from geo3d.ops.reference import sparse_conv as reference
from geo3d.ops.sparse_conv import (
    SparseTensor,
    sparse_conv3d,
    sparse_conv_plan,
    sparse_conv_transpose_plan,
    submanifold_conv_plan,
)
from geo3d.ops.voxelize import voxelize


@pytest.fixture
def spconv():
    """spconv on one thread: with more, its convolution on the CPU is wrong."""
    module = pytest.importorskip("spconv.pytorch", reason="spconv is an optional peer: pip install spconv")
    torch.set_num_threads(1)
    with torch.no_grad():
        yield module
    torch.set_num_threads(2)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence for multidimensional indexing")
def test_equals_spconv(spconv):
    coords = make_coords("many")
    features = torch.randn(len(coords), 6)
    tensor = spconv.SparseConvTensor(features, coords, list(SHAPE[::-1]), BATCH)
    layer = spconv.SubMConv3d(6, 5, (1, 3, 5), dilation=(1, 1, 2))
    plan = submanifold_conv_plan(coords, SHAPE, (5, 3, 1), (2, 1, 1))
    torch.testing.assert_close(sparse_conv3d(features, layer.weight, plan, layer.bias), layer(tensor).features)
    size = {"kernel_size": (3, 2, 3), "stride": (2, 1, 3), "padding": (1, 0, 1)}
    ours = {name: value[::-1] for name, value in size.items()}
    for layer, plan in (
        (spconv.SparseConv3d(6, 5, **size, indice_key="down"), sparse_conv_plan(coords, SHAPE, **ours)),
        (spconv.SparseConvTranspose3d(6, 5, **size), sparse_conv_transpose_plan(coords, SHAPE, **ours)),
    ):
        expected = layer(tensor)
        result = SparseTensor(sparse_conv3d(features, layer.weight, plan, layer.bias), plan.coords, plan.spatial_shape, BATCH)
        torch.testing.assert_close(result.dense(), expected.dense())
    down = spconv.SparseConv3d(6, 5, **size, indice_key="there")
    back = spconv.SparseInverseConv3d(5, 4, size["kernel_size"], indice_key="there")
    plan = sparse_conv_plan(coords, SHAPE, **ours)
    result = sparse_conv3d(sparse_conv3d(features, down.weight, plan, down.bias), back.weight, plan.inverse(), back.bias)
    torch.testing.assert_close(result, back(down(tensor)).features)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence for multidimensional indexing")
def test_real_sweep_equals_spconv(spconv, samples):
    path = samples / "kitti/training/velodyne_reduced/000008.bin"
    if not path.exists():
        pytest.skip(f"no {path}")
    points = torch.from_numpy(np.fromfile(path, np.float32).reshape(-1, 4))
    coords, shape = voxelize(points, (0.05, 0.05, 0.1), (0, -40, -3, 70.4, 40, 1)).coords, (1408, 1600, 40)
    tensor = spconv.SparseConvTensor(torch.randn(len(coords), 16), coords, list(shape[::-1]), 1)
    same, down = spconv.SubMConv3d(16, 32, 3), spconv.SparseConv3d(32, 16, 3, 2, 1)
    expected = down(same(tensor))
    plan = sparse_conv_plan(coords, shape, 3, 2, 1)
    result = sparse_conv3d(tensor.features, same.weight, submanifold_conv_plan(coords, shape), same.bias)
    result = sparse_conv3d(result, down.weight, plan, down.bias)
    cells = reference.cells_of(expected.indices, plan.spatial_shape)
    assert torch.equal(expected.indices[cells.argsort()], plan.coords)
    torch.testing.assert_close(result, expected.features[cells.argsort()])
