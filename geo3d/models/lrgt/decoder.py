"""The decoder of LRGT (ICCV 2023, section 3.4): learned queries read the merged tokens and grow into a voxel grid.

B samples. Grids are [B, C, X, Y, Z] and tokens of a grid [B, X * Y * Z, C], z fastest.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geo3d.models.lrgt.attention import MLP, Attention, Block


class QueryBlock(nn.Module):
    """Queries attend to each other and to the context, then pass a perceptron. The context comes without a norm, as published.

    Args:
        channels, heads, mlp_ratio, bias, norm_eps, dropout: as in `VoxelDecoder`.
    """

    def __init__(self, channels: int, heads: int, mlp_ratio: int, bias: bool, norm_eps: float, dropout: float):
        super().__init__()
        self.self_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.self_attention = Attention(channels, heads, bias, dropout)
        self.cross_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.cross_attention = Attention(channels, heads, bias, dropout)
        self.mlp_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.mlp = MLP(channels, mlp_ratio * channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x [B, Q, C], context [B, M, C] -> [B, Q, C]."""
        x = x + self.self_attention(self.self_norm(x))
        x = x + self.cross_attention(self.cross_norm(x), context)
        return x + self.mlp(self.mlp_norm(x))


class GridStage(nn.Module):
    """Transformer blocks on a grid, whose tokens are its cells or, on a fine grid, cubes of `fold` cells a side.

    Args:
        channels: of the grid.
        fold: cells along the side of a token; where it is above 1, the grid itself is added to the result.
        depth: blocks.
        heads, mlp_ratio, bias, norm_eps, dropout: as in `VoxelDecoder`.
    """

    def __init__(
        self, channels: int, fold: int, depth: int, heads: int, mlp_ratio: int, bias: bool, norm_eps: float, dropout: float
    ):
        super().__init__()
        self.fold = fold
        width = channels * fold**3
        self.blocks = nn.Sequential(
            *(Block(Attention(width, heads, bias, dropout), width, mlp_ratio, norm_eps) for _ in range(depth))
        )

    def forward(self, grid: Tensor) -> Tensor:
        """grid [B, C, X, Y, Z] -> the same shape."""
        return self.grid(self.blocks(self.tokens(grid)), grid)

    def tokens(self, grid: Tensor) -> Tensor:
        """Tokens [B, cubes, C * fold ** 3] of a grid: channels by cell of the cube, its z fastest."""
        side, fold = grid.shape[2] // self.fold, self.fold
        cells = grid.unflatten(4, (side, fold)).unflatten(3, (side, fold)).unflatten(2, (side, fold))
        return cells.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)

    def grid(self, tokens: Tensor, before: Tensor) -> Tensor:
        """Tokens back on the grid [B, C, X, Y, Z], which is added where cubes have several cells."""
        side, fold = before.shape[2] // self.fold, self.fold
        cells = tokens.unflatten(2, (-1, fold, fold, fold)).unflatten(1, (side, side, side))
        after = cells.permute(0, 4, 1, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return after + before if fold > 1 else after


class Upsampling(nn.Sequential):
    """Doubles the sides of a grid: transposed convolution, batch norm, ReLU.

    Args:
        channels, out_channels: of the grids.
        norm_eps: of the batch norm.
    """

    def __init__(self, channels: int, out_channels: int, norm_eps: float):
        super().__init__(
            nn.ConvTranspose3d(channels, out_channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm3d(out_channels, eps=norm_eps),
            nn.ReLU(),
        )


class VoxelDecoder(nn.Module):
    """Occupancy of a voxel grid from tokens; the defaults are the published decoder, which gives 32 voxels a side.

    Args:
        channels: of the context and the first grid.
        query_side: the queries are a grid of so many a side.
        widths: channels of the grids after the first; each is twice as fine as the one before.
        token_side: finer grids than so many cells a side are folded to so many tokens a side.
        heads: divides the width of the tokens of every grid.
        query_depth: blocks in which the queries read the context.
        stage_depth: blocks on every grid.
        mlp_ratio: width of the perceptrons' hidden layer by that of the tokens.
        bias: of the projections of queries, keys and values.
        norm_eps: of the layer norms.
        batch_norm_eps: of the batch norms.
        attention_dropout: in training; the published training has none, though its configuration says 0.4.

    Raises:
        ValueError: heads that do not divide a width, or a grid that cannot be folded.
    """

    def __init__(
        self,
        channels: int = 768,
        query_side: int = 4,
        widths: Sequence[int] = (96, 12, 3),
        token_side: int = 8,
        heads: int = 12,
        query_depth: int = 1,
        stage_depth: int = 2,
        mlp_ratio: int = 4,
        bias: bool = False,
        norm_eps: float = 1e-5,
        batch_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
    ):
        super().__init__()
        self.query_side = query_side
        self.voxel_side = query_side * 2 ** len(widths)
        settings = (heads, mlp_ratio, bias, norm_eps, attention_dropout)
        self.queries = nn.Embedding(query_side**3, channels)
        self.query_blocks = nn.ModuleList(QueryBlock(channels, *settings) for _ in range(query_depth))
        self.norm = nn.LayerNorm(channels, eps=norm_eps)
        self.stages, self.upsamplings = nn.ModuleList(), nn.ModuleList()
        for level, (width, before) in enumerate(zip([channels, *widths], [0, channels, *widths], strict=False)):
            side = query_side * 2**level
            if side > token_side and side % token_side:
                raise ValueError(f"VoxelDecoder: token_side must divide the grid of {side} cells a side, got {token_side}")
            if level > 0:
                self.upsamplings.append(Upsampling(before, width, batch_norm_eps))
            self.stages.append(GridStage(width, max(1, side // token_side), stage_depth, *settings))
        self.classify = nn.ConvTranspose3d(([channels, *widths])[-1], 1, 1, bias=False)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, context: Tensor) -> Tensor:
        """context [B, M, C] of any M -> logits of the occupancy [B, X, Y, Z]."""
        x = self.queries.weight.expand(context.shape[0], -1, -1)  # `len` is no symbol in an export
        for block in self.query_blocks:
            x = block(x, context)
        side = self.query_side
        grid = self.norm(x).transpose(1, 2).unflatten(2, (side, side, side))  # [B, C, 4, 4, 4]
        grid = self.stages[0](grid)
        for upsampling, stage in zip(self.upsamplings, self.stages[1:], strict=True):
            grid = stage(upsampling(grid))
        return self.classify(grid)[:, 0]
