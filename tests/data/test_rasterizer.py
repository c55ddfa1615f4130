"""The rasteriser against areas, depths and textures that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.data.synthetic import rasterizer
from geo3d.data.synthetic.shading import Light, ambient_light, shade
from geo3d.geometry.cameras import pinhole

SIZE = (96, 64)
FOCAL = 80.0
CAMERA = pinhole([[FOCAL, 0, 47.5], [0, FOCAL, 31.5], [0, 0, 1]], np.eye(4), SIZE)


def quad(depth: float, half: float = 0.2, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A square that faces the camera (x right, y down, z forward); with a slope its depth grows to the right."""
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    vertices = np.concatenate([corners, depth + slope * corners[:, :1]], 1)
    return vertices, np.array([[0, 2, 1], [0, 3, 2]])


def sphere(center: tuple[float, float, float], radius: float, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows + 1), np.linspace(0, 2 * np.pi, 2 * rows, endpoint=False), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(-1, 3)
    index = np.arange(len(points)).reshape(polar.shape)
    right = np.roll(index, -1, 1)
    faces = [(index[:-1], index[1:], right[1:]), (index[:-1], right[1:], right[:-1])]
    return points * radius + center, np.concatenate([np.stack(part, -1).reshape(-1, 3) for part in faces])


def test_coverage_of_a_square():
    raster = rasterizer.rasterize(*quad(1.0), CAMERA)
    rows, columns = np.nonzero(raster.face >= 0)
    # 0.2 m at 1 m and 80 pixels of focal length: 16 pixels on each side of the principal point (47.5, 31.5).
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 47, 32, 63)
    assert len(rows) == 32 * 32
    assert np.all(raster.depth[raster.face >= 0] == 1)
    assert np.all(np.isinf(raster.depth[raster.face < 0]))


def test_the_share_of_samples_is_the_area_of_a_triangle():
    vertices = np.array([[-0.3, -0.2, 1.0], [0.35, -0.1, 1.0], [0.02, 0.33, 1.0]])
    raster = rasterizer.rasterize(vertices, [[0, 1, 2]], CAMERA, samples=8)
    edges = (vertices[1:] - vertices[0]) * FOCAL
    area = abs(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]) / 2
    assert (raster.face >= 0).sum() / 64 == pytest.approx(area, rel=3e-3)


def test_shared_edges_leave_no_gap():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 30)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-0.02, 0.02, (28, 28, 2))
    vertices = np.concatenate([grid.reshape(-1, 2), rng.uniform(1.0, 1.01, (900, 1))], 1)
    index = np.arange(900).reshape(30, 30)
    corners = [index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]]
    faces = np.concatenate([np.stack([corners[i] for i in order], -1).reshape(-1, 3) for order in ((0, 1, 2), (0, 2, 3))])
    assert (rasterizer.rasterize(vertices, faces, CAMERA, samples=3).face >= 0).all()


def test_depth_of_a_sloping_plane_and_of_a_sphere():
    raster = rasterizer.rasterize(*quad(1.0, 0.3, slope=0.8), CAMERA)
    rows, columns = np.nonzero(raster.face >= 0)
    ray = (columns - 47.5) / FOCAL  # x = ray z and z = 1 + 0.8 x
    np.testing.assert_allclose(raster.depth[rows, columns], 1 / (1 - 0.8 * ray), rtol=1e-6)
    raster = rasterizer.rasterize(*sphere((0, 0, 2), 0.5, 200), CAMERA)
    rows, columns = np.nonzero(raster.face >= 0)
    rays = np.stack([(columns - 47.5) / FOCAL, (rows - 31.5) / FOCAL, np.ones(len(rows))], 1)
    a, b, c = (rays**2).sum(1), -2 * 2.0, 4 - 0.25
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
    inside = root > 0.2  # away from the outline, where the faces' corners show
    assert inside.sum() > 1000
    np.testing.assert_allclose(raster.depth[rows, columns][inside], ((-b - root) / (2 * a))[inside], atol=3e-4)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_face_hides_the_other(order):
    parts = [quad(1.0, 0.1), quad(2.0, 0.4)]
    vertices = np.concatenate([parts[i][0] for i in order])
    faces = np.concatenate([parts[order[0]][1], parts[order[1]][1] + 4])
    raster = rasterizer.rasterize(vertices, faces, CAMERA)
    near = 2 * order.index(0)
    assert ((raster.face == near) | (raster.face == near + 1)).sum() == 16 * 16
    assert (raster.face >= 0).sum() == 32 * 32


def test_faces_that_cross_the_camera_plane():
    # The floor half a metre below runs from behind the camera to far ahead: it fills the rows below the horizon.
    vertices = np.array([[-500, 0.5, -10], [500, 0.5, -10], [500, 0.5, 400], [-500, 0.5, 400.0]])
    raster = rasterizer.rasterize(vertices, [[0, 1, 2], [0, 2, 3]], CAMERA)
    rows = np.nonzero((raster.face >= 0).any(1))[0]
    assert rows.min() == 32 and (raster.face[32:] >= 0).all()
    np.testing.assert_allclose(raster.depth[63], 0.5 * FOCAL / 31.5, rtol=1e-5)
    assert (rasterizer.rasterize(vertices - [0, 0, 500], [[0, 1, 2], [0, 2, 3]], CAMERA).face < 0).all()


def test_backs_are_culled():
    vertices, faces = quad(1.0)
    assert (rasterizer.rasterize(vertices, faces, CAMERA, cull=True).face >= 0).any()
    assert (rasterizer.rasterize(vertices, faces[:, ::-1], CAMERA, cull=True).face < 0).all()
    normals = rasterizer.vertex_normals(vertices, faces)
    np.testing.assert_allclose(normals, [[0, 0, -1]] * 4)


def test_textures_are_perspective_correct_and_upright():
    width, height = 64, 32
    gradient = np.zeros((height, width, 3), np.float32)
    gradient[..., 0] = (np.arange(width) + 0.5) / width
    gradient[..., 1] = 1 - (np.arange(height)[:, None] + 0.5) / height  # v grows upwards
    vertices, faces = quad(1.0, 0.3, slope=0.8)
    corners = np.array([[0.1, 0.9], [0.9, 0.9], [0.9, 0.1], [0.1, 0.1]])
    raster = rasterizer.rasterize(vertices, faces, CAMERA)
    colors = rasterizer.sample_textures(raster, corners[faces], np.zeros(2), rasterizer.Textures.of([gradient]))
    rows, columns = np.nonzero(raster.face >= 0)
    depth = raster.depth[rows, columns]
    x, y = (columns - 47.5) / FOCAL * depth, (rows - 31.5) / FOCAL * depth
    expected = np.stack([0.5 + 0.8 * x / 0.6, 0.5 - 0.8 * y / 0.6], 1)
    np.testing.assert_allclose(colors[rows, columns, :2], expected, atol=1e-5)
    np.testing.assert_allclose(rasterizer.interpolate(raster, corners[faces])[rows, columns], expected, atol=1e-5)


def test_srgb_goes_there_and_back():
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(rasterizer.encode_srgb(rasterizer.decode_srgb(codes)), codes)


def test_a_pose_of_the_camera():
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]  # from x forward, y left, z up
    moved = pinhole(CAMERA.image_from_camera[:, :3], pose, SIZE)
    vertices, faces = quad(1.0, 0.25, 0.5)
    expected, found = (
        rasterizer.rasterize(points, faces, camera) for points, camera in ((vertices, CAMERA), (vertices @ pose[:3, :3], moved))
    )
    np.testing.assert_array_equal(expected.face, found.face)
    np.testing.assert_allclose(expected.depth, found.depth, rtol=1e-6)


def test_light_and_shadow():
    floor, faces = quad(1.0, 0.3)
    plate = quad(0.8, 0.06)[0]
    vertices, faces = np.concatenate([floor, plate]), np.concatenate([faces, faces + 4])
    normals = rasterizer.vertex_normals(vertices, faces)
    raster = rasterizer.rasterize(vertices, faces, CAMERA)
    sun = Light((0.5, 0, -1), (1.0, 0.5, 0.25))  # from the right, and from where the camera is
    lit = shade(raster, vertices, faces, normals, np.ones((*raster.face.shape, 3), np.float32), [sun])
    cosine = 1 / np.sqrt(1.25)
    np.testing.assert_allclose(lit[10, 30], np.array([1, 0.5, 0.25]) * cosine, rtol=1e-3)
    # 0.2 m behind the plate its shadow has gone 0.1 m to the left: half of it shows beside the plate.
    assert lit[31, round(47.5 - 0.13 * FOCAL), 0] < 0.05
    assert lit[31, round(47.5 - 0.2 * FOCAL), 0] > 0.8
    assert lit[31, round(47.5 + 0.13 * FOCAL), 0] > 0.8


def test_ambient_light_is_darker_in_a_pit_and_whole_in_the_open():
    vertices, faces = sphere((0, 0, 0), 1.0, 16)
    light = ambient_light(
        vertices, faces, rasterizer.vertex_normals(vertices, faces), lambda directions: np.ones((len(directions), 3))
    )
    np.testing.assert_allclose(light, 1, atol=0.06)  # light of 1 from everywhere gives 1
    # The same sphere in a larger one that is open on top.
    shell, shell_faces = sphere((0, 0, 0), 1.3, 16)
    keep = (shell[shell_faces][:, :, 2] < 0.6).all(1)
    both = np.concatenate([vertices, shell])
    joined = np.concatenate([faces, shell_faces[keep] + len(vertices)])
    normals = rasterizer.vertex_normals(both, joined)
    light = ambient_light(both, joined, normals, lambda directions: np.ones((len(directions), 3)))
    bottom, top = vertices[:, 2] < -0.9, vertices[:, 2] > 0.95
    assert light[: len(vertices)][bottom].max() < 0.1
    assert light[: len(vertices)][top].min() > 0.8


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.zeros((4, 2)), np.zeros((1, 3), int), r"vertices must be \[V, 3\]"),
        (np.zeros((4, 3)), np.array([[0, 1, 4]]), "faces name vertices 0 to 4 of 4"),
    ],
)
def test_shapes_that_do_not_fit(vertices, faces, message):
    with pytest.raises(ValueError, match=message):
        rasterizer.rasterize(vertices, faces, CAMERA)


def test_no_faces():
    raster = rasterizer.rasterize(np.zeros((0, 3)), np.zeros((0, 3), int), CAMERA)
    assert (raster.face == -1).all() and raster.face.shape == (64, 96)
