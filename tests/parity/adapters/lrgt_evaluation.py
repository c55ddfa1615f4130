"""LRGT's evaluation and image pipeline: the outputs of the parity cases, computed by geo3d."""

from __future__ import annotations

import numpy as np
import torch
from parity.case_files import Case, drawn_input
from torch import Tensor

from geo3d.data.images.preprocessing import TEST_BACKGROUND, prepare_views
from geo3d.metrics.voxel_surfaces import OUTSIDE, surface_f_score, triangle_areas, voxel_surface
from geo3d.metrics.voxels import ReconstructionScores, voxel_iou
from geo3d.models.lrgt import dice_loss

Arrays = dict[str, Tensor]


def metrics(case: Case) -> Arrays:
    thresholds = case.config["thresholds"]
    occupancy = (case.tensor("in.pred_200").float() / 200).transpose(1, 3)  # from x, y, z
    target = case.tensor("in.gt").transpose(1, 3)
    categories = torch.tensor(case.config["category_index"])
    scores = ReconstructionScores(int(categories.max()) + 1, thresholds)
    scores.update(occupancy, target, categories, torch.arange(len(target)))
    found = scores.compute()
    results = {"out.iou": voxel_iou(occupancy, target, thresholds), "out.max_iou": found["iou"]}
    results["out.category_iou"] = found["iou_by_category"][categories.unique()]
    results["out.overall_iou"] = torch.stack([found[f"iou_{threshold:g}"] for threshold in thresholds])
    results["out.dice"] = torch.stack([dice_loss(p[None], t[None]) for p, t in zip(occupancy, target, strict=True)])
    return results | _surfaces(case, occupancy.numpy(), target.numpy() > 0)


def preprocess(case: Case) -> Arrays:
    """Every other pixel; the case's channels are B, G, R, ours R, G, B."""
    config = case.config
    size, crop = config["img_size"][0], config["crop_size"][0]
    assert config["img_size"] == [size, size] and config["crop_size"] == [crop, crop]
    images = list(case.arrays["in.images"][..., [2, 1, 0, 3]])
    assert [low for low, _ in config["test_background"]] == list(TEST_BACKGROUND)
    results: Arrays = {}
    for name, ranges in (("test", config["test_background"]), ("fixed_bg", config["fixed_background"])):
        assert all(low == high for low, high in ranges)
        views = prepare_views(images, size, crop=crop, background=[low for low, _ in reversed(ranges)])
        results[f"out.{name}"] = views[:, :, ::2, ::2]
    photo = drawn_input(case.meta["inputs"]["photo"].partition(" as ")[0]).numpy().astype(np.uint8)[..., ::-1]
    boxes = [tuple(box) for box in config["boxes"]]
    results["out.box"] = prepare_views([photo] * len(boxes), size, boxes=boxes)[:, :, ::4, ::4]
    return results


def _surfaces(case: Case, occupancy: np.ndarray, target: np.ndarray) -> Arrays:
    config = case.config["fscore"]
    assert abs(config["isovalue"] - OUTSIDE) < 1e-5
    widths = [np.ptp(voxel_surface(grid)[0], axis=0).max() for grid in np.ones((1, *target.shape[1:]), bool)]
    scale = _ratio(config["vertex_scale"])
    # a full grid reaches to the centres of the voxels around it: the side of the padded grid, which has length 1
    np.testing.assert_allclose(widths, (target.shape[1] + 2 * config["pad"] - 1) * scale, rtol=1e-5)
    results = {"out.gt_area": torch.tensor([triangle_areas(*voxel_surface(grid)).sum() for grid in target])}
    lowest = np.float32(0.3)
    results["out.pred_area_03"] = torch.tensor([triangle_areas(*voxel_surface(p >= lowest)).sum() for p in occupancy])
    drawn = [
        [
            [
                surface_f_score(p >= np.float32(t), true, config["distance"], config["points"], seed)
                for t in case.config["thresholds"]
            ]
            for p, true in zip(occupancy, target, strict=True)
        ]
        for seed in range(config["seeds"])
    ]
    results["out.fscore_mean"] = torch.tensor(drawn).mean(0)
    results["out.fscore_std"] = torch.tensor(drawn).std(0, correction=0)
    return results


def _ratio(text: str) -> float:
    """ "1/33" as a number."""
    above, below = text.split("/")
    return int(above) / int(below)
