"""Generated shapes: sound meshes, honest labels and normals, variety, and the two formats on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from geo3d.data.shapes.part_labels import NUM_PARTS, OFFICIAL_CATEGORIES, PARTS, SYNSETS, part_range
from geo3d.data.synthetic.shapes.generate import (
    CATEGORIES,
    MODELNET_FOLDER,
    SHAPENET_FOLDER,
    VERSIONS,
    make_shape,
    sample_shape,
    write_shapes,
)
from geo3d.tools.make_data import main

SEEDS = range(6)
# Which parts an object may go without; all others are in every object.
OPTIONAL = {
    "bathtub": {"foot", "tap"},
    "bottle": {"cap"},
    "chair": {"arm"},
    "lamp": {"base", "canopy", "pole"},
    "sofa": {"arm", "leg"},
    "table": {"support"},
    "toilet": {"tank", "foot"},
}
OF_ONE_BUILD = {"bottle", "cap", "guitar", "knife", "mug", "skateboard"}  # their sub-styles are curves of the same pieces


NEW_STYLES = ("airplane", "bathtub", "chair", "toilet")  # of version 2


def drawn(category: str, seed: int, version: int = 1):
    rng = np.random.default_rng([seed, CATEGORIES.index(category)])
    return make_shape(category, rng, version), rng


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shapes") / "out"
    write_shapes(out, 54, seed=3, num_points=64, workers=1, categories=("airplane", "chair", "toilet"))
    return out


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("category", CATEGORIES)
def test_meshes_are_sound(category, version):
    for seed in SEEDS:
        shape, _ = drawn(category, seed, version)
        assert np.isfinite(shape.vertices).all()
        assert shape.faces.min() >= 0 and shape.faces.max() < len(shape.vertices)
        assert shape.face_parts.shape == (len(shape.faces),)
        names = PARTS[category.capitalize()]
        present = {names[label - part_range(category.capitalize()).start] for label in shape.labels}
        assert set(names) - present <= OPTIONAL.get(category, set())


@pytest.mark.parametrize("category", CATEGORIES)
def test_normals_point_outwards(category):
    """A step along the normal leaves a solid, and a step against it enters: its own rule of what is inside says so."""
    checked = 0
    for seed in SEEDS:
        shape, rng = drawn(category, seed)
        for solid in shape.solids:
            corners = solid.vertices[solid.faces]
            cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            area = np.linalg.norm(cross, axis=1)
            assert np.abs(cross.sum(0)).max() < 1e-9 * area.sum()  # the normals of a closed surface cancel
            if solid.inside is None:
                continue
            face = rng.choice(len(area), 200, p=area / area.sum())
            centers, normals = corners[face].mean(1), cross[face] / area[face, None]
            steps = (0.15 * np.ptp(solid.vertices, axis=0).min(), 0.004)  # the latter for thin walls
            outwards = [
                solid.inside(centers - step * normals).mean() - solid.inside(centers + step * normals).mean() for step in steps
            ]
            assert max(outwards) > 0.4
            checked += 1
    assert checked


@pytest.mark.parametrize("category", CATEGORIES)
def test_sampled_points(category):
    shape, rng = drawn(category, 0)
    points, parts = sample_shape(shape, 700, rng)
    assert points.shape == (700, 6) and points.dtype == np.float32
    assert parts.shape == (700,) and parts.dtype == np.int64
    np.testing.assert_allclose(np.linalg.norm(points[:, 3:], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(points[:, :3].mean(0), 0, atol=1e-6)
    assert np.linalg.norm(points[:, :3], axis=1).max() == pytest.approx(1, abs=1e-6)
    assert set(parts.tolist()) <= set(part_range(category.capitalize()))


def test_sampling_is_even_and_skips_what_is_hidden():
    shape, rng = next(found for found in (drawn("table", seed) for seed in range(9)) if not found[0].keeps_hidden)
    points, parts = sample_shape(shape, 20_000, rng)
    # Two draws agree on the share of every part: shares follow from areas, not from how the mesh is cut into faces.
    again, again_parts = sample_shape(shape, 20_000, rng)
    for part in np.unique(parts):
        assert np.mean(parts == part) == pytest.approx(np.mean(again_parts == part), abs=0.02)
    low, high = shape.vertices.min(0), shape.vertices.max(0)
    scale = (points[:, :3].max(0) - points[:, :3].min(0)) / (high - low)
    assert np.ptp(scale) < 0.02  # one scale for all axes
    world = (points[:, :3] - points[:, :3].min(0)) / scale.mean() + low
    for number, solid in enumerate(shape.solids):
        if solid.inside is not None:
            others = parts != shape.labels[number]
            deep = solid.inside(world[others] + 0.004) & solid.inside(world[others] - 0.004)
            assert deep.mean() < 0.01


def test_an_object_depends_on_its_seed_alone():
    for category in CATEGORIES:
        first, second, other = (sample_shape(*drawn_with_points(category, seed))[0] for seed in (4, 4, 5))
        np.testing.assert_array_equal(first, second)
        assert np.abs(first - other).max() > 0.01


def test_version_1_stays():
    """Packaged weights were trained on it."""
    shapes = [drawn(category, 0)[0] for category in CATEGORIES]
    assert sum(len(shape.vertices) for shape in shapes) == 15354
    assert sum(len(shape.faces) for shape in shapes) == 30160
    assert sum(np.abs(shape.vertices).sum() for shape in shapes) == pytest.approx(15288.0381, rel=1e-6)


@pytest.mark.parametrize("category", NEW_STYLES)
def test_version_2_has_other_styles(category):
    builds = []
    for version in VERSIONS:
        shapes = [drawn(category, seed, version)[0] for seed in range(60)]
        builds.append({(shape.labels, tuple(len(solid.faces) for solid in shape.solids)) for shape in shapes})
    assert len(builds[1] - builds[0]) >= 10


def test_there_is_no_version_3(tmp_path):
    with pytest.raises(ValueError, match="version must be 1 or 2, got 3"):
        make_shape("chair", np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="version must be 1 or 2, got 3"):
        write_shapes(tmp_path / "out", 1, 0, version=3)


def drawn_with_points(category: str, seed: int):
    shape, rng = drawn(category, seed)
    return shape, 300, rng


@pytest.mark.parametrize("category", [name for name in CATEGORIES if name not in OF_ONE_BUILD])
def test_sub_styles_occur(category):
    """Objects of a class differ in how they are built, not in their measures alone."""
    builds = set()
    for seed in range(24):
        shape, _ = drawn(category, seed)
        builds.add((shape.labels, tuple(len(solid.faces) for solid in shape.solids)))
    assert len(builds) >= 4


@pytest.mark.parametrize("category", CATEGORIES)
def test_proportions_vary(category):
    extents = [np.ptp(drawn(category, seed)[0].vertices, axis=0) for seed in range(24)]
    assert np.std([extent / extent.max() for extent in extents], axis=0).max() > 0.02


def test_y_is_up():
    """As in the real data: people stand along y, seats are above legs, wings are flat."""
    for seed in SEEDS:
        for category, upper, lower in (("chair", "back", "leg"), ("person", "head", "leg"), ("toilet", "seat", "foot")):
            shape, rng = drawn(category, seed)
            points, parts = sample_shape(shape, 500, rng)
            labels = PARTS[category.capitalize()]
            start = part_range(category.capitalize()).start
            above, below = (points[parts == start + labels.index(name), 1] for name in (upper, lower))
            if len(above) and len(below):
                assert above.mean() > below.mean()
        assert np.ptp(drawn("airplane", seed)[0].vertices, axis=0).argmin() == 1


def test_unknown_category():
    with pytest.raises(ValueError, match="one of airplane.*got 'unicorn'"):
        make_shape("unicorn", np.random.default_rng(0))


def test_part_labels_are_those_of_shapenet_part():
    official = [part_range(name) for name in list(PARTS)[:OFFICIAL_CATEGORIES]]
    starts = [labels.start for labels in official]
    assert starts == [0, 4, 6, 8, 12, 16, 19, 22, 24, 28, 30, 36, 38, 41, 44, 47]
    assert official[-1].stop == 50
    assert list(PARTS) == list(SYNSETS) and len(set(SYNSETS.values())) == len(SYNSETS)
    assert part_range(list(PARTS)[-1]).stop == NUM_PARTS
    with pytest.raises(ValueError, match="got 'chair'"):
        part_range("chair")


def test_modelnet40_format(written):
    folder = written / MODELNET_FOLDER
    assert (folder / "modelnet40_shape_names.txt").read_text() == "airplane\nchair\ntoilet\n"
    train, test = ((folder / f"modelnet40_{name}.txt").read_text().split() for name in ("train", "test"))
    assert len(train) == 45 and len(test) == 9 and not set(train) & set(test)
    for shape in (*train, *test):
        lines = (folder / shape.rsplit("_", 1)[0] / f"{shape}.txt").read_text().splitlines()
        assert len(lines) == 64
        values = [line.split(",") for line in lines]
        assert all(len(row) == 6 and all(len(value.split(".")[1]) == 6 for value in row) for row in values)
        normals = np.array(values, dtype=float)[:, 3:]
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_shapenet_part_format(written):
    folder = written / SHAPENET_FOLDER
    lines = (folder / "synsetoffset2category.txt").read_text().splitlines()
    assert lines[:3] == ["Airplane\t02691156", "Bag\t02773838", "Cap\t02954340"]
    assert lines[OFFICIAL_CATEGORIES - 1] == "Table\t04379243"
    splits = {
        name: json.loads((folder / "train_test_split" / f"shuffled_{name}_file_list.json").read_text())
        for name in ("train", "val", "test")
    }
    assert [len(splits[name]) for name in splits] == [39, 6, 9]
    listed = sum(splits.values(), [])
    assert len(set(listed)) == 54
    for entry in listed:
        top, synset, shape = entry.split("/")
        table = np.loadtxt(folder / synset / f"{shape}.txt")
        assert top == "shape_data" and table.shape == (2500, 7)
        name = next(name for name, offset in SYNSETS.items() if offset == synset)
        assert set(table[:, 6].astype(int).tolist()) <= set(part_range(name))
    held_out = {entry.rsplit("/", 1)[1] for entry in splits["test"]}
    assert held_out == set((written / MODELNET_FOLDER / "modelnet40_test.txt").read_text().split())


def test_same_bytes_whatever_the_workers(written, tmp_path):
    write_shapes(tmp_path / "out", 54, seed=3, num_points=64, workers=2, categories=("airplane", "chair", "toilet"))
    assert digests(tmp_path / "out") == digests(written)


def test_refuses_to_overwrite(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_shapes(tmp_path, 1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("geo3d.data.synthetic.shapes.generate.sample_shape", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path / "out", 2, seed=0, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "at least 1, got 0"),
        ({"size": 1, "num_points": 0}, "at least 1"),
        ({"size": 1, "categories": ("chair", "unicorn")}, "got unicorn"),
        ({"size": 1, "categories": ()}, "got none"),
    ],
)
def test_bad_requests(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_shapes(tmp_path / "out", options.pop("size"), seed=0, **options)
    assert not (tmp_path / "out").exists()


def test_tool(tmp_path, capsys):
    arguments = ["shapes", "--out", str(tmp_path / "out"), "--size", "2", "--num-points", "40", "--workers", "1"]
    assert main(arguments) == 0
    assert (tmp_path / "out" / MODELNET_FOLDER / "airplane" / "airplane_0001.txt").is_file()
    capsys.readouterr()
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    with pytest.raises(FileExistsError):
        main([*arguments, "--debug"])
    with pytest.raises(SystemExit) as stopped:
        main(["unicorns", "--out", str(tmp_path / "other")])
    assert stopped.value.code == 2
