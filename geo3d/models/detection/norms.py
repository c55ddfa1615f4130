"""Batch norm: folded into convolutions at inference, and over rows of any number."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowNorm(nn.BatchNorm1d):
    """Batch norm over rows [N, C] that trains on any number of them: fewer than two have no statistics, so the running ones serve."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] < 2:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class ConvNorm(nn.Sequential):
    """Convolution and batch norm (`conv_norm`)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C_in, ny, nx] -> [B, C, ny', nx']."""
        conv, norm = self
        return conv_norm(conv, norm, x)


class ConvNormReLU(nn.Sequential):
    """Convolution, batch norm, ReLU (`conv_norm_relu`)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C_in, ny, nx] -> [B, C, ny', nx']."""
        conv, norm, _ = self
        return conv_norm_relu(conv, norm, x)


class ConvBranch(nn.Sequential):
    """Convolution, batch norm, ReLU and another convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C_in, ny, nx] -> [B, C, ny', nx']."""
        conv, norm, _, last = self
        return last(conv_norm_relu(conv, norm, x))


def conv_norm_relu(conv: Any, norm: Any, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """relu(norm(conv(x)) + shortcut); where `conv_norm` folds, in place.

    Args:
        conv, norm: as for `conv_norm`.
        x: [B, C_in, ny, nx].
        shortcut: of the result's shape, or None.
    """
    result = conv_norm(conv, norm, x)
    if not can_fold(norm):
        return (result if shortcut is None else result + shortcut).relu()
    return (result if shortcut is None else result.add_(shortcut)).relu_()


def conv_norm(conv: Any, norm: Any, x: Tensor) -> Tensor:
    """norm(conv(x)); in evaluation without gradients the norm, then a fixed scale and shift, goes into the weights.

    That saves a pass over the map, and its memory. The weights are scaled anew in every call: they are small beside the maps, and
    so nothing can be out of date.

    Args:
        conv: `nn.Conv2d` or `nn.ConvTranspose2d`, without groups.
        norm: batch norm of its channels.
        x: [B, C_in, ny, nx].
    """
    if not can_fold(norm):
        return norm(conv(x))
    scale, bias = scale_and_shift(norm)
    if conv.bias is not None:
        bias = bias + conv.bias * scale
    is_transposed = isinstance(conv, nn.ConvTranspose2d)
    weight = conv.weight * (scale[:, None, None] if is_transposed else scale[:, None, None, None])
    if is_transposed:
        return F.conv_transpose2d(x, weight, bias, conv.stride, conv.padding, conv.output_padding, 1, conv.dilation)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation)


def can_fold(norm: Any) -> bool:
    """Whether a norm is no more than a fixed scale and shift here: in evaluation, without gradients."""
    folds_itself = torch.compiler.is_compiling()  # a compiler, an exporter
    return not (norm.training or torch.is_grad_enabled() or folds_itself)


def scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """What a batch norm with its running statistics multiplies each channel by, and then adds: [C] each."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale
