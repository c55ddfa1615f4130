"""Generated objects as 3D-R2N2 shows them: pictures R, G, B, A from cameras around, and voxels in the same frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.rasterizer import average_samples, encode_srgb, interpolate, rasterize, vertex_normals
from geo3d.data.synthetic.renders.materials import Material, draw_material
from geo3d.data.synthetic.shading import Light, Surface, ambient_light, shade
from geo3d.data.synthetic.shapes.generate import Shape
from geo3d.data.synthetic.shapes.primitives import Solid
from geo3d.geometry.cameras import Camera
from geo3d.geometry.voxelization import VoxelizedMesh, voxelize_mesh

SAMPLES = 2  # along each side of a pixel
FRONT_TO_X = np.array(
    [[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]
)  # fronts are towards +z in the generator and towards +x in the released voxels
CREASE = np.cos(np.radians(38))  # sharper edges are not shaded round


@dataclass(frozen=True, eq=False)
class PaintedObject:
    """An object with materials and light, in the frame of 3D-R2N2's voxels.

    y is up, the front towards +x, the middle of the box at the origin, its diagonal of length 1.

    Attributes:
        vertices: [3 F, 3] float64, three of each face.
        normals: [3 F, 3] float32.
        materials: of the parts.
        face_material: [F] row of `materials`.
        ambient: [3 F, 3] float32 light from around.
        lights: those that throw shadows.
    """

    vertices: np.ndarray
    normals: np.ndarray
    materials: tuple[Material, ...]
    face_material: np.ndarray
    ambient: np.ndarray
    lights: tuple[Light, ...]

    @property
    def faces(self) -> np.ndarray:
        """[F, 3] rows of `vertices`."""
        return np.arange(len(self.vertices)).reshape(-1, 3)

    def picture(self, camera: Camera) -> np.ndarray:
        """[H, W, 4] uint8 R, G, B, A, transparent around the object, where the colour is black as in the released renderings."""
        raster = rasterize(self.vertices, self.faces, camera, samples=SAMPLES)
        is_object = raster.face >= 0
        points = interpolate(raster, self.vertices[self.faces])[is_object]
        which = self.face_material[raster.face[is_object]]
        albedo = np.zeros((*raster.face.shape, 3), np.float32)
        colors = np.zeros((len(points), 3), np.float32)
        for number, material in enumerate(self.materials):
            own = which == number
            colors[own] = material.at(points[own])
        albedo[is_object] = colors
        gloss = np.array([material.gloss for material in self.materials], np.float32)[np.repeat(self.face_material, 3)]
        surface = Surface(np.zeros_like(self.normals), gloss)
        eye = -camera.camera_from_lidar[:3, :3].T @ camera.camera_from_lidar[:3, 3]
        light = shade(
            raster, self.vertices, self.faces, self.normals, albedo, self.lights, ambient=self.ambient, surface=surface, eye=eye
        )
        alpha = average_samples(is_object[..., None].astype(np.float32), SAMPLES)
        mean = average_samples(light, SAMPLES) / np.maximum(alpha, 1e-6)  # colours are not multiplied by transparency
        return np.concatenate([encode_srgb(mean) * (alpha > 0), (alpha * 255 + 0.5).astype(np.uint8)], 2)

    def voxels(self, side: int) -> VoxelizedMesh:
        """Its voxels; the cube is about the origin."""
        return voxelize_mesh(self.vertices, self.faces, side)


def paint(shape: Shape, rng: np.random.Generator) -> PaintedObject:
    """A shape with materials, one a kind of part, and light."""
    solids = _normalized(shape.solids)
    kinds = sorted(set(shape.labels))
    materials = [draw_material(rng) for _ in kinds]
    if rng.random() < 0.4:  # all of one material
        materials = materials[:1] * len(kinds)
    numbers = [kinds.index(label) for label in shape.labels]
    vertices = np.concatenate([solid.vertices[solid.faces].reshape(-1, 3) for solid in solids])
    normals = np.concatenate([_corner_normals(solid) for solid in solids])
    face_material = np.repeat(numbers, [len(solid.faces) for solid in solids])
    lights = _lights(rng)
    sky, ground = rng.uniform(0.25, 0.6) * rng.uniform(0.9, 1.1, 3), rng.uniform(0.1, 0.4)

    def radiance(directions: np.ndarray) -> np.ndarray:
        up = directions[:, 1:2] * 0.5 + 0.5
        return sky * (up + (1 - up) * ground)

    faces = np.arange(len(vertices)).reshape(-1, 3)
    ambient = ambient_light(vertices, faces, normals, radiance, directions=24)
    return PaintedObject(vertices, normals, tuple(materials), face_material, ambient, lights)


def _normalized(solids: Sequence[Solid]) -> list[Solid]:
    everything = np.concatenate([solid.vertices for solid in solids])
    low, high = everything.min(0), everything.max(0)
    middle, diagonal = (low + high) / 2, np.linalg.norm(high - low)
    return [Solid((solid.vertices - middle) / diagonal @ FRONT_TO_X.T, solid.faces) for solid in solids]


def _corner_normals(solid: Solid) -> np.ndarray:
    """[3 F, 3] float32: smooth, but for the corners at sharp edges, which have the normal of their face."""
    corners = solid.vertices[solid.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    smooth = vertex_normals(solid.vertices, solid.faces)[solid.faces]
    is_sharp = (smooth * flat[:, None]).sum(-1, keepdims=True) < CREASE
    return np.where(is_sharp, flat[:, None], smooth).reshape(-1, 3).astype(np.float32)


def _lights(rng: np.random.Generator) -> tuple[Light, ...]:
    """One to three lights from above, the first the brightest."""
    lights = []
    for number in range(rng.integers(1, 4)):
        around, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.4)
        strength = rng.uniform(0.35, 0.8) / (1 + number)
        red, green, blue = (float(channel) for channel in strength * rng.uniform(0.93, 1.07, 3))
        lights.append(Light((float(np.cos(around)), float(up), float(np.sin(around))), (red, green, blue), 0.02))
    return tuple(lights)
