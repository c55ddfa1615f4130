"""Convolution of points by kernel points that each anchor rotation turns (EPN's SO(3) convolution; with one anchor, KPConv's)."""

from __future__ import annotations

import torch
from torch import Tensor

from geo3d.ops.reference import kernel_point_conv as reference


def kernel_point_conv(
    features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """Each kernel point of each anchor sums the features of the neighbours near it; a matrix mixes the sums into output channels.

    out[b, a, m] = sum over k of weight[:, k] @ sum over j of w features[b, a, i], with i = indices[b, m, j] and
    w = max(0, 1 - |points[b, i] - centers[b, m] - kernel_points[a, k]|^2 / sigma)

    Chen et al., "Equivariant Point Network for 3D Point Cloud Analysis", CVPR 2021, eq. 8; Thomas et al., "KPConv", ICCV 2019, eq. 1 to 3.
    The weights of neighbours, and the sums of all kernel points, are in memory for a few thousand rows at a time, forward and backward.

    Args:
        features: [B, A, N, C] floating point, one [N, C] for each anchor.
        points: [B, N, 3] where the features are, float32 or float64.
        centers: [B, M, 3] where the outputs are, like `points`.
        indices: [B, M, n] int32 or int64, the neighbours of each centre among the N points; -1 for none. One that is listed twice counts twice.
        kernel_points: [A, K, 3] around a centre, turned by each anchor, in the unit of the points.
        sigma: area at whose distance a kernel point does not see a neighbour any more: |...|^2 = sigma has weight 0.
        weight: [O, K, C], cast to the dtype of the features.

    Returns:
        [B, A, M, O] in the dtype of the features; zero for a centre without neighbours. Computed in float32, in float64 by the plain
        definition. Differentiable once in features and weight, not in the geometry. Deterministic on every device.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, sigma that is not positive, and on the CPU an index outside [-1, N).

    Example:
        >>> points = torch.rand(1, 100, 3)
        >>> indices, kernel_points, weight = torch.randint(100, (1, 20, 16)), torch.rand(60, 12, 3), torch.rand(32, 12, 8)
        >>> kernel_point_conv(torch.ones(1, 60, 100, 8), points, points[:, :20], indices, kernel_points, 0.1, weight).shape
        torch.Size([1, 60, 20, 32])
    """
    _check(features, points, centers, indices, kernel_points, sigma, weight)
    weight = weight.to(features.dtype)
    if features.dtype == torch.float64:  # for checks only, so the kernels do without it
        return reference.kernel_point_conv(features, points, centers, indices, kernel_points, sigma, weight)
    geometry = (x.detach().float().contiguous() for x in (points, centers, kernel_points))
    points, centers, kernel_points = geometry
    return torch.ops.geo3d.kernel_point_conv(
        features.contiguous(), points, centers, indices.long().contiguous(), kernel_points, float(sigma), weight.contiguous()
    )


def _check(
    features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> None:
    op, device = "kernel_point_conv", features.device
    if features.ndim != 4 or not features.is_floating_point():
        raise ValueError(f"{op}: features must be [B, A, N, C] floating point, got {_describe(features)}")
    batch, anchors, count, channels = features.shape
    centers_count = centers.shape[1] if centers.ndim == 3 else 0
    kernel_size = kernel_points.shape[1] if kernel_points.ndim == 3 else 0
    outputs = weight.shape[0] if weight.ndim == 3 else 0
    wanted = {
        "points": (points, (batch, count, 3)),
        "centers": (centers, (batch, centers_count, 3)),
        "kernel_points": (kernel_points, (anchors, kernel_size, 3)),
        "weight": (weight, (outputs, kernel_size, channels)),
    }
    for name, (x, shape) in wanted.items():
        if x.shape != shape or not x.is_floating_point() or x.device != device:
            raise ValueError(f"{op}: {name} must be {list(shape)} floating point on {device}, got {_describe(x)}")
    if indices.ndim != 3 or indices.shape[:2] != (batch, centers_count) or indices.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{op}: indices must be [{batch}, {centers_count}, n] int32 or int64, got {_describe(indices)}")
    if indices.device != device:
        raise ValueError(f"{op}: indices must be on {device}, got {_describe(indices)}")
    if not sigma > 0:
        raise ValueError(f"{op}: sigma must be positive, got {sigma}")
    if device.type == "cpu" and not torch.compiler.is_compiling() and indices.numel():
        low, high = (int(bound) for bound in torch.aminmax(indices))
        if low < -1 or high >= count:
            raise ValueError(f"{op}: indices must be in [-1, {count}), got {low} to {high}")


def _describe(x: Tensor) -> str:
    return f"{list(x.shape)} {x.dtype} on {x.device}"


@torch.library.custom_op("geo3d::kernel_point_conv", mutates_args=(), device_types="cpu")
def _kernel_point_conv(
    features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    from geo3d.ops.cpu import kernel_point_conv as cpu

    return cpu.kernel_point_conv(features, points, centers, indices, kernel_points, sigma, weight)


@_kernel_point_conv.register_kernel("cuda")
def _(features, points, centers, indices, kernel_points, sigma, weight):
    from geo3d.ops.cuda import kernel_point_conv as cuda

    return cuda.kernel_point_conv(features, points, centers, indices, kernel_points, sigma, weight)


@_kernel_point_conv.register_fake
def _(features, points, centers, indices, kernel_points, sigma, weight):
    return features.new_empty((*features.shape[:2], centers.shape[1], weight.shape[0]))


@torch.library.custom_op("geo3d::kernel_point_conv_features", mutates_args=(), device_types="cpu")
def _features_grad(
    grad: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float, weight: Tensor
) -> Tensor:
    """Gradient of the features."""
    from geo3d.ops.cpu import kernel_point_conv as cpu

    return cpu.features_grad(grad, points, centers, indices, kernel_points, sigma, weight)


@_features_grad.register_kernel("cuda")
def _(grad, points, centers, indices, kernel_points, sigma, weight):
    from geo3d.ops.cuda import kernel_point_conv as cuda

    return cuda.features_grad(grad, points, centers, indices, kernel_points, sigma, weight)


@_features_grad.register_fake
def _(grad, points, centers, indices, kernel_points, sigma, weight):
    return grad.new_empty((*grad.shape[:2], points.shape[1], weight.shape[2]))


@torch.library.custom_op("geo3d::kernel_point_conv_weight", mutates_args=(), device_types="cpu")
def _weight_grad(
    grad: Tensor, features: Tensor, points: Tensor, centers: Tensor, indices: Tensor, kernel_points: Tensor, sigma: float
) -> Tensor:
    """Gradient of the weight."""
    from geo3d.ops.cpu import kernel_point_conv as cpu

    return cpu.weight_grad(grad, features, points, centers, indices, kernel_points, sigma)


@_weight_grad.register_kernel("cuda")
def _(grad, features, points, centers, indices, kernel_points, sigma):
    from geo3d.ops.cuda import kernel_point_conv as cuda

    return cuda.weight_grad(grad, features, points, centers, indices, kernel_points, sigma)


@_weight_grad.register_fake
def _(grad, features, points, centers, indices, kernel_points, sigma):
    return grad.new_empty((grad.shape[3], kernel_points.shape[1], features.shape[3]))


def _save(ctx, inputs, output):
    features, points, centers, indices, kernel_points, ctx.sigma, weight = inputs
    ctx.save_for_backward(features, points, centers, indices, kernel_points, weight)


def _backward(ctx, grad):
    features, points, centers, indices, kernel_points, weight = ctx.saved_tensors
    geometry, grad = (points, centers, indices, kernel_points, ctx.sigma), grad.contiguous()
    of_features = of_weight = None
    if ctx.needs_input_grad[0]:
        of_features = torch.ops.geo3d.kernel_point_conv_features(grad, *geometry, weight)
    if ctx.needs_input_grad[6]:
        of_weight = torch.ops.geo3d.kernel_point_conv_weight(grad, features, *geometry)
    return of_features, None, None, None, None, None, of_weight


_kernel_point_conv.register_autograd(_backward, setup_context=_save)
