"""ReJSHand's network: the outputs of the parity cases, computed by geo3d. All settings come from the case's `config`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from parity.case_files import Case, drawn_input
from torch import Tensor, nn

from geo3d.body import keypoint_regressor
from geo3d.models.rejshand import HandOutput, HandTargets, MeshHead, ReJSHand, hand_losses
from geo3d.zoo import convert_official
from geo3d.zoo.weights import fill

Arrays = dict[str, Tensor]


def joint_regressor(case: Case) -> Tensor:
    """[21, 778] of the case's hand model."""
    return torch.from_numpy(keypoint_regressor({"J_regressor": case.arrays["const.mano.J_regressor"]})).float()


def mesh_head(case: Case) -> Arrays:
    config = case.config
    head = MeshHead(
        config["in_channels"], config["vertices"], config["token_nums"], config["dims"], config["deconv_dim"]
    ).eval()
    fill(head, _own(convert_official("rejshand", case.state_dict), "mesh_head."), case.id)
    results = _watch_head(head)
    uv = case.tensor("in.uv").unflatten(1, (-1, 2))
    with torch.no_grad():
        results["out.vertices"] = head(_drawn(case, "features"), uv)
    results["out.joints"] = joint_regressor(case) @ results["out.vertices"]
    return results


def full(case: Case) -> Arrays:
    config = case.config
    height, width = config["image"]
    assert height == width
    network = ReJSHand(config["backbone"], image_size=height).eval()
    assert network.backbone.channels == config["feature_channels"]
    assert config["timm_version"].split(".")[0] == "1" and "same with timm" in config["timm_note"]
    fill(network, convert_official("rejshand", case.state_dict), case.id)
    network.set_joint_regressor(joint_regressor(case))
    coarse, fine = re.findall(r"uniform_input\([^)]*\)[^)]*\)", case.meta["inputs"]["image"])
    coarse, fine = drawn_input(coarse), drawn_input(fine)
    scale = fine.shape[-1] // coarse.shape[-1]
    images = coarse.repeat_interleave(scale, 2).repeat_interleave(scale, 3) + fine
    assert images.shape == (config["batch"], 3, height, width)
    results = _watch_head(network.mesh_head)
    for number, stage in enumerate(_stages(network.backbone.network)):
        stage.register_forward_hook(_keep(results, f"mid.stage_{number}", _thinned))
    network.backbone.register_forward_hook(_keep(results, "mid.features", lambda x: x[:, ::8]))
    with torch.no_grad():
        output = network(images.flip(1))  # theirs are B, G, R
    return results | {"out.uv": output.keypoints.flatten(1), "out.joints": output.joints, "out.vertices": output.vertices}


def heads_loss(case: Case) -> Arrays:
    config = case.config
    network = _Heads(config["in_channels"])
    fill(network, convert_official("rejshand", case.state_dict), case.id)
    network.train(config["mode"] == "train")
    network.joint_regressor = joint_regressor(case)
    features = _drawn(case, "features").requires_grad_()
    assert len(features) == config["batch"]
    output = network(features)
    uv, xyz, vertices = (
        drawn_input(re.search(rf"\b{name}: (uniform_input\([^)]*\)[^)]*\))", case.meta["inputs"]["targets"])[1])
        for name in ("uv", "xyz", "vertices")
    )
    targets = HandTargets(uv, case.tensor("in.uv_valid"), xyz, vertices, case.tensor("in.xyz_valid"))
    weights = config["weights"]
    losses = hand_losses(output, targets, weights["uv"], weights["joints"], weights["vertices"])
    losses.total.backward()
    results = {
        "out.uv": output.keypoints.flatten(1),
        "out.joints": output.joints,
        "out.loss_uv": losses.keypoints,
        "out.loss_joints": losses.joints,
        "out.loss_vertices": losses.vertices,
        "out.loss_total": losses.total,
        "out.grad.features": features.grad[:, ::32],
    }
    own = {name: parameter.grad for name, parameter in network.named_parameters()}
    for name, tensor in case.state_dict.items():
        [ours] = convert_official("rejshand", {name: tensor})
        if f"out.grad.{name}" in case.arrays:
            results[f"out.grad.{name}"] = own[ours].view(tensor.shape)
    return results


class _Heads(ReJSHand):
    """The network without its backbone."""

    def __init__(self, channels: int):
        nn.Module.__init__(self)
        self.keypoints = nn.Linear(channels, 42)
        self.mesh_head = MeshHead(channels)

    def forward(self, features: Tensor) -> HandOutput:
        return self.heads(features)


def _watch_head(head: MeshHead) -> Arrays:
    results: Arrays = {"mid.position_encoding": head.encoding[::16, ::5, ::5]}
    head.norm.register_forward_hook(_keep(results, "mid.deconv_bn_relu", lambda x: x.relu()[:, ::32, ::3, ::3]))
    head.projections[0].register_forward_pre_hook(
        lambda module, inputs: results.update({"mid.token_input": inputs[0][:, :, ::4]})
    )
    parts = {"proj": head.projections, "encoder": head.blocks, "upsample": head.expansions}
    for name, modules in parts.items():
        for number, module in enumerate(modules, 1):
            step = 8 if (name, number) in (("upsample", 2), ("proj", 3), ("encoder", 3), ("upsample", 3)) else 2
            module.register_forward_hook(_keep(results, f"mid.{name}_{number}", lambda x, step=step: x[:, ::step, ::4]))
    return results


def _keep(results: Arrays, name: str, part: Callable[[Tensor], Tensor]) -> Any:
    return lambda module, inputs, output: results.update({name: part(output)})


def _thinned(x: Tensor) -> Tensor:
    """Every (C // 16)-th channel, every (H // 7)-th row and column."""
    step = x.shape[2] // 7
    return x[:, :: x.shape[1] // 16, ::step, ::step]


def _stages(network: Any) -> list[nn.Module]:
    return list(network.stages)


def _drawn(case: Case, name: str) -> Tensor:
    return drawn_input(re.search(r"uniform_input\([^)]*\)[^)]*\)", case.meta["inputs"][name])[0])


def _own(tensors: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
