"""What each task shows: layers, colours and pictures of the builders, and their errors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geo3d.data.files.binvox import read_binvox
from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.geometry.cameras import pinhole
from geo3d.viz import builders
from geo3d.viz.builders.detection import PREDICTED, TRUE, pinhole_of
from geo3d.viz.builders.hand import with_keypoints
from geo3d.viz.builders.reconstruction import EXTRA, RIGHT
from geo3d.viz.colors import KNOWN_CLASSES, class_color
from geo3d.viz.layers import Labels, Lines, Picture, Points, parts_of

BOX = np.array([[10.0, 0, 0, 4, 2, 1.5, 0.3]])


def ground(count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).uniform((-20, -20, -2), (20, 20, 1), (count, 3))


def texts(scene) -> list[str]:
    return [text for labels in parts_of(list(scene.layers.values()), Labels) for text in labels.texts]


def test_predicted_and_true_boxes_differ_in_color():
    scene = builders.detection_scene(
        ground(), boxes=torch.from_numpy(BOX), scores=[0.5], names=["Car"], gt_boxes=BOX, gt_names=["Car"]
    )
    assert scene.legend == {"predicted": PREDICTED, "true": TRUE} and texts(scene) == ["Car 0.50"]
    for name, color in (("predicted boxes", PREDICTED), ("true boxes", TRUE)):
        [lines] = parts_of([scene.layers[name]], Lines)
        assert (lines.colors == color).all()


def test_boxes_of_one_kind_are_colored_by_class():
    boxes = np.concatenate([BOX, BOX + [5, 0, 0, 0, 0, 0, 0], BOX - [5, 0, 0, 0, 0, 0, 0]])
    scene = builders.detection_scene(ground(), gt_boxes=boxes, gt_names=["b", "a", "b"])
    [lines] = parts_of([scene.layers["true boxes"]], Lines)
    assert list(scene.legend) == ["a", "b"] and tuple(lines.colors[0]) == scene.legend["b"] != scene.legend["a"]


def test_a_class_keeps_its_color_whichever_others_are_there():
    boxes = np.concatenate([BOX, BOX + [5, 0, 0, 0, 0, 0, 0]])
    alone = builders.detection_scene(ground(), boxes=BOX, names=["Pedestrian"]).legend
    for other in ("Car", "Cyclist", "zebra", "aardvark"):
        both = builders.detection_scene(ground(), boxes=boxes, names=["Pedestrian", other]).legend
        assert both["Pedestrian"] == alone["Pedestrian"] != both[other]
    driving = [names[0] for names in KNOWN_CLASSES]
    assert len({class_color(name) for name in driving}) == len(driving)
    assert class_color("REGULAR_VEHICLE") == class_color("car") == class_color("Car")


def test_scenes_in_which_nothing_was_found():
    scene = builders.detection_scene(ground(), boxes=np.zeros((0, 7)), names=[], scores=[], gt_boxes=BOX)
    assert texts(scene) == [] and "predicted boxes" in scene.layers
    assert builders.detection_scene(np.zeros((0, 4)), boxes=BOX).layers.keys() == {"predicted boxes"}


def test_views_hold_near_boxes_and_leave_far_ones():
    near, far = BOX + [30, 0, 0, 0, 0, 0, 0], BOX + [500, 0, 0, 0, 0, 0, 0]
    views = builders.detection_views(ground(), near, None, far)
    low, high = np.array(views["bird"].frame)
    assert high[0] > 42 and high[0] < 60 and low[0] > -25


def test_kitti_boxes_lie_on_the_cars(samples):
    """The projection of the scene's camera is KITTI's own, with its shift."""
    sample = read_kitti_frame(samples / "kitti" / "training", "000008")
    camera = sample.cameras[0].camera
    intrinsics, pose = pinhole_of(camera)
    points = sample.points[::50, :3].double().numpy()
    pixels, depth = camera.project(points)
    local = points @ pose[:3, :3].T + pose[:3, 3]
    ours = local @ intrinsics.T
    np.testing.assert_allclose(ours[:, :2] / ours[:, 2:], pixels, atol=1e-6)
    np.testing.assert_allclose(ours[:, 2], depth, atol=1e-9)


def test_images_need_as_many_cameras():
    image, camera = np.zeros((40, 60, 3), np.uint8), pinhole([[50, 0, 30], [0, 50, 20], [0, 0, 1]], np.eye(4))
    scene = builders.detection_scene(ground(), boxes=BOX, images=[image], cameras=[camera], captions=["front"])
    [picture] = parts_of(list(scene.layers.values()), Picture)
    assert picture.overlay == ("predicted boxes",) and picture.caption == "front"
    with pytest.raises(ValueError, match="cameras and captions must be as many as the 1 images"):
        builders.detection_scene(ground(), images=[image], cameras=[camera, camera])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": np.zeros((4, 2))}, r"points must be \[N, 3 or more\], got \[4, 2\]"),
        ({"boxes": BOX, "names": ["a", "b"]}, "names must be as many as the 1 boxes, got 2"),
        ({"boxes": BOX, "scores": [1, 2]}, "names and scores must be as many as the 1 boxes, got 1 and 2"),
        ({"boxes": BOX[:, :5]}, "boxes must be"),
    ],
)
def test_detection_errors(options, message):
    with pytest.raises(ValueError, match=message):
        builders.detection_scene(**{"points": ground(), **options})


def test_detection_sheet_shows_both_views(tmp_path):
    pytest.importorskip("open3d", reason="open3d draws")
    path = builders.detection_sheet(ground(), tmp_path / "a.png", size=(640, 360), boxes=BOX)
    picture = np.asarray(Image.open(path)).astype(int)
    orange = (np.abs(picture - PREDICTED) < 40).all(axis=2)
    assert orange[:, :320].sum() > 30 and orange[:, 320:].sum() > 30


TETRAHEDRON = (np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))


def test_body_errors_have_a_scale_in_millimeters():
    joints, bones = np.array([[0, 0, 0], [0, 1.0, 0]]), [[0, 1]]
    scene = builders.body_scene(ground(), *TETRAHEDRON, joints, bones, errors=np.array([0, 0.01, 0.02, 0.05]))
    assert list(scene.layers) == ["scan", "mesh", "skeleton"] and list(scene.legend) == ["scan", "skeleton"]
    assert scene.scale.low == 0 and 48 < scene.scale.high <= 50 and scene.scale.text == "error, mm"
    colors = scene.layers["mesh"].parts[0].colors
    assert len(np.unique(colors, axis=0)) == 4
    same = builders.body_scene(None, *TETRAHEDRON, errors=np.zeros(4))
    assert same.scale.high > same.scale.low


def test_a_scan_beside_the_body_does_not_touch_it():
    scan = ground()
    scene = builders.body_scene(scan, *TETRAHEDRON, beside=True)
    [points] = parts_of([scene.layers["scan"]], Points)
    assert points.positions[:, 0].max() < 0
    np.testing.assert_allclose(np.ptp(points.positions, axis=0), np.ptp(scan, axis=0))


def test_body_input_that_does_not_fit():
    with pytest.raises(ValueError, match="vertices and faces go together"):
        builders.body_scene(ground(), TETRAHEDRON[0])
    with pytest.raises(ValueError, match="expected a scan, a mesh or joints, got none"):
        builders.body_scene()
    with pytest.raises(ValueError, match="errors need vertices"):
        builders.body_scene(ground(), errors=np.zeros(3))
    with pytest.raises(ValueError, match=r"errors must be \[V\] distances"):
        builders.body_scene(None, *TETRAHEDRON, errors=-np.ones(4))


@pytest.mark.parametrize("kind", [bool, np.float32])
def test_surface_of_voxels_is_closed_and_as_large(kind):
    """A block of 2 x 4 x 6 voxels at the border of its grid: halfway surfaces enclose its volume but for cut edges."""
    pytest.importorskip("open3d", reason="open3d has the marching cubes")
    import trimesh

    grid = np.zeros((8, 9, 10), kind)
    grid[0:2, 3:7, 4:10] = 1  # z, y, x
    vertices, faces = builders.voxel_surface(grid)
    np.testing.assert_allclose(vertices.min(axis=0), [4, 3, 0])
    np.testing.assert_allclose(vertices.max(axis=0), [10, 7, 2])
    mesh = trimesh.Trimesh(vertices, faces)
    assert mesh.is_watertight and 0.85 * 48 < mesh.volume < 48  # positive: faces look outwards
    assert len(builders.voxel_surface(np.zeros((3, 3, 3)))[1]) == 0
    assert trimesh.Trimesh(*builders.voxel_surface(np.ones((3, 3, 3)))).is_watertight


def test_wrong_voxels_have_another_color():
    true = np.zeros((4, 4, 4), bool)
    true[1, 1, 1:3] = True
    predicted = np.where(true, 0.9, 0.1)
    predicted[1, 1, 2], predicted[2, 2, 2] = 0.2, 0.8
    scene = builders.reconstruction_scene([], predicted, true, surface=False)
    colors = scene.layers["predicted"].parts[0].colors
    assert {tuple(color) for color in colors.tolist()} == {RIGHT, EXTRA} and scene.title == "IoU 0.333"


def test_an_object_on_a_sheet(tmp_path):
    pytest.importorskip("open3d", reason="open3d draws")
    from PIL import Image

    grid = np.zeros((4, 4, 4), bool)
    grid[1:3, 1:3, 1:3] = True
    images = [np.full((10, 20, 3), (250, 0, 0), np.uint8), np.zeros((30, 20, 4), np.uint8)]
    path = builders.object_sheet(images, grid, *TETRAHEDRON, tmp_path / "object.png", tile=100, title="a cube")
    sheet = np.asarray(Image.open(path))
    assert sheet.shape[1] == 200 + 4 * 100 and sheet.shape[0] > 200  # pictures beside four sides, below the title
    assert (sheet[:, :100] == (250, 0, 0)).all(2).sum() > 1000  # 20 wide, 10 high
    with pytest.raises(ValueError, match="voxels must be a grid"):
        builders.object_sheet(images, grid * 1.0, *TETRAHEDRON, tmp_path / "object.png")
    with pytest.raises(ValueError, match="pictures or full voxels"):
        builders.object_sheet([], ~(grid | True), np.zeros((0, 3)), np.zeros((0, 3), int), tmp_path / "object.png")


def test_reconstruction_of_a_real_chair(samples, tmp_path):
    pytest.importorskip("open3d", reason="open3d draws")
    root = samples / "shapenet_r2n2"
    grid = read_binvox(root / "ShapeNetVox32/03001627/chair_a/model.binvox").voxels
    views = [np.asarray(Image.open(root / f"ShapeNetRendering/03001627/chair_a/rendering/{k:02d}.png")) for k in range(2)]
    path = builders.reconstruction_sheet(views, grid, grid, tmp_path / "chair.png", size=(640, 320))
    assert Image.open(path).size == (640, 320)
    xyz = builders.reconstruction_scene([], grid.transpose(2, 1, 0), order="xyz", surface=False)
    zyx = builders.reconstruction_scene([], grid, surface=False)
    np.testing.assert_array_equal(
        np.sort(xyz.layers["predicted"].parts[0].vertices, axis=0), np.sort(zyx.layers["predicted"].parts[0].vertices, axis=0)
    )


def test_reconstruction_input_that_does_not_fit():
    grid = np.zeros((2, 2, 2))
    with pytest.raises(ValueError, match="expected predicted or true voxels, got none"):
        builders.reconstruction_scene()
    with pytest.raises(ValueError, match=r"one shape, got \[2, 2, 2\] and \[3, 3, 3\]"):
        builders.reconstruction_scene([], grid, np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="order must be"):
        builders.reconstruction_scene([], grid, order="xzy")
    with pytest.raises(ValueError, match=r"gt must be a grid \[D, H, W\]"):
        builders.reconstruction_scene([], gt=np.zeros(3))


IMAGE = np.full((80, 100, 3), 255, np.uint8)
MATRIX = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])


def hand_joints() -> np.ndarray:
    """21 joints in a plane half a metre before the camera: the fingers side by side, straight up."""
    fingers = [(0.02 * finger - 0.04, 0.02 - 0.02 * step, 0.5) for finger in range(5) for step in range(4)]
    return np.array([(0.0, 0.08, 0.5), *fingers])


def test_hand_bones_run_along_the_fingers():
    assert builders.HAND_BONES.shape == (20, 2)
    assert [tuple(bone) for bone in builders.HAND_BONES[:5]] == [(0, 1), (1, 2), (2, 3), (3, 4), (0, 5)]


def test_hand_is_drawn_where_the_camera_sees_it(tmp_path):
    pytest.importorskip("open3d", reason="open3d draws")
    joints = hand_joints()
    scene = builders.hand_scene(IMAGE, joints=joints, camera_matrix=MATRIX)
    [picture] = parts_of(list(scene.layers.values()), Picture)
    assert picture.overlay == ("skeleton",)
    from geo3d.viz.compose import image_with_overlay

    drawn = (image_with_overlay(scene, picture, (400, 320)).astype(int) < 235).any(axis=2)
    pixels = joints @ MATRIX.T
    pixels = pixels[:, :2] / pixels[:, 2:] * 4
    assert all(drawn[round(y), round(x)] for x, y in pixels)
    assert drawn.mean() < 0.15
    path = builders.hand_sheet(IMAGE, tmp_path / "hand.png", size=(400, 300), joints=joints, camera_matrix=MATRIX)
    assert Image.open(path).size == (400, 300)


def test_keypoints_in_pixels_are_drawn_into_the_image_alone():
    pytest.importorskip("open3d", reason="open3d draws")
    joints = hand_joints()
    pixels = joints @ MATRIX.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    scene = builders.hand_scene(IMAGE, joints=pixels)
    assert [layer.kind for layer in scene.layers.values()] == ["image"]
    large = with_keypoints(IMAGE, pixels, bones=builders.HAND_BONES)
    assert large.shape == (400, 500, 3)
    assert all((large[round(5 * y), round(5 * x)] < 235).any() for x, y in pixels)


def test_two_hands_and_other_skeletons():
    scene = builders.hand_scene(IMAGE, joints=np.concatenate([hand_joints(), hand_joints() + 0.3]))
    assert len(parts_of([scene.layers["skeleton"]], Lines)[0].segments) == 40
    with pytest.raises(ValueError, match="joints must be 21 for each hand, or give bones; got 20 joints"):
        builders.hand_scene(IMAGE, joints=np.zeros((20, 3)))
    builders.hand_scene(IMAGE, joints=np.eye(3), bones=[[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="vertices and faces go together"):
        builders.hand_scene(IMAGE, vertices=np.eye(3))


def test_all_builders_are_in_one_place():
    assert all(callable(getattr(builders, name)) for name in builders.__all__ if name != "HAND_BONES")


def test_the_gallery_lists_its_pictures():
    """Each picture of the page is there, none is left over, and they stay small."""
    folder = Path(__file__).parents[2] / "docs" / "gallery"
    listed = set(re.findall(r"\]\((\w+\.png)\)", (folder / "README.md").read_text(encoding="utf-8")))
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.png")}
    assert listed == set(sizes) and max(sizes.values()) <= 200_000 and sum(sizes.values()) < 3_000_000
