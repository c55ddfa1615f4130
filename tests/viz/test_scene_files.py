"""Files of scenes and sequences: videos, pages, 3D models."""

from __future__ import annotations

import base64
import gc
import json
import re
import weakref

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial import cKDTree
from viewer_scenes import street

from geo3d.viz import Scene, SceneSequence, View
from geo3d.viz.camera import AXES
from geo3d.viz.gltf import to_y_up
from geo3d.viz.packing import Block
from geo3d.viz.video import turned_content

SMALL = (96, 96)


def scenes_of(count: int, alive: weakref.WeakSet):
    """A generator of scenes that are known to `alive` as long as anyone keeps them."""
    for index in range(count):
        scene = Scene(title=f"scene {index}")
        scene.add_points(np.random.default_rng(index).normal(size=(50, 3)) + (index, 0, 0), name="sweep")
        alive.add(scene)
        yield scene


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_turntable_has_all_its_frames_and_they_differ(tmp_path, suffix):
    pytest.importorskip("open3d", exc_type=ImportError)
    path = street().save(tmp_path / f"turn{suffix}", size=(320, 240), fps=5, seconds=1.2)
    frames = read_frames(path)
    assert len(frames) == 6 and frames[0].shape == (240, 320, 3)
    assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in zip(frames, frames[1:], strict=False))


def read_frames(path) -> list[np.ndarray]:
    if path.suffix == ".gif":
        with Image.open(path) as image:
            assert image.info["loop"] == 0 and image.info["duration"] == 200
            frames = []
            for index in range(image.n_frames):
                image.seek(index)
                frames.append(np.asarray(image.convert("RGB")))
        return frames
    import cv2

    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    return frames


def test_turned_content_bounds_every_angle():
    points = np.random.default_rng(0).normal(size=(200, 3)) * (5, 1, 2) + (100, 0, 3)
    for up in AXES:
        ring, axis = turned_content(points, up), AXES[up]
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        radius = [np.linalg.norm(np.cross(each - middle, axis), axis=1).max() for each in (points, ring)]
        np.testing.assert_allclose(*radius)
        np.testing.assert_allclose(*([(each @ axis).min(), (each @ axis).max()] for each in (points, ring)))
    assert len(turned_content(np.zeros((1, 3)), "z"))


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".html"])
def test_a_sequence_keeps_no_scene(tmp_path, suffix):
    if suffix != ".html":
        pytest.importorskip("open3d", exc_type=ImportError)
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def watched():
        nonlocal most
        for scene in scenes_of(12, alive):
            yield scene
            del scene
            gc.collect()
            most = max(most, len(alive))

    path = SceneSequence(watched()).save(tmp_path / f"all{suffix}", size=SMALL)
    assert most <= 3  # the one that is drawn, the next, and the first, which gives the camera
    if suffix == ".html":
        assert len(frames_of(path)) == 12
    else:
        assert suffix == ".gif" and Image.open(path).n_frames == 12 or len(read_frames(path)) == 12


def test_a_list_of_scenes_is_framed_as_a_whole_and_a_generator_by_its_first():
    scenes = list(scenes_of(3, weakref.WeakSet()))
    assert len(SceneSequence(scenes).framed()[1]) == 150
    kept, content = SceneSequence(iter(scenes)).framed()
    assert len(content) == 50 and len(list(kept)) == 3


def test_sequences_refuse(tmp_path):
    for fps in (0, 1000):
        with pytest.raises(ValueError, match="fps must be in 0.1..120"):
            SceneSequence([], fps=fps)
    with pytest.raises(ValueError, match="expected at least one scene, got none"):
        SceneSequence([]).save(tmp_path / "a.html")
    with pytest.raises(ValueError, match="ends in .mp4, .gif, .html"):
        SceneSequence([street()]).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"show goes to and fro, so it needs scenes with len\(\) .* got generator"):
        SceneSequence(scenes_of(2, weakref.WeakSet())).show()
    with pytest.raises(ValueError, match="several views make a sheet"):
        street().save(tmp_path / "a.html", views=["front", "top"])


def frames_of(path) -> list[tuple[dict, bytes]]:
    """Description and bytes of each frame of a page."""
    page = path.read_text(encoding="utf-8")
    blocks = re.findall(r'data-part="json"[^>]*>(.*?)</script>.*?data-part="bytes"[^>]*>(.*?)</script>', page, re.DOTALL)
    return [(json.loads(text), base64.b64decode(data)) for text, data in blocks]


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path):
    page = street().save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]", page) and "http" not in re.sub(r"<!--.*?-->", "", page)
    assert "/*" + "head*/" not in page and ".js*/" not in page
    ((frame, data),) = frames_of(tmp_path / "a.html")
    assert [layer["name"] for layer in frame["layers"]] == ["ground", "boxes", "tetrahedron", "walker", "image_1"]
    assert frame["title"] == "street <b> & co" and frame["layers"][1]["parts"][-1]["texts"] == ["car 0.90", "</script>"]
    assert "</script>" not in json.dumps(frame["title"]) and page.count("</script>") == page.count("<script")
    ground = frame["layers"][0]["parts"][0]
    steps = np.frombuffer(data, np.uint16, 3 * ground["count"], ground["position"]["at"]).reshape(-1, 3)
    places = steps / 65535 * ground["position"]["scale"] + ground["position"]["shift"]
    original = street().layers["ground"].parts[0].positions
    shift = original.mean(axis=0) - places.mean(axis=0)  # the origin that was subtracted
    assert cKDTree(original).query(places + shift)[0].max() < 1e-3 and len(places) == len(original)
    assert ground["color"] == {"one": [40, 90, 200]} and frame["scale"]["ticks"][0][0] == 0
    (image,) = frame["layers"][4]["images"]
    assert image["source"].startswith("data:image/jpeg;base64,") and image["caption"] == "camera"
    assert frame["layers"][4]["about"] == "image: 40 x 30 pixels" and frame["layers"][4]["swatch"] == [90, 90, 90]


def test_positions_with_an_outlier_stay_exact():
    points = np.random.default_rng(0).normal(size=(1000, 3))
    points[0] = 1e6
    scene = Scene()
    scene.add_points(points)
    block = Block(np.zeros(3))
    part = block.add(scene.layers["points_1"].parts[0], 2.0)
    assert part["position"]["type"] == "f32"
    stored = np.frombuffer(block.bytes(), "<f4", 3000, part["position"]["at"]).reshape(-1, 3)
    np.testing.assert_array_equal(np.sort(stored, axis=0), np.sort(points.astype(np.float32), axis=0))


def test_glb_opens_elsewhere_with_y_up(tmp_path):
    scene = street()
    world = trimesh.load(scene.save(tmp_path / "a.glb"))
    kinds = sorted(type(geometry).__name__ for geometry in world.geometry.values())
    assert kinds == ["Path3D", "Path3D", "PointCloud", "PointCloud", "Trimesh", "Trimesh"]
    low, high = world.bounds
    np.testing.assert_allclose([low[1], high[1]], [-0.97, 4.0], atol=0.05)  # heights are along y
    data = (tmp_path / "a.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    tree = json.loads(data[20 : 20 + length])
    assert [node["name"] for node in tree["nodes"]] == ["ground", "boxes", "tetrahedron", "walker"]
    assert all(material["doubleSided"] for material in tree["materials"]) and int.from_bytes(data[8:12], "little") == len(data)
    ground = tree["meshes"][0]["primitives"][0]
    view = tree["bufferViews"][tree["accessors"][ground["attributes"]["COLOR_0"]]["bufferView"]]
    first = np.frombuffer(data, "<u2", 4, 28 + length + view["byteOffset"]) / 65535
    np.testing.assert_allclose(first, [0.0212, 0.1022, 0.5776, 1], atol=1e-3)  # (40, 90, 200) as linear light


def test_up_axes_turn_to_y():
    for name, axis in AXES.items():
        turn = to_y_up(name)
        np.testing.assert_allclose(turn @ axis, [0, 1, 0], atol=1e-12)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) > 0.99


def test_ply_holds_points_faces_and_edges(tmp_path):
    scene = Scene()
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]) + 5_000_000.125
    scene.add_mesh(vertices, [[0, 1, 2]], colors=[[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    scene.add_lines(vertices)
    path = scene.save(tmp_path / "a.ply")
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "element vertex 7" in header and "element face 1" in header and "element edge 2" in header
    mesh = trimesh.load(path, process=False)
    np.testing.assert_array_equal(mesh.vertices[:3], vertices)  # float64
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:3, :3], 255 * np.eye(3))


def test_models_refuse_a_scene_of_images(tmp_path):
    scene = Scene()
    scene.add_image(np.zeros((4, 4), np.uint8))
    for suffix in (".glb", ".ply"):
        with pytest.raises(ValueError, match=f"no points, meshes or lines, which are all that {suffix} holds"):
            scene.save(tmp_path / f"a{suffix}")


def test_a_page_from_the_top_looks_down(tmp_path):
    page = street().save(tmp_path / "a.html", view=View(-90, 90)).read_text(encoding="utf-8")
    head = json.loads(re.search(r'id="head" type="application/json">(.*?)</script>', page)[1])
    assert head["camera"]["elevation"] == pytest.approx(np.pi / 2) and head["up"] == [0, 0, 1] and head["front"] == [1, 0, 0]
    assert head["camera"]["distance"] > 10
