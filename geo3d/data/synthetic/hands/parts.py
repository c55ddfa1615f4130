"""What is in the picture beside skin: sleeves, watches, rings, held things, tables. Everything in metres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geo3d.data.synthetic.hands.model import FINGER_ROOTS, Hand, hand_model
from geo3d.data.synthetic.rasterizer import vertex_normals

CLOTH_WRAP, SKIN_WRAP = (0.06, 0.06, 0.06), (0.3, 0.12, 0.07)
METALS = np.array([[0.95, 0.72, 0.3], [0.75, 0.75, 0.78], [0.85, 0.6, 0.5], [0.05, 0.05, 0.06]])


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh with one texture.

    Attributes:
        vertices: [V, 3].
        faces: [F, 3].
        corner_uv: [F, 3, 2].
        texture: [h, w, 3] linear light.
        wrap: how far light wraps around, each colour.
        gloss: strength and exponent of its highlight.
        casts: it throws shadows.
        tint: factor and offset of the texture's light.
    """

    vertices: np.ndarray
    faces: np.ndarray
    corner_uv: np.ndarray
    texture: np.ndarray
    wrap: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gloss: tuple[float, float] = (0.0, 1.0)
    casts: bool = True
    tint: tuple[np.ndarray, np.ndarray] = (np.ones(3), np.zeros(3))

    def moved(self, turn: np.ndarray, shift: np.ndarray) -> Part:
        """The part turned [3, 3] and shifted [3]; a mirror in `turn` turns its faces inside out and back."""
        faces = self.faces if np.linalg.det(turn) > 0 else self.faces[:, ::-1]
        corner_uv = self.corner_uv if np.linalg.det(turn) > 0 else self.corner_uv[:, ::-1]
        return replace(self, vertices=self.vertices @ turn.T + shift, faces=faces, corner_uv=corner_uv)


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """[2 (rows - 1)(columns - 1), 3] faces over a grid of vertices."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    return np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])


def turned(profile: np.ndarray, columns: int = 28) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A surface of revolution about z of a profile [R, 2] of radius and height: vertices, faces, corner_uv."""
    around = np.linspace(0, 2 * np.pi, columns)
    radius, height = profile[:, 0, None], profile[:, 1, None]
    points = np.stack([radius * np.cos(around), radius * np.sin(around), height + 0 * around], -1).reshape(-1, 3)
    share = np.linspace(0, 1, len(profile))
    uv = np.stack(np.meshgrid(np.linspace(0, 1, columns), share), -1).reshape(-1, 2)
    faces = grid_faces(len(profile), columns)[:, ::-1]
    return points, faces, uv[faces]


def plain(color: np.ndarray) -> np.ndarray:
    """A texture of one colour."""
    return np.broadcast_to(np.asarray(color, np.float32), (2, 2, 3)).copy()


def _frame(axis: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """[3, 3] rotation whose columns are a direction near `towards`, another, and `axis`."""
    axis = axis / np.linalg.norm(axis)
    first = towards - axis * (towards @ axis)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(axis, first), axis], 1)


def forearm_axis(hand: Hand) -> np.ndarray:
    """[3] unit direction from the wrist along the forearm."""
    return hand.turns[16] @ _rest_forearm()


def _rest_forearm() -> np.ndarray:
    model = hand_model()
    arm = model.detail_weights[:, 16] > 0.9
    direction = model.detail_template[arm].mean(0) - model.rest_joints[0]
    return direction / np.linalg.norm(direction)


def sleeve(hand: Hand, texture: np.ndarray, rng: np.random.Generator) -> Part:
    """A sleeve over the forearm, from a cuff near the wrist or further up."""
    model = hand_model()
    axis = forearm_axis(hand)
    along = (hand.detail - hand.joints[0]) @ axis
    cuff = abs(rng.normal(0, 0.035)) - 0.004
    worn = (along[model.detail_faces] > cuff).all(1)
    used, faces = np.unique(model.detail_faces[worn], return_inverse=True)
    faces = faces.reshape(-1, 3)
    skin = hand.detail[used]
    distance = along[used]
    middle = hand.joints[0] + distance[:, None] * axis
    outward = skin - middle
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    around = np.arctan2(*(outward @ _frame(axis, hand.turns[16] @ np.array([0, 1.0, 0])))[:, :2].T)
    tight = rng.uniform(0.003, 0.011)
    folds = sum(
        np.sin(distance * rng.uniform(60, 260) + around * rng.integers(-2, 3) + rng.uniform(0, 6.28)) * rng.uniform(0, 0.0016)
        for _ in range(4)
    )
    thick = tight + folds + 0.0035 * np.exp(-(((distance - cuff) / 0.008) ** 2)) * (rng.random() < 0.5)
    flare = rng.uniform(0, 0.03) * np.maximum(distance - cuff, 0)
    vertices = skin + outward * np.maximum(thick + flare, 0.002)[:, None]
    scale = rng.uniform(3, 9)
    uv = np.stack([around / (2 * np.pi) * round(scale * 0.25 + 0.5), distance * scale], 1)
    corner_uv = uv[faces]
    wide = np.ptp(corner_uv[..., 0], axis=1) > 0.5 * np.ptp(uv[:, 0])  # faces across the seam
    corner_uv[wide, :, 0] += (corner_uv[wide, :, 0] < uv[:, 0].mean()) * np.ptp(uv[:, 0])
    return Part(vertices, faces, corner_uv, texture, CLOTH_WRAP, (rng.uniform(0, 0.02), 8.0))


def watch(hand: Hand, rng: np.random.Generator) -> list[Part]:
    """A band around the wrist and, most times, a case on it."""
    model = hand_model()
    axis = forearm_axis(hand)
    frame = _frame(axis, hand.turns[16] @ np.array([0, 1.0, 0]))  # first column: out of the back of the hand
    at = rng.uniform(0.012, 0.045)
    along = (hand.detail - hand.joints[0]) @ axis
    near = np.abs(along - at) < 0.012
    near &= model.detail_weights[:, [0, 16]].sum(1) > 0.9
    flat = (hand.detail[near] - hand.joints[0]) @ frame[:, :2]
    middle, reach = (flat.max(0) + flat.min(0)) / 2, np.ptp(flat, axis=0) / 2 + 0.0015
    width = rng.uniform(0.004, 0.013)
    profile = np.array([[1.0, -width], [1.06, -width * 0.8], [1.06, width * 0.8], [1.0, width]])
    points, faces, uv = turned(profile, 32)
    points = points * [*reach, 1] + [*middle, at]
    leather, metal = METALS[-1] * rng.uniform(0.3, 6), METALS[rng.integers(len(METALS))]
    is_metal = rng.random() < 0.45
    color = metal * rng.uniform(0.3, 0.8) if is_metal else rng.choice([leather, rng.uniform(0.01, 0.5, 3)])
    band = Part(points @ frame.T + hand.joints[0], faces, uv, plain(color), gloss=(0.25, 40.0) if is_metal else (0.03, 12.0))
    if rng.random() < 0.25:
        return [band]
    radius, height = rng.uniform(0.013, 0.021), rng.uniform(0.004, 0.009)
    case = np.array([[radius, 0], [radius, height], [radius * 0.92, height * 1.1], [radius * 0.9, height], [0.0, height]])
    points, faces, uv = turned(case, 5 if rng.random() < 0.3 else 28)
    upright = np.stack([frame[:, 1], frame[:, 2], frame[:, 0]], 1)
    top = hand.joints[0] + frame @ np.array([middle[0] + reach[0] - 0.001, middle[1], at])
    face = np.concatenate([np.tile(metal * 0.6, (60, 1)), np.tile(rng.choice([0.02, 0.8]) * np.ones(3), (40, 1))])[::-1, None]
    texture = np.repeat(face, 2, 1).astype(np.float32)
    return [band, Part(points @ upright.T + top, faces, uv, texture, gloss=(0.3, 60.0))]


def ring(hand: Hand, rng: np.random.Generator) -> Part:
    """A ring on a finger."""
    model = hand_model()
    root = FINGER_ROOTS[str(rng.choice(["index", "middle", "ring", "ring", "ring", "little"]))]
    bone = hand.joints[root + 1] - hand.joints[root]
    length = np.linalg.norm(bone)
    at = rng.uniform(0.45, 0.62) * length
    frame = _frame(bone, hand.turns[root] @ np.array([0, 1.0, 0]))
    local = (hand.detail - hand.joints[root]) @ frame
    near = (np.abs(local[:, 2] - at) < 0.006) & (model.detail_weights[:, root] > 0.5)
    if near.sum() < 4:
        near = model.detail_weights[:, root] > 0.6
    middle = (local[near, :2].max(0) + local[near, :2].min(0)) / 2
    reach = np.ptp(local[near, :2], axis=0) / 2
    width = rng.uniform(0.001, 0.0035)
    angle = np.linspace(0, np.pi, 5)
    profile = np.stack([1.02 + 0.13 * np.sin(angle), -width * np.cos(angle)], 1)
    points, faces, uv = turned(profile, 26)
    points = (points * [*reach, 1] + [*middle, at]) @ frame.T + hand.joints[root]
    return Part(points, faces, uv, plain(METALS[rng.integers(3)] * rng.uniform(0.4, 0.9)), gloss=(0.5, 50.0))


def held_thing(hand: Hand, kind: str, texture: np.ndarray, rng: np.random.Generator) -> Part:
    """A thing in the hand: in the palm, or for a pinch between thumb and index finger."""
    palm = hand.joints[[0, 1, 4, 7, 10]].mean(0)
    out_of_palm = hand.turns[0] @ np.array([0, -1.0, 0])
    across = hand.joints[1] - hand.joints[7]
    points = hand.keypoints
    if kind == "pinch":
        middle = points[[4, 8]].mean(0)
        radius, height = rng.uniform(0.003, 0.007), rng.uniform(0.06, 0.09)
        middle = middle + rng.normal(0, 0.003, 3)
        axis = np.cross(points[8] - points[4], out_of_palm) + rng.normal(0, 0.02, 3)
        middle = middle + axis / np.linalg.norm(axis) * rng.uniform(-0.4, 0.4) * height
    else:
        gap = np.linalg.norm(points[[8, 12, 16]].mean(0) - palm)
        radius = float(np.clip(gap * rng.uniform(0.35, 0.48), 0.01, 0.038))
        middle = palm + out_of_palm * (radius + 0.012) + (hand.joints[4] - hand.joints[0]) * rng.uniform(0.2, 0.45)
        height = rng.uniform(0.03, 0.11)
        axis = across + rng.normal(0, 0.015, 3)
    thing = solid(rng, radius, height, texture)
    return thing.moved(_frame(axis, out_of_palm), middle)


def solid(rng: np.random.Generator, radius: float, height: float, texture: np.ndarray) -> Part:
    """A cylinder, bottle, ball or box about the z axis."""
    shape = rng.choice(["cylinder", "bottle", "ball", "box"])
    columns = 28
    if shape == "ball":
        angle = np.linspace(0, np.pi, 14)
        profile = np.stack([np.sin(angle), -np.cos(angle)], 1) * radius * 1.25
    elif shape == "bottle":
        neck = rng.uniform(0.3, 0.8)
        profile = np.array([[0, -1], [1, -1], [1, 0.2], [neck, 0.6], [neck, 1], [0, 1.0]]) * [radius, height]
    else:
        profile = np.array([[0, -1], [0.96, -1], [1, -0.97], [1, 0.97], [0.96, 1], [0, 1.0]]) * [radius, height]
        columns = 5 if shape == "box" else columns
    vertices, faces, corner_uv = turned(profile, columns)
    if shape == "box":  # each side keeps its own flat normals
        vertices, corner_uv = vertices[faces].reshape(-1, 3) * [rng.uniform(0.5, 1.8), 1, 1], corner_uv
        faces = np.arange(len(vertices)).reshape(-1, 3)
    gloss = (rng.choice([0.01, 0.05, 0.25]), rng.uniform(8, 60))
    return Part(vertices, faces, corner_uv, texture, gloss=gloss)


def ground(normal: np.ndarray, middle: np.ndarray, texture: np.ndarray, extent: float) -> Part:
    """A table or wall: it is shaded on but throws no shadow."""
    axis = np.array([1.0, 0, 0]) if abs(normal[0]) < 0.7 else np.array([0, 1.0, 0])
    frame = _frame(normal, axis)
    side = np.linspace(-1, 1, 17)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    vertices = middle + (grid * extent) @ frame[:, :2].T
    faces = grid_faces(17, 17)
    if vertex_normals(vertices, faces)[0] @ normal < 0:
        faces = faces[:, ::-1]
    return Part(vertices, faces, (grid * 0.49 + 0.5)[faces], texture, casts=False)
