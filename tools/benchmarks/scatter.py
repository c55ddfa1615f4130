"""Workloads of the scatter family: the points of a sweep to its voxels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geo3d import ops
from geo3d.tools.benchmarks.clouds import RANGE, sweep
from geo3d.tools.benchmarks.workloads import Workload, Workloads, backward, optional

OPS = ("scatter_sum", "scatter_mean", "scatter_amax", "scatter_max")


def workloads(device: torch.device) -> Workloads:
    """Sum and mean at the widths that detectors use, forward and with backward; maxima likewise."""
    points = sweep(160_000).to(device)
    voxels = ops.voxelize(points[:, :3], (0.32, 0.32, 0.1875), RANGE)
    keep = voxels.point_to_voxel >= 0
    index, rows = voxels.point_to_voxel[keep].contiguous(), len(voxels.coords)
    yield from _sums(index, rows, 64, False)
    yield from _sums(index, rows, 192, True)
    yield from _maxima(index, rows, 64)
    yield from _maxima(index, rows, 192)


def _sums(index: Tensor, rows: int, channels: int, mean: bool) -> Workloads:
    values = _values(index, channels)
    name = "mean" if mean else "sum"
    ours = ops.scatter_mean if mean else ops.scatter_sum
    torch_scatter = optional("torch_scatter")
    wide = index[:, None].expand_as(values)
    counts = torch.bincount(index, minlength=rows).clamp_(min=1)[:, None]

    def index_add():
        total = values.new_zeros(rows, channels).index_add(0, index, values)
        return total / counts if mean else total

    def scatter_reduce():
        return values.new_zeros(rows, channels).scatter_reduce(0, wide, values, name, include_self=False)

    def embedding_bag():
        order = torch.argsort(index)
        offsets = torch.bincount(index, minlength=rows).cumsum(0).roll(1)
        offsets[0] = 0
        return F.embedding_bag(order, values, offsets, mode=name)

    plan = ops.scatter_plan(index, rows)
    peers = {"index_add": index_add, "scatter_reduce": scatter_reduce, "argsort + embedding_bag": embedding_bag}
    if torch_scatter:
        peers["torch-scatter"] = lambda: torch_scatter.scatter(values, index, 0, dim_size=rows, reduce=name)
    size = f"{len(index):,} to {rows:,} rows, C = {channels}"
    yield from _both(
        f"scatter_{name}",
        size,
        lambda: ours(values, index, rows),
        lambda: ours(values, plan),
        peers,
        values,
        rows,
    )


def _maxima(index: Tensor, rows: int, channels: int) -> Workloads:
    values = _values(index, channels)
    torch_scatter = optional("torch_scatter")
    wide = index[:, None].expand_as(values)
    plan = ops.scatter_plan(index, rows)
    size = f"{len(index):,} to {rows:,} rows, C = {channels}"
    peers = {
        "scatter_reduce": lambda: values.new_zeros(rows, channels).scatter_reduce(0, wide, values, "amax", include_self=False),
        "index_reduce": lambda: values.new_zeros(rows, channels).index_reduce(0, index, values, "amax", include_self=False),
    }
    with_rows = (
        {"torch-scatter": lambda: torch_scatter.scatter_max(values, index, 0, dim_size=rows)[0]} if torch_scatter else {}
    )
    yield from _both(
        "scatter_amax",
        size,
        lambda: ops.scatter_amax(values, index, rows),
        lambda: ops.scatter_amax(values, plan),
        peers | with_rows,
        values,
        rows,
    )
    moved = 4 * channels * (len(index) + rows) + 8 * channels * rows
    yield Workload(
        "scatter_max",
        f"scatter_max with the winning rows, {size}",
        _without_grad(lambda: ops.scatter_max(values, index, rows)[0]),
        _without_grads(with_rows),
        moved,
        agree={"torch-scatter": Tensor.detach},
    )


def _both(op, size, ours, planned, peers, values, rows) -> Workloads:
    """Forward, and forward with backward, each without and with a plan that was made before."""
    moved = values.element_size() * values.shape[1] * (len(values) + rows)
    agree = {name: torch.Tensor.detach for name in peers}
    grad = torch.rand(rows, values.shape[1], device=values.device)
    for remark, call in (("", ours), (", plan reused", planned)):
        yield Workload(op, f"{op}, {size}{remark}", _without_grad(call), _without_grads(peers), moved, agree=agree)
    for remark, call in (("", ours), (", plan reused", planned)):
        yield Workload(
            op,
            f"{op}, {size}, forward + backward{remark}",
            backward(call, [values], grad),
            {name: backward(peer, [values], grad) for name, peer in peers.items()},
            2 * moved,
        )


def _values(index: Tensor, channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.rand(len(index), channels, generator=generator).to(index.device).requires_grad_()


def _without_grad(call):
    def forward():
        with torch.no_grad():
            return call()

    return forward


def _without_grads(peers):
    return {name: _without_grad(peer) for name, peer in peers.items()}
