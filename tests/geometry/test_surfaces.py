"""Distances to triangle meshes against Open3D's, known cases and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from geo3d.geometry.surfaces import MeshSurface, closest_on_triangles

TRIANGLE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("point", "closest"),
    [
        ((0.2, 0.2, 3.0), (0.2, 0.2, 0.0)),  # over the face
        ((0.5, -1.0, 1.0), (0.5, 0.0, 0.0)),  # beside an edge
        ((2.0, 2.0, 0.0), (0.5, 0.5, 0.0)),  # beside the long edge
        ((-1.0, -2.0, 5.0), (0.0, 0.0, 0.0)),  # beyond a corner
    ],
)
def test_by_hand(point, closest):
    found = closest_on_triangles(torch.tensor(point, dtype=torch.float64), TRIANGLE)
    assert torch.allclose(found, torch.tensor(closest, dtype=torch.float64))


def test_triangles_without_area():
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    assert torch.allclose(closest_on_triangles(torch.tensor([2.0, 1, 0]), line), torch.tensor([2.0, 0, 0]))
    dot = torch.zeros(3, 3)
    assert torch.equal(closest_on_triangles(torch.tensor([2.0, 1, 0]), dot), torch.zeros(3))


def test_equals_open3d():
    open3d = pytest.importorskip("open3d")
    mesh = trimesh.creation.icosphere(subdivisions=3).apply_scale([1.0, 0.5, 0.3])
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (300, 3))
    surface = MeshSurface(mesh.faces, len(mesh.vertices))
    found = surface.distances(torch.from_numpy(points), torch.from_numpy(np.asarray(mesh.vertices)))
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.uint32))
    expected = scene.compute_distance(points.astype(np.float32)).numpy()
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_gradients():
    vertices = TRIANGLE.clone().requires_grad_()
    points = torch.tensor([[0.2, 0.3, 0.5], [0.5, -0.4, 0.1], [-0.3, -0.2, 0.4]], dtype=torch.float64, requires_grad=True)
    surface = MeshSurface(np.array([[0, 1, 2]]), 3)
    torch.autograd.gradcheck(surface.distances, (points, vertices))


def test_vertices_without_faces_are_passed_over():
    vertices = torch.cat([TRIANGLE, torch.tensor([[0.3, 0.3, 5.0]], dtype=torch.float64)])
    surface = MeshSurface(np.array([[0, 1, 2]]), 4, nearest=4)
    assert surface.distances(torch.tensor([[0.3, 0.3, 5.0]], dtype=torch.float64), vertices).item() == pytest.approx(5.0)
