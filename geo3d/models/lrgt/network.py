"""LRGT: a voxel grid from any number of images (Yang et al., Long-Range Grouping Transformer for Multi-View 3D Reconstruction, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geo3d.models.lrgt.decoder import VoxelDecoder
from geo3d.models.lrgt.encoder import ViewEncoder
from geo3d.models.lrgt.merger import SimilarTokenMerger

IMAGE_SIZE = 224  # pixels, of the published network


class LRGT(nn.Module):
    """Occupancy of an object's voxel grid from images of it, without cameras; the order of the images does not matter.

    The defaults are the published network. LRGT+ is the same one, trained with 8 views a sample instead of 3.

    Args:
        image_size, patch_size: of the square images and their patches, pixels.
        channels: C, of the tokens.
        depth, heads, grouping_blocks, groups: of `ViewEncoder`.
        merged_tokens, neighbors: counts and neighbours of `SimilarTokenMerger`.
        merger_heads, decoder_heads: as `heads` when None.
        decoder_widths, query_side, token_side, query_depth, stage_depth: of `VoxelDecoder`; the grid has
            query_side * 2 ** len(decoder_widths) voxels a side.
        attention_dropout: of encoder and decoder, in training. The published training has none.
        stem: of `ViewEncoder`.
        fan_in_init: linear layers and positions start with the variance that keeps that of their input, for networks that are trained without
            pretrained weights. The published start is smaller, so that attention is even and blocks say little for long.

    Raises:
        ValueError: numbers that do not fit together; the message says which to change.
    """

    def __init__(
        self,
        image_size: int = IMAGE_SIZE,
        patch_size: int = 16,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        grouping_blocks: Sequence[int] = (5, 7, 9, 11),
        groups: int = 7,
        merged_tokens: Sequence[int] = (196, 196),
        neighbors: int = 15,
        merger_heads: int | None = None,
        decoder_widths: Sequence[int] = (96, 12, 3),
        decoder_heads: int | None = None,
        query_side: int = 4,
        token_side: int = 8,
        query_depth: int = 1,
        stage_depth: int = 2,
        attention_dropout: float = 0.0,
        stem: str | None = None,
        fan_in_init: bool = False,
    ):
        super().__init__()
        self.encoder = ViewEncoder(
            image_size,
            patch_size,
            channels,
            depth,
            heads,
            grouping_blocks,
            groups,
            attention_dropout=attention_dropout,
            stem=stem,
        )
        self.merger = SimilarTokenMerger(channels, merged_tokens, neighbors, merger_heads or heads)
        self.decoder = VoxelDecoder(
            channels,
            query_side,
            decoder_widths,
            token_side,
            decoder_heads or heads,
            query_depth,
            stage_depth,
            attention_dropout=attention_dropout,
        )
        if fan_in_init:
            nn.init.normal_(self.encoder.position)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=module.in_features**-0.5)

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.encoder.image_size

    @property
    def voxel_side(self) -> int:
        """Voxels along a side of the grid."""
        return self.decoder.voxel_side

    def forward(self, images: Tensor) -> Tensor:
        """Probability that each voxel is full.

        Args:
            images: [B, V, 3, S, S] float with V views; of the published weights B, G, R from -1 to 1 (`geo3d.data.images`).

        Returns:
            [B, D, H, W] float32 in (0, 1), indexed z, y, x, as `geo3d` holds voxels; y is up.

        Raises:
            ValueError: images of another shape, or none.
        """
        return self.logits(images).sigmoid()

    def logits(self, images: Tensor) -> Tensor:
        """images [B, V, 3, H, W] -> [B, D, H, W] occupancies before the sigmoid."""
        size = self.image_size
        if images.ndim != 5 or 0 in images.shape or images.shape[2:] != (3, size, size) or not images.is_floating_point():
            found = f"{list(images.shape)} {images.dtype}"
            raise ValueError(f"LRGT: images must be [B, V, 3, {size}, {size}] floating point with V of 1 or more, got {found}")
        return self.decoder(self.merger(self.encoder(images))).float().permute(0, 3, 2, 1)  # from x, y, z
