"""DSVT: the outputs of the parity cases of its backbone, computed by geo3d."""

from __future__ import annotations

from typing import Any

from parity.adapters.detection import gradients
from parity.case_files import Case, check_fixed, drawn_input
from torch import Tensor, nn

from geo3d.models.dsvt import DSVTBackbone, StageConfig
from geo3d.models.dsvt.backbone import Stage
from geo3d.models.dsvt.sets import rotated_sets, windows_of
from geo3d.zoo import convert_official
from geo3d.zoo.weights import fill

Arrays = dict[str, Tensor]


def backbone(case: Case) -> Arrays:
    network = make_backbone(case.config)
    fill(network, _own_names(case.state_dict), case.id)
    network.eval()
    results: Arrays = {}
    for number, stage in enumerate(network.stages):
        stage.register_forward_pre_hook(_keep_sets(results, number))
        for b, block in enumerate(stage.blocks):
            block.register_forward_hook(_keep(results, f"mid.block_out.stage{number}.block{b}"))
        if stage.pool is not None:
            stage.pool.register_forward_hook(_keep(results, f"mid.pooled.stage{number}"))
    first = network.stages[0].blocks[0]
    for k, embedding in enumerate(first.positions):
        embedding.register_forward_hook(_keep(results, f"mid.pos_embed.stage0.block0.shift{k}"))
    first.layers[0].feedforward_norm.register_forward_hook(_keep(results, "mid.set_attention.stage0.block0.layer0"))
    first.layers[0].register_forward_hook(_keep(results, "mid.encoder_out.stage0.block0.layer0"))
    features, coords = network(drawn_input(case.meta["inputs"]["voxel_features"]), case.tensor("in.voxel_coords"))
    probe = drawn_input(f"uniform_input('{case.id}/probe', {tuple(features.shape)}, -1, 1)")
    loss = (features * probe).sum() / len(features)
    loss.backward()
    results |= {"out.voxel_features": features, "out.voxel_coords": coords, "out.loss_probe": loss[None]}
    return results | gradients(case, network, _own_names)


def make_backbone(config: dict[str, Any]) -> DSVTBackbone:
    layer, width = config["INPUT_LAYER"], config["d_model"][0]
    count = len(layer["set_info"])
    check_fixed(config, {"NAME": "DSVT", "block_name": ["DSVTBlock"] * count, "dropout": 0.0, "conv_out_channel": width})
    check_fixed(config, {"d_model": [width] * count, "set_info": layer["set_info"], "output_shape": layer["sparse_shape"][:2]})
    check_fixed(layer, {"d_model": [width] * count})
    strides = [[1, 1, 1], *layer["downsample_stride"]]
    stages = [
        StageConfig(blocks, set_size, window, shifts[1], stride, shifts[0], heads, feedforward)
        for (set_size, blocks), window, shifts, stride, heads, feedforward in zip(
            layer["set_info"],
            layer["window_shape"],
            layer["shifts_list"],
            strides,
            config["nhead"],
            config["dim_feedforward"],
            strict=True,
        )
    ]
    return DSVTBackbone(
        layer["sparse_shape"],
        stages,
        width,
        hybrid_factor=layer["hybrid_factor"],
        pooling=config.get("reduction_type", "attention"),
        activation=config["activation"],
        normalize_positions=layer["normalize_pos"],
    )


def _own_names(tensors: Arrays) -> Arrays:
    return {name.removeprefix("backbone."): tensor for name, tensor in convert_official("dsvt", tensors).items()}


def _keep(results: Arrays, name: str):
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        results[name] = output

    return hook


def _keep_sets(results: Arrays, number: int):
    """What the input layer of a stage makes of the coordinates."""

    def hook(stage: Stage, inputs: tuple) -> None:
        features, coords, *_ = inputs
        if stage.pool is not None:
            stage.pool.register_forward_pre_hook(_keep_cells(results, number))
            coords = stage.pooled(features, coords)[1]
        results[f"mid.coors.stage{number}"] = coords
        for k, window in enumerate(stage.windows):
            rows, padding = rotated_sets(windows_of(coords, stage.grid, window), window, stage.set_size)
            results[f"mid.set_inds.stage{number}.shift{k}"] = rows
            results[f"mid.set_mask.stage{number}.shift{k}"] = padding.long()

    return hook


def _keep_cells(results: Arrays, number: int):
    def hook(pool: nn.Module, inputs: tuple) -> None:
        cells = inputs[1]
        results[f"mid.pool_index.stage{number}"], results[f"mid.pool_slot.stage{number}"] = cells.plan.target, cells.slots

    return hook
