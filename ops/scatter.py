"""Reductions over the rows that share an index: what turns points into voxels, and back."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

import geo3d.ops.scatter_registered  # noqa: F401
from geo3d.ops.libraries import choice


class ScatterPlan(NamedTuple):
    """An index sorted once, which every function here takes in place of the index.

    Attributes:
        target: [N] int64, the output row of each input row, or -1.
        order: [N] int64, the input rows by output row and, within one, as they came; those with index -1 at the end.
        offsets: [M + 1] int64; the inputs of output row m are order[offsets[m]:offsets[m + 1]].
    """

    target: Tensor
    order: Tensor
    offsets: Tensor

    @property
    def rows(self) -> int:
        """M, the number of output rows."""
        return self.offsets.shape[0] - 1

    @property
    def counts(self) -> Tensor:
        """[M] int64, the number of input rows of each output row."""
        return self.offsets.diff()


def scatter_plan(index: Tensor, rows: int) -> ScatterPlan:
    """Sort an index once for several reductions, forward and backward.

    Args:
        index: [N] int32 or int64, the output row of each input row, in [0, rows), or -1 for an input that goes nowhere.
            An index that is sorted already costs one pass.
        rows: M, the number of output rows.

    Raises:
        ValueError: shape or dtype that do not fit, a negative `rows`, and on the CPU an index outside [-1, rows). On CUDA the
            range is not checked, because that would synchronise.

    Example:
        >>> plan = scatter_plan(torch.tensor([1, 0, 1]), rows=2)
        >>> scatter_sum(torch.tensor([1.0, 2.0, 3.0]), plan), scatter_mean(torch.tensor([1.0, 2.0, 3.0]), plan)
        (tensor([2., 4.]), tensor([2., 2.]))
    """
    _check_index(index, rows)
    index = index.to(torch.int64).contiguous()
    return ScatterPlan(index, *torch.ops.geo3d.scatter_plan(index, rows))


def scatter_sum(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """Sum of the input rows that share an output row.

    Args:
        values: [N, ...] floating point, any strides; half precision is summed in float32.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        [M, ...] in the dtype of `values`, zero where no input row goes. The rows are added in their order, so that the result
        is the same in every run, whatever the number of threads. Differentiable in `values`, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_sum(values, index, 2)
        tensor([6., 2.])
    """
    return _reduce("scatter_sum", values, index, rows)


def scatter_mean(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """Mean of the input rows that share an output row; zero where there is none. Otherwise as `scatter_sum`.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_mean(values, index, 2)
        tensor([3., 2.])
    """
    return _reduce("scatter_mean", values, index, rows)


def scatter_max(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Largest value of each channel among the input rows that share an output row.

    Args:
        values: [N, ...] floating point, any strides.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        maxima [M, ...], zero where no input row goes, and the winning input row [M, ...] int64, N where none. The first row
        wins a tie, on every device; NaN counts as the largest value. Maxima are differentiable in `values`, any number of
        times; the gradient goes to the winning row alone.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_max(values, index, 2)
        (tensor([5., 2.]), tensor([1, 2]))
    """
    return _reduce("scatter_max", values, index, rows)


def scatter_min(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Smallest value of each channel among the input rows that share an output row. Otherwise as `scatter_max`.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_min(values, index, 2)
        (tensor([1., 2.]), tensor([0, 2]))
    """
    return _reduce("scatter_min", values, index, rows)


def scatter_amax(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """The maxima of `scatter_max` without the winning rows, which saves most of the time and memory where no gradient is needed.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_amax(values, index, 2)
        tensor([5., 2.])
    """
    return _reduce("scatter_amax", values, index, rows)


def scatter_amin(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """The minima of `scatter_min` without the winning rows. Otherwise as `scatter_amax`.

    Example:
        >>> values, index = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_amin(values, index, 2)
        tensor([1., 2.])
    """
    return _reduce("scatter_amin", values, index, rows)


def scatter_softmax(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """Softmax of each channel among the input rows that share an output row.

    Args:
        values: [N, ...] floating point, any strides; half precision is computed in float32.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        [N, ...] in the dtype of `values`; zero for rows with index -1, NaN where all rows of an output row are minus infinity.
        Differentiable in `values`, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([3.0, 3.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_softmax(values, index, 2)
        tensor([0.5000, 0.5000, 1.0000])
    """
    return _reduce("scatter_softmax", values, index, rows)


def scatter_logsumexp(values: Tensor, index: Tensor | ScatterPlan, rows: int | None = None) -> Tensor:
    """log(sum(exp(values))) of each channel over the input rows that share an output row, without overflow.

    Args:
        values: [N, ...] floating point, any strides; half precision is computed in float32.
        index: [N] int32 or int64 in [0, rows), or -1 for rows that are left out; or a plan from `scatter_plan`.
        rows: M, the number of output rows; left out with a plan.

    Returns:
        [M, ...] in the dtype of `values`; minus infinity where no input row goes. Differentiable in `values`, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, and on the CPU an index outside [-1, rows).

    Example:
        >>> values, index = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([0, 0, 1])
        >>> scatter_logsumexp(values, index, 2)
        tensor([0.6931, 2.0000])
    """
    return _reduce("scatter_logsumexp", values, index, rows)


def _reduce(op: str, values: Tensor, index: Tensor | ScatterPlan, rows: int | None) -> Any:
    """A reduction by its public name, with values of any trailing shape, by the library that is chosen."""
    _check_values(op, values)
    given = index.target if isinstance(index, ScatterPlan) else index
    rows = _rows(op, index, rows)
    _check_index(given, rows)
    _check_fit(op, values, given)
    flat = values.reshape(values.shape[0], prod(values.shape[1:])).contiguous()
    theirs = choice.library("scatter")
    if theirs is not None:
        result = theirs.reduce(op, flat, given.long(), rows)
    else:
        if op in ("scatter_amax", "scatter_amin") and values.requires_grad and torch.is_grad_enabled():
            return _reduce(op.replace("_a", "_"), values, index, rows)[0]  # the gradient goes to the winning rows
        result = OURS[op](flat, index if isinstance(index, ScatterPlan) else scatter_plan(index, rows))
    shape = (values.shape[0] if op == "scatter_softmax" else rows, *values.shape[1:])
    return tuple(part.view(shape) for part in result) if isinstance(result, tuple) else result.view(shape)


OURS: dict[str, Callable[[Tensor, ScatterPlan], Any]] = {  # values [N, C] and their plan
    "scatter_sum": lambda values, plan: torch.ops.geo3d.scatter_sum(values, *plan, False),
    "scatter_mean": lambda values, plan: torch.ops.geo3d.scatter_sum(values, *plan, True),
    "scatter_max": lambda values, plan: torch.ops.geo3d.scatter_max(values, plan.order, plan.offsets, False),
    "scatter_min": lambda values, plan: torch.ops.geo3d.scatter_max(values, plan.order, plan.offsets, True),
    "scatter_amax": lambda values, plan: torch.ops.geo3d.scatter_amax(values, plan.order, plan.offsets, False),
    "scatter_amin": lambda values, plan: torch.ops.geo3d.scatter_amax(values, plan.order, plan.offsets, True),
    "scatter_softmax": lambda values, plan: torch.ops.geo3d.scatter_softmax(values, *plan),
    "scatter_logsumexp": lambda values, plan: torch.ops.geo3d.scatter_logsumexp(values, *plan),
}


def _check_values(op: str, values: Tensor) -> None:
    if not isinstance(values, Tensor) or values.ndim == 0 or not values.is_floating_point():
        got = f"{list(values.shape)} {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{op}: values must be [N, ...] floating point, got {got}")


def _rows(op: str, index: Tensor | ScatterPlan, rows: int | None) -> int:
    if isinstance(index, ScatterPlan):
        if rows is not None and rows != index.rows:
            raise ValueError(f"{op}: the plan is for {index.rows} rows, got rows={rows}")
        return index.rows
    if rows is None:
        raise ValueError(f"{op}: rows, the number of output rows, is needed unless index is a plan from scatter_plan")
    return rows


def _check_fit(op: str, values: Tensor, index: Tensor) -> None:
    if index.shape[0] != values.shape[0]:
        raise ValueError(f"{op}: index must be [N] for values [N, ...], got {list(index.shape)} and {list(values.shape)}")
    if index.device != values.device:
        raise ValueError(f"{op}: index is on {index.device} and values on {values.device}")


def _check_index(index: Tensor, rows: int) -> None:
    if not isinstance(index, Tensor) or index.ndim != 1 or index.dtype not in (torch.int32, torch.int64):
        got = f"{list(index.shape)} {index.dtype}" if isinstance(index, Tensor) else type(index).__name__
        raise ValueError(f"scatter: index must be [N] int32 or int64, or a plan, got {got}")
    if rows < 0:
        raise ValueError(f"scatter: rows must not be negative, got {rows}")
