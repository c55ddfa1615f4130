"""Detections as nuScenes' benchmark takes them: boxes in the global frame with attributes, and the file of results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from geo3d.geometry.boxes import transform_boxes

MAX_BOXES = 500  # of a key frame
MOVING = 0.2  # metres per second, above which an object counts as moving
ATTRIBUTES = (
    "",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.moving",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
)
# Of objects that move, and of those that do not: what is most frequent among the annotations. Barriers and cones have none.
ATTRIBUTES_BY_SPEED = {
    **dict.fromkeys(("car", "truck", "trailer", "construction_vehicle"), ("vehicle.moving", "vehicle.parked")),
    "bus": ("vehicle.moving", "vehicle.stopped"),
    **dict.fromkeys(("bicycle", "motorcycle"), ("cycle.with_rider", "cycle.without_rider")),
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
}
META = {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}


@dataclass(frozen=True, eq=False)
class NuScenesDetections:
    """Detections of a key frame in the global frame, the surest first; K may be 0.

    Attributes:
        boxes: [K, 9] float64.
        names: [K] classes.
        attributes: [K] names of attributes, "" for classes without.
        scores: [K] float64.
    """

    boxes: np.ndarray
    names: np.ndarray
    attributes: np.ndarray
    scores: np.ndarray


def nuscenes_detections(
    boxes: Tensor, scores: Tensor, names: Sequence[str], global_from_lidar: np.ndarray
) -> NuScenesDetections:
    """Detections in the frame of the LiDAR as the benchmark takes them; of more than 500 the surest.

    Args:
        boxes: [K, 7] or [K, 9] with velocities, which count as 0 without.
        scores: [K].
        names: K classes, which together with the speed tell the attribute.
        global_from_lidar: [4, 4].

    Raises:
        ValueError: lengths that do not fit.
    """
    if not len(boxes) == len(scores) == len(names):
        lengths = [len(boxes), len(scores), len(names)]
        raise ValueError(f"nuscenes_detections: boxes, scores and names must be as many, got {lengths}")
    values = scores.double().cpu().numpy()
    order = np.argsort(-values, kind="stable")[:MAX_BOXES]
    moved = np.zeros((len(order), 9))
    local = boxes.double().cpu().numpy()[order]
    moved[:, : local.shape[1]] = transform_boxes(local, global_from_lidar)
    classes = np.array(names, dtype=str)[order]
    speeds = np.hypot(moved[:, 7], moved[:, 8])
    attributes = [attribute_by_speed(name, speed) for name, speed in zip(classes.tolist(), speeds.tolist(), strict=True)]
    return NuScenesDetections(moved, classes, np.array(attributes, dtype=str), values[order])


def attribute_by_speed(name: str, speed: float) -> str:
    """The likeliest attribute of an object of a class at a speed in metres per second; "" for classes without attributes."""
    return ATTRIBUTES_BY_SPEED.get(name, ("", ""))[0 if speed > MOVING else 1]


def result_entries(token: str, pred: NuScenesDetections) -> list[dict[str, Any]]:
    """Entries of a key frame in the file of results: size is width, length, height, rotation a quaternion with its real part first."""
    half = pred.boxes[:, 6:7] / 2
    turns = np.concatenate((np.cos(half), 0 * half, 0 * half, np.sin(half)), 1)
    columns = (
        pred.boxes[:, :3],
        pred.boxes[:, [4, 3, 5]],
        turns,
        pred.boxes[:, 7:9],
        pred.names,
        pred.scores,
        pred.attributes,
    )
    names = ("translation", "size", "rotation", "velocity", "detection_name", "detection_score", "attribute_name")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"sample_token": token, **dict(zip(names, row, strict=True))} for row in rows]


def write_results(path: str | Path, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write a file of results, which the benchmark's own code and its server take.

    Args:
        path: the file; folders are made.
        results: entries of every key frame of the split by its token, those without detections too.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"meta": META, "results": results}), encoding="utf-8")
