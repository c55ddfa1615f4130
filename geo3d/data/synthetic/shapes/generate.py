"""Generated objects of 18 categories with part labels, and the two text formats that they are written in.

Every object is drawn from its category's sub-styles and continuous proportions; no two are alike. y is up, as in ModelNet40 and ShapeNet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from geo3d.data.shapes.part_labels import PARTS, SYNSETS, part_range
from geo3d.data.synthetic.shapes import airplanes, bathroom, chairs, figures, furniture, objects, vehicles
from geo3d.data.synthetic.shapes.primitives import Pieces, Solid
from geo3d.data.synthetic.writing import new_folder, split_of, write_each

MAKERS: dict[str, Callable[[np.random.Generator], Pieces]] = {
    "airplane": vehicles.airplane,
    "bathtub": furniture.bathtub,
    "bottle": objects.bottle,
    "cap": objects.cap,
    "car": vehicles.car,
    "chair": chairs.chair,
    "guitar": objects.guitar,
    "knife": objects.knife,
    "lamp": objects.lamp,
    "laptop": objects.laptop,
    "monitor": objects.monitor,
    "mug": objects.mug,
    "person": figures.person,
    "rocket": vehicles.rocket,
    "skateboard": vehicles.skateboard,
    "sofa": furniture.sofa,
    "table": furniture.table,
    "toilet": furniture.toilet,
}
MAKERS_2 = MAKERS | {  # more styles of what version 1 is poor in
    "airplane": airplanes.airplane,
    "bathtub": bathroom.bathtub,
    "chair": chairs.chair_of_any_style,
    "toilet": bathroom.toilet,
}
CATEGORIES = tuple(sorted(MAKERS))
MODELNET_FOLDER = "modelnet40_normal_resampled"
SHAPENET_FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
PART_POINTS = 2500  # a file of ShapeNetPart has about so many
VERSIONS = (1, 2)  # of the objects; one more when the same seed gives others. Part of the name of the cached data


@dataclass(frozen=True)
class Shape:
    """An object made of solids.

    Attributes:
        category: one of CATEGORIES.
        solids: its pieces.
        labels: part label of each piece, counted over all categories (see `geo3d.data.shapes.part_labels`).
        keeps_hidden: sample surfaces inside other pieces too, as many CAD models have them.
    """

    category: str
    solids: tuple[Solid, ...]
    labels: tuple[int, ...]
    keeps_hidden: bool = False

    @property
    def vertices(self) -> np.ndarray:
        """[V, 3] float64."""
        return np.concatenate([solid.vertices for solid in self.solids])

    @property
    def faces(self) -> np.ndarray:
        """[F, 3] int64 rows of `vertices`."""
        starts = np.cumsum([0, *(len(solid.vertices) for solid in self.solids[:-1])])
        return np.concatenate([solid.faces + start for solid, start in zip(self.solids, starts, strict=True)])

    @property
    def face_parts(self) -> np.ndarray:
        """[F] int64 part label of each face."""
        return np.repeat(self.labels, [len(solid.faces) for solid in self.solids])


def make_shape(category: str, rng: np.random.Generator, version: int = 1) -> Shape:
    """An object of a category.

    Args:
        category: one of CATEGORIES.
        rng: of the draw.
        version: 1, on which the packaged weights of shapes were trained; 2 has more styles of airplanes, bathtubs, chairs and toilets, and
            bends and tapers some objects of all categories a little.

    Raises:
        ValueError: no such category, or no such version.
    """
    if category not in MAKERS:
        raise ValueError(f"make_shape: category must be one of {', '.join(CATEGORIES)}, got {category!r}")
    if version not in VERSIONS:
        raise ValueError(f"make_shape: version must be 1 or 2, got {version}")
    pieces = (MAKERS if version == 1 else MAKERS_2)[category](rng)
    first, names = part_range(category.capitalize()).start, PARTS[category.capitalize()]
    if version == 1:
        stretch = np.diag(rng.uniform(0.9, 1.1, 3))
        solids = tuple(_stretched(solid, stretch) for _, solid in pieces)
    else:
        deformation, taper = _deformation(rng), rng.uniform(-0.06, 0.06) if rng.random() < 0.5 else 0.0
        solids = tuple(solid.deformed(deformation, taper) for _, solid in pieces)
    return Shape(category, solids, tuple(first + names.index(part) for part, _ in pieces), bool(rng.random() < 0.25))


def _deformation(rng: np.random.Generator) -> np.ndarray:
    """A stretch along the axes, and for some objects a slight shear, as no two models are quite regular."""
    stretch = np.diag(rng.uniform(0.88, 1.12, 3))
    return stretch + rng.uniform(-0.03, 0.03, (3, 3)) if rng.random() < 0.4 else stretch


def _stretched(solid: Solid, stretch: np.ndarray) -> Solid:
    inside = solid.inside
    stretched = None if inside is None else lambda points: inside(points / stretch.diagonal())
    return Solid(solid.vertices @ stretch, solid.faces, stretched)


def sample_shape(shape: Shape, num_points: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points drawn evenly on the surface that is not hidden inside another piece, in the unit sphere about their mean.

    Returns:
        points [num_points, 6] float32, positions and unit normals, and parts [num_points] int64.
    """
    corners = shape.vertices[shape.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(cross, axis=1)
    normals = cross / np.maximum(lengths, 1e-12)[:, None]
    owner = np.repeat(np.arange(len(shape.solids)), [len(solid.faces) for solid in shape.solids])
    share = np.cumsum(lengths) / lengths.sum()
    points, faces, missing = [], [], num_points
    while missing > 0:
        face = np.searchsorted(share, rng.random(missing + missing // 2 + 16), side="right").clip(max=len(share) - 1)
        a, b = rng.random((2, len(face), 1))
        a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
        drawn = corners[face, 0] + a * (corners[face, 1] - corners[face, 0]) + b * (corners[face, 2] - corners[face, 0])
        seen = np.ones(len(face), dtype=bool) if shape.keeps_hidden else ~_hidden(shape.solids, drawn, owner[face])
        points.append(drawn[seen][:missing])
        faces.append(face[seen][:missing])
        missing -= len(points[-1])
    positions, picked = np.concatenate(points), np.concatenate(faces)
    positions -= positions.mean(0)
    positions /= np.linalg.norm(positions, axis=1).max()
    return np.concatenate([positions, normals[picked]], 1, dtype=np.float32), shape.face_parts[picked]


def _hidden(solids: Sequence[Solid], points: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Whether points [N, 3], drawn on the solids `owner` [N], lie inside another solid."""
    hidden = np.zeros(len(points), dtype=bool)
    for number, solid in enumerate(solids):
        if solid.inside is None:
            continue
        near = ((points > solid.vertices.min(0)) & (points < solid.vertices.max(0))).all(1) & (owner != number) & ~hidden
        if near.any():
            hidden[near] = solid.inside(points[near])
    return hidden


def write_shapes(
    out: str | Path,
    size: int,
    seed: int,
    *,
    num_points: int = 10_000,
    workers: int = 2,
    categories: Sequence[str] = CATEGORIES,
    version: int = 1,
) -> None:
    """Write objects in the formats of ModelNet40 (points with normals) and of ShapeNetPart, side by side.

    Object i depends on the seed and i alone. Every fifth of a class is for testing, in both formats; of fewer than five a class every fifth
    of all, and fewer than five in all are in every split.

    Args:
        out: folder to write; it must not exist, or be empty. An interrupted run leaves nothing in it.
        size: number of objects, spread evenly over the categories.
        seed: another seed gives other objects.
        num_points: points of a ModelNet40 file; those of ShapeNetPart have 2,500.
        workers: processes.
        categories: some of CATEGORIES.
        version: of the objects, see `make_shape`.

    Raises:
        FileExistsError: `out` holds something.
        ValueError: sizes below one, an unknown category, or no such version.
    """
    if version not in VERSIONS:
        raise ValueError(f"write_shapes: version must be 1 or 2, got {version}")
    if size < 1 or num_points < 1 or workers < 1:
        raise ValueError(
            f"write_shapes: size, num_points and workers must be at least 1, got {size}, {num_points} and {workers}"
        )
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown or not categories:
        raise ValueError(
            f"write_shapes: categories must be some of {', '.join(CATEGORIES)}, got {', '.join(unknown) or 'none'}"
        )
    with new_folder(out) as folder:
        _write_lists(folder, size, categories)
        write = partial(
            _write_object, out=folder, seed=seed, num_points=num_points, categories=tuple(categories), version=version
        )
        write_each(write, size, workers, title="shapes", unit="shape", fewest=50, chunk=8)


def _identity(number: int, categories: Sequence[str]) -> tuple[str, str]:
    """Category and id of an object."""
    category = categories[number % len(categories)]
    return category, f"{category}_{number // len(categories) + 1:04d}"


def _write_lists(out: Path, size: int, categories: Sequence[str]) -> None:
    objects_ = [(*_identity(number, categories), split_of(number, size, len(categories))) for number in range(size)]
    modelnet, shapenet = out / MODELNET_FOLDER, out / SHAPENET_FOLDER
    for category in categories:
        (modelnet / category).mkdir(parents=True)
        (shapenet / SYNSETS[category.capitalize()]).mkdir(parents=True)
    (modelnet / "modelnet40_shape_names.txt").write_text("\n".join(categories) + "\n")
    for name, splits in (("train", ("train", "val")), ("test", ("test",))):
        listed = sorted(shape for _, shape, its in objects_ if set(its) & set(splits))
        (modelnet / f"modelnet40_{name}.txt").write_text("".join(f"{shape}\n" for shape in listed))
    lines = [f"{category}\t{synset}" for category, synset in SYNSETS.items()]
    (shapenet / "synsetoffset2category.txt").write_text("\n".join(lines) + "\n")
    (shapenet / "train_test_split").mkdir()
    for name in ("train", "val", "test"):
        entries = [f"shape_data/{SYNSETS[category.capitalize()]}/{shape}" for category, shape, its in objects_ if name in its]
        (shapenet / "train_test_split" / f"shuffled_{name}_file_list.json").write_text(json.dumps(entries))


def _write_object(number: int, out: Path, seed: int, num_points: int, categories: tuple[str, ...], version: int) -> None:
    category, name = _identity(number, categories)
    rng = np.random.default_rng([seed, number])
    shape = make_shape(category, rng, version)
    points, _ = sample_shape(shape, num_points, rng)
    (out / MODELNET_FOLDER / category / f"{name}.txt").write_text(_table(points, ",".join(["%.6f"] * 6)))
    points, parts = sample_shape(shape, PART_POINTS, rng)
    rows = np.concatenate([points, parts[:, None]], 1)
    (out / SHAPENET_FOLDER / SYNSETS[category.capitalize()] / f"{name}.txt").write_text(
        _table(rows, " ".join(["%.6f"] * 6 + ["%.1f"]))
    )


def _table(rows: np.ndarray, line: str) -> str:
    return ("\n".join([line] * len(rows)) + "\n") % tuple(rows.ravel().tolist())
