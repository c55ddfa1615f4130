"""Pictures of lines, texts, translucent surfaces, images and colour scales."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.viz import Scene, View

pytest.importorskip("open3d", reason="open3d draws the pictures", exc_type=ImportError)

SIZE = (240, 180)
FRONT = View(0, 0)  # from +x: y to the right, z up
WALL = np.array([[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1.0]]), np.array([[0, 1, 2], [0, 2, 3]])
RED, BLUE = np.array([220, 30, 30]), np.array([30, 30, 220])


def near(picture: np.ndarray, color: np.ndarray, tolerance: float = 40) -> np.ndarray:
    """[H, W] True where the picture has about this colour."""
    return np.abs(picture.astype(int) - color).max(axis=-1) <= tolerance


def line_over_wall(x: float, **looks) -> np.ndarray:
    """A horizontal red line at a distance before (x > 0) or behind a grey wall."""
    scene = Scene()
    scene.add_mesh(*WALL, colors=(150, 150, 150))
    scene.add_lines(np.array([[[x, -0.9, 0], [x, 0.9, 0.0]]]), colors=RED, **looks)
    return scene.render(size=SIZE, view=FRONT)


def test_lines_have_the_width_asked_for_and_are_hidden_by_what_is_in_front():
    for width in (2, 6):
        column = near(line_over_wall(0.5, width=width), RED)[:, 120]
        assert width - 1 <= column.sum() <= width + 1
    assert not near(line_over_wall(-0.5, width=6, hidden=0), RED, 90).any()
    faint = line_over_wall(-0.5, width=6, hidden=0.5)[90, 120].astype(int)
    assert faint[0] - faint[1] in range(30, 100)  # half red, half grey
    assert near(line_over_wall(0.0, width=4, hidden=0), RED)[:, 120].sum() >= 3  # in the surface: seen


def test_lines_are_equally_wide_near_and_far_and_are_cut_before_the_eye():
    scene = Scene()
    scene.add_points([[0.0, 0, 0], [0, 1, 1]], colors="green", size=2)
    scene.add_lines(np.array([[[-3.0, 0.5, 0.5], [60.0, 0.5, 0.4]]]), colors=RED, width=4)
    picture = scene.render(size=SIZE, view=View(0, 12, frame=((-1, -1, -1), (1, 1, 1))))
    rows = near(picture, RED).sum(axis=1)
    widths = rows[rows > 0]
    assert len(widths) > 60 and np.median(widths) in (3, 4, 5)


def test_translucent_meshes_show_what_is_behind():
    scene = Scene()
    scene.add_points([[-0.5, 0, 0]], colors=RED, size=20)
    handle = scene.add_mesh(*WALL, colors=BLUE, opacity=0.5)
    mixed = scene.render(size=SIZE, view=FRONT)[90, 120].astype(int)
    assert mixed[0] > 90 and mixed[2] > 90
    handle.change(opacity=1.0)
    assert scene.render(size=SIZE, view=FRONT)[90, 120, 0] < 80


def test_texts_stand_above_what_they_name_and_do_not_cover_each_other():
    scene = Scene()
    box = [0, 0, 0, 1, 1, 1, 0]
    scene.add_boxes([box], colors=RED, texts=["mmmm"], width=1)
    picture = scene.render(size=SIZE, view=FRONT)
    red = near(picture, RED, 90).sum(axis=1)
    edge = int(np.flatnonzero(red > 100)[0])  # the upper edge of the nearer face
    plate = picture[:edge, 80:160]
    rows, columns = (np.flatnonzero(near(plate, RED, 90).any(axis=axis)) for axis in (1, 0))
    assert 10 <= len(rows) <= 18 and rows[0] > 0 and rows[-1] < edge
    assert abs((columns[0] + columns[-1]) / 2 - 39.5) <= 1
    assert (plate[rows[0] : rows[-1], columns[0] + 2 : columns[-1] - 2] > 200).all(axis=-1).sum() > 20  # readable ink
    second = scene.add_boxes([[-0.1, 0, 0, 1, 1, 1, 0]], colors=BLUE, texts=["far"], width=1)
    picture = scene.render(size=SIZE, view=FRONT)
    second.change(texts=[""])
    np.testing.assert_array_equal(picture, scene.render(size=SIZE, view=FRONT))  # "far" would cover "mmmm"


def test_texts_at_the_border_are_not_cut_off():
    scene = Scene()
    scene.add_skeleton(
        [[0, -1, -1], [0, 1, 1.0]], [(0, 1)], texts=["a long name at the left", "a long name at the right"], colors=RED
    )
    picture = scene.render(size=SIZE, view=FRONT)
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (border == scene.background).all()
    assert near(picture, RED).sum() > 2000


def test_a_hidden_layer_is_not_drawn_nor_framed():
    scene = Scene()
    scene.add_points([[0.0, 0, 0], [0, 1, 1]], colors=RED)
    alone = scene.render(size=SIZE)
    other = scene.add_points([[0.0, 0, 50]], colors=BLUE)
    assert (scene.render(size=SIZE) != alone).any()
    other.visible = False
    np.testing.assert_array_equal(scene.render(size=SIZE), alone)


def test_overlay_is_where_the_camera_projects_it():
    scene = Scene()
    intrinsics = np.array([[200.0, 0, 60], [0, 100, 30], [0, 0, 1]])  # not square, not centred
    handle = scene.add_points([[0.2, 0.1, 2.0]], colors=RED, size=8)
    scene.add_image(np.full((100, 200, 3), 255, np.uint8), intrinsics=intrinsics, overlay=[handle])
    handle.visible = True
    from geo3d.viz.compose import image_with_overlay
    from geo3d.viz.layers import Picture, parts_of

    (image,) = parts_of(list(scene.layers.values()), Picture)
    picture = image_with_overlay(scene, image, (400, 200))
    rows, columns = np.nonzero(near(picture, RED))
    assert abs(columns.mean() + 0.5 - 2 * 80) < 1 and abs(rows.mean() + 0.5 - 2 * 35) < 1  # 200 * 0.1 + 60, 100 * 0.05 + 30
    scene.layers.pop("points_1")
    with pytest.raises(ValueError, match="overlay names 'points_1', which is not in the scene"):
        scene.render(size=SIZE)


def test_images_stand_beside_the_view_wide_ones_above():
    for shape, where in (((40, 160), np.s_[:75, :]), ((80, 60), np.s_[:, :110])):
        scene = Scene()
        scene.add_points([[0.0, 0, 0], [0, 1, 1]], colors=RED)
        scene.add_image(np.full((*shape, 3), BLUE, np.uint8))
        blue = near(scene.render(size=SIZE), BLUE, 5)
        assert blue[where].sum() == blue.sum() > 3000
        rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
        assert abs(len(columns) / len(rows) - shape[1] / shape[0]) < 0.1


def test_a_scene_of_images_alone_fills_the_picture():
    scene = Scene(title="views")
    for shade in (40, 120, 200):
        scene.add_image(np.full((50, 50, 3), shade, np.uint8), caption=f"grey {shade}")
    picture = scene.render(size=(300, 200))
    assert [(picture == shade).all(axis=-1).sum() > 3000 for shade in (40, 120, 200)] == [True] * 3


def test_color_scale_stands_at_the_right_with_its_ends():
    scene = Scene()
    scene.add_points([[0.0, 0, 0], [0, 1, 1]], values=[0, 1])
    scene.add_scale(0, 0.05, text="error (m)")
    scene.add_legend(["hand"])
    picture = scene.render(size=(400, 300))
    assert picture.shape == (300, 400, 3)
    low, high = (near(picture[:, 250:], np.array(color), 12) for color in ((68, 1, 84), (253, 231, 37)))  # viridis
    assert low.any() and high.any() and np.nonzero(high)[0].mean() < np.nonzero(low)[0].mean()
    border = np.concatenate([picture[0], picture[-1], picture[:, -1]])
    assert (border == scene.background).all()
