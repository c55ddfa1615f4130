"""Which implementation each op runs on which device, and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import NamedTuple

import torch

from geo3d.ops.libraries import choice

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
SORTING = ("voxelize", "set_partition", "pooling_partition")
PADDED = ("voxelize_padded", "set_partition_padded", "sparse_conv_plan_padded")  # one code for both devices
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
        "voxelize_hard",
    ),
    *("box_iou_rotated", "box_iou_3d", "nms_rotated", "points_in_boxes", "count_points_in_boxes"),
)
TORCH = ("window_partition",)  # on CUDA, where a few of torch's operators do
CONVOLUTION = ("sparse_conv3d", "submanifold_conv_plan", "sparse_conv_plan", "sparse_conv_transpose_plan")


class Backend(NamedTuple):
    """What runs an op on a device.

    Attributes:
        op: the name in `geo3d.ops`.
        device: "cpu" or "cuda".
        implementation: "numba", "triton", "torch", a library's name, or "none" where the op cannot run.
        reason: one line.
    """

    op: str
    device: str
    implementation: str
    reason: str


def backends() -> tuple[Backend, ...]:
    """What runs where in this process, for every op on the CPU and on CUDA, and why.

    The implementation depends on the device of the tensors, and on `geo3d.ops.use` or GEO3D_USE where the user chose a library, so
    two runs on one device give the same result whatever is installed.

    Example:
        >>> implementations = {(row.op, row.device): row.implementation for row in backends()}
        >>> implementations["knn", "cpu"]
        'numba'
    """
    return tuple(row for op in (*SCATTER, *SORTING, *PADDED, *TORCH, *CONVOLUTION, *OTHERS) for row in (_cpu(op), _cuda(op)))


def _cpu(op: str) -> Backend:
    threads = f"{torch.get_num_threads()} threads"
    if op in PADDED:
        return Backend(op, "cpu", "torch", f"{threads}; of a fixed size for CUDA graphs, and the same here")
    return _with_library(op, Backend(op, "cpu", "numba", threads))


def _cuda(op: str) -> Backend:
    if not torch.cuda.is_available():
        return Backend(op, "cuda", "none", "torch finds no CUDA device")
    if importlib.util.find_spec("triton") is None:
        return Backend(op, "cuda", "none", "Triton is not installed; it comes with the CUDA builds of torch for Linux")
    implementation = "torch" if op in TORCH else "triton + torch.sort" if op in SORTING + PADDED else "triton"
    return _with_library(op, Backend(op, "cuda", implementation, torch.cuda.get_device_name()))


class _Library(NamedTuple):
    """package on PyPI; plans, the ops that stay ours; limits by device, of those who choose it; why, for those who do not."""

    package: str
    plans: tuple[str, ...]
    limits: dict[str, str]
    why: str


LIBRARIES = {
    "scatter": _Library(
        "torch-scatter",
        ("scatter_plan",),
        {
            "cpu": "NaN and infinities fall as it has them",
            "cuda": "sums in an order that differs between runs, ties and NaN fall as it has them",
        },
        "it is slower on the CPU, and on CUDA it adds in an order that differs between runs",
    ),
    "sparse_conv": _Library(
        "spconv",
        CONVOLUTION[1:],
        {"cpu": "one thread, no gradient", "cuda": "its algorithm Native; the two have not been compared on CUDA"},
        "on the CPU it is wrong with several threads and has no gradient; on CUDA the two have not been compared",
    ),
}


def _with_library(op: str, row: Backend) -> Backend:
    """The row with what is said of the library that has this op, too."""
    kind = "scatter" if op in SCATTER else "sparse_conv" if op in CONVOLUTION else None
    if kind is None:
        return row
    name, by = choice.chosen(kind)
    library = LIBRARIES[kind]
    if name == choice.OWN:
        return row._replace(reason=f"{row.reason}; {_not_used(kind, library)}")
    if op in library.plans:
        return row._replace(reason=f"{row.reason}; {name}, chosen by {by}, takes our plans")
    version = _version(library.package) or "of an unknown version"
    return row._replace(
        implementation=name, reason=f"{library.package} {version}, chosen by {by}: {library.limits[row.device]}"
    )


def _not_used(kind: str, library: _Library) -> str:
    version = _version(library.package)
    if version is None:
        return f"{library.package} is not installed, and would not be used unless chosen: {library.why}"
    chooses = f"geo3d.ops.use({kind}={choice.NAMES[kind][1]!r})"
    return f"{library.package} {version} is installed and not used, {chooses} chooses it: {library.why}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
