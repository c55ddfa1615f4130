"""Heads of 3D detectors: the outputs of the parity cases, computed by geo3d with the quirks of the authors' code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from parity.case_files import Case, Settings, check_fixed, drawn_input
from torch import Tensor, nn

from geo3d.models.detection.center_decode import CenterDecoder
from geo3d.models.detection.center_head import CenterHead
from geo3d.models.detection.center_loss import CenterLoss, CenterLosses, assign_centers
from geo3d.models.detection.detections import Detections, GroundTruth
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.transfusion_decode import TransFusionDecoder
from geo3d.models.detection.transfusion_head import (
    TransFusionHead,
    TransFusionOutputs,
    decode_boxes,
    encode_boxes,
    proposal_codes,
)
from geo3d.models.detection.transfusion_loss import Matcher, Matching, TransFusionLoss, draw_peaks
from geo3d.zoo.openpcdet import convert_detection_names
from geo3d.zoo.weights import fill

Arrays = dict[str, Tensor]
CENTER_MAPS = {"center": "center", "center_z": "center_z", "dim": "dim", "rot": "rot", "iou": "iou", "hm": "heatmap"}
PREDICTIONS = {key: key for key in ("center", "height", "dim", "rot", "iou", "heatmap")} | {"vel": "velocity"}


def center_head(case: Case) -> Arrays:
    config = case.config["DENSE_HEAD"]
    check_center_head(config, case.config["CLASS_NAMES"])
    grid = bev_grid(case.config, config)
    head = CenterHead(case.config["input_channels"], len(case.config["CLASS_NAMES"]), config["SHARED_CONV_CHANNEL"])
    tensors = convert_detection_names(case.state_dict)
    fill(head, {name.removeprefix("head."): tensor for name, tensor in tensors.items()}, case.id)
    features = drawn_input(case.meta["inputs"]["spatial_features_2d"].rpartition(", (B, C")[0])
    with torch.no_grad():
        evaluated = head.eval()(features)
    results = {f"out.eval_map_{name}": getattr(evaluated, ours) for name, ours in CENTER_MAPS.items()}
    results |= detections(center_decoder(config, grid)(evaluated))
    features.requires_grad_()
    trained = head.train()(features)
    results |= {f"mid.train_map_{name}": getattr(trained, ours) for name, ours in CENTER_MAPS.items()}
    truth = ground_truth(case)
    losses = center_loss(config, grid)(trained, truth)
    losses.total.backward()
    results |= center_losses(losses) | center_targets(case, config, grid, truth)
    results |= gradients(case, nn.ModuleDict({"head": head}))
    results["out.grad.spatial_features_2d"] = features.grad[:, ::6]
    return results


def transfusion_decode(case: Case) -> Arrays:
    config = case.config["DENSE_HEAD"]
    check_transfusion_head(config)
    assert config["NUM_CLASSES"] == len(case.config["CLASS_NAMES"])
    grid = bev_grid(case.config, config)
    drawn = {key: value.requires_grad_() for key, value in _drawn_predictions(case.meta["inputs"]["predictions"]).items()}
    labels = case.tensor("in.query_labels")
    scores = drawn["query_heatmap_score"].detach().gather(1, labels[:, None])[:, 0]
    outputs = TransFusionOutputs(
        **{ours: drawn[theirs].transpose(1, 2) for theirs, ours in PREDICTIONS.items()},
        query_cells=torch.zeros(*labels.shape, 2, dtype=torch.int64),
        query_labels=labels,
        query_scores=scores,
        dense_heatmap=drawn["dense_heatmap"].transpose(2, 3),
    )
    _check_made(transfusion_head(config, in_channels=1).eval(), outputs)
    results = detections(transfusion_decoder(config, grid)(outputs))
    truth, loss = ground_truth(case), transfusion_loss(config, grid)
    results |= transfusion_losses(loss, outputs, truth) | _assigned(outputs, truth, loss)
    results |= {f"out.grad.pred.{key}": drawn[key].grad for key in PREDICTIONS}
    results["out.grad.pred.dense_heatmap"] = drawn["dense_heatmap"].grad[:, :, ::3]
    return results


def check_center_head(config: Settings, class_names: list[str]) -> None:
    """What our head has in one form."""
    check_fixed(
        config,
        {
            "NAME": "CenterHead",
            "CLASS_AGNOSTIC": False,
            "CLASS_NAMES_EACH_HEAD": [class_names],
            "USE_BIAS_BEFORE_NORM": False,
            "NUM_HM_CONV": 2,
            "BN_EPS": 0.001,
            "BN_MOM": 0.01,
            "SEPARATE_HEAD_CFG": branches(center=2, center_z=1, dim=3, rot=2),
            "POST_PROCESSING": {"USE_IOU_TO_RECTIFY_SCORE": True, "NMS_CONFIG": {"NMS_TYPE": "multi_class_nms"}},
        },
    )


def check_transfusion_head(config: Settings) -> None:
    """What our head has in one form."""
    focal = {"gamma": 2.0, "alpha": 0.25}
    check_fixed(
        config,
        {
            "NAME": "TransFusionHead",
            "CLASS_AGNOSTIC": False,
            "USE_BIAS_BEFORE_NORM": False,
            "NMS_KERNEL_SIZE": 3,
            "DROPOUT": 0,
            "BN_MOMENTUM": 0.1,
            "ACTIVATION": "relu",
            "NUM_HM_CONV": 2,
            "SEPARATE_HEAD_CFG": branches(center=2, height=1, dim=3, rot=2, vel=2),
            "TARGET_ASSIGNER_CONFIG": {"DATASET": "nuScenes", "HUNGARIAN_ASSIGNER": {"cls_cost": focal}},
            "LOSS_CONFIG": {"LOSS_CLS": {"use_sigmoid": True, **focal}},
            # the authors' head takes its overlaps from its code, whatever stands here
            "POST_PROCESSING": {"USE_IOU_TO_RECTIFY_SCORE": True, "NMS_CONFIG": {"NMS_TYPE": "nms_gpu", "NMS_THRESH": 0.2}},
        },
    )
    nms = config["POST_PROCESSING"]["NMS_CONFIG"]
    assert min(nms["NMS_PRE_MAXSIZE"], nms["NMS_POST_MAXSIZE"]) >= config["NUM_PROPOSALS"], "no proposal is cut off"
    assert nms["SCORE_THRES"] == config["POST_PROCESSING"]["SCORE_THRESH"]


def transfusion_head(config: Settings, in_channels: int) -> TransFusionHead:
    return TransFusionHead(
        in_channels,
        config["NUM_CLASSES"],
        config["NUM_PROPOSALS"],
        config["HIDDEN_CHANNEL"],
        heads=config["NUM_HEADS"],
        feedforward=config["FFN_CHANNEL"],
        wrap_keys=True,
    )


def branches(**widths: int) -> dict[str, Any]:
    """The regression branches of a head in order, and that of the IoU."""
    each = {name: {"out_channels": width, "num_conv": 2} for name, width in (widths | {"iou": 1}).items()}
    return {"HEAD_ORDER": list(widths), "HEAD_DICT": each}


@torch.no_grad()
def _check_made(head: TransFusionHead, outputs: TransFusionOutputs) -> None:
    """The outputs that a case gives have the shapes of those that the head of its settings makes."""
    own = head(torch.rand(len(outputs.center), head.shared.in_channels, *outputs.dense_heatmap.shape[2:]))
    for field in fields(own):
        assert getattr(own, field.name).shape == getattr(outputs, field.name).shape, field.name


def bev_grid(config: dict[str, Any], head: dict[str, Any]) -> BevGrid:
    stride = head["TARGET_ASSIGNER_CONFIG"]["FEATURE_MAP_STRIDE"]
    check_grid_size(config)
    return BevGrid(tuple(config["POINT_CLOUD_RANGE"]), tuple(config["VOXEL_SIZE"]), stride)


def check_grid_size(config: Settings) -> None:
    """The number of cells follows from range and cells."""
    low, high = np.array(config["POINT_CLOUD_RANGE"]).reshape(2, 3)
    assert config["grid_size"] == np.round((high - low) / config["VOXEL_SIZE"]).astype(int).tolist()


def center_decoder(config: dict[str, Any], grid: BevGrid) -> CenterDecoder:
    settings = config["POST_PROCESSING"]
    nms = settings["NMS_CONFIG"]
    return CenterDecoder(
        grid,
        nms_thresholds=nms["NMS_THRESH"],
        iou_weights=settings["IOU_RECTIFIER"],
        score_threshold=settings["SCORE_THRESH"],
        center_range=tuple(settings["POST_CENTER_LIMIT_RANGE"]),
        max_objects=settings["MAX_OBJ_PER_SAMPLE"],
        max_before_nms=nms["NMS_PRE_MAXSIZE"],
        max_after_nms=nms["NMS_POST_MAXSIZE"],
        peaks_only=False,
        threshold_raw_scores=True,
        rotate_footprints=True,
    )


def center_loss(config: dict[str, Any], grid: BevGrid) -> CenterLoss:
    weights, assigner = config["LOSS_CONFIG"]["LOSS_WEIGHTS"], config["TARGET_ASSIGNER_CONFIG"]
    return CenterLoss(
        grid,
        heatmap_weight=weights["cls_weight"],
        loc_weight=weights["loc_weight"],
        iou_reg_weight=weights["loc_weight"] if config["IOU_REG_LOSS"] else 0,
        code_weights=weights["code_weights"],
        axis_aligned=True,
        min_overlap=assigner["GAUSSIAN_OVERLAP"],
        min_radius=assigner["MIN_RADIUS"],
    )


def transfusion_decoder(config: dict[str, Any], grid: BevGrid) -> TransFusionDecoder:
    settings = config["POST_PROCESSING"]
    [weight] = settings["IOU_RECTIFIER"]
    return TransFusionDecoder(
        grid,
        nms_thresholds=[None] * 8 + [0.175] * 2,  # fixed in the authors' code; NMS_THRESH is not used
        iou_weight=weight,
        score_threshold=settings["SCORE_THRESH"],
        center_range=tuple(settings["POST_CENTER_RANGE"]),
        threshold_raw_scores=True,
    )


def transfusion_loss(config: dict[str, Any], grid: BevGrid) -> TransFusionLoss:
    weights, assigner = config["LOSS_CONFIG"]["LOSS_WEIGHTS"], config["TARGET_ASSIGNER_CONFIG"]
    costs = {name: cost["weight"] for name, cost in assigner["HUNGARIAN_ASSIGNER"].items()}
    return TransFusionLoss(
        grid,
        heatmap_weight=weights["hm_weight"],
        class_weight=weights["cls_weight"],
        box_weight=weights["bbox_weight"],
        iou_weight=weights["loss_iou_rescore_weight"],
        code_weights=weights["code_weights"],
        matcher=Matcher(costs["cls_cost"], costs["reg_cost"], costs["iou_cost"], z_from_bottom=True),
        iou_from_top=True,
        min_overlap=assigner["GAUSSIAN_OVERLAP"],
        min_radius=assigner["MIN_RADIUS"],
    )


def ground_truth(case: Case) -> GroundTruth:
    padded = case.tensor("in.gt_boxes")  # [B, M, 8 or 10], class from 1 in the last column, rows of zero behind
    kept = [sample[sample[:, -1] > 0] for sample in padded]
    return GroundTruth.from_samples([sample[:, :-1] for sample in kept], [sample[:, -1].long() - 1 for sample in kept])


def detections(found: list[Detections]) -> Arrays:
    results: Arrays = {}
    for i, sample in enumerate(found):
        results[f"out.pred_boxes.batch{i}"] = sample.boxes
        results[f"out.pred_scores.batch{i}"] = sample.scores
        results[f"out.pred_labels.batch{i}"] = sample.labels + 1
    return results


def center_losses(losses: CenterLosses) -> Arrays:
    parts = {"": losses.total, "_hm": losses.heatmap, "_loc": losses.loc, "_iou": losses.iou, "_iou_reg": losses.iou_reg}
    return {f"out.loss{name}": value[None] for name, value in parts.items()}


def transfusion_losses(loss: TransFusionLoss, outputs: TransFusionOutputs, truth: GroundTruth) -> Arrays:
    """The terms, after the backward pass of their sum."""
    losses = loss(outputs, truth)
    losses.total.backward()
    parts = {"loss": losses.total, "loss_heatmap": losses.heatmap, "loss_cls": losses.classes, "loss_bbox": losses.boxes}
    pairs = _matching(outputs, truth, loss)
    own = [pairs.iou[pairs.batch_index == sample].mean() for sample in range(truth.batch_size)]
    parts |= {"loss_iou": losses.iou, "matched_ious": torch.stack(own).mean()}  # theirs is the mean of the samples' means
    return {f"out.{name}": value[None] for name, value in parts.items()}


def center_targets(case: Case, config: dict[str, Any], grid: BevGrid, truth: GroundTruth) -> Arrays:
    """Targets in the reference's padded layout: row k for the k-th object given, zero for one that is left out."""
    targets = assign_centers(truth, grid, len(case.config["CLASS_NAMES"]))
    has_size = (truth.boxes[:, 3:6] > 0).all(1)
    sample = truth.batch_index
    row = torch.arange(len(truth)) - torch.searchsorted(sample, sample)
    where = (sample[has_size], row[has_size])
    padded = (truth.batch_size, config["TARGET_ASSIGNER_CONFIG"]["NUM_MAX_OBJS"])
    codes, inds, mask = torch.zeros(*padded, 8), torch.zeros(padded, dtype=torch.int64), torch.zeros(padded, dtype=torch.int64)
    codes[where], mask[where] = targets.codes, 1
    inds[where] = targets.cells[:, 1] * grid.shape[1] + targets.cells[:, 0]
    return {
        "mid.target_heatmap": targets.heatmap,
        "mid.target_boxes": codes,
        "mid.target_inds": inds,
        "mid.target_mask": mask,
    }


def gradients(case: Case, network: nn.Module, convert: Callable[[Arrays], Arrays] = convert_detection_names) -> Arrays:
    """The gradients that the case stores, ours put into the reference's names and layouts."""
    own = {name: parameter.grad for name, parameter in network.named_parameters()}
    results: Arrays = {}
    for name, shape in case.meta["state_dict"]:
        if f"out.grad.{name}" not in case.arrays:
            continue
        gradient = torch.zeros(shape)
        places = torch.arange(gradient.numel()).view(shape)
        for ours, rows in convert({name: places}).items():  # where each of our numbers stands in the reference's tensor
            gradient.view(-1)[rows.flatten()] = own[ours].flatten()
        results[f"out.grad.{name}"] = gradient
    return results


def _matching(outputs: TransFusionOutputs, truth: GroundTruth, loss: TransFusionLoss) -> Matching:
    boxes = decode_boxes(proposal_codes(outputs).detach(), loss.grid)
    return loss.matcher(boxes, outputs.heatmap, truth, loss.grid)


def _assigned(outputs: TransFusionOutputs, truth: GroundTruth, loss: TransFusionLoss) -> Arrays:
    pairs = _matching(outputs, truth, loss)
    peaks = draw_peaks(truth, loss.grid, outputs.dense_heatmap.shape)
    at = (pairs.batch_index, pairs.proposals)
    labels = torch.full_like(outputs.query_labels, outputs.heatmap.shape[-1])
    labels[at] = truth.labels[pairs.objects]
    codes = torch.zeros(*labels.shape, 10)
    codes[at] = encode_boxes(truth.boxes[pairs.objects], loss.grid)
    return {"mid.assigned_labels": labels, "mid.bbox_targets": codes, "mid.target_heatmap": peaks.transpose(2, 3)}


def _drawn_predictions(note: str) -> Arrays:
    """Predictions that the case's note lists as `key [shape] low..high`, each drawn by the name that the note tells."""
    prefix = re.search(r"uniform_input\('(.*)<key>'", note)[1]
    listed = re.findall(r"(\w+) (\[[\d, ]+\]) (-?[\d.]+?)\.\.(-?[\d.]+\d|-?\d)", note)
    drawn = {}
    for key, shape, low, high in listed:
        drawn[key] = drawn_input(f"uniform_input({prefix + key!r}, {tuple(ast.literal_eval(shape))}, {low}, {high})")
    return drawn
