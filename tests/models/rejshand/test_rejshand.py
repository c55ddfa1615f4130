"""ReJSHand's network: options, sizes, and the folded form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geo3d.models.rejshand import (
    FoldedReJSHand,
    HandTargets,
    MeshHead,
    ReJSHand,
    first_stages,
    hand_losses,
    heatmap_loss,
    mean_places,
)
from geo3d.models.rejshand.interaction import BoneFeatures, CoordinateAttention

SMALL = {"token_counts": (31, 50), "widths": (32, 16, 16), "map_channels": 32, "num_vertices": 63}


def small_network(**options) -> ReJSHand:
    """A network with few tokens, whose batch norms have seen something."""
    torch.manual_seed(1)
    network = ReJSHand(**{"backbone": "tf_efficientnet_lite0", "image_size": 64, **SMALL, **options})
    network.set_joint_regressor(torch.rand(network.joint_regressor.shape).softmax(1))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def images(batch: int, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


FORMS = {
    "released": {"backbone": "repvit_m0_9"},
    "mobile": {"backbone": "mobilenetv3_small_050"},
    "branches": {"backbone": "fastvit_t8"},
    "last_stage": {"last_stage": True, "bgr": False, "mean": 127.0, "std": 128.0},
    "bones": {"bone_features": True},
    "coordinate_attention": {"coordinate_attention": True},
    "heatmaps": {"keypoint_head": "heatmap", "last_stage": True},
    "other_counts": {"token_counts": (40,), "widths": (24, 8), "num_vertices": 99},
}


@pytest.mark.parametrize("whole_map", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_folded_form_gives_the_same(form, whole_map):
    network = small_network(**FORMS[form])
    folded = FoldedReJSHand(network, whole_map)
    for crops in (images(3), images(2, 96, 64)):  # the second is not of the size that the network was built for
        with torch.no_grad():
            found, wanted = folded(crops), network(crops)
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)  # sums in another order, through a deep backbone
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.network.backbone.modules()) == 0


def test_folding_leaves_the_network_as_it_is():
    network = small_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    FoldedReJSHand(network)
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_keypoints_at_and_beyond_the_border_are_sampled_alike():
    head = MeshHead(16, 63, (5, 11), (16, 8), map_channels=16, map_size=3).eval()
    from geo3d.models.rejshand.folded import FoldedMeshHead

    places = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [-0.3, 0.5], [0.5, 1.7], [6 / 11, 4 / 11]]])
    features = torch.randn(1, 16, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(FoldedMeshHead(head, False)(features, places), head(features, places))


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_gets_a_gradient(form):
    network = small_network(**FORMS[form]).train()
    output = network(images(2))
    (output.keypoints.square().sum() + output.vertices.square().sum()).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not without


def test_a_crop_gives_the_same_alone_and_in_a_batch():
    network, crops = small_network(), images(2)
    with torch.no_grad():
        for alone, together in zip(network(crops[:1]), network(crops), strict=True):
            torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-5)


def test_channels_and_statistics_are_those_asked_for():
    crops = images(1)
    as_released, rgb = small_network(), small_network(bgr=False, mean=[1.0, 2.0, 3.0], std=[2.0, 4.0, 8.0])
    torch.testing.assert_close(as_released.prepared(crops), crops.flip(1).float() / 255 - 0.5)
    wanted = (crops.float() - torch.tensor([1.0, 2, 3]).view(3, 1, 1)) / torch.tensor([2.0, 4, 8]).view(3, 1, 1)
    torch.testing.assert_close(rgb.prepared(crops), wanted)


def test_joints_are_unknown_until_a_regressor_is_set():
    network = ReJSHand("tf_efficientnet_lite0", image_size=64, **SMALL).eval()
    assert network(images(1)).joints.isnan().all()
    with pytest.raises(ValueError, match=r"expected a joint regressor \[21, 63\], got \[16, 63\]"):
        network.set_joint_regressor(torch.zeros(16, 63))


def test_bone_features_see_differences_along_the_tree():
    bones = BoneFeatures(4, [-1, 0, 1])
    x = torch.randn(1, 1, 4).expand(1, 3, 4).clone()
    with torch.no_grad():
        torch.testing.assert_close(bones(x), x + bones.encode.bias)  # equal tokens have no difference
        x[:, 1] += 1
        moved = bones(x) - x - bones.encode.bias
    assert moved[0, 0].abs().max() < 1e-6 and (moved[0, 1:].abs().max(1).values > 1e-3).all()


def test_coordinate_attention_gates_rows_and_columns():
    gate = CoordinateAttention(8).eval()
    x = torch.rand(1, 8, 5, 7) + 0.5
    with torch.no_grad():
        ratio = gate(x) / x
    assert ((ratio > 0) & (ratio < 1)).all()
    torch.testing.assert_close(
        ratio * ratio[..., :1, :1], ratio[..., :1] * ratio[..., :1, :]
    )  # a product of a column and a row


def test_losses_leave_out_what_is_unknown():
    output = small_network()(images(2))
    targets = HandTargets(
        torch.zeros(2, 21, 2), torch.ones(2, 21), torch.zeros(2, 21, 3), torch.zeros(2, 63, 3), torch.tensor([1.0, 0.0])
    )
    published = hand_losses(output, targets)
    known = 10 * output.vertices[0].abs().sum(-1).mean()
    torch.testing.assert_close(published.vertices, known / 2)
    torch.testing.assert_close(hand_losses(output, targets, over_valid=True).vertices, known)
    torch.testing.assert_close(published.total, published.keypoints + published.joints + published.vertices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "no_such_net"}, "expected a network of timm, such as fastvit_ma36, got 'no_such_net'"),
        ({"widths": (30, 16, 16)}, "heads must divide the channels, got 8 heads for 30 channels"),
        ({"widths": (32, 16)}, "expected as many widths as token_counts"),
        ({"num_joints": 16, "bone_features": True}, "bone_features are of 21 joints, got num_joints 16"),
        ({"map_channels": 30}, "map_channels must be a multiple of 4, got 30"),
    ],
)
def test_what_does_not_fit_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        small_network(**options)


def test_images_of_another_shape_are_told():
    with pytest.raises(ValueError, match=r"images must be \[B, 3, H, W\], got \[1, 1, 64, 64\]"):
        small_network()(torch.zeros(1, 1, 64, 64))


def test_heatmaps_need_the_finer_maps():
    with pytest.raises(ValueError, match="pyramid goes with last_stage"):
        small_network(keypoint_head="heatmap")


def test_networks_without_so_many_stages():
    assert len(first_stages(small_network().backbone.network, 3)) == 2 + 3
    with pytest.raises(ValueError, match="expected 1 to 7, got 8"):
        first_stages(small_network().backbone.network, 8)
    with pytest.raises(ValueError, match="0 for a backbone without a list of stages, got 1"):
        first_stages(small_network(backbone="vgg11").backbone.network, 1)


def test_the_best_heatmaps_have_their_mean_at_the_keypoint():
    torch.manual_seed(0)
    keypoints = torch.rand(2, 3, 2) * 0.8 + 0.1
    valid = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    logits = torch.zeros(2, 3, 6, 8, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = heatmap_loss(logits, keypoints, valid)
        loss.backward()
        assert logits.grad[0, 2].abs().max() == 0
        optimizer.step()
    places = mean_places(logits.detach())
    torch.testing.assert_close(places[valid > 0], keypoints[valid > 0], rtol=0, atol=2e-3)
    torch.testing.assert_close(places[0, 2], torch.tensor([0.5, 0.5]))
    outside = heatmap_loss(logits, torch.full((2, 3, 2), 1.2), torch.zeros(2, 3))
    assert outside == 0
