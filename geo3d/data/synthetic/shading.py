"""Light on rasterised meshes: suns with soft shadows, light from all around that corners receive less of, highlights.

All in linear light and in the frame of the vertices. A matt surface of albedo 1 that faces a sun of colour 1 comes out as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.rasterizer import Raster, jit, rasterize_parallel

SHADOW_SIZE = 256  # rows and columns of a shadow map
AMBIENT_SIZE = 72
TAPS = 8  # samples of the shadow map for each sample of the picture
_TAP_X = tuple(np.sqrt((tap + 0.5) / TAPS) * np.cos(2.4 * tap) for tap in range(TAPS))
_TAP_Y = tuple(np.sqrt((tap + 0.5) / TAPS) * np.sin(2.4 * tap) for tap in range(TAPS))
BIAS = 0.008  # of the extent of the scene: nearer than this a surface does not shadow itself


@dataclass(frozen=True)
class Light:
    """A light far away.

    Attributes:
        towards: direction to it, any length.
        color: red, green and blue, linear.
        softness: radius of the blur of its shadow, as a share of the extent of the scene.
    """

    towards: tuple[float, float, float]
    color: tuple[float, float, float]
    softness: float = 0.01


@dataclass(frozen=True, eq=False)
class Surface:
    """How a surface answers light, for each vertex.

    Attributes:
        wrap: [V, 3] float32, how far light of each colour wraps around the border of light and shade (0 matt, 0.3 red in skin).
        gloss: [V, 2] float32 strength and exponent of the highlight.
    """

    wrap: np.ndarray
    gloss: np.ndarray


def shade(
    raster: Raster,
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    albedo: np.ndarray,
    lights: Sequence[Light],
    *,
    ambient: np.ndarray | None = None,
    surface: Surface | None = None,
    casters: np.ndarray | None = None,
    eye: Sequence[float] = (0, 0, 0),
) -> np.ndarray:
    """Light that each sample sends to the camera.

    Args:
        raster: of the mesh.
        vertices: [V, 3].
        faces: [F, 3] rows of `vertices`.
        normals: [V, 3]; turned towards the camera where they look away.
        albedo: [H, W, 3] float32 colour of the surface in each sample.
        lights: each throws shadows.
        ambient: [V, 3] float32 light from around at each vertex, as `ambient_light` gives; None for none.
        surface: None for matt.
        casters: [C, 3] faces that throw shadows; None for all. Leave out a ground, so that the shadow map need not span it.
        eye: place of the camera.

    Returns:
        [H, W, 3] float32; zero where there is no face.
    """
    count = len(vertices)
    vertices = np.ascontiguousarray(vertices, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    ambient = np.zeros((count, 3), np.float32) if ambient is None else np.ascontiguousarray(ambient, np.float32)
    if surface is None:
        surface = Surface(np.zeros((count, 3), np.float32), np.zeros((count, 2), np.float32))
    solid, blockers = _used(vertices, faces if casters is None else casters)
    maps = [rasterize_parallel(solid, blockers, np.array(light.towards), SHADOW_SIZE) for light in lights]
    depths = np.stack([one.depth for one, _ in maps]) if maps else np.zeros((0, 1, 1), np.float32)
    matrices = np.stack([matrix for _, matrix in maps]).astype(np.float32) if maps else np.zeros((0, 3, 4), np.float32)
    towards = np.array([light.towards for light in lights], np.float32).reshape(-1, 3)
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
    colors = np.array([light.color for light in lights], np.float32).reshape(-1, 3)
    radii = np.array([light.softness * SHADOW_SIZE for light in lights], np.float32)
    bias = np.float32(BIAS * np.ptp(solid, axis=0).max()) if len(solid) else np.float32(0)
    values = np.concatenate([vertices, np.asarray(normals, np.float32), ambient, surface.wrap, surface.gloss], 1)
    view = np.array(eye, np.float32)
    return _shade(raster.face, raster.weights, faces, values, albedo, towards, colors, depths, matrices, radii, bias, view)


def ambient_light(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    radiance: Callable[[np.ndarray], np.ndarray],
    *,
    directions: int = 32,
    casters: np.ndarray | None = None,
) -> np.ndarray:
    """Light from all around at each vertex, less where other faces are in the way (ambient occlusion by direction).

    Args:
        vertices: [V, 3].
        faces: [F, 3] rows of `vertices`.
        normals: [V, 3] unit.
        radiance: takes unit directions [D, 3] to linear colours [D, 3].
        directions: D, how many are looked along.
        casters: [C, 3] faces that are in the way; None for all.

    Returns:
        [V, 3] float32; 1 for a vertex that sees nothing but radiance 1.
    """
    around = even_directions(directions)
    colors = np.asarray(radiance(around), np.float32)
    vertices = np.ascontiguousarray(vertices, np.float32)
    normals = np.ascontiguousarray(normals, np.float32)
    solid, blockers = _used(vertices, faces if casters is None else casters)
    bias = np.float32(0.015 * np.ptp(solid, axis=0).max()) if len(solid) else np.float32(0)
    lifted = vertices + bias * normals  # else a surface shadows itself where light grazes it
    total = np.zeros((len(vertices), 3), np.float32)
    weight = np.zeros(len(vertices), np.float32)
    for direction, color in zip(around, colors, strict=True):
        raster, matrix = rasterize_parallel(solid, blockers, direction, AMBIENT_SIZE)
        ray = direction.astype(np.float32)
        _add_visible(lifted, normals, ray, color, raster.depth, matrix.astype(np.float32), bias, total, weight)
    return total / np.maximum(weight, 1e-6)[:, None]


def even_directions(number: int) -> np.ndarray:
    """[number, 3] unit vectors spread evenly over the sphere (a Fibonacci spiral)."""
    step = np.arange(number) + 0.5
    z = 1 - 2 * step / number
    around = step * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(around), radius * np.sin(around), z], 1)


def _used(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces have, and the faces as rows of them."""
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]


@jit
def _add_visible(vertices, normals, direction, color, depth, matrix, bias, total, weight):
    size = depth.shape[0]
    for i in range(len(vertices)):
        cosine = normals[i, 0] * direction[0] + normals[i, 1] * direction[1] + normals[i, 2] * direction[2]
        if cosine <= 0:
            continue
        weight[i] += cosine
        x = matrix[0, 0] * vertices[i, 0] + matrix[0, 1] * vertices[i, 1] + matrix[0, 2] * vertices[i, 2] + matrix[0, 3]
        y = matrix[1, 0] * vertices[i, 0] + matrix[1, 1] * vertices[i, 1] + matrix[1, 2] * vertices[i, 2] + matrix[1, 3]
        z = matrix[2, 0] * vertices[i, 0] + matrix[2, 1] * vertices[i, 1] + matrix[2, 2] * vertices[i, 2] - bias
        open_taps = 0
        left, top = int(np.floor(x)), int(np.floor(y))
        for row in range(top, top + 2):
            for column in range(left, left + 2):
                open_taps += z <= depth[min(max(row, 0), size - 1), min(max(column, 0), size - 1)]
        for c in range(3):
            total[i, c] += cosine * color[c] * open_taps * 0.25


@jit
def _unshadowed(depth, matrix, px, py, pz, radius, bias, turn):
    """Share of the taps around a point that the light reaches; `turn` (0 to 1) turns the taps, against bands."""
    size = depth.shape[0]
    x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
    y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
    z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3] - bias
    lit = 0
    sine, cosine = np.sin(6.2832 * turn), np.cos(6.2832 * turn)
    for tap in range(TAPS):
        across = radius * (cosine * _TAP_X[tap] - sine * _TAP_Y[tap])
        along = radius * (sine * _TAP_X[tap] + cosine * _TAP_Y[tap])
        column = min(max(int(x + across + 0.5), 0), size - 1)
        row = min(max(int(y + along + 0.5), 0), size - 1)
        lit += z <= depth[row, column]
    return lit / np.float32(TAPS)


@jit
def _unit(x, y, z):
    scale = 1 / (np.sqrt(x * x + y * y + z * z) + np.float32(1e-12))
    return x * scale, y * scale, z * scale


@jit
def _shade(face, weights, faces, values, albedo, towards, colors, depths, matrices, radii, bias, eye):
    """`values` [V, 14]: place, normal, ambient light, wrap, strength and exponent of the highlight."""
    height, width = face.shape
    out = np.zeros((height, width, 3), np.float32)
    at = np.empty(values.shape[1], np.float32)
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            wi, wj, wk = weights[y, x, 0], weights[y, x, 1], weights[y, x, 2]
            for c in range(len(at)):
                at[c] = wi * values[i, c] + wj * values[j, c] + wk * values[k, c]
            ex, ey, ez = _unit(eye[0] - at[0], eye[1] - at[1], eye[2] - at[2])
            nx, ny, nz = _unit(at[3], at[4], at[5])
            facing = nx * ex + ny * ey + nz * ez
            if facing < -0.3:  # the back of a face, not the rounding of an outline
                nx, ny, nz, facing = -nx, -ny, -nz, -facing
            # Highlights of the light from around, stronger at grazing angles (Schlick's approximation).
            grazing = at[12] * np.float32(0.5) * max(1 - max(facing, np.float32(0)), np.float32(0)) ** 5
            for c in range(3):
                out[y, x, c] = (albedo[y, x, c] + grazing) * at[6 + c]
            turn = (x * 0.7548776662 + y * 0.5698402910) % 1.0
            for n in range(len(towards)):
                sx, sy, sz = towards[n, 0], towards[n, 1], towards[n, 2]
                cosine = nx * sx + ny * sy + nz * sz
                if cosine <= -0.5:
                    continue
                lit = _unshadowed(depths[n], matrices[n], at[0], at[1], at[2], radii[n], bias, turn)
                shine = np.float32(0)
                if cosine > 0 and lit > 0 and at[12] > 0:
                    hx, hy, hz = _unit(sx + ex, sy + ey, sz + ez)
                    shine = at[12] * (at[13] + 2) / 8 * max(nx * hx + ny * hy + nz * hz, np.float32(0)) ** at[13] * cosine * lit
                for c in range(3):
                    wrap = at[9 + c]
                    # Where light wraps around, a surface that is in its own shadow still gets some.
                    share = lit + (1 - lit) * wrap * np.float32(0.5) if cosine < wrap else lit
                    reach = max(cosine + wrap, np.float32(0)) / (1 + wrap) * share
                    out[y, x, c] += (albedo[y, x, c] * reach + shine) * colors[n, c]
    return out
