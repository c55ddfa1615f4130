"""Joined layers give what the layers give one after the other, and train as before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geo3d.models.detection import BevBackbone, CenterHead
from geo3d.models.detection.norms import ConvBranch, ConvNorm, ConvNormReLU, conv_norm_relu


def settled(module: nn.Module) -> nn.Module:
    """With the statistics and weights of its norms as after a training."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.running_mean, norm.weight.data, norm.bias.data):
                values.copy_(torch.randn(values.shape, generator=generator))
            norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) + 0.5)
    return module.eval()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 5, 3, 2, padding=1, bias=False),
        nn.Conv2d(3, 5, 3, dilation=2),
        nn.ConvTranspose2d(3, 5, 2, 2, bias=False),
        nn.ConvTranspose2d(3, 5, 3, 2, output_padding=1),
    ],
    ids=["strided", "dilated with bias", "transposed", "transposed with bias"],
)
@pytest.mark.parametrize("kind", [ConvNorm, ConvNormReLU])
def test_folded_is_the_same(conv, kind):
    module = settled(kind(conv, nn.BatchNorm2d(5), nn.ReLU()) if kind is ConvNormReLU else kind(conv, nn.BatchNorm2d(5)))
    module.double()
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    expected = nn.Sequential(*module)(x)
    torch.testing.assert_close(module(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


def test_whole_backbone_and_branches():
    network = nn.Sequential(
        BevBackbone(4, (1, 1), (1, 2), (8, 8), (1, 2), (6, 6)), ConvNormReLU(nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    )
    network.append(ConvBranch(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1)))
    settled(network).double()
    x = torch.randn(2, 4, 12, 16, dtype=torch.float64)
    before = x.clone()
    with torch.no_grad():
        folded = network(x)
        last = network(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(folded, network(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(last, folded)
    assert torch.equal(x, before)


def test_new_weights_count_at_once():
    module = settled(ConvNormReLU(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()))
    x = torch.randn(1, 3, 4, 4)
    with torch.no_grad():
        module(x)
        module[1].running_mean += 1
        module[0].weight.mul_(2)
        torch.testing.assert_close(module(x), nn.Sequential(*module)(x))


def test_training_keeps_statistics_and_gradients():
    module = ConvNormReLU(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    x = torch.randn(2, 3, 6, 6)
    module(x).sum().backward()
    assert module[0].weight.grad is not None and module[1].num_batches_tracked == 1
    with torch.no_grad():
        module(x)  # in training mode the norm takes the batch's statistics
    assert module[1].num_batches_tracked == 2


def test_shortcut_is_not_changed():
    conv, norm = nn.Conv2d(3, 3, 3, padding=1), settled(nn.BatchNorm2d(3))
    x, shortcut = torch.randn(2, 1, 3, 5, 5).unbind(0)
    before = shortcut.clone()
    with torch.no_grad():
        found = conv_norm_relu(conv, norm, x, shortcut)
    torch.testing.assert_close(found, (norm(conv(x)) + shortcut).relu())
    assert torch.equal(shortcut, before)


@pytest.mark.parametrize("velocity", [False, True])
@pytest.mark.parametrize("iou", [False, True])
def test_values_of_cells_are_those_of_whole_maps(velocity, iou):
    head = settled(CenterHead(6, 2, channels=8, iou=iou, velocity=velocity)).double()
    bev = torch.randn(2, 6, 7, 9, dtype=torch.float64)
    whole = head(bev)
    with torch.no_grad():
        deferred = head(bev)
    y, x = torch.meshgrid(torch.arange(7), torch.arange(9), indexing="ij")
    cells = torch.stack((x, y), -1).view(-1, 2).repeat(2, 1)  # all, those at the border too
    batch_index = torch.arange(2).repeat_interleave(63)
    expected, found = whole.at_cells(batch_index, cells), deferred.at_cells(batch_index, cells)
    assert found.codes.shape == (126, 10 if velocity else 8) and found.codes.dtype == torch.float32
    torch.testing.assert_close(found.codes, expected.codes)
    assert (found.iou is not None) == iou == (expected.iou is not None)
    if iou:
        torch.testing.assert_close(found.iou, expected.iou)
    assert deferred.has_velocity == velocity == whole.has_velocity
    assert not {"center", "dim", "iou"} & set(vars(deferred))  # no map was computed for that
    none = deferred.at_cells(batch_index[:0], cells[:0])
    assert none.codes.shape == (0, 10 if velocity else 8)
    for name in ("heatmap", "center", "center_z", "dim", "rot", "iou", "velocity"):
        torch.testing.assert_close(getattr(deferred, name), getattr(whole, name))


def test_decoding_under_autocast():
    head = settled(CenterHead(6, 2, channels=8))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = head(torch.randn(1, 6, 7, 9))
    values = outputs.at_cells(torch.zeros(1, dtype=torch.int64), torch.tensor([[3, 4]]))
    assert values.codes.dtype == torch.float32 and outputs.center.shape == (1, 2, 7, 9)
