"""Generated bodies: poses within the limits of joints and as they are named, scans, and files in AMASS's format."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from geo3d.body import SMPL_JOINTS, SMPL_PARENTS, forward_kinematics, load_body_model, part_labels
from geo3d.data.files.geometry import read_geometry
from geo3d.data.synthetic.bodies.generate import split_of, write_bodies
from geo3d.data.synthetic.bodies.poses import HARD, LIMITS, POSES, sample_orientation, sample_pose
from geo3d.data.synthetic.bodies.scans import NO_PART, ScanSettings, sample_scan, sample_settings
from geo3d.geometry.rotations import axis_angle_to_matrix


@pytest.fixture(scope="module")
def body():
    return load_body_model()


@pytest.fixture(scope="module")
def surface(body):
    """vertices, faces and labels of the body at rest."""
    return body().vertices[0].detach().numpy(), body.faces.astype(np.int64), part_labels(body.lbs_weights).numpy()


def distance_inside(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of points from the surface, negative outside."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(faces.astype(np.uint32)))
    return -scene.compute_signed_distance(o3d.core.Tensor(points)).numpy()


def joints_of(body, name: str, count: int = 40) -> dict[str, np.ndarray]:
    """Joints [count, 3] by name in draws of a pose."""
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(np.stack([sample_pose(rng, name) for _ in range(count)])).float()
    joints, _ = forward_kinematics(axis_angle_to_matrix(vectors), body().joints[0, :24].detach(), SMPL_PARENTS)
    return dict(zip(SMPL_JOINTS, joints.numpy().swapaxes(0, 1), strict=True))


@pytest.mark.parametrize("name", POSES)
def test_poses_keep_the_limits_of_each_joint(name):
    rng = np.random.default_rng(1)
    poses = np.stack([sample_pose(rng, name) for _ in range(30)])
    assert not poses[:, 0].any()
    for joint, label in enumerate(SMPL_JOINTS[1:], 1):
        side, _, kind = label.rpartition("_")
        z, x, y = Rotation.from_rotvec(poses[:, joint]).as_euler("zxy", degrees=True).T
        degrees = np.stack([x, y, z], 1) * ((1, -1, -1) if side == "right" else (1, 1, 1))
        low, high = np.array(LIMITS[kind]).T
        # beyond a quarter turn about x the same rotation has other angles
        turned = np.stack([180 - x, y + 180, z + 180], 1) * ((1, -1, -1) if side == "right" else (1, 1, 1))
        turned = (turned + 180) % 360 - 180
        inside = ((degrees >= low - 1e-6) & (degrees <= high + 1e-6)).all(1)
        inside |= ((turned >= low - 1e-6) & (turned <= high + 1e-6)).all(1)
        assert inside.all(), label


def test_poses_are_what_their_names_say(body):
    def usually(condition: np.ndarray) -> bool:
        return condition.mean() > 0.85

    overhead = joints_of(body, "arms_overhead")
    assert usually(np.minimum(overhead["left_hand"][:, 1], overhead["right_hand"][:, 1]) > overhead["head"][:, 1])
    standing = joints_of(body, "standing")
    assert usually(np.maximum(standing["left_hand"][:, 1], standing["right_hand"][:, 1]) < standing["spine3"][:, 1])
    sitting = joints_of(body, "sitting")
    for side in ("left", "right"):
        thigh = sitting[f"{side}_knee"] - sitting[f"{side}_hip"]
        assert usually(thigh[:, 2] > np.abs(thigh[:, 1]))  # nearer to level than to upright
        assert usually(sitting[f"{side}_ankle"][:, 1] < sitting[f"{side}_knee"][:, 1] - 0.25)
    crouching = joints_of(body, "crouching")
    assert usually(crouching["pelvis"][:, 1] - crouching["left_ankle"][:, 1] < 0.5)
    bending = joints_of(body, "bending")
    assert usually(bending["head"][:, 2] - bending["pelvis"][:, 2] > 0.25)
    crossed = joints_of(body, "arms_crossed")
    assert usually(crossed["left_hand"][:, 0] < 0.15) and usually(crossed["right_hand"][:, 0] > -0.15)


def test_sides_are_swapped_as_often_as_not():
    rng = np.random.default_rng(0)
    left_leads = [sample_pose(rng, "walking")[SMPL_JOINTS.index("left_hip"), 0] < -0.1 for _ in range(200)]
    assert 0.3 < np.mean(left_leads) < 0.7
    assert set(HARD) < set(POSES)


def test_orientations():
    rng = np.random.default_rng(0)
    upright = Rotation.from_rotvec([sample_orientation(rng, upright=1.0) for _ in range(200)])
    assert (upright.apply([0, 1, 0])[:, 1] > 0.9).all()
    assert (upright.apply([0, 0, 1])[:, 2] < 0).mean() > 0.3  # about the vertical anything
    free = Rotation.from_rotvec([sample_orientation(rng, upright=0.0) for _ in range(500)])
    assert np.abs(free.as_matrix().mean(0)).max() < 0.1


def test_a_clean_scan_lies_on_the_surface(surface):
    vertices, faces, labels = surface
    points, parts = sample_scan(vertices, faces, labels, 3000, np.random.default_rng(0))
    assert points.shape == (3000, 3) and points.dtype == np.float32 and parts.dtype == np.int64
    assert np.abs(distance_inside(vertices, faces, points)).max() < 1e-5
    nearest = KDTree(vertices).query(points)[1]
    assert (labels[nearest] == parts).mean() > 0.97


def test_noise(surface):
    clean, noisy = (
        sample_scan(*surface, 4000, np.random.default_rng(0), ScanSettings(noise=noise))[0] for noise in (0.0, 0.004)
    )
    np.testing.assert_allclose((noisy - clean).std(0), 0.004, rtol=0.1)


def test_clothes_and_hair_are_outside(surface):
    vertices, faces, labels = surface
    points, parts = sample_scan(vertices, faces, labels, 600, np.random.default_rng(0), ScanSettings(clothes=0.03, hair=0.05))
    inwards = distance_inside(vertices, faces, points)
    assert inwards.max() < 5e-3 and -0.08 < inwards.min() < -0.01
    hands = np.isin(parts, [SMPL_JOINTS.index("left_wrist"), SMPL_JOINTS.index("right_wrist")])
    assert np.abs(inwards[hands]).max() < 0.02  # where the sleeve begins


def test_one_side_of_a_ball():
    ball = trimesh.creation.icosphere(4, radius=0.3)
    labels = np.zeros(len(ball.vertices), dtype=np.int64)
    points, _ = sample_scan(
        np.asarray(ball.vertices), np.asarray(ball.faces), labels, 2000, np.random.default_rng(0), ScanSettings(one_sided=True)
    )
    towards = points.mean(0) / np.linalg.norm(points.mean(0))
    assert (points @ towards).min() > -0.05  # but for the rim


def test_holes_density_and_floor(surface):
    vertices = surface[0]
    rng = np.random.default_rng(0)
    points, parts = sample_scan(*surface, 2000, rng, ScanSettings(floor=0.25))
    assert (parts == NO_PART).sum() == 500
    np.testing.assert_allclose(points[parts == NO_PART, 1], vertices[:, 1].min(), atol=1e-6)
    dense, _ = sample_scan(*surface, 3000, np.random.default_rng(1))
    holed, _ = sample_scan(*surface, 3000, np.random.default_rng(1), ScanSettings(holes=3))
    assert (KDTree(holed).query(dense)[0] > 0.03).mean() > 0.01
    uneven, _ = sample_scan(*surface, 3000, np.random.default_rng(1), ScanSettings(unevenness=1.0))
    crowd = [np.array([len(x) for x in KDTree(cloud).query_ball_point(cloud, 0.08)]) for cloud in (dense, uneven)]
    assert crowd[1].std() / crowd[1].mean() > 1.3 * crowd[0].std() / crowd[0].mean()


def test_settings_vary():
    rng = np.random.default_rng(0)
    drawn = [sample_settings(rng) for _ in range(200)]
    assert 0.1 < np.mean([settings.one_sided for settings in drawn]) < 0.4
    assert len({settings.noise for settings in drawn}) == 4


def test_files(tmp_path, body):
    write_bodies(tmp_path / "one", 15, seed=3, frames=2, workers=1)
    write_bodies(tmp_path / "two", 15, seed=3, frames=2, workers=1)
    names = sorted(path.relative_to(tmp_path / "one").as_posix() for path in (tmp_path / "one").rglob("*.*"))
    assert [name for name in names if "scans" in name] == [
        "scans/test/body_00004_00.ply",
        "scans/test/body_00009_00.ply",
        "scans/test/body_00014_00.ply",
        "scans/val/body_00003_00.ply",
        "scans/val/body_00013_00.ply",
    ]
    assert sum(name.startswith("GeneratedBodies/train/") for name in names) == 10
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() or name.endswith(".npz")
    for hard in ("val/body_00013", "test/body_00014"):
        with np.load(tmp_path / f"one/GeneratedBodies/{hard}_poses.npz") as file:
            fields = dict(file)
        assert set(fields["names"]) <= set(HARD)
    assert fields["poses"].shape == (2, 156) and fields["trans"].shape == (2, 3) and fields["betas"].shape == (16,)
    pose = torch.from_numpy(fields["poses"][0]).float()
    vertices = body(
        betas=torch.from_numpy(fields["betas"][:10]).float()[None],
        global_orient=pose[None, :3],
        body_pose=torch.cat([pose[3:66], torch.zeros(6)])[None],
        transl=torch.from_numpy(fields["trans"][0]).float()[None],
    ).vertices[0]
    scan = read_geometry(tmp_path / "one/scans/test/body_00014_00.ply").points
    near = KDTree(vertices.detach().numpy()).query(scan)[0]
    assert np.quantile(near, 0.7) < 0.06  # clothes, hair and a floor may lie around it
    assert [split_of(number) for number in range(10)].count("train") == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_pose(np.random.default_rng(0), "flying"), "name must be one of standing, .* got 'flying'"),
        (
            lambda: sample_scan(np.zeros((3, 3)), np.zeros((1, 3), int), np.zeros(2, int), 5, np.random.default_rng(0)),
            r"got \[3, 3\], \[2\] and 5",
        ),
        (lambda: write_bodies("x", 0, 0), "size, frames and workers must be at least 1, got 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
