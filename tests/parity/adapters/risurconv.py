"""RISurConv: the outputs of the parity cases, computed by geo3d.

Each adapter takes a case and gives arrays by the case's names; all settings come from the case's `config` and tensor shapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from parity.case_files import Case, check_fixed, drawn_input
from torch import Tensor, nn

from geo3d.data.shapes.normals import estimate_normals
from geo3d.geometry.local_axes import reference_axis
from geo3d.metrics.part_iou import restricted_argmax, shape_iou
from geo3d.models.risurconv import (
    FeaturePropagation,
    GroupAll,
    RISurConvClassifier,
    RISurConvSegmentor,
    SetAbstraction,
    Surface,
)
from geo3d.models.risurconv.features import angular_keys, surface_features
from geo3d.models.risurconv.layers import DENSE_CENTERS, describe
from geo3d.ops import farthest_point_sample, gather, knn
from geo3d.zoo import convert_official
from geo3d.zoo.weights import fill

Arrays = dict[str, Tensor]


def classifier(case: Case) -> Arrays:
    network, config = _classifier(case).eval(), case.config
    counts, k = [*network.centers, 1], [*(level.num_neighbors for level in network.levels), "all"]
    check_fixed(config, {"mode": "eval", "centres": counts, "neighbours": k, "neighbour_shift": _steps(counts)})
    points, target = case.tensor("in.points"), case.tensor("in.target").long()
    blocks = {f"sc{i}": level for i, level in enumerate(network.levels)} | {"sc4": network.group_all}
    results: Arrays = {}
    _watch(blocks, results)
    network.encoder.register_forward_hook(
        lambda module, inputs, output: results.update({"mid.encoder": output.transpose(0, 1)})
    )
    for i, stage in enumerate(network.head):
        stage[1].register_forward_hook(_keep(results, f"mid.bn{i + 1}"))
    with torch.no_grad():
        log_prob = network(points)
        results["out.l4_points"] = network.encode(points)[..., None]
    results["out.log_prob"] = log_prob
    results["out.loss"] = F.nll_loss(log_prob, target)
    return results


def classifier_train(case: Case) -> Arrays:
    """Results in float32; gradients in float64, where they are the reference's on every processor.

    In float32 rounding decides which of two nearly equal neighbours is a maximum, and with another number of threads one gradient in a
    thousand may go to the other.
    """
    check_fixed(case.config, {"mode": "train, dropout 0"})
    network, results = _training_step(case, torch.float32)
    precise, _ = _training_step(case, torch.float64)
    gradients = {name: parameter.grad for name, parameter in precise.named_parameters()}
    results["out.grad_norm"] = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    for name in case.arrays:
        for prefix, source in (("out.grad.", gradients), ("out.after.", network.state_dict())):
            if name.startswith(prefix):
                expected = case.tensor(name)
                [ours] = convert_official("risurconv", {name.removeprefix(prefix): expected})
                results[name] = source[ours].reshape(expected.shape)
    return {name: tensor.detach() for name, tensor in results.items()}


def _training_step(case: Case, dtype: torch.dtype) -> tuple[RISurConvClassifier, Arrays]:
    """The network after the backward pass, and outputs and loss."""
    network = _classifier(case, dropout=0.0, encoder_dropout=0.0).train().to(dtype)
    codes: Arrays = {}
    network.group_all.register_forward_hook(_keep(codes, "code"))
    log_prob = network(case.tensor("in.points").to(dtype))
    loss = F.nll_loss(log_prob, case.tensor("in.target").long())
    loss.backward()
    return network, {"out.log_prob": log_prob, "out.l4_points": codes["code"][..., None], "out.loss": loss}


def part_segmentor(case: Case) -> Arrays:
    config = case.config
    channels = [_width(case, f"sa{i}.risurconv.0.weight") for i in range(4)]
    network = RISurConvSegmentor(
        config["num_part"],
        config["num_category"],
        config["centres"],
        config["neighbours_down"],
        channels,
        [config["neighbours_up"][f"fp{i}"] for i in (3, 2, 1, 0)],
        [_width(case, f"fp{i}.risurconv.0.weight") for i in (3, 2, 1, 0)],
        [_width(case, f"fp{i}.mlp_convs.0.weight") for i in (3, 2, 1)],
        as_released=True,
    )
    fill(network, convert_official("risurconv", case.state_dict), case.id)
    network.eval()
    _check_inputs(case, "part segmentation")
    others = set(_steps(network.centers[:-1]))  # the other propagations are onto these
    check_fixed(config, {"mode": "eval", "neighbour_shift": {"fp0": _steps([config["num_point"]])[0]}})
    assert others == {config["neighbour_shift"]["others"]}
    blocks = {f"sa{i}": level for i, level in enumerate(network.levels)}
    blocks |= {f"fp{3 - i}": level for i, level in enumerate(network.up_levels)}
    results: Arrays = {}
    _watch(blocks, results)
    network.norm.register_forward_hook(lambda module, inputs, output: results.update({"mid.bn1": output.transpose(1, 2)}))
    categories, target = case.tensor("in.category").long(), case.tensor("in.target").long()
    with torch.no_grad():
        log_prob = network(case.tensor("in.points"), categories)
    results["out.log_prob"] = log_prob
    results["out.loss"] = F.nll_loss(log_prob.flatten(0, 1), target.flatten())
    ious = []
    for scores, parts, category in zip(log_prob, target, categories.tolist(), strict=True):
        category_parts = OFFICIAL_PARTS[category]
        ious.append(shape_iou(restricted_argmax(scores, category_parts), parts, category_parts))
    results["out.shape_iou"] = torch.stack(ious)
    return results


def features(case: Case) -> Arrays:
    config = case.config
    centers, k = config["centres"], config["neighbours"]
    results: Arrays = {}
    cloud = _surface(case.tensor("in.points"))
    check_fixed(config, {"num_point": cloud.positions.shape[1], "mode": "eval", "dtype": _type_name(cloud.positions)})
    picks = farthest_point_sample(cloud.positions, centers, ties="cuda")
    chosen = Surface(gather(cloud.positions, picks), gather(cloud.normals, picks), None)
    results["out.fps_idx"] = picks
    repeated = case.tensor("in.points_repeated")
    results["out.fps_repeated_idx"] = farthest_point_sample(repeated, repeated.shape[1], ties="cuda")
    listed = knn(chosen.positions, cloud.positions, k, order="cuda_topk").indices
    results["out.knn_idx"] = listed
    offsets = (gather(cloud.positions, listed) - chosen.positions[:, :, None]).movedim(-1, 0)
    keys = angular_keys(offsets, chosen.normals.movedim(-1, 0), first_is_positive=True)
    results["out.angle_key"] = keys.sort(descending=True).values
    results["out.idx_ordered"], results["out.ri_feat"] = describe(chosen, cloud, k, True, config["shift"])
    results["out.fp_idx_ordered"], results["out.fp_ri_feat"] = describe(cloud, chosen, k, True, config["shift"])
    results |= _group_all_description(chosen)
    normals = estimate_normals(cloud.positions[0].numpy(), config["lra_neighbours"])[None]
    expected = case.arrays["out.lra_normals"]  # the sign of the reference's axes is arbitrary
    results["out.lra_normals"] = torch.from_numpy(normals * np.sign((normals * expected).sum(-1, keepdims=True)))
    dense = _surface(case.tensor("in.points_1024"))
    picks = farthest_point_sample(dense.positions, dense.positions.shape[1], ties="cuda")
    sampled = Surface(gather(dense.positions, picks), gather(dense.normals, picks), None)
    indices, description = describe(sampled, dense, k, True)  # the step of two is the rule for so many centres
    results["out.shift2_idx_ordered"], results["out.shift2_ri_feat"] = indices, description
    return results | _blocks(case, cloud, chosen)


def _blocks(case: Case, cloud: Surface, chosen: Surface) -> Arrays:
    """One block of each kind, with channels read off the tensors."""
    centers, k = case.config["centres"], case.config["neighbours"]
    width = {name: _width(case, f"{name}.risurconv.0.weight") for name in ("sc0", "sc4", "fp")}
    skip = drawn_input(case.meta["inputs"]["skip"])
    mlp = (_width(case, "fp.mlp_convs.0.weight"),)
    first, last = f"{centers} centres", f"all {cloud.positions.shape[1]} points"
    settings = {
        "sc0": f"set abstraction, {first}, {k} neighbours, 0 -> {width['sc0']} channels",
        "sc4": f"group-all set abstraction on the output of sc0, {width['sc0']} -> {width['sc4']} channels",
        "fp": f"feature propagation from the {first} of sc0 to {last}, {k} neighbours, in {width['sc0']}, "
        f"skip in.skip ({skip.shape[1]} channels), {width['fp']} channels, mlp {list(mlp)}",
    }
    check_fixed(case.config, {"blocks": settings})
    blocks = {
        "sc0": SetAbstraction(centers, k, 0, width["sc0"], as_released=True),
        "sc4": GroupAll(width["sc0"], width["sc4"], as_released=True),
        "fp": FeaturePropagation(k, width["sc0"], skip.shape[1], width["fp"], mlp, as_released=True),
    }
    names = {"sc0": "levels.0", "sc4": "group_all", "fp": "up_levels.0"}
    # the propagation is called fp here and fp3 in a checkpoint
    tensors = convert_official("risurconv", {re.sub(r"^fp\.", "fp3.", name): value for name, value in case.state_dict.items()})
    results: Arrays = {}
    for name, block in blocks.items():
        prefix = names[name] + "."
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        fill(block.eval(), own, case.id)
        conv = block.conv
        conv.embed.register_forward_hook(_keep(results, f"mid.{name}.embedded", (0, 3, 2, 1)))
        conv.center_attention.register_forward_hook(_keep(results, f"mid.{name}.attention_1", (0, 2, 1)))
    _watch(blocks, results)
    with torch.no_grad():
        surface = blocks["sc0"](chosen, cloud)
        results["out.sc0.features"] = surface.features.transpose(1, 2)
        results["out.sc4.features"] = blocks["sc4"](surface)[..., None]
        fine = cloud._replace(features=skip.transpose(1, 2))
        results["out.fp.features"] = blocks["fp"](fine, surface).features.transpose(1, 2)
    return results


def _group_all_description(points: Surface) -> Arrays:
    offsets = points.positions - points.positions.mean(1, keepdim=True)
    axis = reference_axis(offsets)
    keys = angular_keys(offsets[:, None].movedim(-1, 0), axis.t()[..., None], first_is_positive=True)
    order = keys.sort(dim=-1, descending=True, stable=True).indices
    description = surface_features(
        gather(points.positions, order).movedim(-1, 0), gather(points.normals, order).movedim(-1, 0), axis.t()[..., None]
    )
    return {"out.all_lra": axis[:, None], "out.all_idx_ordered": order, "out.all_ri_feat": description}


def _classifier(case: Case, **options: float) -> RISurConvClassifier:
    config = case.config
    centers = [count * config["n"] for count in (512, 256, 128, 64)]  # the networks of the paper for n
    network = RISurConvClassifier(config["num_class"], centers, as_released=True, **options)
    fill(network, convert_official("risurconv", case.state_dict), case.id)
    _check_inputs(case, "classification")
    return network


def _check_inputs(case: Case, task: str) -> None:
    points = case.tensor("in.points")
    batch, num_points, columns = points.shape
    check_fixed(case.config, {"task": task, "batch": batch, "num_point": num_points, "dtype": _type_name(points)})
    assert case.config.get("normal_channel", True) and columns == 6, "positions and normals alone are supported"


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _steps(counts: Sequence[int]) -> list[int]:
    """How far the triangles around so many centres reach, by the rule of ours."""
    return [2 if count >= DENSE_CENTERS else 1 for count in counts]


def _watch(blocks: dict[str, nn.Module], results: Arrays) -> None:
    """Keep the intermediate values of blocks under the reference's names, channels before neighbours before centres."""
    for name, block in blocks.items():
        conv = block.conv
        conv.neighbor_attention.register_forward_hook(_keep(results, f"mid.{name}.attention_0", (0, 3, 2, 1)))
        conv.center_attention.register_forward_pre_hook(_keep_input(results, f"mid.{name}.pooled", 0, (0, 2, 1)))
        conv.register_forward_pre_hook(_keep_input(results, f"mid.{name}.ri_feat", 0))
        conv.register_forward_pre_hook(_keep_input(results, f"mid.{name}.idx_ordered", 2))
        if isinstance(block, GroupAll):
            block.register_forward_hook(
                lambda module, inputs, output, key=name: results.update({f"mid.{key}.out": output[..., None]})
            )
            continue
        block.register_forward_hook(
            lambda module, inputs, output, key=name: results.update(
                {f"mid.{key}.xyz": output.positions, f"mid.{key}.out": output.features.transpose(1, 2)}
            )
        )


def _keep(results: Arrays, name: str, order: tuple[int, ...] | None = None):
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        results[name] = output.permute(order) if order else output

    return hook


def _keep_input(results: Arrays, name: str, place: int, order: tuple[int, ...] | None = None):
    def hook(module: nn.Module, inputs: tuple) -> None:
        results[name] = inputs[place].permute(order) if order else inputs[place]

    return hook


def _surface(points: Tensor) -> Surface:
    return Surface(points[..., :3], points[..., 3:], None)


def _width(case: Case, name: str) -> int:
    return case.state_dict[name].shape[0]


def _official_parts() -> list[range]:
    counts = (4, 2, 2, 4, 4, 3, 3, 2, 4, 2, 6, 2, 3, 3, 3, 3)  # parts of ShapeNetPart's 16 categories
    ends = np.cumsum(counts)
    return [range(int(end - count), int(end)) for count, end in zip(counts, ends, strict=True)]


OFFICIAL_PARTS = _official_parts()
