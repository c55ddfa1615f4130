"""Scenes: what may be added, and what the pictures show."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from geo3d import viz
from geo3d.viz import VIEWS, Scene, View
from geo3d.viz.camera import AXES, fit_camera
from geo3d.viz.raycast import Triangles, cast, explain_import_error
from geo3d.viz.window import explain_failure

try:
    import open3d  # noqa: F401

    DRAWS = True
except ImportError:
    DRAWS = False
draws = pytest.mark.skipif(not DRAWS, reason="open3d cannot be imported here")

SIZE = (320, 240)
RED = (220, 20, 20)


def ball(count: int = 3000) -> np.ndarray:
    """Points on the unit sphere."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def cube() -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    box = trimesh.creation.box((1, 1, 1))
    return np.asarray(box.vertices), np.asarray(box.faces)


def drawn(picture: np.ndarray, scene: Scene) -> np.ndarray:
    """[H, W] True where the picture is not background."""
    return (np.abs(picture.astype(int) - scene.background) > 12).any(axis=-1)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column with content."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1], columns[0], columns[-1]


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


@pytest.mark.parametrize("up", AXES)
@pytest.mark.parametrize("view", VIEWS)
def test_camera_sees_everything_and_comes_close(up, view):
    points = ball() * (3, 1, 0.5) + (50, -20, 7)
    camera = fit_camera(points, VIEWS[view], up, (400, 300), margin=20)
    pixels = camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert (low >= 20 - 1e-6).all() and (high <= np.array([380, 280]) + 1e-6).all()
    touches = np.isclose([*low, *high], [20, 20, 380, 280])
    assert touches[[0, 2]].all() or touches[[1, 3]].all()
    assert (camera.to_camera(points)[:, 2] > 0).all()
    np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.axes) > 0.999  # no mirror image


def test_up_axis_points_up_in_the_picture():
    for name, axis in AXES.items():
        camera = fit_camera(ball(), VIEWS["corner"], name, (400, 300), margin=20)
        right, down, _ = camera.axes
        assert abs(right @ axis) < 1e-12 and down @ axis < -0.5
        middle, above = camera.project(np.stack([np.zeros(3), 0.5 * axis]))
        assert above[1] < middle[1] - 10


@draws
def test_cast_hits_the_nearest_triangle_and_mixes_its_corners():
    vertices = np.array([[-1, -1, -2], [1, -1, -2], [0, 1, -2], [-9, -9, -5], [9, -9, -5], [0, 9, -5]], dtype=np.float32)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9], [9, 9, 9], [9, 9, 9]], dtype=np.uint8)
    picture, depth = cast(Triangles(vertices, colors, np.array([[0, 1, 2], [3, 4, 5]])), focal=50.0, width=101, height=101)
    np.testing.assert_allclose(depth[50, 50], 2, rtol=1e-5)  # along the axis, not along the ray
    np.testing.assert_allclose(depth[62, 45], 2, rtol=1e-5)
    np.testing.assert_allclose(depth[10, 50], 5, rtol=1e-5)
    assert np.isinf(depth[0, 0]) and (picture[0, 0] == 0).all()
    np.testing.assert_allclose(picture[50, 50], [63.75, 63.75, 127.5], atol=1)  # the centre: half way up to the blue corner
    np.testing.assert_allclose(picture[10, 50], 9, atol=1e-3)


@draws
@pytest.mark.parametrize("center", [None, (10.0, 70.0)], ids=["middle", "aside"])
def test_cast_is_the_same_where_nothing_lies_behind_the_camera(center):
    generator = np.random.default_rng(0)
    vertices = (generator.uniform(-0.4, 0.4, (12, 3)) + (0.2, -0.3, -2)).astype(np.float32)  # a part of the picture
    colors, faces = generator.integers(0, 256, (15, 3)).astype(np.uint8), np.arange(15).reshape(-1, 3)
    looks = {"focal": 60.0, "width": 90, "height": 80, "center": center}
    picture, depth = cast(Triangles(vertices, colors[:12], faces[:4]), **looks)
    unseen = np.array([[0, 0, 2], [1, 0, 2], [0, 1, 2]], dtype=np.float32)
    expected, expected_depth = cast(Triangles(np.concatenate([vertices, unseen]), colors, faces), **looks)
    assert 100 < np.isfinite(depth).sum() < depth.size / 2
    np.testing.assert_array_equal(depth, expected_depth)
    np.testing.assert_array_equal(picture, expected)
    aside = vertices + np.float32((50, 0, 0))
    assert np.isinf(cast(Triangles(aside, colors[:12], faces[:4]), **looks)[1]).all()


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_show_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    scene = Scene()
    scene.add_points(ball())
    scene.add_mesh(*cube())
    with pytest.raises(RuntimeError, match=r"no display .*scene\.save") as caught:
        scene.show()
    assert "\n" not in str(caught.value)


def test_rendering_without_open3d(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    scene = Scene()
    scene.add_points(ball())
    with pytest.raises(RuntimeError, match="pip install open3d"):
        scene.render(size=SIZE)


@pytest.mark.parametrize(
    ("message", "way_out"),
    [
        ("libGL.so.1: cannot open shared object file: No such file or directory", "apt-get install libgl1"),
        ("libX11.so.6: cannot open shared object file: No such file or directory", "apt-get install libx11-6"),
        ("libusb-1.0.so.0: cannot open shared object file: No such file", "apt-get install libusb-1.0-0"),
        ("libodd.so.3: cannot open shared object file: No such file", "the system package that brings libodd.so"),
    ],
)
def test_missing_system_libraries_are_named(message, way_out):
    assert explain_import_error(ImportError(message)).endswith(way_out)


def test_window_failures_are_one_line():
    log = "[Open3D WARNING] EngineInstance: Vulkan context init failed\nPostcondition\nin createVkInstance:939\n"
    assert explain_failure(-6, log).endswith("apt-get install libvulkan1 mesa-vulkan-drivers")
    assert "save a picture" in explain_failure(1, "[Open3D WARNING] GLFW initialized failed\nerror")
    assert explain_failure(3, "\n") == "Open3D's window ended with code 3: no message"


@draws
def test_classification_sheet(tmp_path):
    clouds = [ball(500), np.hstack([ball(500), ball(500)]), ball(500) * (1, 2, 1)]
    path = viz.classification_sheet(clouds, ["ball 0.98", "ball 0.75", "egg 0.51"], tmp_path / "a.png", tile=120)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (240, 240, 3)
    filled = (picture < 200).any(axis=-1)
    assert all(
        filled[rows, columns].sum() > 500
        for rows, columns in ((np.s_[:120], np.s_[:120]), (np.s_[:120], np.s_[120:]), (np.s_[120:], np.s_[:120]))
    )
    assert not filled[120:, 120:].any()
    with pytest.raises(ValueError, match="got 3 and 1"):
        viz.classification_sheet(clouds, ["ball"], tmp_path / "b.png")


@draws
def test_parts_picture_lists_the_parts_that_occur(tmp_path):
    labels = np.where(ball()[:, 0] > 0, 2, 0)
    path = viz.parts_picture(ball(), labels, ["leg", "seat", "back"], tmp_path / "a.png", size=(400, 300), title="chair")
    picture = np.asarray(Image.open(path))
    assert picture.shape == (300, 400, 3)
    counts = [(picture[:, 250:] == color).all(axis=-1).sum() for color in viz.PALETTE[:3]]
    assert counts[0] >= 100 and counts[1] == 0 and counts[2] >= 100
    with pytest.raises(ValueError, match="labels must be below 2, the number of names, got 2"):
        viz.parts_picture(ball(), labels, ["leg", "seat"], tmp_path / "b.png")


def test_confusion_matrix(tmp_path):
    path = viz.confusion_matrix(np.diag([5, 3, 9]), ["chair", "table", "lamp"], tmp_path / "a.png", title="three")
    assert min(Image.open(path).size) > 300 and np.asarray(Image.open(path)).std() > 20
    viz.confusion_matrix(torch.eye(40, dtype=torch.int64), [f"class {i}" for i in range(40)], tmp_path / "b.pdf")
    for matrix, message in (
        (np.zeros((3, 2)), r"matrix must be \[C, C\] for C = 3 class_names, got \[3, 2\]"),
        (np.full((3, 3), -1), "not negative"),
    ):
        with pytest.raises(ValueError, match=message):
            viz.confusion_matrix(matrix, ["a", "b", "c"], tmp_path / "c.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_confusion_matrix_cuts_nothing_off(tmp_path):
    names = [f"a rather long class name {i}" for i in range(18)]
    path = viz.confusion_matrix(np.eye(18, dtype=np.int64) * 3, names, tmp_path / "matrix.png")
    pixels = np.asarray(Image.open(path).convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 255).all()
