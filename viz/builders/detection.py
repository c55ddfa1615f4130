"""3D object detection: a sweep with predicted and true boxes, the images beside it, and a sheet with a bird's-eye view.

scene = detection_scene(points, intensity=intensity, boxes=boxes, scores=scores, names=names, gt_boxes=gt_boxes)
detection_sheet(points, "street.png", boxes=boxes, names=names)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.colors import as_array, by_value, class_color
from geo3d.viz.handle import Handle
from geo3d.viz.scene import Scene

if TYPE_CHECKING:
    from geo3d.geometry.cameras import Camera

PREDICTED, TRUE = (213, 94, 0), (0, 114, 178)  # vermilion and blue, which most colour-blind eyes keep apart
COLORMAP = "bone"  # of the points: boxes in colour stand out from them
SHARE_IN_VIEW = 0.9  # of the points; a sweep's last few are far away
MAX_TEXTS = 16  # boxes; among more, texts hide what they name, and the legend has to do
MAX_BOX_DISTANCE = 80.0  # metres from the middle of the points: farther ones may leave the views


def detection_scene(
    points: Any,
    *,
    intensity: Any = None,
    boxes: Any = None,
    scores: Any = None,
    names: Sequence[str] | None = None,
    gt_boxes: Any = None,
    gt_names: Sequence[str] | None = None,
    images: Sequence[Any] = (),
    cameras: Sequence[Camera] = (),
    captions: Sequence[str] | None = None,
    title: str | None = None,
) -> Scene:
    """A sweep with its boxes. Where there are predicted and true ones they differ in colour, else each class has its own.

    Args:
        points: [N, 3 or more] array or tensor, x forward, y left, z up; columns after the third are not looked at.
        intensity: [N], the brightness of the points; by height when None.
        boxes: [K, 7 or more] predicted boxes; see `geo3d.geometry.boxes`. K may be 0.
        scores: [K].
        names: K class names.
        gt_boxes: [J, 7 or more] annotated boxes. J may be 0.
        gt_names: J class names.
        images: [H, W, 3] uint8 each; the boxes are drawn into those that have a camera.
        cameras: one for each image, or none.
        captions: a line for each image.
        title: a line above the picture.

    Raises:
        ValueError: shapes or lengths that do not fit.
    """
    scene = Scene(up="z", title=title)
    array = as_array(points)
    if array.ndim != 2 or array.shape[1] < 3:
        raise ValueError(f"points must be [N, 3 or more], got {list(array.shape)}")
    if len(array):
        scene.add_points(array[:, :3], colors=_brightness(array[:, 2] if intensity is None else intensity), name="points")
    both = boxes is not None and gt_boxes is not None
    overlay: list[Handle] = []
    if gt_boxes is not None:
        looks = {"colors": TRUE, "hidden": 0.3} if both else _class_looks(scene, gt_names, len(gt_boxes), TRUE)
        texts = None if both else _texts(gt_names, None, len(gt_boxes))  # written once, at the predicted box
        overlay.append(scene.add_boxes(gt_boxes, texts=texts, name="true boxes", **looks))
    if boxes is not None:
        looks = {"colors": PREDICTED} if both else _class_looks(scene, names, len(boxes), PREDICTED)
        overlay.append(scene.add_boxes(boxes, texts=_texts(names, scores, len(boxes)), name="predicted boxes", **looks))
    if both:
        scene.add_legend(["predicted", "true"], [PREDICTED, TRUE])
    _add_images(scene, images, cameras, captions, overlay)
    return scene


def detection_views(points: Any, *boxes: Any, forward_deg: float = 0.0) -> dict[str, View]:
    """Views of a sweep: "bird", from above with the driving direction up, and "driver", from behind; all near boxes are in both.

    Args:
        points: [N, 3 or more].
        boxes: [K, 7 or more] each; None is left out.
        forward_deg: where the car drives, counter-clockwise from +x; 90 for nuScenes as published.
    """
    from geo3d.geometry.boxes import box_corners  # loads torch

    array = as_array(points)[:, :3].astype(np.float64)
    corners = [box_corners(as_array(each).astype(np.float64)).reshape(-1, 3) for each in boxes if each is not None]
    if not len(array):
        array = np.concatenate([*corners, np.zeros((1, 3))])
    middle = np.median(array, axis=0)
    distance = np.abs(array - middle).max(axis=1)
    shown = array[distance <= np.quantile(distance, SHARE_IN_VIEW)]
    near = [each[np.abs(each - middle).max(axis=1) <= MAX_BOX_DISTANCE] for each in corners]
    content = np.concatenate([shown, *near])
    low, high = content.min(axis=0) - 0.5, content.max(axis=0) + 0.5
    frame = (tuple(low.tolist()), tuple(high.tolist()))
    return {
        "bird": View(180 + forward_deg, 90, fov_deg=15, frame=frame),
        "driver": View(180 + forward_deg, 28, fov_deg=40, frame=frame),
    }


def detection_sheet(
    points: Any, path: str | Path, *, size: tuple[int, int] = (1600, 900), forward_deg: float = 0.0, **content: Any
) -> Path:
    """Writes a sweep with its boxes from above and from behind, and its images, on one picture.

    Args:
        points: as in `detection_scene`.
        path: .png, .jpg or .webp.
        size: (width, height) of the picture in pixels.
        forward_deg: as in `detection_views`.
        content: the keyword arguments of `detection_scene`.

    Raises:
        ValueError: as `detection_scene`; or not the name of a picture.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot draw here; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    views = detection_views(points, content.get("boxes"), content.get("gt_boxes"), forward_deg=forward_deg)
    return detection_scene(points, **content).save(path, size=size, views=[views["bird"], views["driver"]])


def _brightness(values: Any) -> np.ndarray:
    """[N, 3] greys of the points between those that are lost on the background and those that drown the boxes."""
    array = as_array(values).astype(np.float64)
    known = array[np.isfinite(array)]
    low, high = np.percentile(known, (2, 98)) if len(known) else (0.0, 1.0)
    span = max(high - low, 1e-6)
    return by_value(array, low=low - 0.5 * span, high=high + 0.4 * span, colormap=COLORMAP)


def _class_looks(scene: Scene, names: Sequence[str] | None, count: int, plain: tuple[int, int, int]) -> dict[str, Any]:
    """Colours of the boxes by class, with a legend, or one colour where the classes are unknown."""
    if names is None or not count:
        return {"colors": plain}
    if len(names) != count:
        raise ValueError(f"names must be as many as the {count} boxes, got {len(names)}")
    classes = sorted(set(names))
    scene.add_legend(classes, np.array([class_color(name) for name in classes], dtype=np.uint8))
    return {"colors": np.array([class_color(name) for name in names], dtype=np.uint8)}


def _texts(names: Sequence[str] | None, scores: Any, count: int) -> list[str] | None:
    """Class and score of each box, unless there are too many to read."""
    words = [""] * count if names is None else [str(name) for name in names]
    numbers = [""] * count if scores is None else [f"{score:.2f}" for score in as_array(scores).reshape(-1)]
    if len(words) != count or len(numbers) != count:
        raise ValueError(f"names and scores must be as many as the {count} boxes, got {len(words)} and {len(numbers)}")
    if count > MAX_TEXTS or (names is None and scores is None):
        return None
    return [f"{word} {number}".strip() for word, number in zip(words, numbers, strict=True)]


def _add_images(
    scene: Scene, images: Sequence[Any], cameras: Sequence[Camera], captions: Sequence[str] | None, overlay: Sequence[Handle]
) -> None:
    if len(cameras) not in (0, len(images)) or (captions is not None and len(captions) != len(images)):
        counts = f"{len(cameras)} and {'none' if captions is None else len(captions)}"
        raise ValueError(f"cameras and captions must be as many as the {len(images)} images, or none, got {counts}")
    for index, image in enumerate(images):
        caption = captions[index] if captions is not None else None
        if not cameras:
            scene.add_image(image, caption=caption)
            continue
        intrinsics, pose = pinhole_of(cameras[index])
        scene.add_image(image, caption=caption, intrinsics=intrinsics, camera_from_world=pose, overlay=tuple(overlay))


def pinhole_of(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics [3, 3] and pose [4, 4] of a camera; the shift in KITTI's projections goes into the pose."""
    intrinsics = camera.image_from_camera[:, :3]
    shift = np.eye(4)
    shift[:3, 3] = np.linalg.solve(intrinsics, camera.image_from_camera[:, 3])
    return intrinsics, shift @ camera.camera_from_lidar
