"""ReJSHand's crops and metrics: the outputs of the parity cases, computed by geo3d with the quirks of the authors' code."""

from __future__ import annotations

import ast
import re

import numpy as np
import torch
from parity.adapters.rejshand import joint_regressor
from parity.case_files import Case, drawn_tensor_between
from torch import Tensor

from geo3d.data.hands.crops import (
    CropDraws,
    HandAugmentation,
    crop_hand,
    hand_camera,
    with_channel_factors,
    with_contrast,
)
from geo3d.data.hands.samples import HandLabels
from geo3d.geometry.alignment import similarity_aligned
from geo3d.geometry.virtual_camera import VirtualCamera, virtual_camera
from geo3d.metrics.hands import area_under_curve, correct_curve, distances, f_score, keypoint_auc_2d

Arrays = dict[str, Tensor]
HAND_WIDTH = 0.2  # metres, of the reference's scaled depth


def crop(case: Case) -> Arrays:
    given = case.arrays
    assert given["in.uv"].shape[1] == given["in.xyz"].shape[1] == case.config["joints"]
    names = ("K", "center", "scale", "res", "rot", "uv", "xyz")
    rows = []
    for matrix, center, size, side, angle, uv, xyz in zip(*(given[f"in.{name}"] for name in names), strict=True):
        camera = virtual_camera(matrix, center, size, int(side), float(angle), as_released=True)
        seen = camera.to_crop(uv.astype(np.float64))
        parts = (camera.camera_matrix, camera.image_transform, camera.rotation, seen, camera.turn(xyz), camera.to_image(seen))
        rows.append(parts)
    outputs = ("new_K", "M2d", "M3d", "uv", "xyz", "uv_inverse")
    return {f"out.{name}": _stack(parts) for name, parts in zip(outputs, zip(*rows, strict=True), strict=True)}


def warp_image(case: Case) -> Arrays:
    config, given = case.config, case.arrays
    assert (config["interpolation"], config["border"]) == ("bilinear", "constant 0")  # of VirtualCamera.warp
    cameras = [VirtualCamera(np.eye(3), matrix, np.eye(3), config["out_size"]) for matrix in given["in.M2d"]]
    warped = np.stack([camera.warp(given["in.image"]) for camera in cameras])
    # The later steps are compared on the reference's own crop, which ours differs from by rounding.
    scaled = with_channel_factors(given["out.warped"][0], given["in.channel_factors"])
    bright = [with_contrast(given["out.warped"][0], *draws) for draws in given["in.alpha_beta"]]
    outputs = {"warped": warped, "channel_scaled": scaled, "brightness": np.stack(bright)}
    return {f"out.{name}": torch.from_numpy(values.astype(np.int64)) for name, values in outputs.items()}


def train_sample(case: Case) -> Arrays:
    config, given = case.config, case.arrays
    augment = HandAugmentation(
        config["jitter_factor"], tuple(config["scale"]), config["rot_factor"], config["flip_prob"], config["channel_noise"]
    )
    assert augment == HandAugmentation() and config["root_index"] == 9
    low, high = augment.scale
    width, height = config["image"]
    image = np.zeros((height, width, 3), np.uint8)
    rows = []
    names = ("K", "xyz", "vertices", *(f"draw_{name}" for name in ("jitter", "scale", "rotation", "flip", "channel_noise")))
    for matrix, xyz, vertices, jitter, scale, angle, flip, factors in zip(*(given[f"in.{n}"] for n in names), strict=True):
        assert low <= scale <= high and np.abs(factors - 1).max() <= augment.channel_noise
        projected = xyz.astype(np.float64) @ matrix.T.astype(np.float64)
        labels = HandLabels(matrix, projected[:, :2] / (projected[:, 2:] + 1e-7), xyz, vertices)
        draws = CropDraws(augment.jitter * jitter, float(scale), float(angle), bool(flip), factors)
        sample = crop_hand(image, labels, width, draws, len(vertices), as_released=True)
        focal = sample.camera_matrix[0, 0] * sample.camera_matrix[1, 1]
        gamma = sample.root[2] / (focal * HAND_WIDTH**2 / width**2).sqrt()
        rows.append((sample.keypoints, sample.joints, sample.vertices[::8], sample.keypoint_valid, sample.mesh_valid, gamma))
    outputs = ("uv", "xyz", "vertices", "uv_valid", "xyz_valid", "gamma")
    results = {f"out.{name}": torch.stack(parts) for name, parts in zip(outputs, zip(*rows, strict=True), strict=True)}
    return results | {"out.xyz_valid": results["out.xyz_valid"].long()}


def eval_infer(case: Case) -> Arrays:
    config, given = case.config, case.arrays
    width, height = config["image"]
    root = config["root_index"]
    shapes = {"uv": "res_uv", "vertices": "res_v"}
    drawn = {name: _drawn(case.meta["inputs"]["model outputs"], key) for name, key in shapes.items()}
    joints = joint_regressor(case) @ drawn["vertices"]
    draws = CropDraws(scale=config["scale_enlarge"], angle=config["rot"])
    rows, found, truth = [], [], []
    for i, (matrix, xyz, uv, vertices) in enumerate(
        zip(*(given[f"in.{n}"] for n in ("K", "xyz", "uv", "vertices")), strict=True)
    ):
        labels = HandLabels(matrix.astype(np.float64), uv.astype(np.float64), xyz, vertices)
        camera = hand_camera(labels, width, height, width, draws, as_released=True)
        turned, mesh = camera.turn(xyz.astype(np.float64)), camera.turn(vertices.astype(np.float64))
        pred = [x[i].double().numpy() for x in (joints, drawn["vertices"])]
        pred_uv = camera.to_image(drawn["uv"][i].view(-1, 2).double().numpy() * width)
        back = [camera.turn_back(x - pred[0][root]) for x in pred]
        seen = camera.to_crop(uv.astype(np.float64))
        matrices = (camera.camera_matrix, camera.image_transform, camera.rotation)
        rows.append((*matrices, seen, turned, mesh[::8], pred_uv, back[0], back[1][::8]))
        found.append((pred_uv, *pred))
        truth.append((uv, turned, mesh))
    outputs = ("new_K", "M2d", "M3d", "uv", "xyz", "vertices", "pred_uv", "pred_xyz", "pred_vertices")
    results = {f"out.{name}": _stack(parts) for name, parts in zip(outputs, zip(*rows, strict=True), strict=True)}
    pairs = [(_stack(p), _stack(t)) for p, t in zip(zip(*found, strict=True), zip(*truth, strict=True), strict=True)]
    own = _own_evaluator(pairs[1], pairs[2], config["evaluator_root_index"]).mean(0)
    results["out.own_metrics"] = torch.cat((keypoint_auc_2d(*pairs[0]).mean()[None], own))
    return results


def metrics(case: Case) -> Arrays:
    config = case.config
    given = {name: case.tensor(name).double() for name in case.arrays if name.startswith("in.")}
    assert len(given["in.gt_joints"]) == config["samples"]
    auc = config["auc"]
    thresholds = torch.linspace(auc["low"], auc["high"], auc["steps"], dtype=torch.float64)
    results: Arrays = {}
    for ours, name in (("joints", "xyz"), ("vertices", "mesh")):
        for align in (False, True):
            key = f"out.{name}{'_al' * align}"
            errors = distances(given[f"in.pred_{ours}"], given[f"in.gt_{ours}"], align)
            curve = correct_curve(errors, thresholds)
            results |= {f"{key}_mean": 1000 * errors.mean(), f"{key}_median": 1000 * errors.quantile(0.5, dim=0).mean()}
            results |= {f"{key}_pck": curve, f"{key}_auc": torch.tensor(area_under_curve(curve, thresholds))}
    vertices, wanted = given["in.pred_vertices"], given["in.gt_vertices"]
    aligned = similarity_aligned(vertices, wanted, reflections=True)
    results["mid.aligned_vertices"] = 1000 * aligned[:, ::8]
    for threshold in config["f_thresholds_m"]:
        name = f"{1000 * threshold:g}"
        scores = torch.tensor([f_score(p, t, threshold) for p, t in zip(vertices, wanted, strict=True)])
        each = torch.tensor([f_score(p, t, threshold) for p, t in zip(aligned, wanted, strict=True)])
        results |= {f"out.f_{name}": scores[:, 0].mean(), f"out.f_al_{name}": each[:, 0].mean(), f"out.f_al_{name}_each": each}
    chosen = case.tensor("in.own_index")
    joints = given["in.pred_joints"][chosen], given["in.gt_joints"][chosen]
    results["out.own_each"] = _own_evaluator(joints, (vertices[chosen], wanted[chosen]), 0)
    results["out.own_uv_auc"] = keypoint_auc_2d(given["in.pred_uv"], given["in.gt_uv"])
    return results


def _own_evaluator(joints: tuple[Tensor, Tensor], vertices: tuple[Tensor, Tensor], root: int) -> Tensor:
    """PA-MPJPE, MPJPE and PA-MPVPE in millimetres without mirroring [B, 3]."""
    relative = [x - x[:, root, None] for x in joints]
    errors = [
        (similarity_aligned(relative[0], relative[1]) - relative[1]),
        relative[0] - relative[1],
        similarity_aligned(*vertices) - vertices[1],
    ]
    return torch.stack([1000 * error.norm(dim=-1).mean(1) for error in errors], 1)


def _drawn(note: str, key: str) -> Tensor:
    """`uniform_input('....KEY', (SHAPE), LOW, HIGH)` in a text with several."""
    [arguments] = re.findall(rf"uniform_input(\('[^']*\.{key}'.*?\), [-\d.]+, [-\d.]+\))", note)
    return drawn_tensor_between(*ast.literal_eval(arguments))


def _stack(arrays: tuple[np.ndarray, ...]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
