"""ScanObjectNN: variants, subsets and normals, cache, order of points, and errors."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from geo3d.data import ScanObjectNN, ScanObjectNNDataset
from geo3d.data.shapes.normals import estimate_normals

HARDEST = "main_split/{}_objectdataset_augmentedrot_scale75.h5"


def write_h5(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file[key] = values


def clouds(seed: int, count: int, points: int = 80) -> np.ndarray:
    directions = np.random.default_rng(seed).standard_normal((count, points, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return (directions * [1.0, 0.7, 0.5] + 3).astype(np.float32)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """4 training and 2 test clouds of 80 points in each variant."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    files = (HARDEST, "main_split/{}_objectdataset.h5", "main_split_nobg/{}_objectdataset.h5")
    for number, name in enumerate(files):
        labels = np.array([0, 14, 3, 3], np.int32)
        write_h5(tmp_path / name.format("training"), data=clouds(number, 4), label=labels, mask=np.zeros(4))
        write_h5(tmp_path / name.format("test"), data=clouds(number + 9, 2), label=labels[:2])
    return tmp_path


def test_clouds_keep_their_place_and_get_normals(root):
    dataset = ScanObjectNNDataset(root, "train", 64)
    source = clouds(0, 4)
    assert len(dataset) == 4 and dataset.labels == [0, 14, 3, 3] and dataset.class_names[14] == "toilet"
    points = dataset[1].points.numpy()
    assert points.shape == (64, 6)
    np.testing.assert_array_equal(points[0, :3], source[1, 0])
    rows = {tuple(point) for point in source[1]}
    assert len({tuple(point) for point in points[:, :3]} & rows) == 64
    np.testing.assert_array_equal(points[:, 3:], estimate_normals(points[:, :3]))


@pytest.mark.parametrize(("variant", "seed"), [("hardest", 0), ("objectbg", 1), ("objectonly", 2)])
def test_variants(root, variant, seed):
    train = ScanObjectNNDataset(root, "train", 64, variant=variant)
    test = ScanObjectNNDataset(root, "test", 64, variant=variant)
    np.testing.assert_array_equal(train.points[:, 0, :3], clouds(seed, 4)[:, 0])
    np.testing.assert_array_equal(test.points[:, 0, :3], clouds(seed + 9, 2)[:, 0])


def test_cache(root, monkeypatch):
    first = ScanObjectNNDataset(root, "train", 64)
    with monkeypatch.context() as patch:
        patch.setattr("geo3d.data.shapes.scanobjectnn._read_h5", None)
        again = ScanObjectNNDataset(root, "train", 64)
    assert torch.equal(first.points, again.points) and first.labels == again.labels
    write_h5(root / HARDEST.format("training"), data=clouds(5, 3), label=np.arange(3))
    assert len(ScanObjectNNDataset(root, "train", 64)) == 3


def test_training_shuffles_points_and_testing_does_not(root):
    data = ScanObjectNN(str(root), num_points=64, batch_size=2, test_batch_size=2)
    data.setup("fit")
    loader = data.train_dataloader()
    first, second = (torch.cat([batch.points for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    rows = [torch.sort(epoch.reshape(-1, 6)[:, 0]).values for epoch in (first, second)]
    assert torch.equal(*rows)
    assert torch.equal(next(iter(data.test_dataloader())).points, ScanObjectNNDataset(root, "test", 64).points)
    assert data.num_classes == 15


DATA, LABEL = clouds(0, 2), np.zeros(2, int)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": DATA}, r"expected data and label, got \['data'\]"),
        ({"points": DATA, "label": LABEL}, r"expected data and label, got \['label', 'points'\]"),
        ({"data": DATA[..., :2], "label": LABEL}, r"expected data \[M, P, 3\] floating point, got \[2, 80, 2\]"),
        ({"data": DATA[:0], "label": LABEL[:0]}, r"got \[0, 80, 3\]"),
        ({"data": DATA, "label": LABEL[:1]}, "expected a label for each of 2 clouds, got 1"),
        ({"data": DATA, "label": LABEL + 15}, r"expected labels in \[0, 15\), got 15 to 15"),
        ({"data": DATA * [1, np.nan, 1], "label": LABEL}, "expected finite points, got a value that is not in cloud 0"),
        ({"data": DATA[:, :63], "label": LABEL}, "expected at least num_points = 64 points, got 63"),
    ],
    ids=["no_label", "no_data", "columns", "empty", "label_count", "label_range", "nan", "too_few_points"],
)
def test_file_errors(root, arrays, message):
    write_h5(root / HARDEST.format("training"), **arrays)
    with pytest.raises(ValueError, match=f"training_objectdataset_augmentedrot_scale75.h5: .*{message}"):
        ScanObjectNNDataset(root, "train", 64)


def test_other_errors(root):
    (root / HARDEST.format("test")).write_bytes(b"not a file of this kind")
    with pytest.raises(ValueError, match="test_objectdataset_augmentedrot_scale75.h5: expected an HDF5 file, got"):
        ScanObjectNNDataset(root, "test", 64)
    (root / HARDEST.format("test")).unlink()
    with pytest.raises(FileNotFoundError, match="no main_split/test_objectdataset_augmentedrot_scale75.h5 under"):
        ScanObjectNNDataset(root, "test", 64)
    with pytest.raises(ValueError, match="ScanObjectNNDataset: variant must be one of .*, got 'easy'"):
        ScanObjectNNDataset(root, "test", 64, variant="easy")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        ScanObjectNNDataset(root, "val", 64)


def external(file):
    file["data"] = h5py.ExternalLink("elsewhere.h5", "/data")


def soft_link_to_nothing(file):
    file["data"] = h5py.SoftLink("/nothing")


def claimed(file):
    file.create_dataset("data", (4_000_000, 2048, 3), "f4", chunks=(1, 2048, 3))  # 96 GB, none of it written


def claimed_packed(file):
    file.create_dataset("data", (4_000_000, 2048, 3), "f4", chunks=(1000, 2048, 3), compression="gzip")[:1] = 1


def in_other_files(file):
    file.create_dataset("data", (2, 80, 3), "f4", external=[("/etc/passwd", 0, 1920)])


def group(file):
    file.create_group("data")


def text(file):
    file["data"] = "cloud"


@pytest.mark.parametrize("broken", [external, soft_link_to_nothing, claimed, claimed_packed, in_other_files, group, text])
def test_arrays_that_are_not_in_the_file(broken, root):
    path = root / HARDEST.format("training")
    with h5py.File(path, "w") as file:
        file["label"] = LABEL
        broken(file)
    with pytest.raises(ValueError, match="training_objectdataset_augmentedrot_scale75.h5: expected data"):
        ScanObjectNNDataset(root, "train", 64)


@pytest.mark.parametrize("length", [100, 2000, 3000])
def test_cut_off_files(length, root):
    path = root / HARDEST.format("training")
    content = path.read_bytes()
    assert len(content) > length
    path.write_bytes(content[:length])
    with pytest.raises(ValueError, match="training_objectdataset_augmentedrot_scale75.h5: expected"):
        ScanObjectNNDataset(root, "train", 64)
