"""Images of hands with what is known about them, from the folders of several data sets, for looking at.

FreiHAND      training/rgb/*.jpg with training_K.json, training_xyz.json and training_verts.json (evaluation likewise)
keypoints     *.json in COCO's style beside the images (OneHand10K, FreiHAND as converted by MMPose)
RHD           the same with joint_cam, in the camera's frame
InterHand2.6M *_data.json, *_camera.json and *_joint_3d.json beside the images
crops         NAME_img.jpg with NAME_K.npy, the camera's matrix

Joints come as wrist, then thumb to little finger with four joints each from root to tip; metres in the camera's frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HAND = 21  # joints
TIP_FIRST = [4 * finger + step for finger in range(5) for step in (3, 2, 1, 0)]  # fingers stored from tip to root
INTERHAND_ORDER = [20, *TIP_FIRST]
RHD_ORDER = [0, *(1 + joint for joint in TIP_FIRST)]
MILLIMETERS = 1e-3


@dataclass(frozen=True, eq=False)
class HandFrame:
    """One image.

    Attributes:
        name: for titles.
        image: its file.
        joints: [21 H, 3] float64 metres for H hands, x right, y down, z forward, or None.
        keypoints: [21 H, 2] float64 pixels, NaN where a joint was not labelled, or None.
        camera_matrix: [3, 3] in pixels, or None.
        vertices: [V, 3] of the hand's surface in the camera's frame, or None.
        sides: "right" or "left" of each hand; "right" where a data set does not say.
    """

    name: str
    image: Path
    joints: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    camera_matrix: np.ndarray | None = None
    vertices: np.ndarray | None = None
    sides: tuple[str, ...] = ("right",)


def find_hand_frames(folder: str | Path) -> list[HandFrame]:
    """The images of a folder that is laid out as one of those above; none where it is not.

    Raises:
        ValueError: a damaged file.
    """
    folder = Path(folder)
    for read in (_freihand, _interhand, _keypoint_files, _crops):
        frames = list(read(folder))
        if frames:
            return frames
    return []


def _freihand(folder: Path) -> Iterator[HandFrame]:
    for split in ("training", "evaluation"):
        files = sorted((folder / split / "rgb").glob("*.jpg"))
        if not files or not (folder / f"{split}_xyz.json").is_file():
            continue
        matrices, joints, vertices = (_optional_list(folder / f"{split}_{name}.json") for name in ("K", "xyz", "verts"))
        for path in files:
            if not path.stem.isdigit():
                raise ValueError(f"{path}: expected a number for a name, as FreiHAND has")
            row = int(path.stem) % len(joints)  # the training images come in four versions, one after the other

            def array(values: list[Any], row: int = row) -> np.ndarray | None:
                return np.array(values[row], dtype=np.float64) if row < len(values) else None

            yield HandFrame(path.stem, path, array(joints), None, array(matrices), array(vertices))


def _optional_list(path: Path) -> list[Any]:
    content = _read_json(path) if path.is_file() else []
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list with an entry for each image, got {type(content).__name__}")
    return content


def _interhand(folder: Path) -> Iterator[HandFrame]:
    for path in sorted(folder.glob("*_data.json")):
        stem = path.name.removesuffix("_data.json")
        companions = [path.with_name(f"{stem}_{name}.json") for name in ("camera", "joint_3d")]
        if not all(companion.is_file() for companion in companions):
            continue
        images, cameras, joints = _read_json(path), *map(_read_json, companions)
        for image in _of(images, "images", path):
            if not (folder / str(image["file_name"])).is_file():
                continue
            try:
                yield _interhand_frame(folder, image, cameras[str(image["capture"])], joints[str(image["capture"])])
            except (KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{path}: expected camera and joints of {image['file_name']}, got none ({error})") from None


def _interhand_frame(folder: Path, image: Any, cameras: Any, joints: Any) -> HandFrame:
    name = str(image["camera"])
    turn, place = np.array(cameras["camrot"][name]), np.array(cameras["campos"][name])
    entry = joints[str(image["frame_idx"])]
    world = np.array(entry["world_coord"], dtype=np.float64)
    valid = np.array(entry["joint_valid"], dtype=bool).reshape(-1)
    local = (world - place) @ turn.T * MILLIMETERS
    hands = [[start + joint for joint in INTERHAND_ORDER] for start in (0, HAND) if valid[start : start + HAND].all()]
    matrix = _matrix(cameras["focal"][name], cameras["princpt"][name])
    path = folder / image["file_name"]
    sides = tuple(side for side, start in (("right", 0), ("left", HAND)) if valid[start : start + HAND].all())
    return HandFrame(path.stem, path, local[np.concatenate(hands)] if hands else None, None, matrix, sides=sides)


def _keypoint_files(folder: Path) -> Iterator[HandFrame]:
    for path in sorted(folder.glob("*.json")):
        content = _read_json(path)
        if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
            continue
        files = {file.name: file for suffix in ("jpg", "png") for file in folder.rglob(f"*.{suffix}")}
        images = {image["id"]: image for image in content["images"] if image.get("file_name") in files}
        for annotation in content["annotations"]:
            image = images.get(annotation.get("image_id"))
            if image is None or "keypoints" not in annotation:
                continue
            try:
                yield _annotated_frame(files[image["file_name"]], image, annotation)
            except (KeyError, ValueError, TypeError, IndexError) as error:
                raise ValueError(f"{path}: expected 21 keypoints of {image['file_name']}, got {error}") from None


def _annotated_frame(path: Path, image: Any, annotation: Any) -> HandFrame:
    if "joint_cam" in annotation and "cam_param" in image:
        joints = np.array(annotation["joint_cam"], dtype=np.float64)[RHD_ORDER] * MILLIMETERS
        matrix = _matrix(image["cam_param"]["focal"], image["cam_param"]["princpt"])
        return HandFrame(path.stem, path, joints, None, matrix, sides=(str(annotation.get("hand_type", "right")),))
    rows = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
    if len(rows) != HAND:
        raise ValueError(f"{len(rows)}")
    keypoints = np.where((rows == 0).all(1)[:, None], np.nan, rows[:, :2])  # 0 0 0 stands for a joint that is not labelled
    return HandFrame(path.stem, path, None, keypoints)


def _crops(folder: Path) -> Iterator[HandFrame]:
    for path in sorted(folder.glob("*_K.npy")):
        image = path.with_name(path.name.removesuffix("_K.npy") + "_img.jpg")
        if image.is_file():
            matrix = np.load(path, allow_pickle=False)
            if matrix.shape != (3, 3):
                raise ValueError(f"{path}: expected a camera matrix [3, 3], got {list(matrix.shape)}")
            yield HandFrame(image.stem, image, camera_matrix=matrix)


def _matrix(focal: Any, center: Any) -> np.ndarray:
    return np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]], dtype=np.float64)


def _of(content: Any, key: str, path: Path) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise ValueError(f"{path}: expected an object with {key!r}")
    return content[key]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
