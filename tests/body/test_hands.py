"""The packaged hand: MANO's layout, smplx, mirroring, keypoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.body import KEYPOINT_PARENTS, TIP_VERTICES, keypoint_regressor, keypoints, load_hand, mirrored_hand, read_hand
from geo3d.data.synthetic.hands.model import hand_model

FINGERS = {
    name: [4 * finger + step for step in range(1, 5)]
    for finger, name in enumerate(["thumb", "index", "middle", "ring", "little"])
}


def test_layout_of_the_packaged_hand():
    fields = read_hand()
    assert fields["v_template"].shape == (778, 3) and fields["f"].shape == (1538, 3)
    assert fields["weights"].shape == (778, 16) and fields["shapedirs"].shape == (778, 3, 10)
    np.testing.assert_allclose(fields["weights"].sum(1), 1)
    np.testing.assert_allclose(fields["J_regressor"].sum(1), 1)
    assert np.isfinite(fields["v_template"]).all()
    # Open at the wrist as MANO's: 16 edges have one face.
    edges = np.sort(fields["f"][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 1).sum() == 16 and count.max() == 2
    assert "CC0" in str(fields["licence"])


def test_the_average_hand_has_a_hands_proportions():
    points = keypoint_regressor(read_hand()) @ read_hand()["v_template"]
    assert 0.16 < np.linalg.norm(points[12] - points[0]) < 0.2
    length = {
        name: np.linalg.norm(np.diff(points[[0, *joints] if name == "thumb" else joints], axis=0), axis=1).sum()
        for name, joints in FINGERS.items()
    }
    assert length["middle"] > length["index"] > length["little"]
    assert points[4, 2] > 0.03 and points[:, 0].min() == points[12, 0]  # thumb towards +z, middle finger towards -x
    volume = np.einsum("fi,fi->f", *_centers_and_normals(read_hand())).sum() / 6  # of a right hand: faces look outward
    assert 2e-4 < volume < 5e-4  # cubic metres


def _centers_and_normals(fields):
    corners = fields["v_template"][fields["f"]]
    center = corners.mean(1) - fields["v_template"].mean(0)
    return center, np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def test_tips_are_the_ends_of_fingers():
    fields = read_hand()
    joints = fields["J_regressor"] @ fields["v_template"]
    for tip, end in zip(TIP_VERTICES, (15, 3, 6, 12, 9), strict=True):
        own = fields["weights"][:, end] > 0.9
        distance = np.linalg.norm(fields["v_template"] - joints[end], axis=1)
        assert own[tip] and distance[tip] > 0.9 * distance[own].max()


def test_poses_in_smplx_equal_those_of_the_generator():
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.3, (15, 3)), rng.normal(0, 1, 10)
    model = load_hand(dtype=torch.float64)
    output = model(
        betas=torch.tensor(betas)[None], hand_pose=torch.tensor(pose.reshape(1, -1)), global_orient=torch.zeros(1, 3).double()
    )
    hand = hand_model().pose(betas, pose, np.zeros(3))
    np.testing.assert_allclose(output.vertices[0].detach().numpy(), hand.vertices, atol=1e-7)
    np.testing.assert_allclose(output.joints[0, :16].detach().numpy(), hand.joints, atol=1e-7)
    found = keypoints(output.joints[:, :16], output.vertices)[0].detach().numpy()
    np.testing.assert_allclose(found, hand.keypoints, atol=1e-7)
    np.testing.assert_array_equal(found[4], output.vertices[0, 744].detach().numpy())


def test_a_left_hand_is_the_mirrored_right_one():
    rng = np.random.default_rng(1)
    pose, betas = rng.normal(0, 0.4, (1, 15, 3)), torch.tensor(rng.normal(0, 1, (1, 10)))
    turn = np.array([[0.3, -0.2, 0.5]])
    flip = np.array([1.0, -1, -1])
    fields = read_hand()
    fields["posedirs"] = rng.normal(0, 1e-3, fields["posedirs"].shape)
    vertices = []
    for side_fields, sign in ((fields, 1.0), (mirrored_hand(fields), flip)):
        from geo3d.body.models import body_from_fields

        model = body_from_fields(side_fields, "test", dtype=torch.float64, use_pca=False)
        given = {"hand_pose": torch.tensor((pose * sign).reshape(1, -1)), "global_orient": torch.tensor(turn * sign)}
        vertices.append(model(betas=betas, **given).vertices[0].detach().numpy())
    np.testing.assert_allclose(vertices[1], vertices[0] * [-1, 1, 1], atol=1e-9)
    volumes = [
        np.einsum("fi,fi->f", *_centers_and_normals({"v_template": points, "f": read_hand(side=side)["f"]})).sum()
        for points, side in zip(vertices, ("right", "left"), strict=True)
    ]
    assert volumes[0] > 0 and volumes[1] == pytest.approx(volumes[0])


def test_the_fault_of_published_left_hands_is_mended(tmp_path):
    names = (
        "v_template",
        "f",
        "shapedirs",
        "posedirs",
        "weights",
        "J_regressor",
        "kintree_table",
        "hands_mean",
        "hands_components",
    )
    right, left = read_hand(), read_hand(side="left")
    wrong = {**left, "shapedirs": right["shapedirs"] * [[1], [1], [1]]}
    for stored in (left, wrong):
        np.savez(tmp_path / "MANO_LEFT.npz", **{name: stored[name] for name in names})
        np.testing.assert_allclose(read_hand(tmp_path / "MANO_LEFT.npz", "left")["shapedirs"], left["shapedirs"])


def test_keypoints_are_one_chain_a_finger():
    assert KEYPOINT_PARENTS[0] == -1
    for joints in FINGERS.values():
        assert [KEYPOINT_PARENTS[joint] for joint in joints] == [0, *joints[:3]]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="side must be 'right' or 'left', got 'both'"):
        read_hand(side="both")
    with pytest.raises(ValueError, match=r"joints must be \[..., 16, 3\]"):
        keypoints(np.zeros((21, 3)), np.zeros((778, 3)))
    np.savez(tmp_path / "body.npz", v_template=np.zeros((100, 3)))
    with pytest.raises(ValueError, match="expected a hand model in MANO's layout"):
        read_hand(tmp_path / "body.npz")
    with pytest.raises(FileNotFoundError):
        read_hand(tmp_path / "missing.pkl")
