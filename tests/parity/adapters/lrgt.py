"""LRGT: the outputs of the parity cases, computed by geo3d. All settings come from the case's `config`.

The reference's grids run along x, y, z, ours along z, y, x. The order of its merged tokens says nothing; they are compared sorted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from parity.case_files import Case, drawn_input
from torch import Tensor, nn

from geo3d.models.lrgt import (
    LRGT,
    LongRangeGroupingAttention,
    SimilarTokenMerger,
    ViewEncoder,
    VoxelDecoder,
    density_peaks,
    dice_loss,
)
from geo3d.models.lrgt.attention import Attention, Block
from geo3d.zoo.lrgt import convert
from geo3d.zoo.weights import fill

Arrays = dict[str, Tensor]
PIXELS = {"vit_deit_base_distilled_patch16_224": (224, 16)}  # image and patch of the encoders by name
Kept = Callable[[Tensor], Tensor]


def lga_block(case: Case) -> Arrays:
    config = case.config
    channels, heads, bias = config["dim"], config["num_heads"], config["qkv_bias"]
    assert config["grid"][0] == config["grid"][1]
    grouping = LongRangeGroupingAttention(channels, heads, bias, config["patch_group"])
    blocks = [
        Block(attention, channels, config["mlp_ratio"], config["layer_norm_eps"]).eval()
        for attention in (grouping, Attention(channels, heads, bias))
    ]
    tensors = _own(convert(case.state_dict), "encoder.blocks.5.")
    fill(blocks[0], tensors, case.id)
    fill(blocks[1], {name: tensor for name, tensor in tensors.items() if ".signature." not in name}, case.id)
    results: Arrays = {}
    _watch(grouping.signature, results, "mid.ifs", lambda planes: _tokens(planes)[:2])
    with torch.no_grad():
        for views in sorted(config["views"], reverse=True):  # the values that are kept are of 2 views
            x = drawn_input(case.meta["inputs"][f"x_v{views}"].partition(":")[0])
            assert x.shape[:2] == (config["batch"] * views, config["grid"][0] * config["grid"][1])
            results[f"out.lga_v{views}"] = blocks[0](x, views)
        results["out.plain_v2"] = blocks[1](x)
    return results


def encoder(case: Case) -> Arrays:
    config = case.config
    network = ViewEncoder(
        config["img_size"],
        config["patch_size"],
        config["embed_dim"],
        config["depth"],
        config["num_heads"],
        config["lga_layer"],
        config["patch_group"],
        config["mlp_ratio"],
        config["qkv_bias"],
        config["layer_norm_eps"],
    ).eval()
    fill(network, _own(convert(case.state_dict, config["lga_layer"]), "encoder."), case.id)
    results: Arrays = {}
    for i, block in enumerate(network.blocks):
        _watch(block, results, f"mid.block{i}", lambda x: x[:, ::7, ::4])
    with torch.no_grad():
        results["out.features"] = network(drawn_input(case.meta["inputs"]["images"].rpartition(" as ")[0]))
    return results


def merger(case: Case) -> Arrays:
    config = case.config
    network = SimilarTokenMerger(
        config["dim"],
        config["out_token_lens"],
        config["k"],
        config["num_heads"],
        config["mlp_ratio"],
        config["qkv_bias"],
        config["layer_norm_eps"],
    ).eval()
    fill(network, _own(convert(case.state_dict), "merger."), case.id)
    note = case.meta["inputs"]["feature"]
    repeated = re.search(r"feature = a\[:, (\[[\d,]+\])\]", note)
    feature = drawn_input(note[: note.index(" as [batch") if not repeated else note.index("; feature")])
    if repeated:
        feature = feature[:, [int(digit) for digit in re.findall(r"\d", repeated[1])]]
    results: Arrays = {}
    for i, block in enumerate(network.blocks):
        block.norm.register_forward_hook(partial(_keep_clusters, results, i, block))
    with torch.no_grad():
        results["out.tokens"] = network(feature)
    return results


def decoder(case: Case) -> Arrays:
    config = case.config
    network = VoxelDecoder(
        config["dim"],
        round(config["num_queries"] ** (1 / 3)),
        heads=config["num_heads"],
        query_depth=config["prepare_depth"],
        stage_depth=config["depth"] // 4,
        mlp_ratio=config["mlp_ratio"],
        bias=config["qkv_bias"],
        norm_eps=config["layer_norm_eps"],
        batch_norm_eps=config["bn_eps"],
    ).eval()
    fill(network, _own(convert(case.state_dict), "decoder."), case.id)
    results: Arrays = {}
    _watch(network.query_blocks[-1], results, "mid.queries", lambda x: x[:, ::4, ::16])
    _watch(network.norm, results, "mid.normed", lambda x: x[:, ::4, ::16])
    for level, (tokens, channels) in enumerate([(8, 16), (8, 4), (8, 4), (8, 8)]):
        last = network.stages[level].blocks[-1]
        _watch(last, results, f"mid.blocks{level + 1}", lambda x, t=tokens, c=channels: x[:1, ::t, ::c])
    for level, channels in enumerate([8, 2, 1]):
        _watch(network.upsamplings[level], results, f"mid.up{level + 1}", lambda x, c=channels: x[:1, ::c, ::4, ::4, ::4])
    logits = network(drawn_input(case.meta["inputs"]["context"]))
    volume, target = logits.sigmoid(), _target(case)
    assert config["dice_power"] == 2  # the only form that there is
    each = [dice_loss(volume[i : i + 1], target[i : i + 1], smooth=config["dice_smooth"]) for i in range(len(volume))]
    loss = dice_loss(volume, target, smooth=config["dice_smooth"])
    loss.backward()
    results |= {"out.volume": volume, "mid.logits": logits[:1], "out.loss_dice": loss}
    results["out.loss_dice_per_sample"] = torch.stack(each)
    return results | _gradients(case, network, "decoder.", (4, 8))


def full(case: Case) -> Arrays:
    network, images = _network(case)
    results = _watch_network(network)
    with torch.no_grad():
        logits = network.logits(images).transpose(1, 3)
    volume, target = logits.sigmoid(), _target(case)
    results |= {"mid.logits": logits, "out.volume": volume, "out.loss_dice": dice_loss(volume, target)}
    is_full = volume[:, None] >= torch.tensor([0.3, 0.4, 0.5])[:, None, None, None]
    both, either = is_full & (target[:, None] > 0), is_full | (target[:, None] > 0)
    results["out.iou"] = both.sum((2, 3, 4)) / either.sum((2, 3, 4))
    return results


def full_train(case: Case) -> Arrays:
    network, images = _network(case)
    results = _watch_network(network)
    logits = network.logits(images).transpose(1, 3)
    volume = logits.sigmoid()
    loss = dice_loss(volume, _target(case))
    loss.backward()
    results |= {"mid.logits": logits[:, ::2, ::2, ::2], "out.volume": volume, "out.loss_dice": loss}
    squares = [parameter.grad.double().square().sum() for parameter in network.parameters()]
    results["out.grad_norm"] = torch.stack(squares).sum().sqrt()
    for level, upsampling in enumerate(network.decoder.upsamplings):
        results[f"out.running_mean_upconv{level + 1}"] = upsampling[1].running_mean
        results[f"out.running_var_upconv{level + 1}"] = upsampling[1].running_var
    return results | _gradients(case, network, "", (12, 16))


def _network(case: Case) -> tuple[LRGT, Tensor]:
    config, part, grid = case.config, case.config["merger"], case.config["decoder"]
    assert part["dim"] == grid["dim"] == config["embed_dim"]
    network = LRGT(
        *PIXELS[config["encoder"]],
        config["embed_dim"],
        config["depth"],
        config["num_heads"],
        config["lga_layer"],
        config["patch_group"],
        part["out_token_lens"],
        part["k"],
        part["num_heads"],
        decoder_heads=grid["num_heads"],
        stage_depth=grid["depth"] // 4,
    ).train(config["training"])
    fill(network, convert(case.state_dict, config["lga_layer"]), case.id)
    images = drawn_input(case.meta["inputs"]["images"].rpartition(" as ")[0])
    assert images.shape[:2] == (config["batch"], config["views"])
    return network, images


def _watch_network(network: LRGT) -> Arrays:
    results: Arrays = {}
    patches = network.encoder.patches
    patches.register_forward_hook(lambda module, x, y: results.update({"mid.patch_embed": _tokens(y)[:, ::14, ::32]}))
    for i in (0, 4, 5, 11):
        _watch(network.encoder.blocks[i], results, f"mid.enc_block{i}", lambda x: x[:, ::14, ::32])
    _watch(network.encoder, results, "mid.features", lambda x: x[:, :, ::14, ::16])
    first, second = network.merger.blocks
    first.norm.register_forward_hook(partial(_keep_centers, results, first))
    for block, name in ((first, "merge0_sorted"), (second, "context_sorted")):
        block.register_forward_hook(partial(_keep_sorted, results, name))
    _watch(network.decoder.query_blocks[-1], results, "mid.queries", lambda x: x[:, ::4, ::32])
    for level, channels in enumerate([16, 4, 1]):
        upsampling = network.decoder.upsamplings[level]
        _watch(upsampling, results, f"mid.up{level + 1}", lambda x, c=channels: x[:, ::c, ::4, ::4, ::4])
    return results


def _keep_clusters(results: Arrays, number: int, block: Any, module: nn.Module, inputs: Any, tokens: Tensor) -> None:
    score = block.score(tokens)[..., 0]
    clusters = density_peaks(tokens, block.count, block.neighbors)
    found = {"score_logit": score, "density": clusters.density, "delta": clusters.separation, "centre": clusters.centers}
    found |= {"cluster": clusters.members, "merged": block.merge(tokens, score)}
    results.update({f"mid.b{number}_{name}": tensor for name, tensor in found.items()})


def _keep_centers(results: Arrays, block: Any, module: nn.Module, inputs: Any, tokens: Tensor) -> None:
    clusters = density_peaks(tokens, block.count, block.neighbors)
    results["centers"] = clusters.centers
    results["mid.centre_of_token"] = clusters.centers.gather(1, clusters.members)


def _keep_sorted(results: Arrays, name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
    order = results["centers"].argsort(1)  # the second block leaves the order of the first
    results[f"mid.{name}"] = output.gather(1, order[..., None].expand_as(output))[:, ::7, ::16]


def _gradients(case: Case, network: nn.Module, prefix: str, steps: tuple[int, int]) -> Arrays:
    """The gradients that the case stores: ours in the reference's names and shapes, of large matrices every so many rows and columns."""
    own = {prefix + name: parameter.grad for name, parameter in network.named_parameters()}
    results: Arrays = {}
    for name, shape in case.meta["state_dict"]:
        if f"out.grad.{name}" not in case.arrays:
            continue
        places = torch.arange(torch.Size(shape).numel()).view(shape)
        gradient = torch.zeros(shape)
        for ours, rows in convert({name: places}).items():
            gradient.view(-1)[rows.flatten()] = own[ours].flatten()
        if name.endswith("pos_embed"):
            gradient = gradient[:, ::14, ::16]
        elif len(shape) == 2 and gradient.numel() >= 5000:
            gradient = gradient[:: steps[0], :: steps[1]]
        results[f"out.grad.{name}"] = gradient
    return results


def _target(case: Case) -> Tensor:
    """`(uniform_input(...) < SHARE) as float32`."""
    drawn, _, rest = case.meta["inputs"]["target"].removeprefix("(").partition(" < ")
    return (drawn_input(drawn) < float(rest.partition(")")[0])).float()


def _watch(module: nn.Module, results: Arrays, name: str, keep: Kept) -> None:
    module.register_forward_hook(lambda module, inputs, output: results.update({name: keep(output)}))


def _tokens(planes: Tensor) -> Tensor:
    return planes.flatten(2).transpose(1, 2)


def _own(tensors: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
