"""DSVT: Dynamic Sparse Voxel Transformer with Rotated Sets.

Wang, Shi, Shi, Lei, Wang, He, Schiele, Wang, CVPR 2023 (arXiv 2301.06051), section 3. Voxels attend to each other in sets of equal
size; consecutive blocks cut the grid into windows in two ways, and between stages the grid is pooled. Voxel coordinates are
(batch, z, y, x), all triples (x, y, z).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from geo3d.models.dsvt.blocks import ACTIVATIONS, Block
from geo3d.models.dsvt.encoder import VoxelFeatures
from geo3d.models.dsvt.pooling import AttentionPooling, Cells, LinearPooling, MaxPooling
from geo3d.models.dsvt.sets import RotatedSets, Window, Windows, rotated_sets, windows_of
from geo3d.ops import pooling_partition

Triple = tuple[int, int, int]
POOLINGS: dict[str, Callable[[int, int], nn.Module]] = {
    "attention": AttentionPooling,
    "linear": LinearPooling,
    "max": lambda channels, capacity: MaxPooling(),
}


@dataclass(frozen=True)
class StageConfig:
    """Blocks at one resolution. Triples are (x, y, z).

    Attributes:
        blocks: how many; each has two layers.
        set_size: voxels that attend to each other.
        window: voxels of a window of the first partition.
        shift: of the second partition, in voxels; none in z where the window is as high as the grid.
        stride: voxels of the stage before in one of this; of the first stage 1.
        first_shift: of the first partition, as `shift`; the published networks have none.
        heads: attention heads of this stage's blocks; the backbone's when None.
        feedforward: width between the two linear layers of this stage's layers; the backbone's when None.
    """

    blocks: int
    set_size: int
    window: Triple
    shift: Triple
    stride: Triple = (1, 1, 1)
    first_shift: Triple = (0, 0, 0)
    heads: int | None = None
    feedforward: int | None = None


class DSVTBackbone(nn.Module):
    """Stages of blocks of set attention, with pooling in between.

    Args:
        grid: voxels of the grid.
        stages: from fine to coarse.
        channels: C.
        heads: attention heads of the blocks where the stage does not say; divides `channels`.
        feedforward: width between the two linear layers of a layer where the stage does not say.
        hybrid_factor: windows of the second partition are this much larger.
        pooling: how voxels become one between stages.
        activation: between the two linear layers.
        matched_positions: tell both layers of a block the places in the windows that its sets are in. Without it, as in all
            published results and weights, layer i is told places in the windows of partition i.
        checkpoint_blocks: keep only what goes between blocks for the backward pass, and compute the rest again: about half the memory.
        normalize_positions: embed places in units of the window's size, times two pi, instead of in voxels (the authors'
            `normalize_pos`, which no published network uses).

    Attributes:
        out_grid: (x, y, z) voxels of the grid after the last stage.
        stride: (x, y, z) voxels of the first grid in one of the last.

    Raises:
        ValueError: numbers that do not fit.
    """

    def __init__(
        self,
        grid: Triple,
        stages: Sequence[StageConfig],
        channels: int = 192,
        heads: int = 8,
        feedforward: int = 384,
        hybrid_factor: Triple = (2, 2, 1),
        pooling: Literal["attention", "linear", "max"] = "attention",
        activation: Literal["gelu", "relu"] = "gelu",
        matched_positions: bool = False,  # True changes the accuracy little, the authors say
        checkpoint_blocks: bool = False,
        normalize_positions: bool = False,
    ):
        super().__init__()
        _check(grid, stages, channels, heads, pooling, activation)
        self.grid, self.channels, self.checkpoint_blocks = _triple(grid), channels, checkpoint_blocks
        self.stride: Triple = (1, 1, 1)
        self.stages = nn.ModuleList()
        first_block = 0  # blocks are counted over all stages, and the partitions alternate
        for config in stages:
            grid, self.stride = _pooled(grid, config.stride), _times(self.stride, config.stride)
            pool = POOLINGS[pooling](channels, _product(config.stride)) if len(self.stages) else None
            windows = (
                Window(_triple(config.window), _triple(config.first_shift)),
                Window(_times(config.window, hybrid_factor), _triple(config.shift)),
            )
            blocks = [
                Block(
                    windows,
                    (first_block + b) % 2,
                    2 if grid[2] == 1 else 3,
                    channels,
                    heads if config.heads is None else config.heads,
                    feedforward if config.feedforward is None else config.feedforward,
                    activation,
                    matched_positions,
                    normalize_positions,
                )
                for b in range(config.blocks)
            ]
            self.stages.append(Stage(config, grid, windows, pool, blocks))
            first_block += config.blocks
        self.out_grid = grid
        self._initialize()

    def forward(self, features: Tensor, coords: Tensor) -> VoxelFeatures:
        """Voxels after the last stage.

        Args:
            features: [V, C].
            coords: [V, 4] int32 or int64, in any order, each voxel once.

        Returns:
            As many rows, in the order that came, with one stage; else one row per pooled voxel by (batch, x, y, z).
        """
        for stage in self.stages:
            features, coords = stage(features, coords, self.checkpoint_blocks)
        return VoxelFeatures(features, coords)

    def _initialize(self) -> None:
        for module in self.modules():
            for name in ("in_projection", "out_projection"):  # biases of an attention begin at zero
                if hasattr(module, name):
                    nn.init.zeros_(getattr(module, name).bias)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)


class Partition(NamedTuple):
    """The two ways to cut a stage's voxels into windows, and the sets of those that its blocks use, by 0 and 1."""

    windows: tuple[Windows, Windows]
    sets: dict[int, RotatedSets]


class Stage(nn.Module):
    """Pooling from the stage before, then blocks; made by `DSVTBackbone`.

    Attributes:
        partitions: those that the blocks attend in, of 0 and 1.
    """

    def __init__(self, config: StageConfig, grid: Triple, windows: tuple[Window, Window], pool: nn.Module | None, blocks: list):
        super().__init__()
        self.grid, self.set_size, self.stride, self.windows = grid, config.set_size, config.stride, windows
        self.pool, self.blocks = pool, nn.ModuleList(blocks)
        self.partitions: list[int] = sorted({block.partition for block in blocks})

    def forward(self, features: Tensor, coords: Tensor, checkpoint_blocks: bool = False) -> tuple[Tensor, Tensor]:
        """features [V, C] and coords [V, 4] of the stage before -> those of this one."""
        if self.pool is not None:
            features, coords = self.pooled(features, coords)
        return self.attend(features, self.partition(coords), checkpoint_blocks), coords

    def partition(self, coords: Tensor) -> Partition:
        """Windows and sets of the voxels coords [V, 4] of this stage."""
        windows = windows_of(coords, self.grid, self.windows[0]), windows_of(coords, self.grid, self.windows[1])
        return Partition(windows, {k: rotated_sets(windows[k], self.windows[k], self.set_size) for k in self.partitions})

    def attend(self, features: Tensor, partition: Partition, checkpoint_blocks: bool = False) -> Tensor:
        """features [V, C] -> [V, C], through the blocks."""
        for block in cast("list[Block]", self.blocks):
            positions, sets = block.embed(partition.windows), partition.sets[block.partition]
            if checkpoint_blocks and self.training:
                features = checkpoint(block, features, positions, sets, use_reentrant=False)
            else:
                features = block(features, positions, sets)
        return features

    def pooled(self, features: Tensor, coords: Tensor) -> tuple[Tensor, Tensor]:
        """features [V, C] and coords [V, 4] of the stage before -> [P, C] and [P, 4]."""
        assert self.pool is not None
        before = _times(self.grid, self.stride)  # what of the coarse grid lies outside the fine one holds no voxels
        coords, cell, slot = pooling_partition(coords, self.stride, before)
        return self.pool(features, Cells.from_partition(cell, slot, coords.shape[0], _product(self.stride))), coords


def _check(grid: Triple, stages: Sequence[StageConfig], channels: int, heads: int, pooling: str, activation: str) -> None:
    if len(grid) != 3 or min(grid) < 1:
        raise ValueError(f"DSVTBackbone: grid must be three positive numbers of voxels (x, y, z), got {list(grid)}")
    if channels % heads:
        raise ValueError(f"DSVTBackbone: heads must divide channels, got {heads} and {channels}")
    if pooling not in POOLINGS or activation not in ACTIVATIONS:
        raise ValueError(
            f"DSVTBackbone: pooling must be one of {sorted(POOLINGS)} and activation of {sorted(ACTIVATIONS)}, "
            f"got {pooling!r} and {activation!r}"
        )
    if not stages:
        raise ValueError("DSVTBackbone: stages must not be empty")
    for number, stage in enumerate(stages):
        if number == 0 and tuple(stage.stride) != (1, 1, 1):
            raise ValueError(
                f"DSVTBackbone: the stride of stage 0 must be 1, 1, 1, got {list(stage.stride)}; nothing is before it"
            )
        if stage.blocks < 1 or stage.set_size < 1:
            raise ValueError(
                f"DSVTBackbone: stage {number} needs at least one block and one voxel in a set, "
                f"got {stage.blocks} and {stage.set_size}"
            )
        if stage.heads is not None and (stage.heads < 1 or channels % stage.heads):
            raise ValueError(f"DSVTBackbone: heads of stage {number} must divide channels, got {stage.heads} and {channels}")
        if stage.feedforward is not None and stage.feedforward < 1:
            raise ValueError(f"DSVTBackbone: feedforward of stage {number} must be positive, got {stage.feedforward}")
        _check_windows(number, stage)


def _check_windows(number: int, stage: StageConfig) -> None:
    shifts = {"shift": stage.shift, "first_shift": stage.first_shift}
    sizes = [len(triple) for triple in (stage.window, stage.stride, *shifts.values())]
    if sizes != [3] * 4 or min(*stage.window, *stage.stride) < 1 or min(*stage.shift, *stage.first_shift) < 0:
        raise ValueError(
            f"DSVTBackbone: window, shift, first_shift and stride of stage {number} must be three numbers (x, y, z) of voxels each"
        )
    for name, each in shifts.items():
        for axis, shift, window in zip("xyz", each, stage.window, strict=True):
            if shift > window:
                raise ValueError(
                    f"DSVTBackbone: the {name} of stage {number} in {axis} must not exceed the window, got {shift} and {window}"
                )


def _triple(values: Sequence[int]) -> Triple:
    x, y, z = values
    return x, y, z


def _pooled(grid: Triple, stride: Triple) -> Triple:
    x, y, z = (-(-size // step) for size, step in zip(grid, stride, strict=True))
    return x, y, z


def _times(a: Triple, b: Triple) -> Triple:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


def _product(triple: Triple) -> int:
    return triple[0] * triple[1] * triple[2]
