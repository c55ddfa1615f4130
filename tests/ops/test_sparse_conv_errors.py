"""What sparse convolutions refuse, in one line each."""

from __future__ import annotations

import pytest
import torch
from sparse_grids import BATCH, SHAPE, make_coords

from geo3d.ops.sparse_conv import (
    SparseTensor,
    sparse_conv3d,
    sparse_conv_plan,
    sparse_conv_transpose_plan,
    submanifold_conv_plan,
)

PLAN_ERRORS = {
    "shape of coords": (lambda c: sparse_conv_plan(c[:, :3], SHAPE, 3), r"coords must be \[V, 4\] int32 or int64"),
    "dtype of coords": (lambda c: sparse_conv_plan(c.float(), SHAPE, 3), "float32"),
    "outside": (lambda c: submanifold_conv_plan(c, (7, 2, 6)), r"y of coords must be in \[0, 2\), got"),
    "negative": (lambda c: submanifold_conv_plan(c - 1, SHAPE), r"batch of coords must be in \[0, \d+\), got -1"),
    "twice": (
        lambda c: submanifold_conv_plan(c[[0, 1, 0]], SHAPE),
        r"must be distinct, got \[\d, \d, \d, \d\] in rows 0 and 2",
    ),
    "twice, strided": (lambda c: sparse_conv_plan(c[[1, 1]], SHAPE, 3), "must be distinct"),
    "even kernel": (lambda c: submanifold_conv_plan(c, SHAPE, (3, 2, 3)), r"must be odd, got \(3, 2, 3\)"),
    "two sizes": (lambda c: sparse_conv_plan(c, SHAPE, (3, 3)), "kernel_size must be one or three integers"),
    "no stride": (lambda c: sparse_conv_plan(c, SHAPE, 3, 0), "stride must be .* at least 1, got 0"),
    "kernel too large": (lambda c: sparse_conv_plan(c, SHAPE, 9), "leaves an output grid of"),
    "grid too large": (lambda c: submanifold_conv_plan(c, (2**20, 2**20, 2**20)), "at most"),
    "output grid too large": (lambda c: sparse_conv_transpose_plan(c, SHAPE, 1, 2**16), "the output grid must have at most"),
}


@pytest.mark.parametrize("name", PLAN_ERRORS)
def test_bad_plans(name):
    call, message = PLAN_ERRORS[name]
    with pytest.raises(ValueError, match=message):
        call(make_coords("full"))


@pytest.mark.parametrize(
    ("features", "weight", "bias", "message"),
    [
        (torch.rand(4, 2), torch.rand(5, 3, 3, 3, 2), None, r"features must be \[3, C\] floating point on cpu, got \[4, 2\]"),
        (torch.ones(3, 2, dtype=torch.int64), torch.rand(5, 3, 3, 3, 2), None, "floating point"),
        (torch.rand(3, 2), torch.rand(5, 2, 3, 3, 3), None, r"weight must be \[C_out, 3, 3, 3, 2\] \(kernel z, y, x\)"),
        (torch.rand(3, 2), torch.rand(5, 3, 3, 3, 2), torch.rand(4), r"bias must be \[5\], got \[4\]"),
        (torch.rand(3, 2).double(), torch.rand(5, 3, 3, 3, 2), None, "weight must be torch.float64 on cpu, as the features"),
        (torch.rand(3, 2), torch.rand(5, 3, 3, 3, 2), torch.rand(5).half(), "bias must be torch.float32"),
    ],
)
def test_bad_arguments(features, weight, bias, message):
    plan = submanifold_conv_plan(make_coords("full")[:3], SHAPE)
    with pytest.raises(ValueError, match=message):
        sparse_conv3d(features, weight, plan, bias)


def test_bad_sparse_tensors():
    coords = make_coords("full")[:3]
    with pytest.raises(ValueError, match=r"SparseTensor: features must be \[3, C\]"):
        SparseTensor(torch.rand(2, 4), coords, SHAPE, BATCH)
    with pytest.raises(ValueError, match="batch_size must not be negative"):
        SparseTensor(torch.rand(3, 4), coords, SHAPE, -1)
    with pytest.raises(ValueError, match="distinct"):
        SparseTensor(torch.rand(2, 4), coords[[0, 0]], SHAPE, BATCH).dense()
    with pytest.raises(ValueError, match=r"batch of coords must be in \[0, 1\)"):
        SparseTensor(torch.rand(210, 4), make_coords("full")[:210], SHAPE, 1).dense()
