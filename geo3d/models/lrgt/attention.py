"""Attention and the two-layer perceptron, which encoder, merger and decoder of LRGT share. Channels are last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_EXPLICIT_KEYS = 256


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention, with explicit weights where PyTorch's kernel is the slower way.

    That is training in half precision on a CPU, where the kernel's backward pass takes several times as long as the products for up to a few
    hundred keys.

    Args:
        query: [B, heads, N, D].
        key, value: [B, heads, K, D].
        bias: broadcasts to [B, heads, N, K], added to the scaled scores.
        dropout: of the weights.

    Returns:
        [B, heads, N, D].
    """
    is_half_on_cpu = query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16)
    if not is_half_on_cpu or not query.requires_grad or key.shape[-2] > MAX_EXPLICIT_KEYS:
        return F.scaled_dot_product_attention(query, key, value, bias, dropout)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return F.dropout(weights, dropout) @ value


class Attention(nn.Module):
    """Multi-head attention with separate projections of queries, keys and values.

    Args:
        channels: C.
        heads: divides `channels`.
        bias: of the projections of queries, keys and values; that of the output always has one.
        dropout: of the attention weights, in training.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    def __init__(self, channels: int, heads: int, bias: bool, dropout: float = 0.0):
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(
                f"{type(self).__name__}: heads must divide the channels, got {heads} heads for {channels} channels"
            )
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(channels, channels, bias=bias)
        self.key = nn.Linear(channels, channels, bias=bias)
        self.value = nn.Linear(channels, channels, bias=bias)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None, key_bias: Tensor | None = None) -> Tensor:
        """Mix the context, or `x` itself without one, for each token of `x`.

        Args:
            x: [B, N, C].
            context: [B, K, C].
            key_bias: [B, K], added to the scaled scores of each key.

        Returns:
            [B, N, C].
        """
        context = x if context is None else context
        query, key, value = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, N or K, C / heads]
            for layer, y in ((self.query, x), (self.key, context), (self.value, context))
        )
        mask = None if key_bias is None else key_bias[:, None, None].to(query.dtype)
        mixed = attend(query, key, value, mask, self.dropout if self.training else 0.0)
        return self.project(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Sequential):
    """Two linear layers with GELU between them.

    Args:
        channels: of input and output.
        hidden: between the layers.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))


class Block(nn.Module):
    """Self-attention and perceptron, each behind a layer norm and with a shortcut around it.

    Args:
        attention: the attention; called with the normed tokens and what else `forward` gets.
        channels: C.
        mlp_ratio: width of the perceptron's hidden layer by that of the tokens.
        norm_eps: of the layer norms.
    """

    def __init__(self, attention: nn.Module, channels: int, mlp_ratio: int, norm_eps: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.mlp = MLP(channels, mlp_ratio * channels)

    def forward(self, x: Tensor, *extra: object) -> Tensor:
        """x [B, N, C] -> [B, N, C]."""
        x = x + self.attention(self.attention_norm(x), *extra)
        return x + self.mlp(self.mlp_norm(x))
