"""Sampling of points."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from geo3d.ops.batching import check_finite, rows_of


def farthest_point_sample(
    points: Tensor,
    num_samples: int,
    *,
    start: int | Tensor = 0,
    lengths: Tensor | None = None,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
    ties: Literal["lowest", "cuda"] = "lowest",
) -> Tensor:
    """Farthest point sampling: each pick is the point whose distance to the points picked so far is largest.

    Eldar et al., "The farthest point strategy for progressive image sampling", IEEE TIP 1997.

    Args:
        points: [B, N, 3] dense, or [R, 3] packed; float16, bfloat16 (computed in float32), float32 or float64.
        num_samples: S, the number of picks in each cloud.
        start: index in its cloud of the first pick, one for all clouds or [B] integers.
        lengths: [B] valid points of each cloud of a dense batch.
        batch_index: [R] sorted cloud of each row of a packed batch; without it the rows are one cloud.
        batch_size: number of clouds of a packed batch, by default the largest batch index + 1.
        ties: which of several equally far points is picked: the "lowest" index, or the one that a "cuda" reduction over a
            block of threads leaves (the smallest bit-reversed index modulo the block, then the lowest; the block is the largest
            power of two up to min(N, 1024)), as in the kernels that published weights were trained with.

    Returns:
        [B, S] int64 in the order of picking: indices within each cloud for dense points, rows for packed ones. Once every
        distinct point is picked, the start is repeated. -1 throughout for a cloud without points. Not differentiable.

    Raises:
        ValueError: shapes, dtypes or ranges that do not fit, and on the CPU points that are not finite.

    Example:
        >>> points = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [1.0, 0, 0], [0.0, 2, 0]])
        >>> farthest_point_sample(points, 3)
        tensor([[0, 3, 2]])
    """
    op = "farthest_point_sample"
    rows = rows_of(op, "points", points, lengths, batch_index, batch_size)
    check_finite(op, "points", rows)
    if num_samples < 0:
        raise ValueError(f"{op}: num_samples must not be negative, got {num_samples}")
    if ties not in ("lowest", "cuda"):
        raise ValueError(f"{op}: ties must be 'lowest' or 'cuda', got {ties!r}")
    clouds = len(rows.begin)
    if isinstance(start, Tensor):
        if start.shape != (clouds,) or start.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"{op}: start must be an integer or [{clouds}] integers, got {list(start.shape)} {start.dtype}")
        first = start.to(rows.begin)
    else:
        first = torch.full_like(rows.begin, start)
    if first.device.type == "cpu" and not torch.compiler.is_compiling():
        outside = (first < 0) | (first >= rows.end - rows.begin)
        if bool((outside & (rows.end > rows.begin)).any()):
            raise ValueError(
                f"{op}: start must be an index in its cloud, got {first.tolist()} for clouds of {(rows.end - rows.begin).tolist()}"
            )
    picks = torch.ops.geo3d.farthest_point_sample(rows.rows.detach(), rows.begin, rows.end, first, num_samples, ties == "cuda")
    return picks if points.ndim == 3 else torch.where(picks < 0, picks, picks + rows.begin[:, None])


@torch.library.custom_op("geo3d::farthest_point_sample", mutates_args=(), device_types="cpu")
def _farthest_point_sample(
    points: Tensor, begin: Tensor, end: Tensor, start: Tensor, num_samples: int, cuda_ties: bool
) -> Tensor:
    from geo3d.ops.cpu import sampling as cpu

    return cpu.farthest_point_sample(points, begin, end, start, num_samples, cuda_ties)


@_farthest_point_sample.register_kernel("cuda")
def _(points, begin, end, start, num_samples, cuda_ties):
    from geo3d.ops.cuda import sampling as cuda

    return cuda.farthest_point_sample(points, begin, end, start, num_samples, cuda_ties)


@_farthest_point_sample.register_fake
def _(points, begin, end, start, num_samples, cuda_ties):
    return begin.new_empty((begin.shape[0], num_samples))
