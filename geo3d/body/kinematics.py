"""Kinematic trees: rotations relative to the parent and to the world, and the joints that follow from them.

A tree is a sequence of parents, -1 for the root; a parent comes before its children. All functions take any leading dimensions, any
floating point dtype, and are differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SMPL_JOINTS = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
)
SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def local_to_global(rotations: Tensor, parents: Sequence[int]) -> Tensor:
    """Rotations [..., J, 3, 3] of each joint relative to its parent -> relative to the world.

    Raises:
        ValueError: no [..., J, 3, 3] for the J parents, or a parent that does not come before its child.
    """
    _check("local_to_global", rotations, parents)
    turned: list[Tensor] = []
    for joint, parent in enumerate(parents):
        local = rotations[..., joint, :, :]
        turned.append(local if parent < 0 else turned[parent] @ local)
    return torch.stack(turned, -3)


def global_to_local(rotations: Tensor, parents: Sequence[int]) -> Tensor:
    """Rotations [..., J, 3, 3] of each joint relative to the world -> relative to its parent, the inverse of `local_to_global`.

    Raises:
        ValueError: as `local_to_global`.
    """
    _check("global_to_local", rotations, parents)
    has_parent = torch.tensor([parent >= 0 for parent in parents], device=rotations.device)
    of_parents = rotations[..., [max(parent, 0) for parent in parents], :, :]
    return torch.where(has_parent[:, None, None], of_parents.mT @ rotations, rotations)


def forward_kinematics(rotations: Tensor, rest_joints: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Joints of a posed skeleton.

    Args:
        rotations: [..., J, 3, 3], relative to the parent.
        rest_joints: [..., J, 3] positions at rest, metres.
        parents: [J].

    Returns:
        joints [..., J, 3], of which the root stays where it is at rest, and global rotations [..., J, 3, 3].

    Raises:
        ValueError: as `local_to_global`, or joints that do not fit the rotations.
    """
    turned = local_to_global(rotations, parents)
    if rest_joints.shape[-2:] != (len(parents), 3):
        raise ValueError(f"forward_kinematics: rest_joints must be [..., {len(parents)}, 3], got {list(rest_joints.shape)}")
    placed: list[Tensor] = []
    for joint, parent in enumerate(parents):
        rest = rest_joints[..., joint, :]
        if parent < 0:
            placed.append(rest.expand(*turned.shape[:-3], 3))
        else:
            bone = rest - rest_joints[..., parent, :]
            placed.append(placed[parent] + (turned[..., parent, :, :] @ bone[..., None]).squeeze(-1))
    return torch.stack(torch.broadcast_tensors(*placed), -2), turned


def _check(function: str, rotations: Tensor, parents: Sequence[int]) -> None:
    if rotations.shape[-3:] != (len(parents), 3, 3):
        raise ValueError(
            f"{function}: rotations must be [..., {len(parents)}, 3, 3] for the parents, got {list(rotations.shape)}"
        )
    for joint, parent in enumerate(parents):
        if parent >= joint:
            raise ValueError(f"{function}: a parent must come before its child, got parent {parent} of joint {joint}")
