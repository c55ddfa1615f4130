"""Generated pictures of scenes with no, one or two hands of any size, for detectors: hands, what looks like hands, and rooms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from geo3d.data.synthetic.hands import lens, parts
from geo3d.data.synthetic.hands.light import draw_lighting
from geo3d.data.synthetic.hands.model import hand_model
from geo3d.data.synthetic.hands.parts import Part
from geo3d.data.synthetic.hands.pictures import cut, draw_picture
from geo3d.data.synthetic.hands.poses import draw_pose
from geo3d.data.synthetic.hands.scene import SAMPLES, Materials, Scene, draw_background, draw_view, dressed_hand
from geo3d.data.synthetic.hands.skins import procedural_skin
from geo3d.geometry.cameras import Camera, pinhole

WIDE_SIZE = 256
MIN_FILL, MAX_FILL = 0.08, 0.9  # longer side of the box around the keypoints, of the picture's side
COUNTS = (0.16, 0.39, 0.45)  # how often there are no, one and two hands
MAX_OVERLAP = 0.12  # of the boxes of two hands, of the smaller one, most times
HEAD_JOINTS = (12, 15)  # neck and head in SMPL's order
ARM_JOINTS = (16, 17, 18, 19, 20, 21, 22, 23)
MIN_SHOWN = 0.35  # of a hand's keypoints; one that shows less is "hidden"
MIN_DISTANCE = 0.1  # metres between the camera and the nearest point of a hand


@dataclass(frozen=True, eq=False)
class WidePicture:
    """A picture and the hands in it.

    Attributes:
        image: [256, 256, 3] uint8 RGB.
        quality: of the JPEG file to write.
        sides: "right" or "left" of each hand; "hidden" of one that something else covers for the most part.
        keypoints: [21, 2] pixels of each hand, in FreiHAND's order; those outside the picture too.
    """

    image: np.ndarray
    quality: int
    sides: tuple[str, ...]
    keypoints: tuple[np.ndarray, ...]


def make_wide_picture(seed: int, index: int, materials: Materials) -> WidePicture:
    """The picture of an index: the same for the same seed, index and materials."""
    rng = np.random.default_rng([seed, index, 1])
    focal = WIDE_SIZE * np.exp(rng.uniform(np.log(0.75), np.log(1.7)))
    middle = (WIDE_SIZE - 1) / 2
    camera = pinhole([[focal, 0, middle], [0, focal, middle], [0, 0, 1]], np.eye(4), (WIDE_SIZE, WIDE_SIZE))
    scene = Scene(camera, draw_lighting(rng), draw_background(materials, rng, WIDE_SIZE))
    sides: list[str] = []
    keypoints: list[np.ndarray] = []
    skins: list[int] = []
    farthest = 0.4
    fill = np.exp(rng.uniform(np.log(MIN_FILL), np.log(MAX_FILL)))
    for _ in range(int(rng.choice(3, p=COUNTS))):
        side = "left" if rng.random() < 0.5 else "right"
        if sides and rng.random() < 0.8:
            side = "left" if sides[0] == "right" else "right"
        alike = rng.random() < 0.75
        own = fill * np.exp(rng.normal(0, 0.2)) if alike else np.exp(rng.uniform(np.log(MIN_FILL), np.log(MAX_FILL)))
        placed = _placed_hand(camera, side, float(np.clip(own, MIN_FILL, MAX_FILL)), keypoints, materials, rng)
        if placed is not None:
            skins.append(len(scene.parts))
            scene.parts += placed[0]
            sides.append(side)
            keypoints.append(placed[1])
            farthest = max(farthest, float(placed[0][0].vertices[:, 2].max()))
    if rng.random() < 0.3:
        scene.parts += _person(camera, farthest, materials, rng)
    if rng.random() < 0.2:
        scene.parts.append(_skin_colored_thing(camera, rng))
    if rng.random() < 0.15:
        scene.parts += _arm_alone(camera, materials, rng)
    light, owner = scene.render() if scene.parts else (scene.background, None)
    if owner is not None:
        shown = [_shown(owner, part, points) for part, points in zip(skins, keypoints, strict=True)]
        sides = [side if share > MIN_SHOWN else "hidden" for side, share in zip(sides, shown, strict=True)]
    subject = _around(light, keypoints[0]) if keypoints and rng.random() < 0.6 else light.reshape(-1, 3)
    image = lens.photograph(lens.expose(light, subject, scene.lighting.color, rng), rng)
    return WidePicture(image, int(rng.integers(45, 97)), tuple(sides), tuple(keypoints))


def _shown(owner: np.ndarray, part: int, keypoints: np.ndarray) -> float:
    """Share of the keypoints that are in the picture at which it shows a part."""
    columns, rows = (keypoints * SAMPLES).round().astype(int).T
    inside = (columns >= 0) & (columns < owner.shape[1]) & (rows >= 0) & (rows < owner.shape[0])
    return float((owner[rows[inside], columns[inside]] == part).mean())


def _around(light: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """[N, 3] light at the keypoints that are in the picture, or all of it."""
    columns, rows = keypoints.round().astype(int).T
    inside = (columns >= 0) & (columns < WIDE_SIZE) & (rows >= 0) & (rows < WIDE_SIZE)
    return light[rows[inside], columns[inside]] if inside.any() else light.reshape(-1, 3)


def _placed_hand(
    camera: Camera, side: str, fill: float, others: list[np.ndarray], materials: Materials, rng: np.random.Generator
) -> tuple[list[Part], np.ndarray] | None:
    """Parts of a hand of a size, of which most is in the picture, and its keypoints; None where there is no room for it."""
    pose = draw_pose(rng)
    hand = hand_model().pose(rng.normal(0, 0.9, 10).clip(-2.2, 2.2), pose.joints, pose.wrist)
    turn = draw_view(rng)
    if side == "left":
        turn = np.diag([-1.0, 1, 1]) @ turn
    points = hand.keypoints @ turn.T
    may_overlap = rng.random() < 0.08
    for _ in range(12):
        pixel = rng.uniform(-0.02 + fill * 0.3, 1.02 - fill * 0.3, 2) * WIDE_SIZE
        place = _place(camera, points, pixel, fill)
        keypoints, depth = camera.project(points + place)
        inside = (keypoints > 0).all(1) & (keypoints < WIDE_SIZE).all(1)
        if depth.min() < MIN_DISTANCE or inside.sum() < 12:
            continue
        if may_overlap or all(_overlap(keypoints, other) < MAX_OVERLAP for other in others):
            return [part.moved(turn, place) for part in dressed_hand(hand, pose, materials, rng)], keypoints
    return None


def _place(camera: Camera, points: np.ndarray, pixel: np.ndarray, fill: float) -> np.ndarray:
    """[3] shift that brings the middle of points to a pixel, where their box is of a share of the picture's side."""
    focal = camera.image_from_camera[0, 0]
    middle = (points.max(0) + points.min(0)) / 2
    distance = max(focal * np.ptp(points[:, :2], axis=0).max() / (WIDE_SIZE * fill), MIN_DISTANCE + np.ptp(points[:, 2]) / 2)
    aside = (pixel - camera.image_from_camera[:2, 2]) * distance / focal
    place: np.ndarray = np.append(aside, distance) - middle
    return place


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Common area of the boxes around two sets of points, of the smaller one."""
    low, high = np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0))
    smaller = min(np.ptp(points, axis=0).prod() for points in (first, second))
    return float(np.maximum(high - low, 0).prod() / smaller)


@cache
def _body() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] about the neck, faces without arms, and whether a vertex is of the head."""
    from geo3d.body.models import load_body_model

    model = load_body_model()
    vertices = model.v_template.double().numpy()
    weights = model.lbs_weights.numpy()
    faces = np.asarray(model.faces, dtype=np.int64)
    is_arm = weights[:, ARM_JOINTS].sum(1) > 0.5
    neck = model.J_regressor.double().numpy()[HEAD_JOINTS[0]] @ vertices
    return vertices - neck, faces[~is_arm[faces].any(1)], weights[:, HEAD_JOINTS].sum(1) > 0.5


def _person(camera: Camera, farthest: float, materials: Materials, rng: np.random.Generator) -> list[Part]:
    """Head and trunk of somebody behind the hands, who looks about at the camera: faces have the colour of hands."""
    vertices, faces, is_head = _body()
    upright = Rotation.from_euler("yxz", [rng.normal(0, 45), 180 + rng.normal(0, 12), rng.normal(0, 10)], degrees=True)
    turn = upright.as_matrix()
    focal = camera.image_from_camera[0, 0]
    distance = farthest + rng.uniform(0.25, 1.5)
    pixel = np.array([rng.uniform(0.05, 0.95), rng.uniform(0.1, 0.8)]) * WIDE_SIZE
    place = np.append((pixel - camera.image_from_camera[:2, 2]) * distance / focal, distance)
    of_head = is_head[faces].all(1)
    uv = np.stack([vertices[:, 0] * 2.2, vertices[:, 1] * 2.2], 1)
    skin, cloth = procedural_skin(rng), cut(draw_picture(materials.photographs, rng), 128, rng)
    hair = vertices[:, 1] > rng.uniform(0.16, 0.24)
    hair |= (vertices[:, 2] < rng.uniform(-0.06, 0.02)) & (vertices[:, 1] > 0.06)
    of_hair = of_head & hair[faces].any(1) & (rng.random() < 0.9)
    tone = np.exp(rng.uniform(np.log(0.01), np.log(0.35))) * np.array([1, 0.75, 0.5]) ** rng.uniform(0, 1.5)
    made = []
    for rows, texture, wrap in (
        (of_head & ~of_hair, skin, parts.SKIN_WRAP),
        (of_hair, parts.plain(tone), parts.CLOTH_WRAP),
        (~of_head, cloth, parts.CLOTH_WRAP),
    ):
        if rows.any():
            part = Part(*_used(vertices, faces[rows]), uv[faces[rows]], texture, wrap, (0.03, 14.0))
            made.append(part.moved(turn, place))
    return made


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, numbers = np.unique(faces, return_inverse=True)
    return vertices[rows], numbers.reshape(-1, 3)


def _skin_colored_thing(camera: Camera, rng: np.random.Generator) -> Part:
    """A ball, bottle, box or cylinder with the texture of skin."""
    size = rng.uniform(0.02, 0.09)
    thing = parts.solid(rng, size, size * rng.uniform(0.6, 4), procedural_skin(rng))
    focal, distance = camera.image_from_camera[0, 0], rng.uniform(0.5, 1.8)
    pixel = rng.uniform(0, WIDE_SIZE, 2)
    place = np.append((pixel - camera.image_from_camera[:2, 2]) * distance / focal, distance)
    return thing.moved(Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix(), place)


def _arm_alone(camera: Camera, materials: Materials, rng: np.random.Generator) -> list[Part]:
    """A forearm whose hand is outside the picture."""
    pose = draw_pose(rng)
    hand = hand_model().pose(rng.normal(0, 0.9, 10).clip(-2.2, 2.2), pose.joints, pose.wrist)
    axis = parts.forearm_axis(hand)
    angle = rng.uniform(0, 2 * np.pi)
    inward = np.array([np.cos(angle), np.sin(angle), rng.normal(0, 0.2)])
    turn = Rotation.align_vectors([inward], [axis])[0].as_matrix()
    points = hand.detail[hand_model().detail_in_hand] @ turn.T
    focal, distance = camera.image_from_camera[0, 0], rng.uniform(0.4, 1.2)
    reach = WIDE_SIZE * distance / focal
    outward = -inward[:2] / np.abs(inward[:2]).max() * reach / 2
    place = np.append(outward - inward[:2] * (points[:, :2] @ inward[:2]).max(), distance)
    pixels, _ = camera.project(points + place)
    inside = (pixels > -4).all(1) & (pixels < WIDE_SIZE + 4).all(1)
    if inside.any():
        return []
    return [part.moved(turn, place) for part in dressed_hand(hand, pose, materials, rng, holds=False)]
