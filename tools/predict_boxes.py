"""`geo3d predict` with a detector: boxes as JSON and as KITTI's text, counts, pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from geo3d.geometry.cameras import Camera
    from geo3d.predict.sweeps import DetectionResult, Detector

PICTURE = (1800, 900)  # pixels: from above, and over the driver's shoulder


def detect(predictor: Detector, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Boxes of each file with at least `--score`, written into `--out`, and a picture of each if asked for.

    Raises:
        FileExistsError: an output is there, and is not to be replaced.
        ValueError: files of the same name, or no sweep.
    """
    outputs = [arguments.out / f"{_stem(path)}_boxes.json" for path in arguments.files]
    pictures = _pictures(arguments)
    if len(set(outputs)) < len(outputs):
        raise ValueError("files of the same name would write the same boxes; run them apart, with another --out")
    for path in (*outputs, *(each.with_suffix(".txt") for each in outputs), *filter(None, pictures)):
        if path.exists() and not arguments.overwrite:
            raise FileExistsError(f"{path} exists; choose another name or --out, or --overwrite")
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = []
    for path, output, picture in zip(arguments.files, outputs, pictures, strict=True):
        found = _found(predictor, path, arguments.columns).at_least(arguments.score)
        counts = found.counts()
        print(f"{path.name}: {', '.join(f'{name} {number}' for name, number in counts.items())} -> {output}")
        result = {"file": str(path), "counts": counts, "objects": _objects(found)}
        output.write_text(json.dumps(result, indent=2) + "\n")
        _write_kitti(path, found, output.with_suffix(".txt"))
        if picture is not None:
            _draw(found, predictor, picture)
        results.append({**result, "output": str(output)})
    return results


def _found(predictor: Detector, path: Path, columns: str | None) -> DetectionResult:
    """Boxes of a file, whose columns the user may have named."""
    if columns is None:
        return predictor(path)
    from geo3d.data.lidar.sweeps import read_sweep

    return predictor(read_sweep(path, columns=columns))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".bin").removesuffix(".pcd") if path.suffix == ".bin" else path.stem


def _pictures(arguments: argparse.Namespace) -> list[Path | None]:
    """The picture of each file: the one named, or with its name behind where there are several."""
    save: Path | None = arguments.save
    if save is None or len(arguments.files) == 1:
        return [save] * len(arguments.files)
    return [save.with_name(f"{save.stem}_{_stem(path)}{save.suffix}") for path in arguments.files]


def _objects(found: DetectionResult) -> list[dict[str, Any]]:
    """Boxes in metres and radians in the frame of the points."""
    objects = []
    rows = zip(found.names, found.detections.scores.tolist(), found.detections.boxes.tolist(), strict=True)
    for name, score, box in rows:
        box[:3] = (np.array(box[:3]) + found.sample.offset).tolist()  # as in the file
        velocity = {"velocity": box[7:9]} if len(box) == 9 else {}
        objects.append({"name": name, "score": score, "center": box[:3], "size": box[3:6], "yaw": box[6], **velocity})
    return objects


def _write_kitti(path: Path, found: DetectionResult, output: Path) -> None:
    """KITTI's text needs the camera: it gives boxes in the camera's frame and their rectangles in the image."""
    from geo3d.data.lidar.kitti_labels import objects_from_boxes, write_label_file

    camera = _camera(path)
    if camera is None:
        print(f"{path.name}: no calib/{path.stem}.txt beside its folder, so no boxes in KITTI's format")
        return
    objects = objects_from_boxes(found.detections.boxes, found.names, camera, found.detections.scores)
    write_label_file(output, objects)
    hidden = len(found) - len(objects)
    print(
        f"{path.name}: {len(objects)} boxes in KITTI's format{f' ({hidden} outside the image)' if hidden else ''} -> {output}"
    )


def _camera(path: Path) -> Camera | None:
    from geo3d.data.lidar.kitti import read_kitti_camera, with_image_size
    from geo3d.predict.sweeps import is_kitti_frame

    return with_image_size(read_kitti_camera(path.parent.parent, path.stem)) if is_kitti_frame(path) else None


def _draw(found: DetectionResult, predictor: Detector, picture: Path) -> None:
    from geo3d.viz.builders import detection_sheet

    low, high = torch.tensor(predictor.network.point_range).split(3)
    points = found.sample.points[:, :3]
    points = points[((points >= low) & (points <= high)).all(1)]
    source = found.sample.source.name
    if not len(points):
        print(f"{source}: no points in the network's range, so no picture")
        return
    views = found.sample.cameras
    detection_sheet(
        points,
        picture,
        size=PICTURE,
        boxes=found.detections.boxes,
        scores=found.detections.scores,
        names=found.names,
        images=[view.read() for view in views],
        cameras=[view.camera for view in views],
        title=f"{source}: {', '.join(f'{name} {number}' for name, number in found.counts().items())}",
    )
    print(f"picture: {picture}")
