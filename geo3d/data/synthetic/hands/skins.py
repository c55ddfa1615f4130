"""Skin: photographic textures from a folder, or procedural ones, in the texture layout of anny (MakeHuman's)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from geo3d.data.synthetic.hands.model import FINGER_ROOTS, hand_model
from geo3d.data.synthetic.hands.noise import smooth_noise
from geo3d.data.synthetic.rasterizer import decode_srgb, interpolate, rasterize
from geo3d.geometry.cameras import pinhole

# sRGB of skin from light to dark; tones between them are mixed.
TONES = np.array([[238, 205, 186], [226, 184, 158], [205, 158, 126], [176, 128, 94], [136, 92, 64], [98, 65, 47], [66, 45, 37]])
PROCEDURAL_SIZE = 320
FOREARM_BELOW = 0.25  # u of the texture: the forearm is left of it, the hand right
MARGIN = 0.004  # of the texture, around the part that hand and forearm use


@dataclass(frozen=True, eq=False)
class Layout:
    """The two pieces of the texture that hand and forearm use, one above the other, and what is where in them.

    Attributes:
        pieces: [2, 2, 2] low and high corners, in texture coordinates, of hand and forearm.
        corner_uv: [D, 3, 2] coordinates of the corners of faces in the picture of both pieces.
        fields: name -> [S, S] float32: "palm" (1 palm, 0 back), "nail", "tip", "joint" (near a finger joint), "along" (metres along fingers).
    """

    pieces: np.ndarray
    corner_uv: np.ndarray
    fields: dict[str, np.ndarray]


@cache
def layout() -> Layout:
    """The layout of the packaged hand."""
    model = hand_model()
    on_hand = model.corner_uv[..., 0].mean(1) > FOREARM_BELOW
    pieces = np.array([_bounds(model.corner_uv[on_hand]), _bounds(model.corner_uv[~on_hand])])
    width, height = (pieces[0, 1] - pieces[0, 0])[0], (pieces[:, 1] - pieces[:, 0])[:, 1].sum()
    hand = (model.corner_uv - pieces[0, 0] + [0, pieces[1, 1, 1] - pieces[1, 0, 1]]) / [width, height]
    corner_uv = np.where(on_hand[:, None, None], hand, (model.corner_uv - pieces[1, 0]) / [width, height])
    size = PROCEDURAL_SIZE
    flat = np.concatenate([corner_uv.reshape(-1, 2) * [1, -1] + [0, 1], np.ones((corner_uv.shape[0] * 3, 1))], 1)
    camera = pinhole([[size, 0, -0.5], [0, size, -0.5], [0, 0, 1]], np.eye(4), (size, size))
    raster = rasterize(flat, np.arange(len(flat)).reshape(-1, 3), camera)
    names, values = zip(*_vertex_fields().items(), strict=True)
    maps = interpolate(raster, np.stack(values, 1)[model.detail_faces])
    # Beyond the borders of the pieces as at the borders, so that no seam shows.
    nearest = distance_transform_edt(raster.face < 0, return_distances=False, return_indices=True)
    maps = maps[tuple(nearest)]
    return Layout(pieces, corner_uv, {name: maps[..., n] for n, name in enumerate(names)})


def _bounds(corner_uv: np.ndarray) -> np.ndarray:
    points = corner_uv.reshape(-1, 2)
    return np.stack([points.min(0) - MARGIN, points.max(0) + MARGIN])


@cache
def vertex_fields() -> dict[str, np.ndarray]:
    """What `Layout.fields` says, for each vertex [A] of the detailed mesh; also "tendon" and "knuckle", where those show."""
    return _vertex_fields()


def _vertex_fields() -> dict[str, np.ndarray]:
    from geo3d.data.synthetic.rasterizer import vertex_normals

    model = hand_model()
    points, joints, tips = model.detail_template, model.rest_joints, model.rest_tips
    normals = vertex_normals(points, model.detail_faces).astype(float)
    out = {name: np.zeros(len(points)) for name in ("nail", "tip", "joint", "along", "tendon", "knuckle")}
    out["palm"] = 1 / (1 + np.exp(normals[:, 1] * 6 + 0.5))
    for number, (name, root) in enumerate(FINGER_ROOTS.items()):
        chain = np.concatenate([joints[root : root + 3], tips[number : number + 1]])
        own = model.detail_weights[:, root : root + 3].sum(1)
        bone = chain[3] - chain[2]
        length = np.linalg.norm(bone)
        share = ((points - chain[2]) @ bone) / length**2
        # Which way the nail looks: away from where the finger bends to.
        up = np.array([0, 1.0, 0]) if name != "thumb" else np.cross([0, 0, 1.0], bone) * -1
        up = up - bone * (up @ bone) / length**2
        up /= np.linalg.norm(up)
        end = model.detail_weights[:, root + 2]
        out["nail"] += end * _step(normals @ up, 0.45, 0.75) * _step(share, 0.42, 0.52)
        out["tip"] += end * _step(share, 0.3, 1.1)
        out["along"] += own * np.linalg.norm(points - chain[0], axis=1)
        for joint in chain[:3]:
            out["joint"] += own * np.exp(-((np.linalg.norm(points - joint, axis=1) / 0.011) ** 2))
        back = _step(normals[:, 1], 0.2, 0.8) * (1 - own)
        out["knuckle"] += _step(normals[:, 1], 0.0, 0.6) * np.exp(-((np.linalg.norm(points - chain[0], axis=1) / 0.012) ** 2))
        if name != "thumb":
            line = chain[0] - joints[0]
            at = ((points - joints[0]) @ line / (line @ line)).clip(0.25, 1)
            aside = np.linalg.norm((points - joints[0] - at[:, None] * line)[:, [0, 2]], axis=1)
            out["tendon"] += back * np.exp(-((aside / 0.0035) ** 2))
    return out


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    share = ((values - low) / (high - low)).clip(0, 1)
    return share * share * (3 - 2 * share)


def read_skins(folder: Path) -> list[np.ndarray]:
    """The part of each picture of a folder that hand and forearm use, float32 linear light [h, w, 3].

    Raises:
        FileNotFoundError: no such folder, or no picture in it.
    """
    from geo3d.data.synthetic.hands.pictures import picture_files, read_picture

    return [_cut_skin(read_picture(path)) for path in picture_files(folder)]


def _cut_skin(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    cuts = []
    for low, high in layout().pieces:
        left, right = round(low[0] * width), round(high[0] * width)
        top, bottom = round((1 - high[1]) * height), round((1 - low[1]) * height)
        cuts.append(picture[top:bottom, left:right])
    hand, forearm = cuts
    out = np.zeros((len(hand) + len(forearm), hand.shape[1], 3), np.uint8)
    out[: len(hand)] = hand
    out[len(hand) :, : forearm.shape[1]] = forearm
    return decode_srgb(out)


def skin_tint(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factor [3] and offset [3] that change tone and contrast of a skin of `read_skins` a little."""
    mean = picture[::8, ::8].reshape(-1, 3)
    mean = mean[mean.sum(1) > 0.1].mean(0)
    contrast = rng.uniform(0.85, 1.4)
    pallor = rng.normal(0.35, 0.35)  # the skins of the folder are redder than those on most photographs
    gains = np.exp(rng.normal(0.05, 0.16) + rng.normal(0, 0.025, 3) + pallor * np.array([-0.03, 0.04, 0.1]))
    return contrast * gains, (1 - contrast) * mean * gains


def procedural_skin(rng: np.random.Generator) -> np.ndarray:
    """A skin drawn anew: tone, lighter palm, red tips and joints, nails, creases, spots; linear light [S, S, 3]."""
    plan, size = layout(), PROCEDURAL_SIZE
    tone = rng.uniform(0, len(TONES) - 1)
    tones = decode_srgb(TONES.astype(np.uint8)).astype(float)
    base = tones[int(tone)] + (tones[min(int(tone) + 1, len(TONES) - 1)] - tones[int(tone)]) * (tone % 1)
    base = base * np.exp(rng.normal(0, 0.06, 3))
    dark = tone / (len(TONES) - 1)
    palm_tone = base * (1 - 0.5 * dark) + tones[2] * 0.5 * dark
    palm = plan.fields["palm"][..., None]
    color = base * (1 - palm) + palm_tone * np.array([1.06, 0.94, 0.9]) * palm
    red = (plan.fields["tip"] * 0.7 + plan.fields["joint"] * 0.5) * rng.uniform(0.2, 1.0) * (1 - 0.6 * dark)
    color = color * (1 + red[..., None] * np.array([0.06, -0.2, -0.16]))
    # Creases: lines across the fingers at their joints.
    lines = np.sin(plan.fields["along"] * 2 * np.pi / rng.uniform(0.0022, 0.0032)) * 0.5 + 0.5
    color = color * (1 - (lines**3 * plan.fields["joint"] * rng.uniform(0.15, 0.45))[..., None])
    blotches = 0.05 * np.sum([smooth_noise(rng, size, cells) for cells in (6, 24, 90)], axis=0)
    color = color * (1 + blotches[..., None] * np.array([0.8, 1.1, 1.1]) * rng.uniform(0.5, 1.8))
    nail = _step(plan.fields["nail"], 0.35, 0.6)[..., None]
    nail_tone = base * np.array([1.12, 1.02, 1.02]) + 0.05
    if rng.random() < 0.12:  # varnish
        nail_tone = rng.uniform(0.02, 0.8, 3)
    return (color * (1 - nail) + nail_tone * nail).clip(0.004, 0.95).astype(np.float32)
