"""Which implementation each op runs on which device, and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import NamedTuple

import torch

# What an op is made of besides numba on the CPU and Triton on CUDA.
SCATTER = (
    "scatter_plan",
    "scatter_sum",
    "scatter_mean",
    "scatter_max",
    "scatter_min",
    "scatter_amax",
    "scatter_amin",
    "scatter_softmax",
    "scatter_logsumexp",
)
SORTING = ("voxelize", "voxelize_hard", "window_partition", "set_partition", "pooling_partition")
OTHERS = (
    *(
        "set_attention",
        "kernel_point_conv",
        "farthest_point_sample",
        "knn",
        "ball_query",
        "gather",
        "three_interpolate",
        "interpolate",
        "voxel_features",
    ),
    *("box_iou_rotated", "box_iou_3d", "nms_rotated", "points_in_boxes", "count_points_in_boxes"),
)
CONVOLUTION = ("sparse_conv3d", "submanifold_conv_plan", "sparse_conv_plan", "sparse_conv_transpose_plan")


class Backend(NamedTuple):
    """op; device, "cpu" or "cuda"; implementation, "numba", "triton", a library's name, or "none" where the op cannot run; reason, one line."""

    op: str
    device: str
    implementation: str
    reason: str


def backends() -> tuple[Backend, ...]:
    """What runs where in this process, for every op on the CPU and on CUDA, and why no optional library is used instead.

    The implementation depends on the device of the tensors alone, so two runs on one device give the same result whatever is installed.

    Example:
        >>> implementations = {(row.op, row.device): row.implementation for row in backends()}
        >>> implementations["knn", "cpu"]
        'numba'
    """
    return tuple(row for op in (*SCATTER, *SORTING, *CONVOLUTION, *OTHERS) for row in (_cpu(op), _cuda(op)))


def _cpu(op: str) -> Backend:
    reason = f"{torch.get_num_threads()} threads"
    if op in CONVOLUTION:
        reason += f"; {_spconv()}"
    elif op in SCATTER:
        reason += f"; {_torch_scatter()}"
    return Backend(op, "cpu", "numba", reason)


def _cuda(op: str) -> Backend:
    if not torch.cuda.is_available():
        return Backend(op, "cuda", "none", "torch finds no CUDA device")
    if importlib.util.find_spec("triton") is None:
        return Backend(op, "cuda", "none", "Triton is not installed; it comes with the CUDA builds of torch for Linux")
    reason = torch.cuda.get_device_name()
    if op in SORTING:
        return Backend(op, "cuda", "triton + torch.sort", reason)
    if op in SCATTER:
        reason += f"; {_torch_scatter()}"
    elif op in CONVOLUTION:
        reason += f"; {_spconv()}"
    return Backend(op, "cuda", "triton", reason)


def _torch_scatter() -> str:
    return _not_used("torch-scatter", "it is slower on the CPU, and on CUDA it adds in an order that differs between runs")


def _spconv() -> str:
    return _not_used(
        "spconv", "on the CPU it is wrong with several threads and has no gradient; on CUDA the two have not been compared"
    )


def _not_used(package: str, why: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)} is installed and not used: {why}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} is not installed, and would not be used: {why}"
