"""Videos and moving pictures from one picture after another; none is kept, so the length does not matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz.camera import AXES, View

VIDEO_SUFFIXES = (".mp4", ".gif")
CODECS = ("vp09", "mp4v")  # the first that OpenCV can write; browsers play VP9, its wheels have no encoder for H.264


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: float) -> Path:
    """Writes [H, W, 3] uint8 pictures of one size as .mp4 or .gif.

    Raises:
        ValueError: no pictures, or fps outside 0.1..120.
        RuntimeError: OpenCV cannot write video here.
    """
    if not 0.1 <= fps <= 120:
        raise ValueError(f"fps must be in 0.1..120, got {fps}")
    rest = iter(pictures)
    first = next(rest, None)
    if first is None:
        raise ValueError(f"{path}: expected at least one picture, got none")
    if path.suffix.lower() == ".gif":
        _write_gif(path, first, rest, fps)
    else:
        _write_mp4(path, first, rest, fps)
    return path


def turned_views(view: View, count: int) -> Iterator[View]:
    """The view turned once around, in `count` steps."""
    for step in range(count):
        yield replace(view, azimuth_deg=view.azimuth_deg + 360 * step / count)


def turned_content(content: np.ndarray, up: str, steps: int = 36) -> np.ndarray:
    """Points [N, 3] around the content's middle, in which all of it [M, 3] stays when it is turned around the up axis.

    Only the points on the outline of the turned body count: a camera that sees them at one angle sees them at every angle.
    """
    from scipy.spatial import ConvexHull, QhullError

    axis = AXES[up]
    middle = (content.min(axis=0) + content.max(axis=0)) / 2
    height = (content - middle) @ axis
    radius = np.linalg.norm(content - middle - height[:, None] * axis, axis=1)
    profile = np.unique(np.stack([np.concatenate([radius, -radius]), np.tile(height, 2)], axis=1), axis=0)
    try:
        profile = profile[ConvexHull(profile).vertices]
    except (QhullError, ValueError):  # a line or a point has no hull
        profile = profile[[profile[:, 0].argmax(), profile[:, 1].argmin(), profile[:, 1].argmax()]]
    profile = profile[profile[:, 0] >= 0]
    first = AXES["x"] if abs(axis[0]) < 0.5 else AXES["y"]
    second = np.cross(axis, first)
    turns = np.arange(steps) * 2 * math.pi / steps
    ring = np.cos(turns)[:, None] * first + np.sin(turns)[:, None] * second  # [steps, 3]
    points: np.ndarray = middle + (profile[:, :1, None] * ring + profile[:, 1:, None] * axis).reshape(-1, 3)
    return points


def _write_mp4(path: Path, first: np.ndarray, rest: Iterator[np.ndarray], fps: float) -> None:
    import cv2

    height, width = (side - side % 2 for side in first.shape[:2])  # codecs want even sides
    writer = _open_writer(str(path), (width, height), fps)
    writer.write(cv2.cvtColor(first[:height, :width], cv2.COLOR_RGB2BGR))
    for picture in rest:
        writer.write(cv2.cvtColor(picture[:height, :width], cv2.COLOR_RGB2BGR))
    writer.release()


def _open_writer(path: str, size: tuple[int, int], fps: float) -> Any:
    """OpenCV's writer for the best codec that it has."""
    import cv2

    set_level = getattr(cv2, "setLogLevel", None)  # the type stubs of OpenCV lack it
    level = getattr(cv2, "getLogLevel", int)()
    if set_level:
        set_level(0)  # a codec that is not there is no news
    try:
        for codec in CODECS:
            writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
            if writer.isOpened():
                return writer
    finally:
        if set_level:
            set_level(level)
    raise RuntimeError("this OpenCV writes no .mp4; pip install opencv-python-headless brings one that does, or save a .gif")


def _write_gif(path: Path, first: np.ndarray, rest: Iterator[np.ndarray], fps: float) -> None:
    """Frame by frame with a palette each: Pillow's own writer would keep all frames until the end."""
    from PIL import GifImagePlugin, Image

    height, width = first.shape[:2]
    duration = max(20, round(1000 / fps))  # browsers slow down what is faster
    with open(path, "wb") as file:
        file.write(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes([0, 0, 0]))
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # again and again
        picture: np.ndarray | None = first
        while picture is not None:
            frame = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)
            for chunk in GifImagePlugin.getdata(frame, (0, 0), duration=duration, include_color_table=True):
                file.write(chunk)
            picture = next(rest, None)
        file.write(b";")
