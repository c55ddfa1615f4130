"""Kinematic trees: rotations there and back, joints by hand and by homogeneous matrices, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from geo3d.body import SMPL_JOINTS, SMPL_PARENTS, forward_kinematics, global_to_local, local_to_global
from geo3d.geometry.rotations import axis_angle_to_matrix


def random_rotations(*shape: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(math.prod(shape), random_state=1).as_matrix()).reshape(*shape, 3, 3)


def test_smpl_tree():
    assert len(SMPL_JOINTS) == len(SMPL_PARENTS) == 24
    chain, joint = [], SMPL_JOINTS.index("left_hand")
    while joint >= 0:
        chain.append(SMPL_JOINTS[joint])
        joint = SMPL_PARENTS[joint]
    arm = ["left_hand", "left_wrist", "left_elbow", "left_shoulder", "left_collar"]
    assert chain == [*arm, "spine3", "spine2", "spine1", "pelvis"]


@pytest.mark.parametrize("joints", [22, 24])
def test_there_and_back(joints):
    local, parents = random_rotations(2, 3, joints), SMPL_PARENTS[:joints]
    turned = local_to_global(local, parents)
    torch.testing.assert_close(global_to_local(turned, parents), local)
    torch.testing.assert_close(turned[1, 2], local_to_global(local[1, 2], parents))
    assert torch.equal(turned[..., 0, :, :], local[..., 0, :, :])


def test_an_elbow_by_hand():
    parents = (-1, 0, 1)
    rest = torch.tensor([[1.0, 0, 0], [3, 0, 0], [4, 0, 0]])
    quarter = axis_angle_to_matrix(torch.tensor([[0, 0, 0], [0, 0, math.pi / 2], [0, 0, 0]]))
    joints, turned = forward_kinematics(quarter, rest, parents)
    torch.testing.assert_close(joints, torch.tensor([[1.0, 0, 0], [3, 0, 0], [3, 1, 0]]))
    torch.testing.assert_close(turned[2], quarter[1])


def test_joints_equal_products_of_rigid_motions():
    local = random_rotations(5, 24)
    rest = torch.randn(24, 3, dtype=torch.float64)
    joints, turned = forward_kinematics(local, rest, SMPL_PARENTS)
    motions: list[torch.Tensor] = []
    for joint, parent in enumerate(SMPL_PARENTS):
        step = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
        step[:, :3, :3] = local[:, joint]
        step[:, :3, 3] = rest[joint] - (rest[parent] if parent >= 0 else 0)
        motions.append(motions[parent] @ step if parent >= 0 else step)
        torch.testing.assert_close(joints[:, joint], motions[joint][:, :3, 3])
        torch.testing.assert_close(turned[:, joint], motions[joint][:, :3, :3])


def test_gradients():
    parents = SMPL_PARENTS[:6]
    vectors, rest = torch.randn(2, 6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)

    def function(vectors, rest):
        return forward_kinematics(axis_angle_to_matrix(vectors), rest, parents)

    assert torch.autograd.gradcheck(function, (vectors.requires_grad_(), rest.requires_grad_()))
    assert torch.autograd.gradcheck(lambda v: global_to_local(axis_angle_to_matrix(v), parents), vectors)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: local_to_global(torch.rand(3, 3, 3), (-1, 0)), r"rotations must be \[..., 2, 3, 3\] .* got \[3, 3, 3\]"),
        (lambda: global_to_local(torch.rand(2, 3, 3), (1, -1)), "parent must come before its child, got parent 1 of joint 0"),
        (lambda: forward_kinematics(torch.rand(2, 3, 3), torch.rand(3, 3), (-1, 0)), r"rest_joints must be \[..., 2, 3\]"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
