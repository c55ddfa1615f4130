"""Layers: what each `add_...` makes of its arrays, what it refuses, and what its handle can do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo3d.viz import PALETTE, Scene, by_distance
from geo3d.viz.drawing import visible_content
from geo3d.viz.layers import Labels, Lines, Mesh, Picture, Points, parts_of
from geo3d.viz.voxels import surface_squares

POINTS = np.random.default_rng(0).normal(size=(50, 3))
BOX = [1.0, 2.0, 3.0, 4.0, 2.0, 1.0, np.pi / 2]
INTRINSICS = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])


def part(scene: Scene, kind: type):
    """The only part of a kind in a scene."""
    (found,) = [part for layer in scene.layers.values() for part in layer.parts if isinstance(part, kind)]
    return found


def test_boxes_have_twelve_edges_and_an_arrowhead_at_the_front():
    scene = Scene()
    scene.add_boxes([[*BOX, 9.0, 9.0]])
    segments = part(scene, Lines).segments
    assert segments.shape == (14, 2, 3)
    low, high = segments.reshape(-1, 3).min(axis=0), segments.reshape(-1, 3).max(axis=0)
    np.testing.assert_allclose([low, high], [[0, 0, 2.5], [2, 4, 3.5]], atol=1e-12)  # turned by a quarter: 4 along y, 2 along x
    np.testing.assert_allclose(segments[12:, 1], [[1, 4, 3.5]] * 2)  # the tip: the middle of the front edge of the roof
    scene.add_boxes([BOX], heading=False, name="plain")
    assert scene.layers["plain"].parts[0].segments.shape == (12, 2, 3)


def test_boxes_write_names_and_scores_in_the_color_of_their_label():
    scene = Scene()
    scene.add_boxes(torch.tensor([BOX, BOX]), labels=torch.tensor([1, 0]), scores=[0.5, 0.987], names=("car", "bus"), fill=0.3)
    labels, lines, mesh = part(scene, Labels), part(scene, Lines), part(scene, Mesh)
    assert labels.texts == ("bus 0.50", "car 0.99")
    np.testing.assert_array_equal(labels.colors, PALETTE[[1, 0]])
    np.testing.assert_array_equal(lines.colors[[0, 11, 12, 23]], PALETTE[[1, 1, 0, 0]])
    assert len(lines.colors) == len(lines.segments) == 28
    np.testing.assert_array_equal(lines.colors[24:], PALETTE[[1, 1, 0, 0]])
    assert mesh.opacity == 0.3 and len(mesh.faces) == 24
    volume = np.linalg.det(mesh.vertices[mesh.faces[:12]] - mesh.vertices[0]).sum() / 6
    np.testing.assert_allclose(volume, 8)  # closed, and seen from outside counter-clockwise
    scene.add_boxes([BOX, BOX], texts=["", "mine"], name="own")
    assert scene.layers["own"].parts[1].texts == ("mine",)


def test_no_boxes_are_a_layer_without_lines():
    scene = Scene()
    handle = scene.add_boxes(np.zeros((0, 7)), labels=np.zeros(0, int), names=["car"], scores=[])
    assert len(part(scene, Lines).segments) == 0 and handle.visible


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": [[0.0] * 6]}, r"boxes must be \[K, 7 or more\]"),
        ({"boxes": [[np.nan] * 7]}, "boxes must be finite, got 1"),
        ({"boxes": [[0, 0, 0, 1, -1, 1, 0]]}, "dx, dy, dz >= 0, got -1"),
        ({"labels": [0, 1]}, "labels must have 1 rows as the boxes have, got 2"),
        ({"scores": [0.1, 0.2]}, "scores must have 1 rows"),
        ({"texts": []}, "texts must have 1 rows"),
        ({"labels": [3], "names": ["car"]}, r"labels must be in 0..0, rows of names, got 3 to 3"),
        ({"fill": 2}, "fill must be in 0..1, got 2"),
        ({"width": 0}, "width must be in 0..64 pixels, got 0"),
    ],
)
def test_add_boxes_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scene().add_boxes(**{"boxes": [BOX], **arguments})


def test_voxels_draw_only_faces_between_full_and_empty():
    grid = np.zeros((4, 5, 6), bool)
    grid[1, 1, 1] = grid[1, 1, 2] = True  # two neighbours along x
    corners, owners = surface_squares(np.argwhere(grid)[:, ::-1])
    assert len(corners) == 10 and np.bincount(owners).tolist() == [5, 5]
    solid = np.ones((3, 3, 3), bool)
    assert len(surface_squares(np.argwhere(solid))[0]) == 54
    solid[1, 1, 1] = False
    assert len(surface_squares(np.argwhere(solid))[0]) == 60  # and the six sides of the hollow


def test_voxels_lie_where_size_origin_and_order_say():
    grid = np.zeros((4, 5, 6))
    grid[3, 2, 1] = 0.7
    scene = Scene()
    scene.add_voxels(grid, size=(1.0, 2.0, 3.0), origin=(10, 20, 30))
    scene.add_voxels(grid, order="xyz", name="xyz")
    scene.add_voxels([[3, 2, 1]], name="coordinates", edges=False)
    bounds = [
        np.stack([p.vertices.min(axis=0), p.vertices.max(axis=0)]) for p in (layer.parts[0] for layer in scene.layers.values())
    ]
    np.testing.assert_allclose(bounds[0], [[11, 24, 39], [12, 26, 42]])  # x y z of cell z=3 y=2 x=1
    np.testing.assert_allclose(bounds[1], [[3, 2, 1], [4, 3, 2]])
    np.testing.assert_allclose(bounds[2], [[1, 2, 3], [2, 3, 4]])
    mesh, edges = scene.layers["voxels_1"].parts
    assert len(mesh.faces) == 12 and len(edges.segments) == 12 and len(scene.layers["coordinates"].parts) == 1
    volume = np.linalg.det(mesh.vertices[mesh.faces] - (10, 20, 30)).sum() / 6
    np.testing.assert_allclose(volume, 6)  # counter-clockwise from outside


def test_voxels_take_colors_of_the_full_ones():
    grid, labels = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), int)
    grid[0, 0, 1] = grid[1, 1, 0] = True
    labels[0, 0, 1], labels[1, 1, 0] = 4, 7
    scene = Scene()
    scene.add_voxels(grid, labels=labels)
    scene.add_voxels([[0, 0, 1], [1, 1, 0]], labels=[4, 7], name="same")
    for layer in scene.layers.values():
        colors = {tuple(color) for color in layer.parts[0].colors.tolist()}
        assert colors == {tuple(color) for color in PALETTE[[4, 7]].tolist()}


def test_empty_voxels_draw_nothing():
    scene = Scene()
    scene.add_voxels(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="every layer is hidden or empty"):
        scene.render(size=(64, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voxels": np.zeros((3, 3))}, r"voxels must be a grid \[D, H, W\] or integers \[V, 3\]"),
        ({"order": "zxy"}, "order must be 'zyx' or 'xyz'"),
        ({"size": 0}, "size must be positive"),
        ({"origin": (1, 2)}, "origin must be one number or three"),
        ({"labels": np.zeros((2, 2), int)}, r"labels must be \[2, 2, 2\] as the voxels are, got \[2, 2\]"),
    ],
)
def test_add_voxels_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scene().add_voxels(**{"voxels": np.ones((2, 2, 2)), **arguments})


def test_skeletons_and_lines():
    scene = Scene()
    scene.add_skeleton(POINTS[:3], [(0, 1), (1, 2)], colors=PALETTE[:3], texts=["a", "b", "c"])
    lines = part(scene, Lines)
    np.testing.assert_array_equal(lines.segments, POINTS[[[0, 1], [1, 2]]])
    np.testing.assert_array_equal(lines.colors, PALETTE[1:3])  # of the second joint
    assert part(scene, Points).positions.shape == (3, 3) and part(scene, Labels).texts == ("a", "b", "c")
    scene.add_lines(POINTS[:4], closed=True, name="loop")
    scene.add_lines(POINTS[:4].reshape(2, 2, 3), colors=["red", "blue"][0], name="two")
    loop, two = (scene.layers[name].parts[0].segments for name in ("loop", "two"))
    np.testing.assert_array_equal(loop[-1], POINTS[[3, 0]])
    assert loop.shape == (4, 2, 3) and two.shape == (2, 2, 3)
    for arguments, message in (
        ({"bones": [(0, 3)]}, "bones must be rows of 3 joints, got 0 to 3"),
        ({"bones": [(0.5, 1)]}, "integer rows of joints"),
        ({"bones": [(0, 1)], "texts": ["a"]}, "texts must have 3 lines"),
    ):
        with pytest.raises(ValueError, match=message):
            scene.add_skeleton(POINTS[:3], **arguments)
    with pytest.raises(ValueError, match=r"lines must be segments \[L, 2, 3\] or a polyline"):
        scene.add_lines(POINTS[:1])


def test_camera_stands_where_its_pose_says():
    scene = Scene()
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]  # looks along +x of the world, up is +z
    pose[:3, 3] = -pose[:3, :3] @ (5, 6, 7)
    image = np.zeros((80, 100, 3), np.uint8)
    image[:40] = 255  # the upper half is white
    scene.add_camera(INTRINSICS, camera_from_world=pose, image=image, depth=2.0, text="front")
    lines, plane = part(scene, Lines), part(scene, Mesh)
    np.testing.assert_allclose(lines.segments[0, 0], [5, 6, 7], atol=1e-9)
    np.testing.assert_allclose(plane.vertices[:, 0], 7, atol=1e-9)  # 2 m ahead
    np.testing.assert_allclose(plane.vertices[0], [7, 7, 7.8], atol=1e-9)  # upper left: +y is left, 50 and 40 pixels out of 100
    assert plane.colors[plane.vertices[:, 2] > 7.1].min() == 255 and plane.colors[plane.vertices[:, 2] < 6.9].max() == 0
    assert not plane.lit
    for arguments, message in (
        ({}, "image_size must be"),
        ({"image_size": (10, 10), "depth": 0}, "depth must be positive"),
        ({"image_size": (10, 10), "camera_from_world": 2 * np.eye(4)}, "a rotation and a shift"),
    ):
        with pytest.raises(ValueError, match=message):
            scene.add_camera(INTRINSICS, **arguments)


def test_images_are_rgb_and_name_their_overlay():
    scene = Scene()
    handle = scene.add_points(POINTS)
    scene.add_image(np.full((4, 6), 0.5), overlay=[handle], intrinsics=INTRINSICS)
    picture = part(scene, Picture)
    assert picture.pixels.shape == (4, 6, 3) and (picture.pixels == 128).all() and picture.overlay == ("points_1",)
    clear = np.zeros((4, 6, 4), np.uint8)
    scene.add_image(clear, name="clear")
    assert (scene.layers["clear"].parts[0].pixels == 255).all()  # transparent is white
    wrong = {
        "got .4, 6, 2": np.zeros((4, 6, 2), np.uint8),
        "floats in 0..1": np.full((4, 6), 2.0),
        "uint8": np.zeros((4, 6), int),
    }
    for message, image in wrong.items():
        with pytest.raises(ValueError, match=message):
            scene.add_image(image)
    with pytest.raises(ValueError, match="overlay needs intrinsics"):
        scene.add_image(clear, overlay=[handle])


def test_points_by_distance_height_and_limits():
    scene = Scene()
    scene.add_points(POINTS, colors="distance")
    scene.add_points(POINTS, values=np.arange(50), limits=(100, 200), name="low")
    np.testing.assert_array_equal(scene.layers["points_1"].parts[0].colors, by_distance(POINTS))
    assert len(np.unique(scene.layers["low"].parts[0].colors, axis=0)) == 1
    far = by_distance(np.array([[0, 0, 1.0], [0, 0, 2], [3, 0, 0]]), origin=(3, 0, 0)).astype(int)
    assert far[2].sum() < far[0].sum() <= far[1].sum()  # viridis grows brighter
    with pytest.raises(ValueError, match="low must be below high"):
        scene.add_scale(1, 1)


def test_handles_hide_change_and_remove():
    scene = Scene()
    handle = scene.add_points(POINTS, colors="red")
    handle.visible = False
    assert not handle.visible and not scene.layers["points_1"].visible
    handle.change(points=POINTS[:10], colors="blue")
    layer = scene.layers["points_1"]
    assert len(layer.parts[0].positions) == 10 and layer.parts[0].colors[0].tolist() == [0, 0, 255] and not layer.visible
    with pytest.raises(ValueError, match="points_1: cannot change 'faces'; there are points, colors"):
        handle.change(faces=3)
    with pytest.raises(ValueError, match="points must be"):
        handle.change(points=POINTS[:, :2])
    assert len(scene.layers["points_1"].parts[0].positions) == 10
    handle.remove()
    assert not handle.visible
    with pytest.raises(ValueError, match="was removed"):
        handle.visible = True


def test_absent_joints_and_their_bones_are_not_drawn():
    joints = np.array([[0.0, 0, 0], [1, 0, 0], [np.nan, np.nan, np.nan], [3, 0, 0]])
    scene = Scene()
    scene.add_skeleton(joints, [(0, 1), (1, 2), (2, 3)], texts=["a", "b", "c", "d"], name="s")
    [lines], [dots], [labels] = (parts_of([scene.layers["s"]], kind) for kind in (Lines, Points, Labels))
    np.testing.assert_array_equal(lines.segments, [[[0, 0, 0], [1, 0, 0]]])
    assert len(dots.positions) == 3 and labels.texts == ("a", "b", "d")
    scene.add_skeleton(np.full((2, 3), np.nan), [(0, 1)], name="nobody")
    assert scene.layers["nobody"].parts == ()


@pytest.mark.parametrize("count,far", [(11, 1), (5000, 1), (5000, 40)])
def test_far_points_do_not_shrink_the_rest(count, far):
    near = np.random.default_rng(0).uniform(-1, 1, (count, 3))
    cloud = np.concatenate([near, np.full((far, 3), 1e9)])
    scene = Scene()
    scene.add_points(cloud)
    shown = visible_content(list(scene.layers.values()))
    assert len(shown) == count and np.abs(shown).max() <= 1


@pytest.mark.parametrize("name", ["cube", "line", "few", "halves"])
def test_shapes_are_shown_whole(name):
    generator = np.random.default_rng(0)
    cloud = {
        "cube": generator.uniform(-1, 1, (500, 3)),
        "line": np.linspace(0, 1, 50)[:, None] * [1, 0, 0],
        "few": np.eye(3) * 1e6,
        "halves": np.repeat([[0.0, 0, 0], [100, 0, 0]], [900, 100], axis=0),
    }[name]
    scene = Scene()
    scene.add_points(cloud)
    assert len(visible_content(list(scene.layers.values()))) == len(cloud)
