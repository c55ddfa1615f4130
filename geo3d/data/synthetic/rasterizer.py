"""Pictures of triangle meshes on the CPU: which face each sample of a picture shows, and what it looks like there.

The z-buffer works in homogeneous image coordinates (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997),
so faces that cross the camera's plane need no clipping. One thread does one picture: use several processes for many.
Colours inside are linear light, not sRGB; `encode_srgb` makes pictures of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from geo3d.geometry.cameras import Camera

NEAR = 1e-4  # depths below are behind the camera
EDGE = 1e-9  # a sample on the edge of two faces belongs to one of them at least, whatever the rounding
jit = numba.njit(cache=True, fastmath={"contract", "arcp", "nsz"}, nogil=True)


@dataclass(frozen=True, eq=False)
class Raster:
    """What each sample of a picture shows.

    Attributes:
        face: [H, W] int32 row of the faces, -1 where there is none.
        weights: [H, W, 3] float32 weights of the face's corners (barycentric coordinates on the face, not on the picture).
        depth: [H, W] float32 metres along the camera's axis, infinite where there is no face.
    """

    face: np.ndarray
    weights: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, eq=False)
class Textures:
    """Pictures of any sizes in one array, as `Textures.of` makes them.

    Attributes:
        pixels: [N, 3] float32 linear light.
        table: [T, 3] int64 first row, height and width of each picture.
    """

    pixels: np.ndarray
    table: np.ndarray

    @staticmethod
    def of(pictures: Sequence[np.ndarray]) -> Textures:
        """Textures from pictures [h, w, 3], uint8 sRGB or float linear light."""
        for picture in pictures:
            if picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(f"Textures.of: pictures must be [h, w, 3], got {list(picture.shape)}")
        flat = [decode_srgb(picture).reshape(-1, 3) for picture in pictures]
        starts = np.cumsum([0, *(len(part) for part in flat)])[:-1]
        table = [(start, *picture.shape[:2]) for start, picture in zip(starts, pictures, strict=True)]
        pixels = np.concatenate(flat) if flat else np.zeros((1, 3), np.float32)
        return Textures(pixels, np.array(table, np.int64).reshape(-1, 3))


def decode_srgb(picture: np.ndarray) -> np.ndarray:
    """float32 linear light of a picture, uint8 sRGB (float input is returned as float32)."""
    return _DECODED[picture] if picture.dtype == np.uint8 else np.ascontiguousarray(picture, np.float32)


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """uint8 sRGB of linear light, any shape; light above 1 is cut off."""
    return _ENCODED[(np.clip(light, 0, 1) * (len(_ENCODED) - 1) + 0.5).astype(np.int32)]


def _srgb_tables() -> tuple[np.ndarray, np.ndarray]:
    code = np.arange(256) / 255
    decoded = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)
    light = np.linspace(0, 1, 1 << 14)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return decoded, (encoded * 255 + 0.5).astype(np.uint8)


_DECODED, _ENCODED = _srgb_tables()


def rasterize(vertices: np.ndarray, faces: np.ndarray, camera: Camera, *, samples: int = 1, cull: bool = False) -> Raster:
    """Z-buffer of a mesh.

    Args:
        vertices: [V, 3] metres, in the frame that `camera.camera_from_lidar` takes to the camera's.
        faces: [F, 3] rows of `vertices`; corners run counter-clockwise as seen from outside.
        camera: with `image_size`.
        samples: samples along each side of a pixel; the raster is that many times as high and wide as the picture.
            Samples lie in the middles of their cells: with one sample, pixel (u, v) is looked at in (u, v) itself.
        cull: leave out faces that show their back.

    Raises:
        ValueError: shapes that do not fit, a camera without image size.
    """
    vertices, faces = _checked("rasterize", vertices, faces)
    if camera.image_size is None:
        raise ValueError("rasterize: the camera needs image_size")
    width, height = camera.image_size
    matrix = camera.image_from_lidar
    homogeneous = vertices @ matrix[:, :3].T + matrix[:, 3]
    # Sample s of a pixel u lies at u - 1/2 + (s + 1/2) / samples.
    homogeneous[:, :2] = homogeneous[:, :2] * samples + homogeneous[:, 2:] * ((samples - 1) / 2)
    return Raster(*_fill(homogeneous, homogeneous[:, 2].copy(), faces, height * samples, width * samples, cull))


def rasterize_parallel(vertices: np.ndarray, faces: np.ndarray, towards: np.ndarray, size: int) -> tuple[Raster, np.ndarray]:
    """Z-buffer by parallel rays: what light from one direction reaches.

    Args:
        vertices: [V, 3] metres.
        faces: [F, 3] rows of `vertices`.
        towards: [3] direction towards the light, any length.
        size: height and width of the raster, which just holds the mesh.

    Returns:
        raster, depth growing away from the light, and a matrix [3, 4] float64 that takes points to column, row and depth.
    """
    vertices, faces = _checked("rasterize_parallel", vertices, faces)
    matrix = _parallel_matrix(vertices, np.asarray(towards, np.float64), size)
    places = vertices @ matrix[:, :3].T + matrix[:, 3]
    homogeneous = places.copy()
    homogeneous[:, 2] = 1
    return Raster(*_fill(homogeneous, places[:, 2].copy(), faces, size, size, False)), matrix


def interpolate(raster: Raster, corners: np.ndarray) -> np.ndarray:
    """[H, W, C] float32 of values at the corners of faces [F, 3, C]; zero where there is no face."""
    return _interpolate(raster.face, raster.weights, np.ascontiguousarray(corners, np.float32))


def sample_textures(raster: Raster, uv: np.ndarray, texture: np.ndarray, textures: Textures) -> np.ndarray:
    """Textures on faces, bilinear, repeated beyond their borders.

    Args:
        raster: of the picture.
        uv: [F, 3, 2] texture coordinates of the corners, u to the right and v upwards, one picture being 0 to 1.
        texture: [F] which texture; -1 for none, which gives white.
        textures: the pictures.

    Returns:
        [H, W, 3] float32 linear light; zero where there is no face.
    """
    texture = np.ascontiguousarray(texture, np.int32)
    if len(texture) and texture.max() >= len(textures.table):
        raise ValueError(f"sample_textures: texture {texture.max()} of {len(textures.table)}")
    uv = np.ascontiguousarray(uv, np.float32)
    return _sample_textures(raster.face, raster.weights, uv, texture, textures.pixels, textures.table)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3] float32, faces weighted by their areas; zero for a vertex without face."""
    vertices, faces = _checked("vertex_normals", vertices, faces)
    return _vertex_normals(vertices, faces)


def average_samples(samples: np.ndarray, number: int) -> np.ndarray:
    """[H, W, C] float32 means over blocks of `number` x `number` samples [H * number, W * number, C]."""
    height, width, channels = samples.shape
    blocks = samples.reshape(height // number, number, width // number, number, channels)
    if number == 2:  # much quicker than a mean over axes
        return (blocks[:, 0, :, 0] + blocks[:, 0, :, 1] + blocks[:, 1, :, 0] + blocks[:, 1, :, 1]) * np.float32(0.25)
    return blocks.mean((1, 3), dtype=np.float32)


def _checked(name: str, vertices: Any, faces: Any) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        shapes = f"{list(vertices.shape)} and {list(faces.shape)}"
        raise ValueError(f"{name}: vertices must be [V, 3] and faces [F, 3], got {shapes}")
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"{name}: faces name vertices {faces.min()} to {faces.max()} of {len(vertices)}")
    return vertices, faces


@jit
def _parallel_matrix(points, towards, size):
    """[3, 4] matrix to column, row and depth of rays from a light; plain loops, as numpy is slow for so few numbers."""
    ax, ay, az = -towards[0], -towards[1], -towards[2]
    length = np.sqrt(ax * ax + ay * ay + az * az)
    ax, ay, az = ax / length, ay / length, az / length
    sx, sy, sz = _cross(ax, ay, az, 1.0, 0.0, 0.0) if abs(ax) < 0.7 else _cross(ax, ay, az, 0.0, 1.0, 0.0)
    length = np.sqrt(sx * sx + sy * sy + sz * sz)
    sx, sy, sz = sx / length, sy / length, sz / length
    ux, uy, uz = _cross(ax, ay, az, sx, sy, sz)
    turn = np.array([[sx, sy, sz], [ux, uy, uz], [ax, ay, az]])
    low, high = _extent(points, turn)
    scale = (size - 4) / max(high[0] - low[0], high[1] - low[1], 1e-9)
    matrix = np.zeros((3, 4))
    for c in range(3):
        matrix[0, c], matrix[1, c], matrix[2, c] = scale * turn[0, c], scale * turn[1, c], turn[2, c]
    for axis in range(2):
        matrix[axis, 3] = (size - 1) / 2 - scale * (low[axis] + high[axis]) / 2
    return matrix


@jit
def _extent(points, turn):
    """Smallest and largest coordinates [3] of turned points."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in range(len(points)):
        for axis in range(3):
            value = turn[axis, 0] * points[i, 0] + turn[axis, 1] * points[i, 1] + turn[axis, 2] * points[i, 2]
            low[axis] = min(low[axis], value)
            high[axis] = max(high[axis], value)
    return low, high


@jit
def _cross(qx, qy, qw, rx, ry, rw):
    return qy * rw - qw * ry, qw * rx - qx * rw, qx * ry - qy * rx


@jit
def _span(first, second, third, size):
    """First and last column (or row) that lies between three places."""
    low, high = min(first, second, third), max(first, second, third)
    return int(max(np.ceil(low - 1e-6), 0.0)), int(min(np.floor(high + 1e-6), size - 1.0))


@jit
def _fill(homogeneous, depths, faces, height, width, cull):
    face = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    buffer = np.full((height, width), np.float32(np.inf), np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        px, py, pw = homogeneous[i, 0], homogeneous[i, 1], homogeneous[i, 2]
        qx, qy, qw = homogeneous[j, 0], homogeneous[j, 1], homogeneous[j, 2]
        rx, ry, rw = homogeneous[k, 0], homogeneous[k, 1], homogeneous[k, 2]
        if max(pw, qw, rw) < NEAR:
            continue
        # Edge functions: the weights of the corners at (x, y), over the homogeneous coordinate, are (ax, ay, a1) . (x, y, 1) and so on.
        ax, ay, a1 = _cross(qx, qy, qw, rx, ry, rw)
        bx, by, b1 = _cross(rx, ry, rw, px, py, pw)
        cx, cy, c1 = _cross(px, py, pw, qx, qy, qw)
        determinant = px * ax + py * ay + pw * a1
        # With y down, a face whose corners run counter-clockwise for the viewer has a negative determinant.
        if determinant == 0 or (cull and determinant > 0):
            continue
        factor = 1 / determinant
        if min(pw, qw, rw) < NEAR:  # a corner beside or behind the camera: the face may be anywhere
            left, right, top, bottom = 0, width - 1, 0, height - 1
        else:
            left, right = _span(px / pw, qx / qw, rx / rw, width)
            top, bottom = _span(py / pw, qy / qw, ry / rw, height)
        for y in range(top, bottom + 1):
            a, b, c = (ax * left + ay * y + a1) * factor, (bx * left + by * y + b1) * factor, (cx * left + cy * y + c1) * factor
            for x in range(left, right + 1):
                total = a + b + c  # one over the homogeneous coordinate
                limit = -EDGE * total
                if total > 0 and total * NEAR <= 1 and a >= limit and b >= limit and c >= limit:
                    scale = 1 / total
                    depth = np.float32((a * depths[i] + b * depths[j] + c * depths[k]) * scale)
                    if depth < buffer[y, x]:
                        buffer[y, x] = depth
                        face[y, x] = f
                        weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = a * scale, b * scale, c * scale
                a += ax * factor
                b += bx * factor
                c += cx * factor
    return face, weights, buffer


@jit
def _interpolate(face, weights, corners):
    height, width = face.shape
    channels = corners.shape[2]
    out = np.zeros((height, width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f >= 0:
                for c in range(channels):
                    out[y, x, c] = (
                        weights[y, x, 0] * corners[f, 0, c]
                        + weights[y, x, 1] * corners[f, 1, c]
                        + weights[y, x, 2] * corners[f, 2, c]
                    )
    return out


@jit
def _texel(pixels, table, number, u, v, out, row, column):
    """Write the bilinear value of a texture at (u, v), repeated beyond its borders, into `out[row, column]`."""
    start, height, width = table[number, 0], table[number, 1], table[number, 2]
    x, y = (u - np.floor(u)) * width - 0.5, (1 - (v - np.floor(v))) * height - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    dx, dy = x - x0, y - y0
    left, right, top, bottom = x0 % width, (x0 + 1) % width, y0 % height, (y0 + 1) % height
    for c in range(3):
        upper = pixels[start + top * width + left, c] * (1 - dx) + pixels[start + top * width + right, c] * dx
        lower = pixels[start + bottom * width + left, c] * (1 - dx) + pixels[start + bottom * width + right, c] * dx
        out[row, column, c] = upper * (1 - dy) + lower * dy


@jit
def _sample_textures(face, weights, uv, texture, pixels, table):
    height, width = face.shape
    out = np.zeros((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            if texture[f] < 0:
                out[y, x] = 1
                continue
            w0, w1, w2 = weights[y, x, 0], weights[y, x, 1], weights[y, x, 2]
            u = w0 * uv[f, 0, 0] + w1 * uv[f, 1, 0] + w2 * uv[f, 2, 0]
            v = w0 * uv[f, 0, 1] + w1 * uv[f, 1, 1] + w2 * uv[f, 2, 1]
            _texel(pixels, table, texture[f], u, v, out, y, x)
    return out


@jit
def _vertex_normals(vertices, faces):
    out = np.zeros((len(vertices), 3), np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        qx, qy, qz = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        rx, ry, rz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        x, y, z = _cross(qx, qy, qz, rx, ry, rz)
        for corner in range(3):
            vertex = faces[f, corner]
            out[vertex, 0] += x
            out[vertex, 1] += y
            out[vertex, 2] += z
    for i in range(len(out)):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2)
        if length > 0:
            for c in range(3):
                out[i, c] /= length
    return out
