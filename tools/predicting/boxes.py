"""`geo3d predict` with a detector: boxes as JSON and as KITTI's text, counts, pictures."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from geo3d.data.lidar.box_files import ENDING, SweepBoxes, boxes_as_json, sweep_name
from geo3d.data.lidar.sensors import Axis, forward_angle
from geo3d.tools.parsing import add_columns
from geo3d.tools.predicting.files import output_files, picture_files
from geo3d.tools.predicting.kind import Kind

if TYPE_CHECKING:
    from torch import Tensor

    from geo3d.data.lidar.sweeps import LidarSample
    from geo3d.geometry.cameras import Camera
    from geo3d.predict.sweeps import DetectionResult, Detector
    from geo3d.zoo.weights import WeightsInfo

PICTURE = (1800, 900)  # pixels: from above, and over the driver's shoulder


def _add_options(group: argparse._ActionsContainer, info: WeightsInfo | None) -> None:
    stored = "that of the weights"
    labels: Any = None if info is None else info.labels
    if labels is not None and isinstance(labels.decoder.get("score_threshold"), int | float):
        stored = f"{labels.decoder['score_threshold']:g}, {stored}"
        if labels.decoder.get("threshold_raw_scores"):
            stored += ", of scores before the predicted overlap corrects them"
    group.add_argument("--min-score", type=float, metavar="S", help=f"threshold of the scores of boxes (default: {stored})")
    group.add_argument(
        "--score", type=float, dest="min_score", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )  # its former name
    group.add_argument(
        "--sensor-height",
        type=float,
        metavar="H",
        help="metres of the sensor above the ground (default: as found in the points, else the data set's)",
    )
    group.add_argument(
        "--forward",
        choices=get_args(Axis),
        metavar="AXIS",
        help="where the car drives: x, y, or with a minus, as in --forward=-y (default: the data set's, else x)",
    )
    group.add_argument("--no-level", action="store_true", help="look for no ground: the sweep stands as the data set says")
    group.add_argument("--all-around", action="store_true", help="search every side, not only ahead")
    add_columns(group)


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    if arguments.min_score is not None and not 0 <= arguments.min_score <= 1:
        raise ValueError(f"--min-score must be 0 to 1, got {arguments.min_score:g}")
    outputs = output_files(arguments, ENDING, sweep_name)
    pictures = picture_files(arguments, sweep_name)
    return [*outputs, *(output.with_suffix(".txt") for output in outputs), *(each for each in pictures if each is not None)]


def _run(predictor: Detector, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.min_score is not None:
        predictor.min_score = arguments.min_score
    arguments.out.mkdir(parents=True, exist_ok=True)
    from geo3d.predict import Mounting

    results = []
    mounting = Mounting(arguments.forward, arguments.sensor_height, not arguments.no_level)
    outputs, pictures = output_files(arguments, ENDING, sweep_name), picture_files(arguments, sweep_name)
    for path, output, picture in zip(arguments.files, outputs, pictures, strict=True):
        found = predictor(_sweep(predictor, path, arguments.columns), mounting, all_around=arguments.all_around)
        counts = ", ".join(f"{name} {number}" for name, number in found.counts().items())
        print(f"{path.name}: {counts} -> {output}")
        if found.placement.note:
            print(f"{path.name}: {found.placement.note}")
        boxes = boxes_as_json(path, _in_file(found, predictor.min_score), found.class_names)
        result = {**boxes, "placement": found.placement.as_json()}
        output.write_text(json.dumps(result, indent=2) + "\n")
        _write_kitti(path, found, output.with_suffix(".txt"))
        if picture is not None:
            _draw(found, predictor, picture, arguments.all_around)
        results.append({**result, "output": str(output)})
    return results


def _sweep(predictor: Detector, path: Path, columns: int | str | None) -> LidarSample:
    """The sweep of a file, whose columns the user may have named."""
    from geo3d.data.lidar.sweeps import read_sweep

    return predictor.read(path) if columns is None else read_sweep(path, columns=columns)


def _in_file(found: DetectionResult, min_score: float) -> SweepBoxes:
    """Boxes in the coordinates of the file."""
    boxes = found.detections.boxes.double().numpy().copy()
    boxes[:, :3] += found.sample.offset
    return SweepBoxes(boxes, tuple(found.names), found.detections.scores.double().numpy(), min_score)


def _write_kitti(path: Path, found: DetectionResult, output: Path) -> None:
    """KITTI's text needs the camera: it gives boxes in the camera's frame and their rectangles in the image."""
    from geo3d.data.lidar.kitti import SWEEP_FOLDERS
    from geo3d.data.lidar.kitti_labels import objects_from_boxes, write_label_file

    camera = _camera(path)
    if camera is None:
        if path.parent.name in SWEEP_FOLDERS:  # other data sets have no such file
            print(f"{path.name}: no calib/{path.stem}.txt beside its folder, so no boxes in KITTI's format")
        return
    objects = objects_from_boxes(found.detections.boxes, found.names, camera, found.detections.scores)
    write_label_file(output, objects)
    hidden = len(found) - len(objects)
    outside = f" ({hidden} outside the image)" if hidden else ""
    print(f"{path.name}: {len(objects)} boxes in KITTI's format{outside} -> {output}")


def _camera(path: Path) -> Camera | None:
    from geo3d.data.lidar.kitti import read_kitti_camera, with_image_size
    from geo3d.predict.sweeps import is_kitti_frame

    return with_image_size(read_kitti_camera(path.parent.parent, path.stem)) if is_kitti_frame(path) else None


def _draw(found: DetectionResult, predictor: Detector, picture: Path, all_around: bool) -> None:
    from geo3d.tools.viewing.reading import readable_images
    from geo3d.viz.builders import detection_sheet

    points = found.sample.points[:, :3]
    points = points[_in_range(points, found, predictor, all_around)]
    source = found.sample.source.name
    if not len(points):
        print(f"{source}: no points in the network's range, so no picture")
        return
    views, images = readable_images(found.sample.cameras)
    detection_sheet(
        points,
        picture,
        size=PICTURE,
        boxes=found.detections.boxes,
        scores=found.detections.scores,
        names=found.names,
        images=images,
        cameras=[view.camera for view in views],
        forward_deg=math.degrees(forward_angle(found.placement.forward)),
        title=f"{source}: {', '.join(f'{name} {number}' for name, number in found.counts().items())}",
    )
    print(f"picture: {picture}")


def _in_range(points: Tensor, found: DetectionResult, predictor: Detector, all_around: bool) -> Tensor:
    """[N] bool, points [N, 3] where the network looks; on all sides as far as ahead."""
    import torch

    from geo3d.predict.placement import move_points

    low, high = torch.tensor(predictor.network.point_range).split(3)
    moved = move_points(points, found.placement.network_from_points)
    if all_around:
        reach = torch.maximum(low.abs(), high.abs())[:2].max()
        return (moved[:, :2].norm(dim=1) <= reach) & (moved[:, 2] >= low[2]) & (moved[:, 2] <= high[2])
    return ((moved >= low) & (moved <= high)).all(1)


KIND = Kind(
    "detectors",
    f"take LiDAR sweeps (.bin of KITTI, nuScenes or Waymo, .feather of Argoverse 2, .npy, .pcd, .ply, .las) and write\n"
    f"NAME{ENDING} into --out, and NAME_boxes.txt in KITTI's format where a calibration is beside",
    _add_options,
    _outputs,
    _run,
)
