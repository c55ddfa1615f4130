"""The similar-token merger of LRGT (ICCV 2023, section 3.3): the tokens of all views become a fixed number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geo3d.models.lrgt.attention import MLP, Attention
from geo3d.models.lrgt.clusters import density_peaks

SHARE_EPSILON = 1e-6  # added to the sum of a cluster's weights; released weights were trained with it


class MergerBlock(nn.Module):
    """Clusters of tokens become one token each, which then attends to all tokens.

    The layer norm comes before everything, so that the shortcut starts from normed tokens, as in the released code.

    Args:
        count: M, tokens to merge into; fewer tokens than that stay as many as they are.
        channels: C.
        neighbors, heads, mlp_ratio, bias, norm_eps: as in `SimilarTokenMerger`.
    """

    def __init__(
        self,
        count: int,
        channels: int,
        neighbors: int,
        heads: int,
        mlp_ratio: int = 4,
        bias: bool = False,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.count, self.neighbors = count, neighbors
        self.norm = nn.LayerNorm(channels, eps=norm_eps)
        self.score = nn.Linear(channels, 1)
        self.attention = Attention(channels, heads, bias)
        self.mlp_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.mlp = MLP(channels, mlp_ratio * channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, C] -> [B, min(M, N), C]: the centre with the largest density * separation first, or, where N is not above M, as `x`."""
        x = self.norm(x)
        score = self.score(x)[..., 0]
        merged = self.merge(x, score)
        merged = merged + self.attention(merged, x, score)
        return merged + self.mlp(self.mlp_norm(merged))

    def merge(self, x: Tensor, score: Tensor) -> Tensor:
        """Mean of the tokens of each cluster, weighted by the exponential of their scores.

        Args:
            x: [B, N, C] normed tokens.
            score: [B, N].

        Returns:
            [B, min(M, N), C].
        """
        if x.shape[1] <= self.count:  # every token is a cluster
            return x * _share(score, score)[..., None]
        members = density_peaks(x, self.count, self.neighbors).members
        is_member = members[:, None] == torch.arange(self.count, device=x.device)[:, None]  # [B, M, N]
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            own = score.to(precise)[:, None].masked_fill(~is_member, -torch.inf)
            return (_share(own, own.amax(-1, keepdim=True), -1) @ x.to(precise)).to(x.dtype)


def _share(score: Tensor, largest: Tensor, dim: int | None = None) -> Tensor:
    """exp(score) / (sum of exp(score) + SHARE_EPSILON), from scores less the largest, which leaves nothing to overflow."""
    largest = largest.detach()
    weight = (score - largest).exp()
    total = weight if dim is None else weight.sum(dim, keepdim=True)
    return weight / (total + SHARE_EPSILON * (-largest).exp())


class SimilarTokenMerger(nn.Module):
    """Merger blocks one after the other; the defaults are the published merger.

    Args:
        channels: C.
        counts: tokens that each block merges into.
        neighbors: k, of the density.
        heads: divides `channels`.
        mlp_ratio: width of the perceptrons' hidden layer by C.
        bias: of the projections of queries, keys and values.
        norm_eps: of the layer norms.
    """

    def __init__(
        self,
        channels: int = 768,
        counts: Sequence[int] = (196, 196),
        neighbors: int = 15,
        heads: int = 12,
        mlp_ratio: int = 4,
        bias: bool = False,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.blocks = nn.ModuleList(
            MergerBlock(count, channels, neighbors, heads, mlp_ratio, bias, norm_eps) for count in counts
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, V, P, C] of any number of views -> [B, last of counts, C]; their order says nothing."""
        x = tokens.flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        return x
