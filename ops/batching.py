"""Dense, padded and packed batches of points seen as one list of rows with a [begin, end) range per cloud."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """All points of a batch as rows, and where each cloud lies.

    Attributes:
        rows: [R, C] contiguous rows of all clouds.
        begin: [B] int64, first row of each cloud.
        end: [B] int64, one past the last row of each cloud; equal to `begin` for a cloud without points.
    """

    rows: Tensor
    begin: Tensor
    end: Tensor


def rows_of(
    op: str,
    name: str,
    points: Tensor,
    lengths: Tensor | None = None,
    batch_index: Tensor | None = None,
    batch_size: int | None = None,
) -> Rows:
    """Rows of a dense [B, N, 3], padded (dense with `lengths` [B]) or packed ([R, 3] with `batch_index` [R]) batch.

    Args:
        op: the public function that asks, for its messages.
        name: its argument, for its messages.
        points: [B, N, 3], or [R, 3] (one cloud, or several with `batch_index`).
        lengths: [B] valid points of each cloud, only with dense points.
        batch_index: [R] int32 or int64, sorted, the cloud of each row, only with packed points.
        batch_size: number of clouds of a packed batch; by default the largest batch index + 1.

    Raises:
        ValueError: shapes, dtypes, lengths or a batch index that do not fit, or non-finite points (checked on the CPU only,
            where it costs no synchronisation).
    """
    if not isinstance(points, Tensor) or points.ndim not in (2, 3) or points.shape[-1] != 3:
        got = list(points.shape) if isinstance(points, Tensor) else type(points).__name__
        raise ValueError(f"{op}: {name} must be [B, N, 3] or [N, 3], got {got}")
    if not points.is_floating_point():
        raise ValueError(f"{op}: {name} must be floating point, got {points.dtype}")
    if points.ndim == 3:
        if batch_index is not None:
            raise ValueError(f"{op}: {name} is dense [B, N, 3], so it takes lengths and no batch index")
        begin, end = _dense_ranges(op, name, points, lengths)
    else:
        if lengths is not None:
            raise ValueError(f"{op}: {name} is packed [N, 3], so it takes a batch index and no lengths")
        begin, end = _packed_ranges(op, name, points, batch_index, batch_size)
    rows = points.reshape(-1, 3)
    if rows.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    return Rows(rows.contiguous(), begin, end)


def check_finite(op: str, name: str, rows: Rows) -> None:
    """Raise if a row of a cloud (not of the padding) is not finite; skipped on CUDA, where it would synchronise."""
    if rows.rows.device.type != "cpu" or torch.compiler.is_compiling() or bool(torch.isfinite(rows.rows).all()):
        return
    bad = (~torch.isfinite(rows.rows)).any(1).nonzero()[:, 0]
    for begin, end in zip(rows.begin.tolist(), rows.end.tolist(), strict=True):
        inside = bad[(bad >= begin) & (bad < end)]
        if len(inside):
            raise ValueError(
                f"{op}: {name} must be finite, got {rows.rows[inside[0]].tolist()} in row {int(inside[0]) - begin} of a cloud"
            )


def _dense_ranges(op: str, name: str, points: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, count = points.shape[:2]
    begin = torch.arange(batch, device=points.device) * count
    if lengths is None:
        return begin, begin + count
    if lengths.shape != (batch,) or lengths.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{op}: lengths of {name} must be [{batch}] integers, got {list(lengths.shape)} {lengths.dtype}")
    if lengths.device.type == "cpu" and not torch.compiler.is_compiling() and batch:
        if int(lengths.min()) < 0 or int(lengths.max()) > count:
            raise ValueError(f"{op}: lengths of {name} must be in [0, {count}], got {lengths.tolist()}")
    return begin, begin + lengths.to(begin)


def _packed_ranges(
    op: str, name: str, points: Tensor, batch_index: Tensor | None, batch_size: int | None
) -> tuple[Tensor, Tensor]:
    rows = len(points)
    if batch_index is None:
        ends = torch.full((1,), rows, dtype=torch.int64, device=points.device)
        return torch.zeros_like(ends), ends
    if batch_index.shape != (rows,) or batch_index.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"{op}: batch index of {name} must be [{rows}] integers, got {list(batch_index.shape)} {batch_index.dtype}"
        )
    if batch_size is None:
        batch_size = int(batch_index[-1]) + 1 if rows else 0
    clouds = torch.arange(batch_size, device=points.device, dtype=batch_index.dtype)
    if batch_index.device.type == "cpu" and not torch.compiler.is_compiling() and rows:
        if bool((batch_index[1:] < batch_index[:-1]).any()):
            raise ValueError(f"{op}: batch index of {name} must be sorted in ascending order")
        if int(batch_index[0]) < 0 or int(batch_index[-1]) >= batch_size:
            raise ValueError(
                f"{op}: batch index of {name} must be in [0, {batch_size}), got {int(batch_index[0])} to {int(batch_index[-1])}"
            )
    keys = batch_index.contiguous()
    return torch.searchsorted(keys, clouds, side="left"), torch.searchsorted(keys, clouds, side="right")
