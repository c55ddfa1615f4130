"""Scenes: what may be added, and what the pictures show."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from small_scenes import RED, SIZE, ball, cube, drawn, draws, extent

from geo3d import viz
from geo3d.viz import Scene, View


def test_import_does_not_load_open3d():
    code = "import sys, geo3d.viz; assert not {'open3d', 'trimesh', 'matplotlib.pyplot'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_handles_name_and_remove():
    scene = Scene()
    first, second = scene.add_points(ball()), scene.add_points(torch.from_numpy(ball()), name="mine")
    third = scene.add_mesh(*cube())
    assert [first.name, second.name, third.name] == ["points_1", "mine", "mesh_1"] == list(scene.layers)
    first.remove()
    first.remove()
    assert list(scene.layers) == ["mine", "mesh_1"]
    with pytest.raises(ValueError, match="got 'mine' again"):
        scene.add_points(ball(), name="mine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": np.zeros((4, 2))}, r"points must be \[N, 3\] numbers with N > 0, got \[4, 2\]"),
        ({"points": np.zeros((0, 3))}, r"got \[0, 3\]"),
        ({"points": np.full((4, 3), np.nan)}, "points must be finite, got 4 of 4 rows"),
        ({"normals": np.zeros((3, 3))}, "normals must have 4 rows as the points have, got 3"),
        ({"labels": np.zeros(3, int)}, "labels must have 4 rows"),
        ({"labels": np.zeros(4)}, r"labels must be \[N\] integers"),
        ({"values": np.zeros(5)}, "values must have 4 rows"),
        ({"colors": np.zeros((5, 3))}, r"colors must be one colour or \[4, 3\]"),
        ({"colors": "red", "labels": np.zeros(4, int)}, "at most one of colors, labels and values"),
        ({"size": 0}, "size must be in 0..64 pixels, got 0"),
    ],
)
def test_add_points_refuses(options, message):
    scene = Scene()
    with pytest.raises(ValueError, match=message):
        scene.add_points(**{"points": ball(4), **options})
    assert not scene.layers


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (np.zeros((0, 3), int), r"faces must be \[F, 3\] integers with F > 0"),
        (np.zeros((2, 3)), "integers"),
        (np.array([[0, 1, 8]]), "faces must be rows of 8 vertices, got 0 to 8"),
        (np.array([[0, 1, -1]]), "got -1 to 1"),
    ],
)
def test_add_mesh_refuses(faces, message):
    with pytest.raises(ValueError, match=message):
        Scene().add_mesh(cube()[0], faces)


def test_scene_refuses(tmp_path):
    with pytest.raises(ValueError, match="up must be one of x, y, z"):
        Scene(up="w")
    scene = Scene()
    with pytest.raises(ValueError, match="the scene is empty"):
        scene.save(tmp_path / "a.png")
    scene.add_points(ball())
    for options, message in (
        ({"view": "behind"}, "view must be a View or one of corner"),
        ({"size": (10, 10)}, "size must be"),
        ({"views": []}, "views must not be empty"),
    ):
        with pytest.raises(ValueError, match=message):
            scene.save(tmp_path / "a.png", **options)
    with pytest.raises(ValueError, match="ends in .png"):
        scene.save(tmp_path / "a.obj")
    with pytest.raises(FileNotFoundError, match="no folder"):
        scene.save(tmp_path / "none" / "a.png")
    for options in ({"elevation_deg": 91}, {"fov_deg": 0}, {"coverage": 0}, {"frame": ((0, 0, 0), (1, 1, 0))}):
        with pytest.raises(ValueError, match=next(iter(options))):
            View(**options)


@draws
@pytest.mark.parametrize("normals", [False, True], ids=["plain", "normals"])
@pytest.mark.parametrize("size", [(320, 240), (200, 300)])
def test_content_fills_the_picture_and_stays_inside(normals, size):
    points = ball() * (1, 1, 0.8) + (100, 5, -3)
    scene = Scene()
    scene.add_points(points, normals=ball() if normals else None)
    picture = scene.render(size=size)
    assert picture.shape == (size[1], size[0], 3) and picture.dtype == np.uint8
    top, bottom, left, right = extent(drawn(picture, scene))
    assert max((bottom - top + 1) / size[1], (right - left + 1) / size[0]) >= 0.8
    assert min(bottom - top + 1, right - left + 1) >= 0.6 * min(size)
    assert top > 0 and left > 0 and bottom < size[1] - 1 and right < size[0] - 1


@draws
def test_mesh_is_closed_lit_and_the_same_from_either_winding():
    vertices, faces = cube()
    pictures = []
    for order in ([0, 1, 2], [0, 2, 1]):
        scene = Scene()
        scene.add_mesh(vertices, faces[:, order], colors=(200, 200, 200))
        pictures.append(scene.render(size=SIZE))
    np.testing.assert_array_equal(*pictures)
    mask = drawn(pictures[0], scene)
    rows = np.flatnonzero(mask.any(axis=1))
    for row in rows[5:-5:10]:  # a cube's outline is convex: no holes
        inside = np.flatnonzero(mask[row])
        assert len(inside) == inside[-1] - inside[0] + 1
    shades = np.unique(pictures[0][mask][:, 0] // 8, return_counts=True)[1]
    assert (shades > 0.1 * mask.sum()).sum() >= 3  # three faces of three brightnesses


@draws
def test_nearer_points_hide_farther_ones():
    scene = Scene()
    square = np.stack(np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60)), axis=-1).reshape(-1, 2)
    scene.add_points(np.c_[np.full(len(square), 1.0), square], colors="red")
    scene.add_points(np.c_[np.full(len(square), -1.0), square], colors="blue")
    front, back = (scene.render(size=SIZE, view=view)[120, 160].astype(int) for view in ("front", "back"))
    assert front[0] > front[2] + 100 and back[2] > back[0] + 100


@draws
def test_labels_have_their_colors_and_the_legend_names_them():
    points = ball()
    labels = (points[:, 2] > 0).astype(int)
    scene = Scene()
    scene.add_points(points, labels=labels)
    plain = scene.render(size=SIZE)
    scene.add_legend(["below", "above"])
    picture = scene.render(size=SIZE)
    assert picture.shape == plain.shape
    for color in viz.PALETTE[:2]:
        swatch = (picture[:, 220:] == color).all(axis=-1)
        assert swatch.sum() >= 100  # a square of ten pixels or more
    ink = (picture[:, 220:] < 100).all(axis=-1) & (np.ptp(picture[:, 220:].astype(int), axis=-1) < 30)
    top, bottom, left, right = extent(ink)
    assert right - left >= 30 and bottom - top >= 16 and right < 99  # two lines of text, not cut off


@draws
def test_title_is_above_the_content():
    scene = Scene(title="a title that is much too long for a small picture, so it is cut at the border")
    scene.add_points(ball())
    picture = scene.render(size=SIZE)
    mask = drawn(picture, scene)
    assert picture.shape == (240, 320, 3)
    _, _, left, right = extent(mask[:24])
    assert left > 0 and right < 319 and right - left > 200
    assert not mask[24:28].any()


@draws
def test_views_make_a_sheet_of_the_size_asked_for(tmp_path):
    scene = Scene(up="y")
    scene.add_mesh(*cube())
    path = scene.save(tmp_path / "a.png", size=(400, 300), views=["front", "left", "top", "corner"])
    picture = np.asarray(Image.open(path))
    assert picture.shape == (300, 400, 3)
    mask = drawn(picture, scene)
    assert all(mask[rows, columns].any() for rows in (np.s_[:150], np.s_[150:]) for columns in (np.s_[:200], np.s_[200:]))
    assert not mask[150].any() and not mask[:, 200].any()


@draws
def test_frame_and_coverage_leave_far_points_out():
    points = np.r_[ball(), np.tile([300.0, 0, 0], (len(ball()) // 40, 1))]  # too many to be left out by themselves
    scene = Scene()
    scene.add_points(points, colors=RED)
    share = {name: drawn(scene.render(size=SIZE, view=view), scene).mean() for name, view in {
        "all": "corner",
        "coverage": View(coverage=0.97),
        "frame": View(frame=((-1, -1, -1), (1, 1, 1))),
    }.items()}  # fmt: skip
    assert share["all"] < 0.02 and share["coverage"] > 0.25
    assert share["frame"] > 0.15  # the corners of the frame need room beside the ball


@draws
def test_map_coordinates_and_tiny_shapes_draw_the_same():
    pictures = []
    for scale, offset in ((1.0, 0.0), (1e-4, 0.0), (1.0, 4_000_000.0)):
        scene = Scene()
        scene.add_points(ball() * scale + offset, colors=RED)
        pictures.append(scene.render(size=SIZE).astype(int))
    for other in pictures[1:]:
        assert (np.abs(other - pictures[0]).max(axis=-1) > 40).mean() < 0.01


@draws
def test_one_point():
    scene = Scene()
    scene.add_points([[1.0, 2.0, 3.0]], colors=RED, size=20)
    top, bottom, left, right = extent(drawn(scene.render(size=SIZE), scene))
    assert 16 <= bottom - top + 1 <= 22 and 16 <= right - left + 1 <= 22


@draws
def test_saving_works_in_a_thread_and_ends_with_code_zero(tmp_path):
    scene = Scene()
    scene.add_points(ball())
    thread = threading.Thread(target=scene.save, args=(tmp_path / "thread.png",), kwargs={"size": SIZE})
    thread.start()
    thread.join()
    code = (
        "import numpy as np; from geo3d.viz import Scene; scene = Scene(); scene.add_points(np.eye(3)); "
        f"scene.save({str(tmp_path / 'process.png')!r}, size=(64, 64)); scene.save({str(tmp_path / 'again.jpg')!r}, size=(90, 64))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.jpg", "process.png", "thread.png"]
