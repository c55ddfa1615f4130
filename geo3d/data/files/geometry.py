"""What users have on disk: point clouds and meshes of the usual file formats, read into one small structure.

geometry = read_geometry("chair.off")          # points, and faces if it is a mesh
points = sample_mesh(geometry, 10_000, seed=0)  # [10000, 6], points and normals on the surface
write_ply("labelled.ply", points[:, :3], labels=labels)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from geo3d.data.files.las import read_las
from geo3d.data.files.mesh_files import read_mesh
from geo3d.data.files.off import read_off
from geo3d.data.files.pcd import read_pcd
from geo3d.data.files.ply import read_ply
from geo3d.data.files.point_files import read_bin, read_npy, read_npz, read_text
from geo3d.data.files.raw import RawGeometry
from geo3d.data.files.tables import Columns

READERS: dict[str, Callable[[Path], RawGeometry]] = {
    **dict.fromkeys((".obj", ".stl", ".glb", ".gltf"), read_mesh),
    **dict.fromkeys((".las", ".laz"), read_las),
    ".ply": read_ply,
    ".off": read_off,
    ".pcd": read_pcd,
}
TABLES: dict[str, Callable[[Path, Columns | None], RawGeometry]] = {
    **dict.fromkeys((".txt", ".xyz", ".csv"), read_text),
    ".npy": read_npy,
    ".npz": read_npz,
    ".bin": read_bin,
}
SUFFIXES = tuple(sorted([*READERS, *TABLES]))
GAPS_EXPECTED = (".pcd",)  # organised clouds of depth cameras mark pixels without depth by NaN
FLOAT32_LIMIT = 2.0**14  # metres; float32 resolves 2 mm there, and less well further out
MAX_ZERO_NORMALS = 0.05  # share of rows; with more the file's normals are taken for places that nobody filled


@dataclass(frozen=True)
class Geometry:
    """Points or a mesh from a file, in the file's units and axes.

    Attributes:
        points: [N, 3] float32, finite, N > 0; the vertices if there are faces.
        normals: [N, 3] float32 or None.
        colors: [N, 3] uint8 or None.
        intensity: [N] float32 in the file's range, or None.
        faces: [F, 3] int64 rows of `points`, F > 0, or None.
        source: the file.
        offset: [3] float64, what was subtracted from the file's coordinates; zero unless they are too large for
            float32 (map coordinates, for example).
        up: the axis that points up ("z", "-y") where the file tells it, else None.
    """

    points: np.ndarray
    normals: np.ndarray | None
    colors: np.ndarray | None
    intensity: np.ndarray | None
    faces: np.ndarray | None
    source: Path
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    up: str | None = None

    @property
    def is_mesh(self) -> bool:
        """Whether there are faces."""
        return self.faces is not None


def read_geometry(path: str | Path, *, columns: Columns | None = None) -> Geometry:
    """Reads a point cloud or a mesh; the suffix names the format.

    Text tables and arrays may have 3 columns (x y z), 4 (+ intensity), 6 (+ unit normals, else colours) or 7 (+ label, ignored,
    or intensity and colours). Points with a number that is not finite are dropped with one warning that counts them. Normals,
    colours and intensities that are all zero were never written, and count as absent.

    Args:
        path: .ply .obj .off .stl .glb .gltf .pcd .npy .npz .txt .xyz .csv .bin .las or .laz.
        columns: of tables (.bin .npy .npz .txt .xyz .csv) the numbers a point, or their names, such as "x,y,z,intensity,_". By
            default what the first line says, or the layouts above; of `.bin` files 5 for `.pcd.bin` (nuScenes) and else 4 (KITTI).

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, damaged or of an unknown kind; no points; more than half of the points not finite (all of
            them for .pcd); a mesh with vertices that are not finite or faces that name missing vertices.
        ImportError: the format needs a package that is not installed; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder, expected a file' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown suffix {suffix or 'of no kind'!r}, expected one of {' '.join(SUFFIXES)}")
    if columns is not None and suffix not in TABLES:
        raise ValueError(f"columns={columns} is for tables ({' '.join(TABLES)}), got {path.name}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: expected points, got an empty file")
    raw = TABLES[suffix](path, columns) if suffix in TABLES else READERS[suffix](path)
    _check_shapes(raw, path)
    raw = _without_placeholders(raw)
    if raw.faces is None:
        raw = _drop_nonfinite(raw, path)
    elif not np.isfinite(raw.points).all():
        raise ValueError(
            f"{path}: expected finite vertices, got {_count_nonfinite(raw.points)} of {len(raw.points)} not finite"
        )
    return _finish(raw, path)


def sample_mesh(geometry: Geometry, num_points: int, seed: int = 0) -> np.ndarray:
    """Random points on the surface of a mesh, uniform by area, with the normals of their faces.

    Args:
        geometry: a mesh.
        num_points: N > 0.
        seed: of the random numbers; the same seed gives the same points.

    Returns:
        [N, 6] float32, x y z and unit normal.

    Raises:
        ValueError: no faces, no area, or N < 1.
    """
    if geometry.faces is None:
        raise ValueError(f"{geometry.source}: expected a mesh to sample, got {len(geometry.points)} points without faces")
    if num_points < 1:
        raise ValueError(f"num_points must be at least 1, got {num_points}")
    corners = geometry.points.astype(np.float64)[geometry.faces]  # [F, 3, 3]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.linalg.norm(cross, axis=1)
    total = np.cumsum(double_area)
    if not total[-1] > 0:
        raise ValueError(f"{geometry.source}: expected a surface, got {len(geometry.faces)} faces without area")
    random = np.random.default_rng(seed)
    face = np.searchsorted(total, random.random(num_points) * total[-1], side="right")
    face = np.minimum(face, np.flatnonzero(double_area)[-1])  # rounding may hit the very end
    root, across = np.sqrt(random.random(num_points)), random.random(num_points)
    weights = np.stack([1 - root, root * (1 - across), root * across], axis=1)  # uniform in a triangle
    points = np.einsum("nk,nkd->nd", weights, corners[face])
    return np.hstack([points, cross[face] / double_area[face, None]]).astype(np.float32)


def write_ply(
    path: str | Path,
    points: np.ndarray,
    *,
    colors: np.ndarray | None = None,
    normals: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes points as a binary PLY file.

    Args:
        path: the file; its folder must exist.
        points: [N, 3], written as float32; as float64 if they are, and lie too far out for float32.
        colors: [N, 3] uint8.
        normals: [N, 3], written as float32.
        labels: [N] integer, written as int32 property `label`.
        overwrite: replace a file that is already there.

    Raises:
        FileExistsError: the file is there and `overwrite` is False.
        FileNotFoundError: no such folder.
        ValueError: shapes or dtypes that do not fit.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: already there; pass overwrite=True to replace it")
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"write_ply: points must be [N, 3], got {list(points.shape)}")
    far = points.dtype == np.float64 and len(points) > 0 and np.abs(points).max() > FLOAT32_LIMIT
    code, word = ("<f8", "double") if far else ("<f4", "float")
    blocks: list[tuple[str, np.ndarray, tuple[str, ...], str, str, str]] = [
        ("points", points, ("x", "y", "z"), code, word, "fiu")
    ]
    if normals is not None:
        blocks.append(("normals", np.asarray(normals), ("nx", "ny", "nz"), "<f4", "float", "fiu"))
    if colors is not None:
        if np.asarray(colors).dtype != np.uint8:
            raise ValueError(f"write_ply: colors must be uint8, got {np.asarray(colors).dtype}")
        blocks.append(("colors", np.asarray(colors), ("red", "green", "blue"), "u1", "uchar", "u"))
    if labels is not None:
        blocks.append(("labels", np.asarray(labels)[..., None], ("label",), "<i4", "int", "iu"))
    for name, values, properties, _, _, kinds in blocks:
        if values.shape != (len(points), len(properties)) or values.dtype.kind not in kinds:
            raise ValueError(f"write_ply: {name} do not fit {len(points)} points, got {list(values.shape)} {values.dtype}")
    table = np.empty(len(points), dtype=[(prop, code) for _, _, properties, code, _, _ in blocks for prop in properties])
    for _, values, properties, _, _, _ in blocks:
        for index, prop in enumerate(properties):
            table[prop] = values[:, index]
    lines = [f"property {word} {prop}" for _, _, properties, _, word, _ in blocks for prop in properties]
    header = "\n".join(["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *lines, "end_header", ""])
    path.write_bytes(header.encode("ascii") + table.tobytes())
    return path


def _check_shapes(raw: RawGeometry, path: Path) -> None:
    """Raises ValueError unless there are points and the other arrays fit them."""
    count = len(raw.points)
    if raw.points.ndim != 2 or count == 0:
        raise ValueError(f"{path}: expected points, got none")
    for name, values, shape in (
        ("normals", raw.normals, (count, 3)),
        ("colors", raw.colors, (count, 3)),
        ("intensity", raw.intensity, (count,)),
    ):
        if values is not None and values.shape != shape:
            raise ValueError(f"{path}: expected {name} {list(shape)} for {count} points, got {list(values.shape)}")
    if raw.faces is not None:
        if raw.faces.ndim != 2 or raw.faces.shape[1] != 3 or raw.faces.dtype.kind not in "iu":
            raise ValueError(f"{path}: expected integer faces [F, 3], got {list(raw.faces.shape)} {raw.faces.dtype}")
        if raw.faces.size and (raw.faces.min() < 0 or raw.faces.max() >= count):
            raise ValueError(
                f"{path}: expected faces of {count} vertices, got vertex {raw.faces.max() if raw.faces.min() >= 0 else raw.faces.min()}"
            )


def _without_placeholders(raw: RawGeometry) -> RawGeometry:
    """Without normals, colours and intensities that nobody wrote."""
    normals = raw.normals
    if normals is not None:
        known = np.isfinite(normals).all(axis=1) & (normals != 0).any(axis=1)
        normals = None if 1 - known.mean() > MAX_ZERO_NORMALS else normals
    colors = raw.colors if raw.colors is not None and raw.colors[:, :3].any() else None
    intensity = raw.intensity if raw.intensity is not None and np.nan_to_num(raw.intensity).any() else None
    return replace(raw, normals=normals, colors=colors, intensity=intensity)


def _count_nonfinite(points: np.ndarray) -> int:
    return int((~np.isfinite(points).all(axis=1)).sum())


def _drop_nonfinite(raw: RawGeometry, path: Path) -> RawGeometry:
    """The points whose numbers are all finite; warns about the others."""
    finite = np.isfinite(raw.points).all(axis=1)
    for values in (raw.normals, raw.intensity):
        if values is not None:
            finite &= np.isfinite(values).reshape(len(finite), -1).all(axis=1)
    dropped = int((~finite).sum())
    if dropped == 0:
        return raw
    allowed = len(finite) - 1 if path.suffix.lower() in GAPS_EXPECTED else len(finite) // 2
    if dropped > allowed:
        raise ValueError(f"{path}: expected finite points, got {dropped} of {len(finite)} that are not")
    warnings.warn(f"{path}: dropped {dropped} of {len(finite)} points that are not finite", stacklevel=3)
    normals, colors, intensity = (None if v is None else v[finite] for v in (raw.normals, raw.colors, raw.intensity))
    return RawGeometry(raw.points[finite], normals, colors, intensity, up=raw.up)


def _finish(raw: RawGeometry, path: Path) -> Geometry:
    """The final dtypes; map coordinates are moved to the origin before they lose digits."""
    points = raw.points.astype(np.float64)
    offset = map_offset(points)

    def cast(values: np.ndarray | None, dtype: type) -> np.ndarray | None:
        return None if values is None else np.ascontiguousarray(values, dtype=dtype)

    return Geometry(
        points=np.ascontiguousarray(points - offset, dtype=np.float32),
        normals=cast(raw.normals, np.float32),
        colors=cast(raw.colors, np.uint8),
        intensity=cast(raw.intensity, np.float32),
        faces=cast(raw.faces, np.int64),
        source=path,
        offset=offset,
        up=raw.up,
    )


def map_offset(points: np.ndarray) -> np.ndarray:
    """What to subtract from points [N, 3] before they become float32: their medians in whole metres if these lie far out, else 0.

    Medians, as one point at the origin or far away says nothing about the others.
    """
    if not len(points):
        return np.zeros(3)
    middle = np.median(points, axis=0)
    return np.floor(middle) if np.abs(middle).max() > FLOAT32_LIMIT else np.zeros(3)
