"""ShapeNetPart: native text files, draws, labels that stay with their points, cache, loaders and errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geo3d.data import PartBatch, ShapeNetPart, ShapeNetPartDataset
from geo3d.data.shapes.part_labels import NUM_PARTS, PARTS
from geo3d.data.shapes.shapenet_part import draw_points
from geo3d.data.shapes.transforms import unit_sphere

# (name, folder, first part, number of parts) as in the official release
CATEGORIES = (("Airplane", "02691156", 0, 4), ("Mug", "03797390", 36, 2), ("Table", "04379243", 47, 3))
SIZES = (40, 64, 90)


def write_shape(path: Path, first_part: int, num_parts: int, count: int, seed: int) -> np.ndarray:
    """A shape whose normals tell the part: x is 1 for even parts and -1 for odd ones."""
    generator = np.random.default_rng(seed)
    parts = first_part + np.arange(count) % num_parts
    normals = np.zeros((count, 3))
    normals[:, 0] = 1 - 2 * (parts % 2)
    table = np.concatenate([generator.standard_normal((count, 3)) + 2, normals, parts[:, None]], 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, fmt="%.6f")
    return table


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Three categories with two training, one validation and one test shape each, of 40, 64 and 90 points."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    folder = tmp_path / "parts"
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for (_, synset, first, count), size in zip(CATEGORIES, SIZES, strict=True):
        for number, split in enumerate(("train", "train", "val", "test")):
            write_shape(folder / synset / f"shape{number}.txt", first, count, size, number)
            lists[split].append(f"shape_data/{synset}/shape{number}")
    (folder / "train_test_split").mkdir()
    for split, entries in lists.items():
        (folder / "train_test_split" / f"shuffled_{split}_file_list.json").write_text(json.dumps(entries))
    (folder / "synsetoffset2category.txt").write_text("".join(f"{name}\t{synset}\n" for name, synset, _, _ in CATEGORIES))
    return folder


def module(root: Path, **options) -> ShapeNetPart:
    return ShapeNetPart(**{"root": str(root), "num_points": 48, "batch_size": 3, "test_batch_size": 2} | options)


def test_official_labels(root):
    data = module(root)
    assert data.num_categories == 16 and data.num_classes == 50 and len(data.part_names) == len(data.class_names) == 50
    assert data.category_names[0] == "Airplane" and data.category_names[11] == "Mug" and data.category_names[15] == "Table"
    starts = [parts.start for parts in data.part_ranges]
    assert starts == [0, 4, 6, 8, 12, 16, 19, 22, 24, 28, 30, 36, 38, 41, 44, 47]
    assert [parts.stop for parts in data.part_ranges] == [*starts[1:], 50]


def test_labels_with_a_generated_category(root):
    with (root / "synsetoffset2category.txt").open("a") as file:
        file.write("Bottle 02876657\n")
    data = module(root)
    assert data.category_names == list(PARTS) and data.num_classes == NUM_PARTS == len(data.part_names)
    parts = data.part_ranges[data.category_names.index("Bottle")]
    assert data.part_names[parts.start : parts.stop] == list(PARTS["Bottle"])


def test_splits_and_categories(root):
    assert [len(ShapeNetPartDataset(root, split, 48)) for split in ("train", "val", "trainval", "test")] == [6, 3, 9, 3]
    dataset = ShapeNetPartDataset(root, "test", 48)
    assert [dataset[i].category for i in range(3)] == [0, 11, 15]


def test_whole_shape_in_the_unit_sphere(root):
    points, parts = ShapeNetPartDataset(root, "test", 48).shape(1)
    table = np.loadtxt(root / "03797390" / "shape3.txt")
    np.testing.assert_allclose(points, unit_sphere(table[:, :6]), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(parts, table[:, 6])


@pytest.mark.parametrize("draw", ["distinct", "replacement", "reference"])
def test_parts_stay_with_their_points(root, draw):
    augment = ("shuffle", "drop", "scale", "shift", "jitter")
    dataset = ShapeNetPartDataset(root, "train", 48, draw=draw, augment=augment)
    for index in range(6):
        sample = dataset[index]
        assert tuple(sample.points.shape) == (48, 6) and sample.parts.dtype == torch.int64
        torch.testing.assert_close(sample.points[:, 3], 1 - 2 * (sample.parts % 2).float())
        _, first, count = CATEGORIES[index // 2][1:]
        assert first <= sample.parts.min() and sample.parts.max() < first + count


def test_draws():
    generator = np.random.default_rng(0)
    assert len(set(draw_points(50, 50, "distinct", generator))) == 50
    few = draw_points(30, 50, "distinct", generator)
    assert len(few) == 50 and set(few) == set(range(30))
    repeated = draw_points(2048, 2048, "replacement", generator)
    assert 0.6 < len(set(repeated)) / 2048 < 0.66  # 1 - 1/e
    # The authors' loader: numpy.random.seed(2), then choice with replacement.
    np.random.seed(2)
    np.testing.assert_array_equal(draw_points(100, 80, "reference", generator), np.random.choice(100, 80, replace=True))


def test_training_draws_anew_and_testing_repeats(root):
    data = module(root, augment=(), num_points=32)
    loader = data.train_dataloader()
    first, second = (torch.cat([batch.points for batch in loader]) for _ in range(2))
    assert not torch.equal(torch.sort(first.flatten()).values, torch.sort(second.flatten()).values)
    one, two = (torch.cat([batch.points for batch in data.test_dataloader()]) for _ in range(2))
    assert torch.equal(one, two)
    again = module(root, augment=(), num_points=32, num_workers=2).train_dataloader()
    assert torch.equal(torch.cat([batch.points for batch in again]), first)


def test_batches(root):
    data = module(root, test_rotation="so3")
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 3 and isinstance(batches[0], PartBatch)
    assert tuple(batches[0].points.shape) == (3, 48, 6) and tuple(batches[0].parts.shape) == (3, 48)
    tested = list(data.test_dataloader())
    assert [batch.categories.tolist() for batch in tested] == [[0, 11], [15]]
    assert tested[0].to("meta").parts.device.type == "meta"
    plain = next(iter(module(root).test_dataloader()))
    assert torch.equal(tested[0].parts, plain.parts) and not torch.allclose(tested[0].points, plain.points)
    torch.testing.assert_close(tested[0].points[..., :3].norm(dim=-1), plain.points[..., :3].norm(dim=-1))


def test_orient_normals(root):
    points, _ = ShapeNetPartDataset(root, "test", 48, orient_normals=True).shape(2)
    assert (points[:, 3:] * points[:, :3]).sum(1).min() >= -1e-6


def test_cache_follows_the_files(root, monkeypatch):
    before = ShapeNetPartDataset(root, "test", 48)
    with monkeypatch.context() as patch:
        patch.setattr("geo3d.data.shapes.shapenet_part.read_point_table", None)
        again = ShapeNetPartDataset(root, "test", 48)
    for index in range(3):
        np.testing.assert_array_equal(again.shape(index)[0], before.shape(index)[0])
    write_shape(root / "03797390" / "shape3.txt", 36, 2, 70, seed=8)
    assert len(ShapeNetPartDataset(root, "test", 48).shape(1)[0]) == 70


ROW = "0 0 1 0 0 1 {}\n1 1 1 0 0 1 {}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 1 0 0 1\n" * 3, r"expected 7 numbers a line \(x y z nx ny nz part\), got 6"),
        (ROW.format(0, 4), r"expected parts \[0, 1, 2, 3\] of Airplane, got 4 in line 2"),
        (ROW.format(0, 1.5), "got 1.5 in line 2"),
        (ROW.format(0, "nan"), "expected finite numbers, got part = nan in line 2"),
        ("", "got an empty file"),
    ],
    ids=["columns", "foreign_part", "fraction", "nan", "empty"],
)
def test_file_errors(root, text, message):
    (root / "02691156" / "shape3.txt").write_text(text)
    with pytest.raises(ValueError, match=f"02691156/shape3.txt: .*{message}"):
        ShapeNetPartDataset(root, "test", 48)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "expected a JSON list of names, got"),
        ("[]", r"expected a JSON list of names, got \[\]"),
        ('{"a": 1}', "expected a JSON list of names, got {'a': 1}"),
        ("[1]", r"expected a JSON list of names, got \[1\]"),
        ('["shape_data/0000/a"]', "expected entries shape_data/.*, got shape_data/0000/a"),
        ('["a"]', "expected entries shape_data/.*, got a"),
    ],
)
def test_list_errors(root, text, message):
    (root / "train_test_split" / "shuffled_test_file_list.json").write_text(text)
    with pytest.raises(ValueError, match=f"shuffled_test_file_list.json: {message}"):
        ShapeNetPartDataset(root, "test", 48)


@pytest.mark.parametrize("text", ["Airplane\n", "Submarine 02691156\n", "Airplane 02691156 0\n"])
def test_category_errors(root, text):
    (root / "synsetoffset2category.txt").write_text(text)
    with pytest.raises(ValueError, match=f"synsetoffset2category.txt: expected lines .*, got '{text.strip()}'"):
        ShapeNetPartDataset(root, "test", 48)


def test_missing_files(root):
    (root / "02691156" / "shape3.txt").unlink()
    message = "no 02691156/shape3.txt under .*; shuffled_test_file_list.json names it"
    with pytest.raises(FileNotFoundError, match=message):
        ShapeNetPartDataset(root, "test", 48)
    (root / "train_test_split" / "shuffled_test_file_list.json").unlink()
    with pytest.raises(FileNotFoundError, match="no shuffled_test_file_list.json in"):
        ShapeNetPartDataset(root, "test", 48)
    (root / "synsetoffset2category.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no synsetoffset2category.txt in"):
        ShapeNetPartDataset(root, "test", 48)
    with pytest.raises(FileNotFoundError, match="ShapeNetPart: no folder .*nowhere"):
        module(root / "nowhere").setup("fit")


def test_option_errors(root):
    with pytest.raises(ValueError, match="split must be one of .*, got 'all'"):
        ShapeNetPartDataset(root, "all", 48)
    with pytest.raises(ValueError, match="ShapeNetPart: draw must be one of .*, got 'first'"):
        module(root, draw="first")
    with pytest.raises(ValueError, match="ShapeNetPart: rotation must be one of .*, got 'y'"):
        module(root, test_rotation="y")
    with pytest.raises(ValueError, match="ShapeNetPart: augment takes names of .*, got 'mirror'"):
        module(root, augment=["mirror"])
    with pytest.raises(ValueError, match="batch_size 32 needs as many training items, there are 9"):
        module(root, batch_size=32).train_dataloader()
