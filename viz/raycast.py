"""Pictures without a display: Open3D's ray caster (Embree) on the CPU.

It needs no window system, no graphics driver and no GPU, gives the same picture everywhere, and may be called from any
thread. Open3D's OffscreenRenderer does not: without a Vulkan driver it aborts the process, and on a software driver it can
wait without end for a frame that takes long to draw.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

RAYS_AT_ONCE = 4_000_000  # bounds the memory to about 400 MB
# Debian and Ubuntu packages of the shared libraries that the open3d wheel loads.
LIBRARY_PACKAGES = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libX11.so": "libx11-6",
    "libgomp.so": "libgomp1",
    "libusb-1.0.so": "libusb-1.0-0",
    "libudev.so": "libudev1",
    "libvulkan.so": "libvulkan1",
}


@dataclass(frozen=True)
class Triangles:
    """vertices [V, 3] float32 in the camera's frame (x right, y up, z backward), colors [V, C] uint8, faces [F, 3] int."""

    vertices: np.ndarray
    colors: np.ndarray
    faces: np.ndarray


def joined(parts: list[Triangles]) -> Triangles:
    """All parts as one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Triangles(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.colors for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
    )


def cast(
    triangles: Triangles, focal: float, width: int, height: int, center: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What a camera at the origin sees that looks along -z.

    Args:
        triangles: what there is to see, from both sides; at least one.
        focal: focal length in pixels.
        width: of the picture in pixels.
        height: of the picture in pixels.
        center: the pixel straight ahead; the middle when None.

    Returns:
        colors [height, width, C] float32 in 0..255, zero where nothing is, and depth along -z [height, width] float32,
        infinite where nothing is.

    Raises:
        RuntimeError: Open3D cannot be imported; the message says what is missing.
    """
    try:
        import open3d
    except (ImportError, OSError) as error:  # OSError: a shared library that cannot be opened
        raise RuntimeError(explain_import_error(error)) from None

    scene = open3d.t.geometry.RaycastingScene()
    to_tensor = open3d.core.Tensor.from_numpy
    vertices, faces = triangles.vertices.astype(np.float32), triangles.faces.astype(np.uint32)
    scene.add_triangles(to_tensor(vertices), to_tensor(faces))
    colors = np.zeros((height, width, triangles.colors.shape[1]), dtype=np.float32)
    depth = np.full((height, width), np.inf, dtype=np.float32)
    middle = (width / 2, height / 2) if center is None else center
    top, bottom, left, right = _covered(vertices, focal, width, height, middle)
    across = (np.arange(left, right, dtype=np.float32) + 0.5 - middle[0]) / focal
    band = max(1, RAYS_AT_ONCE // max(right - left, 1))
    for first_row in range(top, bottom, band):
        rows = np.arange(first_row, min(first_row + band, bottom), dtype=np.float32)
        rays = np.zeros(
            (len(rows), len(across), 6), dtype=np.float32
        )  # origin, direction; length 1 along -z, so hits are depths
        rays[..., 3] = across
        rays[..., 4] = -((rows + 0.5 - middle[1]) / focal)[:, None]
        rays[..., 5] = -1
        answer = scene.cast_rays(to_tensor(rays))
        window = np.s_[first_row : first_row + len(rows), left:right]
        depth[window] = answer["t_hit"].numpy()
        hit = np.isfinite(depth[window])
        corners = triangles.faces[answer["primitive_ids"].numpy()[hit]]  # [K, 3]
        u, v = np.split(answer["primitive_uvs"].numpy()[hit], 2, axis=1)
        first, second, third = (triangles.colors[corners[:, k]] for k in range(3))
        colors[window][hit] = (1 - u - v) * first + u * second + v * third
    return colors, depth


def _covered(
    vertices: np.ndarray, focal: float, width: int, height: int, middle: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Rows from, to and columns from, to of the pixels that triangles can cover: rays elsewhere would hit nothing."""
    if not len(vertices) or vertices[:, 2].max() >= 0:
        return 0, height, 0, width  # what is beside or behind the camera has no place in the picture to measure
    ends = []
    for axis, count in ((1, height), (0, width)):
        slopes = vertices[:, axis] / vertices[:, 2] * (1 if axis else -1)  # y is up, rows go down
        places = focal * slopes + middle[axis]
        ends += [int(np.clip(np.floor(places.min()) - 1, 0, count)), int(np.clip(np.ceil(places.max()) + 1, 0, count))]
    return ends[0], ends[1], ends[2], ends[3]


def explain_import_error(error: ImportError | OSError) -> str:
    """One line for an open3d that cannot be imported, with the package that brings what is missing."""
    line = " ".join(str(error).split())
    library = re.search(r"(lib[\w.+-]+?\.so)[\d.]*: cannot open shared object", line)
    if library:
        package = LIBRARY_PACKAGES.get(library[1])
        way_out = f"apt-get install {package}" if package else f"install the system package that brings {library[1]}"
        return f"open3d cannot be imported: {library[1]} is missing; {way_out}"
    return f"drawing needs open3d: pip install open3d ({line})"
