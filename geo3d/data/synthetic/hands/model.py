"""The packaged hand in numpy: the mesh that labels are of, and the finer one of hand and forearm that pictures are of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from geo3d.body.hands import TIP_VERTICES, keypoints, read_hand

FOREARM = 16  # the joint after MANO's that bends the other way at the wrist, in pictures only
UPPER_ARM = 0.4  # metres that the arm goes on beyond the packaged mesh, straight: pictures show no stump
# Where a finger starts in MANO's order of joints; thumb first, as people count.
FINGER_ROOTS = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}


@dataclass(frozen=True, eq=False)
class Hand:
    """A posed right hand in its own frame, wrist near the origin.

    Attributes:
        vertices: [778, 3] metres.
        joints: [16, 3], MANO's order.
        detail: [A, 3] vertices of the finer mesh of hand and forearm.
        turns: [17, 3, 3] rotations of joints and forearm against their rest.
    """

    vertices: np.ndarray
    joints: np.ndarray
    detail: np.ndarray
    turns: np.ndarray

    @property
    def keypoints(self) -> np.ndarray:
        """[21, 3] in FreiHAND's order."""
        points: np.ndarray = keypoints(self.joints, self.vertices)
        return points


@dataclass(frozen=True, eq=False)
class HandModel:
    """Arrays of the packaged hand (see `tools/derive_hand.py`), float64, and what follows from them."""

    template: np.ndarray  # [778, 3]
    shapes: np.ndarray  # [778, 3, 10]
    weights: np.ndarray  # [778, 16]
    regressor: np.ndarray  # [16, 778]
    faces: np.ndarray  # [1538, 3]
    parents: np.ndarray  # [16]
    detail_template: np.ndarray  # [A, 3]
    detail_shapes: np.ndarray  # [A, 3, 10]
    detail_weights: np.ndarray  # [A, 17]
    detail_faces: np.ndarray  # [D, 3]
    detail_in_hand: np.ndarray  # [A]
    corner_uv: np.ndarray  # [D, 3, 2]

    @property
    def rest_joints(self) -> np.ndarray:
        """[16, 3] of the average hand at rest."""
        return self.regressor @ self.template

    @property
    def rest_tips(self) -> np.ndarray:
        """[5, 3] finger tips, thumb first."""
        return self.template[list(TIP_VERTICES)]

    def pose(self, betas: np.ndarray, pose: np.ndarray, wrist: np.ndarray) -> Hand:
        """Shape and bend the hand (linear blend skinning).

        Args:
            betas: [10] shape coefficients.
            pose: [15, 3] axis-angles of the finger joints, radians.
            wrist: [3] axis-angle of the hand against the forearm; the hand stays and the forearm turns.
        """
        rest = self.template + self.shapes @ betas
        joints_rest = self.regressor @ rest
        local = np.concatenate(
            [np.eye(3)[None], Rotation.from_rotvec(pose).as_matrix(), Rotation.from_rotvec(-wrist).as_matrix()[None]]
        )
        turns, places = local.copy(), np.zeros((17, 3))
        places[0] = places[FOREARM] = joints_rest[0]
        for joint in range(1, 16):
            parent = self.parents[joint]
            turns[joint] = turns[parent] @ local[joint]
            places[joint] = places[parent] + turns[parent] @ (joints_rest[joint] - joints_rest[parent])
        shifts = places - np.einsum("jab,jb->ja", turns, np.concatenate([joints_rest, joints_rest[:1]]))
        vertices = _skin(rest, self.weights, turns[:16], shifts[:16])
        detail = _skin(self.detail_template + self.detail_shapes @ betas, self.detail_weights, turns, shifts)
        return Hand(vertices, places[:16], detail, turns)


def _skin(points: np.ndarray, weights: np.ndarray, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    blended = (weights @ turns.reshape(len(turns), 9)).reshape(-1, 3, 3)
    return np.einsum("vab,vb->va", blended, points) + weights @ shifts


@cache
def hand_model() -> HandModel:
    """The packaged hand, read once."""
    fields = read_hand()
    parents = fields["kintree_table"][0].astype(int)
    _lengthen_arm(fields)
    corner_uv = fields["detail_uv"][fields["detail_uv_faces"]]
    names = ("v_template", "shapedirs", "weights", "J_regressor")
    template, shapes, weights, regressor = (np.asarray(fields[name], np.float64) for name in names)
    return HandModel(
        template,
        shapes,
        weights,
        regressor,
        fields["f"],
        parents,
        np.asarray(fields["detail_template"], np.float64),
        np.asarray(fields["detail_shapedirs"], np.float64),
        np.asarray(fields["detail_weights"], np.float64),
        fields["detail_faces"],
        fields["detail_in_hand"],
        corner_uv,
    )


def _lengthen_arm(fields: dict[str, np.ndarray]) -> None:
    """Pull the open end of the forearm out, its colour with it."""
    faces, uv_faces = fields["detail_faces"], fields["detail_uv_faces"]
    edges = {(int(row[i]), int(row[(i + 1) % 3])): (face, i) for face, row in enumerate(faces) for i in range(3)}
    border = [(edge, place) for edge, place in edges.items() if edge[::-1] not in edges]
    ring = sorted({vertex for edge, _ in border for vertex in edge})
    template = fields["detail_template"]
    arm = template[fields["detail_weights"][:, FOREARM] > 0.9]
    direction = template[ring].mean(0) - arm.mean(0)
    copies = {vertex: len(template) + number for number, vertex in enumerate(ring)}
    more, more_uv = [], []
    for (first, second), (face, corner) in border:
        uv_first, uv_second = uv_faces[face, corner], uv_faces[face, (corner + 1) % 3]
        more += [(second, first, copies[first]), (second, copies[first], copies[second])]
        more_uv += [(uv_second, uv_first, uv_first), (uv_second, uv_first, uv_second)]
    fields["detail_faces"] = np.concatenate([faces, np.array(more, faces.dtype)])
    fields["detail_uv_faces"] = np.concatenate([uv_faces, np.array(more_uv, uv_faces.dtype)])
    pulled = template[ring] + direction / np.linalg.norm(direction) * UPPER_ARM
    fields["detail_template"] = np.concatenate([template, pulled])
    for name in ("detail_shapedirs", "detail_weights", "detail_in_hand"):
        fields[name] = np.concatenate([fields[name], fields[name][ring]])
