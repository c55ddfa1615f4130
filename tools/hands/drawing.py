"""Hands drawn on the picture that they were found in: the mesh, shaded, and the skeleton; state and times as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from geo3d.body.hands import KEYPOINT_PARENTS, read_hand
from geo3d.predict.hands import FINGER_COLORS, FoundHand

COLORS = {"right": (90, 170, 255), "left": (255, 160, 90)}  # R, G, B of meshes
OPACITY = 0.62
MARGIN = 2  # pixels around a mesh


@cache
def hand_faces(side: str) -> np.ndarray:
    """[F, 3] faces of the packaged hand, wound so that they look outward; MANO's have the same shape and order of vertices."""
    faces = np.asarray(read_hand()["f"], np.int64)
    return faces if side == "right" else np.ascontiguousarray(faces[:, ::-1])


def draw_hand(
    picture: np.ndarray, hand: FoundHand, camera_matrix: np.ndarray, *, mesh: bool = True, skeleton: bool = True
) -> None:
    """Draw a hand on a picture [H, W, 3] uint8 R, G, B, in place."""
    if mesh:
        _draw_mesh(picture, hand, camera_matrix)
    if skeleton:
        _draw_skeleton(picture, hand.keypoints)


def _draw_mesh(picture: np.ndarray, hand: FoundHand, camera_matrix: np.ndarray) -> None:
    from geo3d.data.synthetic.rasterizer import interpolate, rasterize, vertex_normals
    from geo3d.geometry.cameras import pinhole

    vertices = hand.vertices
    if not np.isfinite(vertices).all() or vertices[:, 2].min() < 0.02:
        return
    height, width = picture.shape[:2]
    projected = vertices @ camera_matrix.T
    pixels = projected[:, :2] / projected[:, 2:]
    low = np.maximum(np.floor(pixels.min(0)).astype(int) - MARGIN, 0)
    high = np.minimum(np.ceil(pixels.max(0)).astype(int) + MARGIN + 1, [width, height])
    if (high - low < 2).any():
        return
    shifted = camera_matrix.copy()
    shifted[:2, 2] -= low
    faces = hand_faces(hand.side)
    camera = pinhole(shifted, np.eye(4), (int(high[0] - low[0]), int(high[1] - low[1])))
    raster = rasterize(vertices, faces, camera)
    normals = vertex_normals(vertices, faces)
    shade = 0.3 + 0.7 * np.clip(normals @ np.array([0.35, -0.45, -0.82], np.float32), 0, 1)
    light = interpolate(raster, shade[faces][..., None])
    part = picture[low[1] : high[1], low[0] : high[0]]
    shown = raster.face >= 0
    color = np.asarray(COLORS[hand.side], np.float32)
    mixed = part[shown] * (1 - OPACITY) + light[shown] * color * OPACITY
    part[shown] = mixed.clip(0, 255).astype(np.uint8)


def _draw_skeleton(picture: np.ndarray, keypoints: np.ndarray) -> None:
    import cv2

    width = max(1, round(max(picture.shape) / 320))
    points = np.rint(np.clip(np.nan_to_num(keypoints), -1e4, 1e4)).astype(int)
    places = [(int(x), int(y)) for x, y in points]
    for joint, parent in enumerate(KEYPOINT_PARENTS):
        if parent >= 0:
            cv2.line(picture, places[joint], places[parent], FINGER_COLORS[(joint - 1) // 4], width, cv2.LINE_AA)
    for place in places:
        cv2.circle(picture, place, width + 1, (255, 255, 255), -1, cv2.LINE_AA)


def draw_lines(picture: np.ndarray, lines: Sequence[str]) -> None:
    """Text in the upper left corner, in place."""
    import cv2

    scale = max(picture.shape[1] / 1100, 0.35)
    step, left, weight = round(30 * scale), round(8 * scale), max(1, round(scale))
    widths = [cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)[0][0] for line in lines]
    behind = picture[: (step * len(lines) + left) * bool(lines), : max(widths, default=0) + 2 * left]
    behind[:] = behind // 3  # a dark ground: heavier letters under the white ones are wider in some versions of OpenCV
    for row, line in enumerate(lines):
        place = (left, step * (row + 1))
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), weight, cv2.LINE_AA)
