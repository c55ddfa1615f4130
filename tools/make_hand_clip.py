"""Make the packaged clip of generated hands: `python -m geo3d.tools.make_hand_clip [FOLDER]` writes hand_clip.mp4 and hand_clip.npz.

A right hand comes in, gestures, leaves and comes back; then a left hand joins it. 640 x 480 at 30 frames a second, drawn by the generator
of hands with procedural skin, so free to use. The .npz holds what is true: `K` [3, 3], `keypoints` [frames, 2, 21, 3] metres in the
camera's frame (right hand, left hand), NaN where a hand is outside the picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from geo3d.tools.errors import run_tool

CLIP = Path(__file__).parent / "assets" / "hand_clip.mp4"
FRAMES, RATE, WIDTH, HEIGHT, FOCAL = 300, 30, 640, 480, 560.0
SEED = 7
# The ways below are laid out as in a mirror, and further off. Who faces the camera has the right hand on the left of the picture.
NEARER = 0.75
# When (frame), where the wrist is (metres; x right, y down, z forward), turn of the hand about the camera's axes (degrees), gesture.
RIGHT = [
    (0, (-0.05, 0.48, 0.62), (0, 0, 0), "relaxed"),
    (25, (-0.02, 0.12, 0.58), (0, 5, -5), "spread"),
    (45, (-0.06, 0.10, 0.55), (-10, 0, -12), "spread"),
    (60, (0.02, 0.08, 0.52), (0, 10, 4), "fist"),
    (75, (0.08, 0.10, 0.55), (5, 15, 12), "point"),
    (95, (-0.10, 0.07, 0.55), (0, -10, -20), "point"),
    (115, (-0.04, 0.10, 0.5), (0, 60, 0), "pinch"),
    (135, (0.16, 0.08, 0.6), (0, 160, 10), "spread"),
    (150, (0.62, 0.10, 0.6), (0, 175, 25), "relaxed"),
    (168, (0.62, 0.10, 0.6), (0, 175, 25), "relaxed"),
    (185, (0.14, 0.12, 0.6), (0, 20, 5), "count"),
    (215, (0.16, 0.10, 0.62), (10, 5, 8), "spread"),
    (245, (0.12, 0.07, 0.6), (0, -20, -5), "pinch"),
    (270, (0.17, 0.10, 0.62), (0, 10, 10), "fist"),
    (299, (0.15, 0.13, 0.66), (0, 0, 5), "spread"),
]
LEFT = [
    (0, (-0.3, 0.6, 0.64), (0, 0, 0), "relaxed"),
    (195, (-0.3, 0.6, 0.64), (0, 0, 0), "relaxed"),
    (220, (-0.16, 0.12, 0.62), (0, 5, -5), "spread"),
    (250, (-0.13, 0.08, 0.6), (0, 20, 8), "count"),
    (275, (-0.18, 0.11, 0.62), (0, -10, -8), "point"),
    (299, (-0.15, 0.13, 0.66), (0, 0, -5), "spread"),
]


def main(argv: Sequence[str] | None = None) -> int:
    """Make the clip; returns the exit code."""
    return run_tool(_make_clip, argv)


def _make_clip(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "geo3d.tools.make_hand_clip", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=CLIP.parent, help="where to write (default: in the package)")
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"stop after so many (default: {FRAMES})")
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_clip(arguments.folder, arguments.frames)
    print(f"wrote {arguments.folder / CLIP.name}")
    return 0


def write_clip(folder: Path, frames: int = FRAMES) -> None:
    """Draw the frames and write film and truth."""
    import cv2

    from geo3d.data.synthetic.rasterizer import encode_srgb

    film = cv2.VideoWriter(str(folder / CLIP.name), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    if not film.isOpened():
        raise ValueError(f"{folder / CLIP.name}: OpenCV cannot write MPEG-4 here")
    stage = Stage()
    truth = np.full((frames, 2, 21, 3), np.nan, np.float32)
    for frame in range(frames):
        light, truth[frame] = stage.draw(frame)
        film.write(np.ascontiguousarray(encode_srgb(light)[..., ::-1]))
    film.release()
    np.savez_compressed(folder / f"{CLIP.stem}.npz", K=stage.camera.image_from_camera[:, :3], keypoints=truth)


class Stage:
    """Camera, light, background and the two hands with their poses, clothes and ways."""

    def __init__(self) -> None:
        from geo3d.data.synthetic.hands.light import Lighting, temperature
        from geo3d.data.synthetic.hands.scene import Materials
        from geo3d.data.synthetic.hands.skins import procedural_skin
        from geo3d.data.synthetic.shading import Light
        from geo3d.geometry.cameras import pinhole

        rng = np.random.default_rng(SEED)
        center = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
        self.camera = pinhole([[FOCAL, 0, center[0]], [0, FOCAL, center[1]], [0, 0, 1]], np.eye(4), (WIDTH, HEIGHT))
        lamp = Light((0.5, -1.0, -0.8), (0.5, 0.47, 0.42), 0.03)
        self.lighting = Lighting([lamp], _room, temperature(0.0))
        self.background = _wall(rng)
        self.materials = Materials()
        self.skin = procedural_skin(np.random.default_rng(12))
        self.ways = [_Way(way, rng) for way in (RIGHT, LEFT)]

    def draw(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Linear light [480, 640, 3] and keypoints [2, 21, 3]."""
        from geo3d.data.synthetic.hands import parts
        from geo3d.data.synthetic.hands.model import hand_model
        from geo3d.data.synthetic.hands.parts import Part
        from geo3d.data.synthetic.hands.scene import Scene, relief
        from geo3d.data.synthetic.hands.skins import layout

        scene = Scene(self.camera, self.lighting, self.background)
        truth = np.full((2, 21, 3), np.nan, np.float32)
        for number, way in enumerate(self.ways):
            turn, place, joints = way.at(frame)
            if number == 1:
                turn = np.diag([-1.0, 1, 1]) @ turn
            hand = hand_model().pose(np.full(10, 0.2), joints, np.zeros(3))
            skin = Part(
                relief(hand, np.random.default_rng(3)),
                hand_model().detail_faces,
                layout().corner_uv,
                self.skin,
                parts.SKIN_WRAP,
                (0.04, 18.0),
            )
            cloth = np.broadcast_to(np.array([0.03, 0.06, 0.12], np.float32), (4, 4, 3))
            sleeve = parts.sleeve(hand, cloth, np.random.default_rng(5))
            xyz = hand.keypoints @ turn.T + place
            if not self.camera.in_view(xyz).any():
                continue
            truth[number] = xyz
            scene.parts += [part.moved(turn, place) for part in (skin, sleeve)]
        if not scene.parts:
            return self.background, truth
        return scene.render()[0], truth


class _Way:
    """Key frames and what lies between them."""

    def __init__(self, keys: Sequence[tuple[int, tuple[float, ...], tuple[float, ...], str]], rng: np.random.Generator) -> None:
        from geo3d.data.synthetic.hands.poses import draw_pose

        self.times = np.array([key[0] for key in keys])
        self.places = np.array([-NEARER, NEARER, NEARER]) * [key[1] for key in keys]
        self.angles = np.array([key[2] for key in keys], float)
        self.joints = np.stack([draw_pose(rng, key[3]).joints for key in keys])

    def at(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn [3, 3], place [3] and joints [15, 3]."""
        after = int(np.clip(np.searchsorted(self.times, frame, "right"), 1, len(self.times) - 1))
        share = (frame - self.times[after - 1]) / (self.times[after] - self.times[after - 1])
        share = float(np.clip(share, 0, 1))
        share = share * share * (3 - 2 * share)
        place, angles, joints = (
            values[after - 1] * (1 - share) + values[after] * share for values in (self.places, self.angles, self.joints)
        )
        upright = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])  # fingers up, palm to the camera
        return Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ upright, place, joints


def _room(directions: np.ndarray) -> np.ndarray:
    window = np.exp(4 * (directions @ np.array([-0.8, -0.4, -0.45]) - 1))
    share = 0.5 - 0.5 * directions[:, 1:2]
    light: np.ndarray = share * [0.42, 0.42, 0.43] + (1 - share) * [0.16, 0.14, 0.12] + window[:, None] * [0.9, 1.0, 1.15]
    return light


def _wall(rng: np.random.Generator) -> np.ndarray:
    """A room out of focus: wall, shelf, frames."""
    import cv2

    row = np.linspace(0, 1, HEIGHT)[:, None, None]
    picture = np.array([0.42, 0.40, 0.36]) * (1 - 0.35 * row) * np.linspace(0.8, 1.15, WIDTH)[None, :, None]
    picture[int(HEIGHT * 0.8) :] = [0.16, 0.11, 0.07]
    for _ in range(9):
        left, top = int(rng.integers(WIDTH)), int(rng.integers(int(HEIGHT * 0.6)))
        size = rng.integers(25, 110, 2)
        picture[top : top + size[1], left : left + size[0]] = rng.uniform(0.03, 0.45) * np.exp(rng.normal(0, 0.25, 3))
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 7)


if __name__ == "__main__":
    sys.exit(main())
