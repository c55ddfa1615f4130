"""Hands: an image with the projected mesh and joints, and the mesh by itself from three sides.

hand_sheet(image, "hand.png", vertices=vertices, faces=faces, joints=joints, camera_matrix=matrix)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz import pictures
from geo3d.viz.camera import View
from geo3d.viz.colors import as_array
from geo3d.viz.drawing import draw_into_image
from geo3d.viz.frames import as_image
from geo3d.viz.handle import Handle
from geo3d.viz.layers import Picture
from geo3d.viz.lines import skeleton_layer
from geo3d.viz.scene import Scene

# Wrist, then four joints a finger from its root to its tip: thumb, index, middle, ring, little (FreiHAND, and most others).
HAND_BONES = np.array([(0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)])
FINGER_COLORS = np.array([(230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0)], dtype=np.uint8)
WRIST_COLOR = (60, 60, 66)
SKIN = (224, 172, 148)
VIEWS = (View(0, 0, fov_deg=20), View(90, 0, fov_deg=20), View(0, 89, fov_deg=20))  # as the camera, from its left, from above


def hand_scene(
    image: Any,
    vertices: Any = None,
    faces: Any = None,
    joints: Any = None,
    camera_matrix: Any = None,
    *,
    bones: Any = None,
    colors: Any = None,
    caption: str | None = None,
    title: str | None = None,
) -> Scene:
    """A hand in the camera's frame, and the image with the hand drawn into it.

    Args:
        image: [H, W, 3] uint8.
        vertices: [V, 3] of the mesh, x right, y down, z forward.
        faces: [F, 3] rows of `vertices`.
        joints: [J, 3] in the same frame; or [J, 2] pixels, which are drawn into the image alone.
        camera_matrix: [3, 3] in pixels; without it nothing but joints in pixels is drawn into the image.
        bones: [B, 2] rows of `joints`, parent first; those of 21 joints when None: wrist, then four a finger from root to tip.
        colors: one colour or [J, 3]; a colour for each finger of 21 joints when None.
        caption: a line above the image.
        title: a line above the picture.

    Raises:
        ValueError: shapes that do not fit.
    """
    if (vertices is None) != (faces is None):
        raise ValueError("hand_scene: vertices and faces go together, got one of them")
    scene = Scene(up="-y", title=title)
    picture = as_image(image)
    overlay: list[Handle] = []
    if vertices is not None:
        overlay.append(scene.add_mesh(vertices, faces, colors=SKIN, name="mesh"))
    if joints is not None:
        places = as_array(joints)
        looks = skeleton_looks(len(places), bones, colors)
        if places.ndim == 2 and places.shape[1] == 2:
            picture = with_keypoints(picture, places, **looks)
        else:
            overlay.append(scene.add_skeleton(places, looks["bones"], colors=looks["colors"], width=4.0, name="skeleton"))
    if camera_matrix is None:
        scene.add_image(picture, caption=caption)
    else:
        scene.add_image(picture, caption=caption, intrinsics=camera_matrix, overlay=overlay, opacity=0.75)
    return scene


def hand_sheet(
    image: Any,
    path: str | Path,
    *,
    size: tuple[int, int] = (1200, 800),
    views: Sequence[View] = VIEWS,
    **content: Any,
) -> Path:
    """Writes the image with the hand drawn into it, and the hand from three sides, as one picture.

    Args:
        image: [H, W, 3] uint8.
        path: .png, .jpg or .webp.
        size: (width, height) of the picture in pixels.
        views: the sides.
        content: the other arguments of `hand_scene`, by name.

    Raises:
        ValueError: as `hand_scene`; or not the name of a picture.
        FileNotFoundError: no such folder.
        RuntimeError: Open3D cannot draw here; the message says what is missing.
    """
    path = pictures.check_picture_path(path)
    return hand_scene(image, **content).save(path, size=size, views=views)


def skeleton_looks(count: int, bones: Any = None, colors: Any = None) -> dict[str, Any]:
    """Bones [B, 2] and colours of a hand's joints, by finger where there are 21 for each hand.

    Raises:
        ValueError: no bones are given, and the joints are not 21 for each hand.
    """
    hands, rest = divmod(count, len(HAND_BONES) + 1)
    standard = hands > 0 and not rest
    if bones is None:
        if not standard:
            raise ValueError(f"joints must be 21 for each hand, or give bones; got {count} joints")
        bones = np.concatenate([HAND_BONES + 21 * hand for hand in range(hands)])
    if colors is None and standard:
        colors = np.tile(np.concatenate([[WRIST_COLOR], np.repeat(FINGER_COLORS, 4, axis=0)]), (hands, 1)).astype(np.uint8)
    return {"bones": bones, "colors": colors}


def with_keypoints(image: Any, keypoints: Any, *, bones: Any, colors: Any = None) -> np.ndarray:
    """An image [H, W, 3] uint8, enlarged to at least 448 pixels, with joints [J, 2] in pixels and their bones drawn into it."""
    pixels = as_image(image)
    flat = np.concatenate([as_array(keypoints).astype(np.float64), np.ones((len(keypoints), 1))], axis=1)
    looks: dict[str, Any] = {"width": 3.0, "joint_size": 7.0, "hidden": 1.0, "texts": None}
    layer = skeleton_layer(flat, bones, colors=colors, **looks)
    scale = max(1, -(-448 // max(pixels.shape[:2])))
    plane = Picture(pixels, intrinsics=np.eye(3), camera_from_world=np.eye(4))  # pixels are places at depth 1
    return draw_into_image(plane, [layer], "-y", (pixels.shape[1] * scale, pixels.shape[0] * scale))
