"""Convolution by rotated kernel points: every implementation against the definition, gradients, registration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops import ball_query, kernel_point_conv
from geo3d.ops.cpu import kernel_point_conv as cpu
from geo3d.ops.cuda import kernel_point_conv as triton_kernel_point_conv
from geo3d.ops.reference import kernel_point_conv as reference

cuda = OnDevice(triton_kernel_point_conv)

IMPLEMENTATIONS = {"cpu": cpu, "triton": cuda}
CASES = {  # batch, anchors, points, centres, neighbours, kernel points, channels, outputs
    "no_clouds": (0, 2, 5, 3, 4, 6, 3, 5),
    "no_centers": (2, 3, 5, 0, 4, 6, 3, 5),
    "one_of_each": (1, 1, 1, 1, 1, 1, 1, 1),
    "one_channel": (2, 3, 30, 17, 9, 24, 1, 8),
    "odd": (2, 5, 40, 13, 7, 11, 5, 3),
    "several_tiles": (1, 2, 30, 9, 20, 7, 70, 4),
    "as_published": (1, 4, 50, 25, 33, 24, 32, 32),
}


def make(shape, seed: int = 0) -> tuple[Tensor, ...]:
    batch, anchors, count, centers, neighbors, kernel, channels, outputs = shape
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, count, 3, generator=generator)
    indices = torch.randint(-1, count, (batch, centers, neighbors), generator=generator)  # repeats, and gaps anywhere
    if centers:
        indices[:, 0] = -1  # a centre without neighbours
    kernel_points = torch.randn(anchors, kernel, 3, generator=generator) * 0.5
    features = torch.randn(batch, anchors, count, channels, generator=generator)
    weight = torch.randn(outputs, kernel, channels, generator=generator)
    return features, points, torch.rand(batch, centers, 3, generator=generator), indices, kernel_points, 0.6, weight


@pytest.fixture(params=CASES)
def case(request):
    return make(CASES[request.param])


@pytest.mark.parametrize("chunk", [1, 8 * 2**20])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_equals_reference(name, case, chunk, monkeypatch):
    monkeypatch.setattr(
        cpu if name == "cpu" else triton_kernel_point_conv, "CHUNK", chunk
    )  # bytes: how the work is cut must not matter
    features, *geometry, weight = case
    leaves = [features.clone().requires_grad_(), weight.clone().requires_grad_()]
    expected = reference.kernel_point_conv(leaves[0], *geometry, leaves[1])
    torch.testing.assert_close(IMPLEMENTATIONS[name].kernel_point_conv(*case), expected, rtol=1e-5, atol=1e-4)
    grad = torch.randn_like(expected)
    of_features, of_weight = torch.autograd.grad(expected, leaves, grad)
    # sums of many products of size 1 in another order
    torch.testing.assert_close(IMPLEMENTATIONS[name].features_grad(grad, *geometry, weight), of_features, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(IMPLEMENTATIONS[name].weight_grad(grad, features, *geometry), of_weight, rtol=1e-5, atol=1e-4)


def test_a_neighbor_by_hand():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0]]])
    kernel_points = torch.tensor([[[0.0, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]])  # the second anchor turns x to y
    features = torch.tensor([[[[1.0], [10], [100]]] * 2])
    weight = torch.tensor([[[1.0], [2.0]]])
    indices = torch.tensor([[[0, 1, 1, 2, -1]]])
    out = kernel_point_conv(features, points, points[:, :1], indices, kernel_points, 4.0, weight)
    # weights of the points 0 and 1: 1 and 3/4 at the centre; 3/4 and 1 at x = 1; 3/4 and 1/2 at y = 1; point 1 counts twice
    assert out.flatten().tolist() == [1 + 2 * 7.5 + 2 * (0.75 + 20), 1 + 2 * 7.5 + 2 * (0.75 + 10)]


def test_gradients():
    features, *geometry, weight = make((2, 3, 9, 4, 5, 6, 3, 2))
    geometry = [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in geometry]
    leaves = (features.double().requires_grad_(), weight.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda f, w: kernel_point_conv(f, *geometry, w), leaves)


def test_autograd_takes_the_kernels(case):
    features, *geometry, weight = case
    results = []
    for function in (kernel_point_conv, reference.kernel_point_conv):
        leaves = [features.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = function(leaves[0], *geometry, leaves[1])
        results.append(torch.autograd.grad(out.square().sum(), leaves))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-2)  # values up to 1e3


def test_features_without_gradient():
    features, *geometry, weight = make(CASES["odd"])
    weight.requires_grad_()
    out = kernel_point_conv(features, *geometry, weight)
    assert torch.autograd.grad(out.sum(), weight)[0].shape == weight.shape


def test_strides_int32_and_lower_precision():
    features, points, centers, indices, kernel_points, sigma, weight = make(CASES["odd"])
    expected = kernel_point_conv(features, points, centers, indices, kernel_points, sigma, weight)
    strided = features.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    torch.testing.assert_close(
        kernel_point_conv(strided, points, centers, indices.int(), kernel_points, sigma, weight), expected
    )
    for dtype in (torch.float16, torch.bfloat16):
        half = kernel_point_conv(features.to(dtype), points, centers, indices, kernel_points, sigma, weight)
        assert half.dtype == dtype
        # features, weights and result are rounded
        torch.testing.assert_close(
            half.float(), expected, rtol=0, atol=8 * torch.finfo(dtype).eps * float(expected.abs().max())
        )


def test_result_does_not_depend_on_the_threads():
    features, *geometry, weight = make((1, 6, 300, 200, 16, 24, 32, 8))
    grad = torch.randn(1, 6, 200, 8)
    results = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        try:
            results.append(cpu.features_grad(grad, *geometry, weight))
        finally:
            torch.set_num_threads(2)
    # the product before it is torch's, whose blocks do depend on the threads
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_turns_with_the_kernel():
    """Turning the cloud and the kernel points alike leaves the result, and swapping anchors swaps it."""
    features, points, centers, _, kernel_points, sigma, weight = make((1, 3, 60, 20, 1, 24, 8, 6))
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    indices = ball_query(centers, points, 0.6, 32, padding="none").indices
    out = kernel_point_conv(features, points, centers, indices, kernel_points, sigma, weight)
    turned = kernel_point_conv(features, points @ turn, centers @ turn, indices, kernel_points @ turn, sigma, weight)
    torch.testing.assert_close(turned, out, rtol=1e-4, atol=1e-4)
    order = [2, 0, 1]
    swapped = kernel_point_conv(features[:, order], points, centers, indices, kernel_points[order], sigma, weight)
    torch.testing.assert_close(swapped, out[:, order])


def test_registration():
    features, *geometry, weight = make(CASES["odd"])
    grad = torch.randn(2, 5, 13, 3)
    inputs = (features.requires_grad_(), *geometry, weight.requires_grad_())
    torch.library.opcheck(torch.ops.geo3d.kernel_point_conv, inputs)
    torch.library.opcheck(torch.ops.geo3d.kernel_point_conv_features, (grad, *geometry, weight.detach()))
    torch.library.opcheck(torch.ops.geo3d.kernel_point_conv_weight, (grad, features.detach(), *geometry))


FEATURES, POINTS, CENTERS, INDICES, KERNEL, SIGMA, WEIGHT = make((2, 3, 6, 4, 5, 7, 8, 9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: FEATURES[0]}, r"features must be \[B, A, N, C\] floating point, got \[3, 6, 8\]"),
        ({1: POINTS[:, :5]}, r"points must be \[2, 6, 3\] .* got \[2, 5, 3\]"),
        ({2: CENTERS[:1]}, r"centers must be \[2, 4, 3\] .* got \[1, 4, 3\]"),
        ({3: INDICES[:, :3]}, r"indices must be \[2, 4, n\] int32 or int64, got \[2, 3, 5\]"),
        ({3: INDICES.float()}, "indices must be .* got .* torch.float32"),
        ({3: INDICES - 9}, r"indices must be in \[-1, 6\), got -10 to"),
        ({4: KERNEL[:2]}, r"kernel_points must be \[3, 7, 3\] .* got \[2, 7, 3\]"),
        ({5: 0.0}, "sigma must be positive, got 0.0"),
        ({6: WEIGHT[:, :6]}, r"weight must be \[9, 7, 8\] .* got \[9, 6, 8\]"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = [FEATURES, POINTS, CENTERS, INDICES, KERNEL, SIGMA, WEIGHT]
    for place, value in changes.items():
        arguments[place] = value
    with pytest.raises(ValueError, match=message):
        kernel_point_conv(*arguments)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
def test_cuda_equals_cpu(case):
    results = []
    for device in ("cuda", "cpu"):
        features, *geometry, weight = (x.to(device) if isinstance(x, Tensor) else x for x in case)
        leaves = [features.requires_grad_(), weight.requires_grad_()]
        out = kernel_point_conv(leaves[0], *geometry, leaves[1])
        results.append([x.detach().cpu() for x in (out, *torch.autograd.grad(out.square().sum(), leaves))])
        features.requires_grad_(False), weight.requires_grad_(False)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-2)
