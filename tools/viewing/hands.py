"""Images of hands with their joints as samples."""

from __future__ import annotations

from pathlib import Path

from geo3d.data.hands.frames import HandFrame, find_hand_frames
from geo3d.data.images.preprocessing import read_image
from geo3d.tools.viewing.samples import Options, Sample, Samples
from geo3d.viz.builders import hand_scene
from geo3d.viz.builders.hand import SKIN, VIEWS


def open_hands(root: Path, options: Options) -> Samples | None:
    """Frames of the data sets that `geo3d.data.hands.frames` knows."""
    frames = find_hand_frames(root)
    if not frames:
        return None
    return Samples("images of hands", tuple(frame.name for frame in frames), lambda index: _sample(frames[index]))


def _sample(frame: HandFrame) -> Sample:
    joints = frame.keypoints if frame.joints is None else frame.joints
    scene = hand_scene(read_image(frame.image), joints=joints, camera_matrix=frame.camera_matrix, title=frame.name)
    if frame.vertices is not None:
        scene.add_points(frame.vertices, colors=SKIN, name="vertices")
    return Sample(scene, VIEWS if frame.joints is not None else ("corner",))
