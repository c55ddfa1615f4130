"""Data sets of meshes: FG3D with its lists and caches, ModelNet's folders; sampling, labels, cache and errors."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shared_folders import SAMPLES

from geo3d.data import FG3D, FG3DDataset, ModelNetOff, ModelNetOffDataset

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]  # outward windings


def write_box(path: Path, size: tuple[float, float, float], flipped: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    quads = [quad[::-1] for quad in QUADS] if flipped else QUADS
    faces = [f"3 {a} {b} {c}" for q in quads for a, b, c in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]
    vertices = [" ".join(map(str, corner)) for corner in CORNERS * size]
    path.write_text("\n".join(["OFF", f"8 {len(faces)} 0", *vertices, *faces]) + "\n")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """FG3D with four training and two test chairs of two classes."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    folder = tmp_path / "fg3d"
    names = [f"{name}_{number:03d}" for name in ("arm_chair", "stool") for number in range(3)]
    for number, name in enumerate(names):
        write_box(folder / "chair_off" / f"{name}.off", (1, 1 + number, 2), flipped=number % 2 == 1)
    (folder / "Chair_subcategories.txt").write_text("arm_chair\nstool\n")
    (folder / "Chair_off_train.txt").write_text("\n".join(names[:2] + names[3:5]))
    (folder / "Chair_off_test.txt").write_text("\n".join([names[2], names[5]]))
    return folder


@pytest.fixture
def modelnet(tmp_path, monkeypatch):
    """ModelNet folders with two training meshes and one test mesh."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    for name in ("sofa/train/sofa_0001", "bed/train/bed_0001", "sofa/test/sofa_0002"):
        write_box(tmp_path / "modelnet" / f"{name}.off", (1, 2, 1))
    return tmp_path / "modelnet"


def test_points_lie_on_the_mesh_and_are_spread(root):
    dataset = FG3DDataset(root, "chair", "train", 64)
    assert dataset.class_names == ["arm_chair", "stool"] and dataset.labels == [0, 0, 1, 1]
    points = dataset[0].points
    assert tuple(points.shape) == (64, 6)
    assert points[:, :3].norm(dim=1).max().item() == pytest.approx(1, abs=1e-6)
    # Box faces: the normal is an axis, and all points with one normal share that coordinate.
    sides = points[:, 3:].round()
    torch.testing.assert_close(points[:, 3:], sides)
    for side in sides.unique(dim=0):
        rows = (sides == side).all(1)
        heights = (points[rows, :3] * side).sum(1)
        torch.testing.assert_close(heights, heights[:1].expand_as(heights))
    distances = torch.cdist(points[:, :3], points[:, :3]) + 9 * torch.eye(64)
    assert distances.min() > 0.1  # 64 random points on this box have a pair closer than 0.03


def test_orient_normals_repairs_windings(root):
    def outward(oriented: bool) -> list[float]:
        points = FG3DDataset(root, "chair", "train", 64, orient_normals=oriented).points
        return ((points[..., 3:] * points[..., :3]).sum(-1) > 0).float().mean(1).tolist()

    assert outward(False) == [1, 0, 0, 1] and outward(True) == [1, 1, 1, 1]


def test_sampling_depends_on_seed_and_name_and_is_cached(root, monkeypatch):
    first = FG3DDataset(root, "chair", "train", 64).points
    assert not torch.equal(FG3DDataset(root, "chair", "train", 64, seed=1).points, first)
    (root / "Chair_off_train.txt").write_text("stool_001\n")
    torch.testing.assert_close(FG3DDataset(root, "chair", "train", 64).points, first[3:], rtol=0, atol=0)
    monkeypatch.setattr("geo3d.data.shapes.fg3d.sample_meshes_evenly", None)
    torch.testing.assert_close(FG3DDataset(root, "chair", "train", 64).points, first[3:], rtol=0, atol=0)


@pytest.mark.parametrize("container", [list, np.asarray])
def test_pickle_of_the_authors(root, container):
    points = np.random.default_rng(0).standard_normal((3, 64, 6))  # float64 there
    content = [container(points), container([0, 1, 1])]
    (root / "FG3D_chair_train_64pts_fps_processed.dat").write_bytes(pickle.dumps(content))
    dataset = FG3DDataset(root, "chair", "train", 64)
    assert dataset.labels == [0, 1, 1] and dataset.points.dtype == torch.float32
    np.testing.assert_array_equal(dataset.points[..., 3:], points[..., 3:].astype(np.float32))


def test_loaders(root):
    data = FG3D(str(root), "chair", num_points=64, batch_size=2, test_batch_size=2)
    data.prepare_data()
    data.setup("fit")
    assert len(list(data.train_dataloader())) == 2 and data.num_classes == 2
    assert next(iter(data.test_dataloader())).labels.tolist() == [0, 1]


def test_fg3d_errors(root):
    with pytest.raises(ValueError, match="FG3D: category must be one of .*, got 'boat'"):
        FG3DDataset(root, "boat", "train", 64)
    with pytest.raises(FileNotFoundError, match="no Car_subcategories.txt in"):
        FG3DDataset(root, "car", "train", 64)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        FG3DDataset(root, "chair", "val", 64)
    (root / "Chair_off_test.txt").write_text("bench_001\n")
    with pytest.raises(
        ValueError, match="Chair_off_test.txt: expected ids of Chair_subcategories.txt's classes, got bench_001"
    ):
        FG3DDataset(root, "chair", "test", 64)
    (root / "Chair_off_test.txt").write_text("stool_009\n")
    with pytest.raises(FileNotFoundError, match="no chair_off/stool_009.off under .*; Chair_off_test.txt names it"):
        FG3DDataset(root, "chair", "test", 64)
    (root / "Chair_off_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no Chair_off_test.txt in"):
        FG3DDataset(root, "chair", "test", 64)


@pytest.mark.parametrize(
    "text", ["", "OFF\n8 12 0\n0 0 0\n", "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n"], ids=["empty", "cut", "no_faces"]
)
def test_damaged_mesh(root, text):
    (root / "chair_off" / "arm_chair_000.off").write_text(text)
    with pytest.raises(ValueError, match="arm_chair_000.off: "):
        FG3DDataset(root, "chair", "train", 64)


def test_modelnet_folders(modelnet):
    data = ModelNetOff(str(modelnet), num_points=64, batch_size=2, test_rotation="z")
    data.prepare_data()
    assert data.class_names == ["bed", "sofa"] and data.num_classes == 2
    assert data.dataset("train").labels == [0, 1] and data.dataset("test").labels == [1]
    plain, turned = ModelNetOffDataset(modelnet, "test", 64)[0].points, data.dataset("test")[0].points
    torch.testing.assert_close(turned[:, 2::3], plain[:, 2::3])
    assert not torch.allclose(turned, plain)
    (batch,) = data.train_dataloader()
    assert tuple(batch.points.shape) == (2, 64, 6)


def test_modelnet_errors(modelnet):
    shutil.rmtree(modelnet / "sofa" / "test")
    with pytest.raises(FileNotFoundError, match=r"no \*/test/\*.off under"):
        ModelNetOffDataset(modelnet, "test", 64)
    with pytest.raises(FileNotFoundError, match="no <class>/train or <class>/test under"):
        ModelNetOffDataset(modelnet / "sofa", "train", 64)
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        ModelNetOff(str(modelnet / "nowhere")).setup("fit")


def test_real_meshes(tmp_path):
    source = SAMPLES / "modelnet10"
    if not source.is_dir():
        pytest.skip(f"no real samples in {SAMPLES}; set GEO3D_SAMPLES")
    for name in ("chair", "toilet"):
        (tmp_path / name / "train").mkdir(parents=True)
        for path in (source / name / "train").iterdir():
            shutil.copyfile(path, tmp_path / name / "train" / path.name)
    dataset = ModelNetOffDataset(tmp_path, "train", 512)
    assert dataset.class_names == ["chair", "toilet"] and tuple(dataset.points.shape) == (2, 512, 6)
    torch.testing.assert_close(dataset.points[..., 3:].norm(dim=-1), torch.ones(2, 512))
