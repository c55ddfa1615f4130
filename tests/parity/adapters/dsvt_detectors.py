"""Whole detectors, points to boxes and losses: the outputs of the parity cases, computed by geo3d with the quirks of the authors' code."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from parity.adapters import detection as heads
from parity.adapters.detection import CENTER_MAPS, PREDICTIONS, Arrays
from parity.adapters.dsvt import make_backbone
from parity.case_files import Case, Settings, check_fixed
from torch import nn

from geo3d.metrics.box_recall import BoxRecall
from geo3d.models.detection import BevBackbone, CenterHead, TransFusionHead, TransFusionOutputs
from geo3d.models.dsvt import DSVTDetector, PointEncoder
from geo3d.zoo import convert_official
from geo3d.zoo.weights import fill

convert = partial(convert_official, "dsvt")


def detector_center_head(case: Case) -> Arrays:
    config = case.config["MODEL"]["DENSE_HEAD"]
    heads.check_center_head(config, case.config["CLASS_NAMES"])
    check_fixed(case.config["MODEL"], {"NAME": "CenterPoint", "VFE": {"NAME": "DynPillarVFE3D"}})
    bev = _bev_backbone(case.config["MODEL"])
    head = CenterHead(bev.out_channels, len(case.config["CLASS_NAMES"]), config["SHARED_CONV_CHANNEL"])
    detector = _detector(case, bev, head)
    watched = _watched(detector, every=6)
    with torch.no_grad():
        outputs = detector(*_points(case))
    results = watched | {f"out.map_{name}": getattr(outputs, ours) for name, ours in CENTER_MAPS.items()}
    results |= heads.detections(heads.center_decoder(config, detector.bev_grid)(outputs))
    detector.train()
    losses = heads.center_loss(config, detector.bev_grid)(detector(*_points(case)), heads.ground_truth(case))
    losses.total.backward()
    results |= heads.center_losses(losses) | heads.gradients(case, detector, convert)
    return (
        results | heads.center_targets(case, config, detector.bev_grid, heads.ground_truth(case)) | _statistics(case, detector)
    )


def detector_transfusion(case: Case) -> Arrays:
    config = case.config["MODEL"]["DENSE_HEAD"]
    heads.check_transfusion_head(config)
    check_fixed(case.config["MODEL"], {"NAME": "TransFusion", "VFE": {"NAME": "DynPillarVFE"}})
    assert config["NUM_CLASSES"] == len(case.config["CLASS_NAMES"])
    bev = _bev_backbone(case.config["MODEL"])
    head = heads.transfusion_head(config, bev.out_channels)
    detector = _detector(case, bev, head)
    watched = _watched(detector, every=8)
    head.shared.register_forward_hook(
        lambda module, inputs, output: watched.update({"mid.shared_conv": output[:, ::16].transpose(2, 3)})
    )
    head.decoder.register_forward_hook(lambda module, inputs, output: watched.update({"mid.decoder_out": output[:, ::5]}))
    with torch.no_grad():
        outputs = detector(*_points(case))
    results = (
        watched | _proposals(head, outputs) | heads.detections(heads.transfusion_decoder(config, detector.bev_grid)(outputs))
    )
    detector.train()
    loss = heads.transfusion_loss(config, detector.bev_grid)
    results |= heads.transfusion_losses(loss, detector(*_points(case)), heads.ground_truth(case))
    return results | heads.gradients(case, detector, convert)


def _detector(case: Case, bev: BevBackbone, head: nn.Module) -> DSVTDetector:
    config = case.config["MODEL"]
    is_pillar = config["VFE"]["NAME"] == "DynPillarVFE"
    points = case.tensor("in.points")
    heads.check_grid_size(case.config)
    width, (nx, ny, _) = config["VFE"]["NUM_FILTERS"][-1], case.config["grid_size"]
    check_fixed(config["VFE"], {"WITH_DISTANCE": False, "USE_ABSLOTE_XYZ": True, "USE_NORM": True, "NUM_FILTERS": [width] * 2})
    check_fixed(config["MAP_TO_BEV"], {"NAME": "PointPillarScatter3d", "INPUT_SHAPE": [nx, ny, 1]})
    check_fixed(config["BACKBONE_2D"], {"NAME": "BaseBEVResBackbone"})
    _check_evaluation(config["POST_PROCESSING"])
    encoder = PointEncoder(
        points.shape[1] - 1,
        config["VFE"]["NUM_FILTERS"][-1],
        case.config["VOXEL_SIZE"],
        case.config["POINT_CLOUD_RANGE"],
        any_height=is_pillar,
    )
    detector = DSVTDetector(encoder, make_backbone(config["BACKBONE_3D"]), bev, head)
    fill(detector, convert(case.state_dict), case.id)
    assert detector.bev_grid == heads.bev_grid(case.config, config["DENSE_HEAD"])
    return detector.eval()


def _check_evaluation(config: Settings) -> None:
    """Settings of the parent framework's evaluation, which change neither boxes nor losses."""
    thresholds = inspect.signature(BoxRecall).parameters["thresholds"].default
    check_fixed(config, {"RECALL_THRESH_LIST": list(thresholds)})
    assert config["EVAL_METRIC"] in ("kitti", "waymo")
    assert config.get("SCORE_THRESH", 0.1) == 0.1 and not config.get("OUTPUT_RAW_SCORE", False)  # heads with own decoding


def _bev_backbone(config: dict[str, Any]) -> BevBackbone:
    channels, settings = config["MAP_TO_BEV"]["NUM_BEV_FEATURES"], config["BACKBONE_2D"]
    names = ("LAYER_NUMS", "LAYER_STRIDES", "NUM_FILTERS", "UPSAMPLE_STRIDES", "NUM_UPSAMPLE_FILTERS")
    return BevBackbone(channels, *(settings[name] for name in names))


def _points(case: Case) -> tuple[torch.Tensor, torch.Tensor, int]:
    points = case.tensor("in.points")
    return points[:, 1:], points[:, 0].long(), len(case.arrays["in.gt_boxes"])


def _watched(detector: DSVTDetector, every: int) -> Arrays:
    """Intermediate values, filled in by the next forward pass."""
    results: Arrays = {}

    def keep_voxels(module: nn.Module, inputs: tuple, output: tuple, name: str) -> None:
        results[f"mid.{name}_features"], results[f"mid.{name}_coords"] = output[0][::4], output[1]

    detector.encoder.register_forward_hook(partial(keep_voxels, name="vfe"))
    detector.backbone.register_forward_hook(partial(keep_voxels, name="backbone3d"))
    detector.bev.register_forward_hook(lambda module, inputs, output: results.update({"mid.bev2d": output[:, ::every]}))
    return results


def _proposals(head: TransFusionHead, outputs: TransFusionOutputs) -> Arrays:
    results = {f"out.raw_{name}": getattr(outputs, ours).transpose(1, 2) for name, ours in PREDICTIONS.items()}
    position = outputs.query_cells + 0.5
    results["out.raw_center"] = (outputs.center - position).transpose(1, 2)
    peaks = head.peaks(outputs.dense_heatmap).transpose(2, 3).flatten(2)  # [B, classes, nx * ny]
    x, y = outputs.query_cells.unbind(-1)
    place = (x * outputs.dense_heatmap.shape[2] + y)[:, None].expand(-1, peaks.shape[1], -1)
    results["out.query_heatmap_score"] = peaks.gather(2, place)
    results["out.dense_heatmap"] = outputs.dense_heatmap.transpose(2, 3)
    return results | {"out.query_labels": outputs.query_labels, "out.query_pos": position}


def _statistics(case: Case, detector: nn.Module) -> Arrays:
    """Running statistics after the one training pass."""
    own = detector.state_dict()
    prefix = "mid.after_train_step."
    stored = {name.removeprefix(prefix): case.tensor(name) for name in case.arrays if name.startswith(prefix)}
    return {prefix + name: own[ours] for name, values in stored.items() for ours in convert({name: values})}
