"""Windows of voxels, their sets of equal size, and pooling cells (DSVT, Wang et al., CVPR 2023, "dynamic sparse window attention").

Voxel coordinates are (batch, z, y, x); shapes, shifts and strides are triples (x, y, z) in voxels. Everything here is integer,
deterministic and without gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geo3d.ops.reference import windows as reference
from geo3d.ops.sparse_tensor import check_inside

INTEGERS = (torch.int32, torch.int64)


def window_partition(
    coords: Tensor, sparse_shape: Sequence[int], window_shape: Sequence[int], shift: Sequence[int] = (0, 0, 0)
) -> tuple[Tensor, Tensor]:
    """The window of each voxel and its place inside.

    Args:
        coords: [V, 4] int32 or int64 (batch, z, y, x), in any order, inside the grid; rows of -1 are in no window.
        sparse_shape: (x, y, z) voxels of the grid; windows need not divide it.
        window_shape: (x, y, z) voxels of a window.
        shift: (x, y, z) added to the coordinates first, in [0, window]. Taken as 0 in z if one window spans the grid's height.

    Returns:
        window_index [V] int64, ascending by (batch, x, y, z) of the window, with gaps where a window has no voxel; windows of
        different batch entries differ; -1 for a row in no window. in_window [V, 3] (z, y, x) in the dtype of `coords`.

    Raises:
        ValueError: shapes, dtypes or sizes that do not fit, and on the CPU a voxel outside the grid.

    Example:
        >>> coords = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 5]], dtype=torch.int32)
        >>> window_partition(coords, sparse_shape=(8, 8, 1), window_shape=(4, 4, 1))
        (tensor([0, 6]), tensor([[0, 0, 0],
                [0, 0, 1]], dtype=torch.int32))
    """
    op = "window_partition"
    _check_coords(op, coords)
    shape, window = _triple(op, "sparse_shape", sparse_shape), _triple(op, "window_shape", window_shape)
    moved = _triple(op, "shift", shift, least=0)
    if any(step > size for step, size in zip(moved, window, strict=True)):
        raise ValueError(f"{op}: shift must not exceed the window, got {moved} for windows of {window}")
    if shape[2] == window[2]:
        moved[2] = 0
    return torch.ops.geo3d.window_partition(coords.contiguous(), shape, window, moved)


def set_partition(window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int) -> tuple[Tensor, Tensor]:
    """Sets of equal size that share out the voxels of each window, in two orders ("rotated sets").

    A window of n voxels has S_w = ceil(n / T) sets; slot t of its set j holds the voxel of rank floor((j T + t) n / (S_w T)) in
    the order of the window. Ranks repeat to fill the sets, so each voxel is in exactly one set, at least once.

    Args:
        window_index: [V] int32 or int64, not negative, from `window_partition`.
        in_window: [V, 3] int32 or int64 (z, y, x), in the window.
        window_shape: (x, y, z) voxels of a window.
        set_size: T, slots of a set.

    Returns:
        sets [2, S, T] int64 rows, window by window in ascending order; index 0 orders the voxels of a window by (y, x, z), index 1
        by (x, y, z), equals by row. padding [2, S, T] bool, True where a slot repeats the one before it in its set: among the
        others each voxel is there exactly once. Without voxels S is 0. On CUDA the number of sets S is what the host waits for.

    Raises:
        ValueError: shapes, dtypes or sizes that do not fit, and on the CPU a place outside the window or a negative index.

    Example:
        >>> in_window = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=torch.int32)
        >>> set_partition(torch.zeros(3, dtype=torch.int64), in_window, window_shape=(4, 4, 1), set_size=3)[0].tolist()
        [[[0, 1, 2]], [[0, 2, 1]]]
    """
    window = check_sets("set_partition", window_index, in_window, window_shape, set_size)
    return torch.ops.geo3d.set_partition(window_index.long().contiguous(), in_window.contiguous(), window, set_size)


def pooling_partition(coords: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The cells of a coarser grid that hold voxels, and the cell and slot of each voxel.

    Args:
        coords: [V, 4] int32 or int64 (batch, z, y, x), in any order, inside the grid.
        stride: (x, y, z) voxels of a cell.
        sparse_shape: (x, y, z) voxels of the grid; the stride need not divide it.

    Returns:
        pooled coords [P, 4] in the dtype of `coords`, ascending by (batch, x, y, z); cell_of_voxel [V] int64, in [0, P);
        slot_of_voxel [V] int64, the place in the cell (x sy + y) sz + z. On CUDA the number of cells P is what the host waits for.

    Raises:
        ValueError: shapes, dtypes or sizes that do not fit, and on the CPU a voxel outside the grid.

    Example:
        >>> coords = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]], dtype=torch.int32)
        >>> pooling_partition(coords, stride=(2, 1, 1), sparse_shape=(4, 1, 1))
        (tensor([[0, 0, 0, 0],
                [0, 0, 0, 1]], dtype=torch.int32), tensor([0, 0, 1]), tensor([0, 1, 0]))
    """
    op = "pooling_partition"
    _check_coords(op, coords)
    steps, shape = _triple(op, "stride", stride), _triple(op, "sparse_shape", sparse_shape)
    return torch.ops.geo3d.pooling_partition(coords.contiguous(), steps, shape)


def check_sets(op: str, window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int) -> list[int]:
    """The checked shape of a window; raises unless the arguments of `set_partition` fit."""
    count = len(window_index)
    if window_index.ndim != 1 or window_index.dtype not in INTEGERS:
        raise ValueError(f"{op}: window_index must be [V] int32 or int64, got {_describe(window_index)}")
    if in_window.shape != (count, 3) or in_window.dtype not in INTEGERS or in_window.device != window_index.device:
        raise ValueError(f"{op}: in_window must be [{count}, 3] integers on {window_index.device}, got {_describe(in_window)}")
    if set_size < 1:
        raise ValueError(f"{op}: set_size must be at least 1, got {set_size}")
    return _triple(op, "window_shape", window_shape)


def _check_coords(op: str, coords: Tensor) -> None:
    if not isinstance(coords, Tensor) or coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype not in INTEGERS:
        raise ValueError(f"{op}: coords must be [V, 4] int32 or int64 (batch, z, y, x), got {_describe(coords)}")


def _triple(op: str, name: str, values: Sequence[int], least: int = 1) -> list[int]:
    if len(values) != 3 or any(value < least for value in values):
        raise ValueError(f"{op}: {name} must be three integers (x, y, z) of at least {least}, got {list(values)}")
    return [int(value) for value in values]


def _describe(value: object) -> str:
    return f"{list(value.shape)} {value.dtype} on {value.device}" if isinstance(value, Tensor) else type(value).__name__


@torch.library.custom_op("geo3d::window_partition", mutates_args=(), device_types="cpu")
def _window_partition(
    coords: Tensor, sparse_shape: Sequence[int], window_shape: Sequence[int], shift: Sequence[int]
) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import windows as cpu

    if len(coords) and bool((coords[:, 0] < 0).any()):
        check_inside("window_partition", coords, (sparse_shape[0], sparse_shape[1], sparse_shape[2]), 2**31)
        return reference.window_partition(coords, sparse_shape, window_shape, shift)
    return cpu.window_partition(coords, sparse_shape, window_shape, shift)


@_window_partition.register_kernel("cuda")
def _(coords, sparse_shape, window_shape, shift):
    from geo3d.ops.cuda import windows as cuda

    return cuda.window_partition(coords, sparse_shape, window_shape, shift)


@_window_partition.register_fake
def _(coords, sparse_shape, window_shape, shift):
    return coords.new_empty(coords.shape[0], dtype=torch.int64), coords.new_empty((coords.shape[0], 3))


@torch.library.custom_op("geo3d::set_partition", mutates_args=(), device_types="cpu")
def _set_partition(
    window_index: Tensor, in_window: Tensor, window_shape: Sequence[int], set_size: int
) -> tuple[Tensor, Tensor]:
    from geo3d.ops.cpu import windows as cpu

    return cpu.set_partition(window_index, in_window, window_shape, set_size)


@_set_partition.register_kernel("cuda")
def _(window_index, in_window, window_shape, set_size):
    from geo3d.ops.cuda import windows as cuda

    return cuda.set_partition(window_index, in_window, window_shape, set_size)


@_set_partition.register_fake
def _(window_index, in_window, window_shape, set_size):
    sets = torch.library.get_ctx().new_dynamic_size()
    return window_index.new_empty((2, sets, set_size)), window_index.new_empty((2, sets, set_size), dtype=torch.bool)


@torch.library.custom_op("geo3d::pooling_partition", mutates_args=(), device_types="cpu")
def _pooling_partition(coords: Tensor, stride: Sequence[int], sparse_shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    from geo3d.ops.cpu import windows as cpu

    return cpu.pooling_partition(coords, stride, sparse_shape)


@_pooling_partition.register_kernel("cuda")
def _(coords, stride, sparse_shape):
    from geo3d.ops.cuda import windows as cuda

    return cuda.pooling_partition(coords, stride, sparse_shape)


@_pooling_partition.register_fake
def _(coords, stride, sparse_shape):
    cells = torch.library.get_ctx().new_dynamic_size()
    of_voxel = coords.new_empty(coords.shape[0], dtype=torch.int64)
    return coords.new_empty((cells, 4)), of_voxel, torch.empty_like(of_voxel)
