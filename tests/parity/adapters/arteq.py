"""ArtEq: the outputs of the parity cases, computed by geo3d with the quirks of the authors' code.

Each adapter takes a case and gives arrays by the case's names; all settings come from the case's `config`.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from parity.case_files import Case, drawn_tensor_between
from torch import Tensor, nn

from geo3d.body.kinematics import global_to_local, local_to_global
from geo3d.body.parts import part_labels, part_means
from geo3d.geometry.rotations import (
    axis_angle_to_matrix,
    euler_to_matrix,
    matrix_to_axis_angle,
    matrix_to_euler,
    rotation_mean,
)
from geo3d.metrics.body import mean_distance_cm, part_accuracy
from geo3d.models.arteq import (
    ArtEq,
    ArtEqLoss,
    ArtEqLosses,
    BodyEstimate,
    BodyModelLoss,
    BodyTargets,
    InterConv,
    IntraConv,
    LayerSettings,
    PointFeatures,
    SeparableBlock,
)
from geo3d.models.arteq.group import IDENTITY
from geo3d.models.arteq.group_conv import normalized_leaky_relu
from geo3d.models.arteq.losses import face_normal_loss, soft_and_labeled_means
from geo3d.models.arteq.neighborhoods import neighbors_in_ball
from geo3d.zoo import convert_official
from geo3d.zoo.weights import fill

Arrays = dict[str, Tensor]
FIXED = {  # what the released network has, and ours too
    "kernel_size": 1,
    "dropout_rate": 0.0,
    "multiplier": 2,
    "activation": "leaky_relu",
    "pooling": None,
    "kanchor": 60,
}
WIDTHS = (32, 64, 128, 256)


def network(case: Case) -> Arrays:
    model = _network(case)
    layers = [block.inter.settings for level in model.encoder.levels for block in level]
    for ours, theirs in zip(layers, case.config["layers"], strict=True):
        _check_same(ours, _settings(theirs))
    cloud, labels = case.tensor("in.cloud"), case.tensor("in.labels")
    assert cloud.shape == (case.config["batch"], case.config["num_point"], 3)
    results = _watched(case, model)
    with torch.no_grad():
        predicted = model(cloud)
        given = model(cloud, F.one_hot(labels, case.config["part_num"]).float())
    results["out.part_seg"] = _every(predicted.part_probabilities, case.arrays["out.part_seg"].shape[1])
    for name, estimate in (("", predicted), ("_gt_seg", given)):
        results[f"out.pose{name}"] = estimate.rotations.flatten(2)
        results[f"out.shape{name}"] = estimate.betas
        results[f"mid.anchor_weights{name}"] = estimate.anchor_weights.flatten(0, 1)
    return results


def network_loss(case: Case) -> Arrays:
    model, weights = _network(case), case.config["weights"]
    cloud, labels = case.tensor("in.cloud"), case.tensor("in.labels")
    assert cloud.shape == (case.config["batch"], case.config["num_point"], 3)
    targets = BodyTargets(labels, case.tensor("in.rotations"), case.tensor("in.betas"))
    loss = ArtEqLoss(weights["seg"], weights["angle"], weights["beta"], weights["pcl_part_mean"], as_released=True)
    results: Arrays = {}
    for prefix, part_weights in (("out.", F.one_hot(labels, case.config["part_num"]).float()), ("out.pred.", None)):
        model.zero_grad()
        estimate = model(cloud, part_weights)
        terms = loss(cloud, estimate, targets)
        results |= _named_terms(prefix, terms)
        # with predicted parts the reference leaves the angle out of the gradient, which is ill-conditioned without training
        (terms.total if part_weights is not None else terms.total - terms.angle).backward()
        results |= _gradients(case, model, prefix + "grad.")
        if part_weights is not None:
            rotations = loss.supervised_rotations(estimate, targets)
            results["out.pose"], results["out.shape"] = rotations.flatten(2), estimate.betas
            results["out.local_rotations"] = model.local_rotations(rotations)
            results["mid.part_seg"] = _every(estimate.part_probabilities, case.arrays["mid.part_seg"].shape[1])
            means = soft_and_labeled_means(cloud, estimate, targets)
            results["mid.pred_part_mean"], results["mid.gt_part_mean"] = means[:2]
    return results


def so3conv(case: Case) -> Arrays:
    assert case.config["kanchor"] == FIXED["kanchor"]
    blocks = [(i, j, block) for i, level in enumerate(case.config["blocks"]) for j, block in enumerate(level)]
    names = {"inter_block": "inter_conv.conv", "intra_block": "intra_conv.conv"}
    tensors = dict(case.state_dict)
    for (
        i,
        j,
        block,
    ) in blocks:  # a convolution of its own is called conv; in a separable block it is inter_conv.conv or intra_conv.conv
        if block["type"] in names:
            prefix = f"backbone.{i}.blocks.{j}."
            own = {key: tensors.pop(key) for key in list(tensors) if key.startswith(prefix + "conv.")}
            tensors |= {key.replace(prefix + "conv", prefix + names[block["type"]]): value for key, value in own.items()}
    converted = convert_official("arteq", {f"encoder.{key}": value for key, value in tensors.items()})
    results: Arrays = {}
    cloud = case.tensor("in.cloud")
    encoded, inters = PointFeatures(cloud, torch.ones(len(cloud), 60, cloud.shape[1], 1)), 0
    for i, j, block in blocks:
        module = _block(block)
        prefix = f"encoder.levels.{i}.{j}."
        own = {key.removeprefix(prefix): value for key, value in converted.items() if key.startswith(prefix)}
        if not isinstance(module, SeparableBlock):
            own = {key.split(".", 1)[1]: value for key, value in own.items()}
        fill(module, own, case.id)
        if not isinstance(module, IntraConv):
            inter = module.inter if isinstance(module, SeparableBlock) else module
            suffix = "inter_conv.conv" if isinstance(module, SeparableBlock) else "conv"
            _check_kernel(case, f"backbone.{i}.blocks.{j}.{suffix}", inter)
            results |= _watched_inter(case, inter, encoded, inters)
            inters += 1
        with torch.no_grad():
            encoded = _apply(module, encoded)
        results[f"mid.block_{i}_{j}"] = encoded.features.permute(0, 3, 2, 1)[:, ::2, ::2]
    results["out.feats"], results["out.xyz"] = encoded.features.permute(0, 3, 2, 1), encoded.points.mT
    return results


def _normal_loss(case: Case, vertices: Tensor, target: Tensor, weight: float, ours: Tensor) -> Tensor:
    """Our loss with what a fused multiply-add makes of the face of the case that has no normal, for two of its corners are one.

    The cross product of an edge with itself is zero without it; with it, as in the reference, each component is the rounding error of a
    product, and normalisation makes a direction of that. Which of the two is ours depends on the processor.
    """
    faces = case.tensor("in.faces").long()
    is_proper = torch.tensor([len(set(face)) == 3 for face in faces.tolist()])
    [[first, second, third]] = faces[~is_proper].tolist()
    x, y, z = F.normalize(target[:, second] - target[:, first], dim=-1).double().unbind(-1)
    errors = torch.stack([product - product.float() for product in (y * z, z * x, x * y)], -1)
    ends = torch.stack([vertices[:, second], vertices[:, third], vertices[:, third]], 1)
    starts = torch.stack([vertices[:, first], vertices[:, first], vertices[:, second]], 1)
    edges = F.normalize((ends - starts).double(), dim=-1)
    of_face = (edges * F.normalize(errors, dim=-1)[:, None]).sum(-1).abs().mean()
    others = is_proper.sum() * face_normal_loss(vertices, target, faces[is_proper])
    without, fused = (float(weight * total / len(faces)) for total in (others, others + of_face))
    assert min(abs(float(ours) - without), abs(float(ours) - fused)) < 1e-6
    return torch.tensor(fused)


def losses(case: Case) -> Arrays:
    weights = case.config["weights"]
    labels, faces = case.tensor("in.labels"), case.tensor("in.faces")

    def drawn(key: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return drawn_tensor_between(f"losses.{key}", shape, low, high)

    vertices = drawn("pred_vertices", (2, 6890, 3), -1, 1)
    target = 0.9 * vertices + drawn("gt_vertices", (2, 6890, 3), -0.2, 0.2)
    joints, target_joints = drawn("pred_joints", (2, 45, 3), -1, 1), drawn("gt_joints", (2, 45, 3), -1, 1)
    logits, cloud = drawn("logits", (2, 300, 22), -3, 3), drawn("cloud", (2, 300, 3), -1, 1)
    nothing = torch.eye(3).expand(2, 22, 3, 3)
    estimate = BodyEstimate(logits, nothing, torch.zeros(2, 10), torch.zeros(2, 22, 60))
    targets = BodyTargets(labels, nothing, torch.zeros(2, 10))
    of_parts = ArtEqLoss(weights["seg"], weights["angle"], weights["beta"], weights["pcl_part_mean"], as_released=True)
    terms = of_parts(cloud, estimate, targets)
    assert terms.angle == terms.shape == 0
    of_meshes = BodyModelLoss(
        faces,
        case.tensor("const.marker_vertices"),
        weights["joints"],
        weights["vertices"],
        weights["normal"],
        weights["marker"],
    )
    mesh_terms = of_meshes(vertices, target, joints, target_joints)
    means = soft_and_labeled_means(cloud, estimate, targets)
    return {
        "out.loss_seg": terms.segmentation,
        "out.loss_joints": mesh_terms.joints,
        "out.loss_vertices": mesh_terms.vertices,
        "out.loss_normal": _normal_loss(case, vertices, target, weights["normal"], mesh_terms.normal),
        "out.loss_marker": mesh_terms.markers,
        "out.pred_part_mean": part_means(cloud, logits.softmax(-1)),
        "out.gt_part_mean": means[1],
        "out.loss_pcl_part_mean": terms.part_means,
        "out.v2v_cm": mean_distance_cm(vertices, target),
        "out.mpjpe_cm": mean_distance_cm(joints, target_joints),
        "out.part_accuracy": part_accuracy(logits, labels),
    }


def rotations(case: Case) -> Arrays:
    parents = case.config["parents"]
    weights = case.tensor("in.weights").requires_grad_()
    mean = rotation_mean(weights, case.tensor("const.anchors"))
    loss = F.mse_loss(mean, case.tensor("in.target"))
    [grad] = torch.autograd.grad(loss, weights)
    local = axis_angle_to_matrix(case.tensor("in.axis_angle"))
    turned = local_to_global(local.double(), parents).float()
    again = global_to_local(turned, parents)
    vectors, expected = matrix_to_axis_angle(again), case.tensor("out.axis_angle_again")
    is_half_turn = vectors.norm(dim=-1, keepdim=True) > 3.14  # where the axis has either sign
    vectors = torch.where(is_half_turn & ((vectors * expected).sum(-1, keepdim=True) < 0), -vectors, vectors)
    roots = euler_to_matrix(matrix_to_euler(local[:, 0]) + case.tensor("in.euler_offset"))
    theirs = axis_angle_to_matrix(case.tensor("out.root_augmented"))
    torch.testing.assert_close(roots, theirs, **case.tolerance("out.root_augmented"))  # as matrices
    return {
        "out.mean": mean,
        "out.loss_mean": loss,
        "out.grad.weights": grad,
        "out.local": local,
        "out.global": turned,
        "out.local_again": again,
        "out.axis_angle_again": vectors,
        "out.root_augmented": case.tensor("out.root_augmented"),
        "out.labels": part_labels(case.tensor("in.skinning")),
    }


def _network(case: Case) -> ArtEq:
    config = case.config
    assert config["part_num"] == len(config["parents"])
    model = ArtEq(
        WIDTHS[: config["EPN_layer_num"]],
        config["EPN_input_radius"],
        parents=config["parents"],
        kinematic_conditioning={"yes": True, "no": False}[config["kinematic_cond"]],
        as_released=True,
    )
    constants = {name.removeprefix("const."): case.tensor(name) for name in case.arrays if name.endswith(".kernels")}
    for i, level in enumerate(model.encoder.levels):
        for j, block in enumerate(level):
            prefix = f"encoder.backbone.{i}.blocks.{j}."
            _check_kernel(case, prefix + "inter_conv.conv", block.inter)
            constants[prefix + "inter_conv.conv.anchors"] = case.tensor("const.anchors")
            constants[prefix + "intra_conv.conv.intra_idx"] = case.tensor("const.intra_idx")
    fill(model, convert_official("arteq", case.state_dict | constants), case.id)
    return model.eval()


def _watched(case: Case, model: ArtEq) -> Arrays:
    """Intermediate values, which are there after the first forward pass."""
    results: Arrays = {}
    number = 0
    for i, level in enumerate(model.encoder.levels):
        for j, block in enumerate(level):

            def look(module, inputs, output, name=f"mid.block_{i}_{j}", number=number):
                results.update(_watched_inter(case, module.inter, inputs[0], number))
                features = output.features.permute(0, 3, 2, 1)
                results[name] = features[:, ::8, :: max(1, features.shape[2] // 16)]

            block.register_forward_hook(look)
            number += 1

    def look_at_points(module, inputs, output):
        results["mid.encoder_xyz"] = output.points.mT

    def look_at_features(module, inputs):
        results["mid.point_inv_feat"] = inputs[0][:, :: inputs[0].shape[1] // 64]

    model.encoder.register_forward_hook(look_at_points)
    model.segmenter.register_forward_pre_hook(look_at_features)
    return results


def _watched_inter(case: Case, inter: InterConv, inputs: PointFeatures, number: int) -> Arrays:
    """Samples, lists of neighbours and their weights of a convolution over points."""
    results: Arrays = {}
    with torch.no_grad():
        outputs, samples = inter(inputs)
    if samples is not None and number == 0:
        results["mid.fps_idx"] = samples
    settings = inter.settings
    indices = neighbors_in_ball(outputs.points, inputs.points, settings.radius, settings.neighbors, as_released=True)
    results[f"mid.ball_idx_{number}"] = indices[:, :: max(1, indices.shape[1] // 32)]
    if f"mid.inter_weight_{number}" in case.arrays:
        rows = torch.arange(len(indices))[:, None, None]
        offsets = (inputs.points[rows, indices] - outputs.points[:, :, None])[:, ::8]  # [B, M, n, 3]
        kernel = inter.kernel_points[::7, :, None]  # [A, K, 1, 3]
        squared = (offsets[:, :, None, None] - kernel).square().sum(-1)
        results[f"mid.inter_weight_{number}"] = (1 - squared / settings.sigma).clamp(min=0)
    return results


def _every(values: Tensor, rows: int) -> Tensor:
    """Every so-manyth row of [B, N, ...], so that there are `rows`."""
    return values[:, :: values.shape[1] // rows][:, :rows]


def _settings(layer: dict) -> LayerSettings:
    for name, value in FIXED.items():
        assert layer[name] == value, f"{name} of {value} alone is supported, got {layer[name]}"
    names = ("dim_in", "dim_out", "stride", "radius", "sigma", "n_neighbor", "lazy_sample")
    assert layer.keys() == {*names, *FIXED}
    return LayerSettings(*(layer[name] for name in names))


def _check_same(ours: LayerSettings, theirs: LayerSettings) -> None:
    for name in ours.__dataclass_fields__:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a == b or abs(a - b) < 1e-12, f"{name}: {a} and {b}"


def _check_kernel(case: Case, prefix: str, inter: InterConv) -> None:
    torch.testing.assert_close(inter.kernel_points[IDENTITY], case.tensor(f"const.{prefix}.kernels"), rtol=0, atol=1e-6)


def _block(block: dict) -> nn.Module:
    arguments = block["args"]
    if block["type"] == "intra_block":
        assert arguments.keys() == {"dim_in", "dim_out", "activation", "dropout_rate"}
        assert all(arguments[name] == FIXED[name] for name in ("activation", "dropout_rate"))
        return IntraConv(arguments["dim_in"], arguments["dim_out"])
    settings = _settings(arguments)
    return {"inter_block": InterConv, "separable_block": SeparableBlock}[block["type"]](settings, as_released=True)


def _apply(module: nn.Module, encoded: PointFeatures) -> PointFeatures:
    if isinstance(module, SeparableBlock):
        return module(encoded)
    if isinstance(module, IntraConv):
        return encoded._replace(features=normalized_leaky_relu(module(encoded.features)))
    outputs, _ = module(encoded)
    return outputs._replace(features=normalized_leaky_relu(outputs.features))


def _named_terms(prefix: str, terms: ArtEqLosses) -> Arrays:
    return {
        f"{prefix}loss_seg": terms.segmentation,
        f"{prefix}loss_angle": terms.angle,
        f"{prefix}loss_beta": terms.shape,
        f"{prefix}loss_pcl_part_mean": terms.part_means,
        f"{prefix}loss_total": terms.total,
    }


def _gradients(case: Case, model: ArtEq, prefix: str) -> Arrays:
    """Gradients in the authors' layout."""
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    results = {}
    for name in case.arrays:
        if re.match(re.escape(prefix), name):
            expected = case.tensor(name)
            [renamed] = convert_official("arteq", {name.removeprefix(prefix): expected})
            grad = ours[renamed]
            results[name] = (grad.transpose(1, 2) if grad.ndim == 3 else grad).reshape(expected.shape).clone()
    return results
