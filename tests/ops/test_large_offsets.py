"""Rows beyond 2**31 elements: the address of an element does not fit 32 bits. Memory that nobody touches costs nothing here."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from triton_device import OnDevice

from geo3d.ops.cpu import grouping as cpu_grouping
from geo3d.ops.cpu import interpolation as cpu_interpolation
from geo3d.ops.cpu import scatter as cpu_scatter
from geo3d.ops.cpu import segments as cpu_segments
from geo3d.ops.cpu import sparse_conv as cpu_sparse_conv
from geo3d.ops.cuda import grouping as triton_grouping
from geo3d.ops.cuda import interpolation as triton_interpolation
from geo3d.ops.cuda import scatter as triton_scatter
from geo3d.ops.cuda import sparse_conv as triton_sparse_conv

cuda_grouping = OnDevice(triton_grouping)
cuda_interpolation = OnDevice(triton_interpolation)
cuda_scatter = OnDevice(triton_scatter)
cuda_sparse_conv = OnDevice(triton_sparse_conv)

CHANNELS = 4096
ROWS = 2**31 // CHANNELS + 8
KERNELS = Path(triton_scatter.__file__).parent


@pytest.fixture
def large() -> torch.Tensor:
    """[ROWS, CHANNELS] zeros, more than 2**31 of them, but for 7 in the last row. The system maps pages when they are touched."""
    values = torch.from_numpy(np.zeros((ROWS, CHANNELS), np.float32))
    values[-1] = 7
    return values


@pytest.mark.parametrize("gather_rows", [cpu_grouping.gather_rows, cuda_grouping.gather_rows], ids=["cpu", "triton"])
def test_gather(large, gather_rows):
    rows = torch.tensor([ROWS - 1, -1, 0, ROWS - 1])
    assert gather_rows(large, rows).sum(1).tolist() == [7 * CHANNELS, 0, 0, 7 * CHANNELS]


@pytest.mark.parametrize("name", ["cpu", "triton"])
def test_scatter(large, name):
    order = torch.tensor([ROWS - 1, 0])
    offsets = torch.tensor([0, 1, 2])
    segment_sum = cpu_segments.segment_sum if name == "cpu" else cuda_scatter.scatter_sum
    scatter_max = (cpu_scatter if name == "cpu" else cuda_scatter).scatter_max
    assert segment_sum(large, order, offsets, False).sum(1).tolist() == [7 * CHANNELS, 0]
    best, winner = scatter_max(large, order, offsets, False)
    assert best.sum(1).tolist() == [7 * CHANNELS, 0]
    assert winner[0].unique().tolist() == [ROWS - 1]


@pytest.mark.parametrize("name", ["cpu", "triton"])
def test_sparse_conv(large, name):
    sources = torch.tensor([[ROWS - 1, 0]], dtype=torch.int32)
    conv = (cpu_sparse_conv if name == "cpu" else cuda_sparse_conv).sparse_conv
    result = conv(large, torch.ones(1, CHANNELS, 2), None, sources)
    assert result.tolist() == [[7 * CHANNELS] * 2, [0, 0]]


@pytest.mark.parametrize("name", ["cpu", "triton"])
def test_interpolation(large, name):
    rows, weights = torch.tensor([[ROWS - 1, 0, -1]]), torch.tensor([[0.5, 0.25, 0.25]])
    weighted_rows = (cpu_interpolation if name == "cpu" else cuda_interpolation).weighted_rows
    assert weighted_rows(large, rows, weights).sum(1).tolist() == [3.5 * CHANNELS]


@pytest.mark.parametrize("path", sorted(KERNELS.glob("*.py")), ids=lambda path: path.stem)
def test_programs_count_in_64_bits(path):
    """In every kernel: tl.program_id(0), which counts rows, is an int32; what is multiplied with it overflows unless it is widened."""
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node) == "tl.program_id(0)"]
    widened = [
        node.func.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node).endswith(".to(tl.int64)")
    ]
    assert [f"{path.name}:{call.lineno}" for call in calls if call not in widened] == []
