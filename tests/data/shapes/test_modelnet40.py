"""ModelNet40: native text files, the authors' pickle caches, our cache, loaders and errors."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from shared_folders import SAMPLES

from geo3d.data import ClassificationBatch, GeneratedShapes, ModelNet40, ModelNet40Dataset
from geo3d.data.loading import EpochSampler

CLASSES = ("airplane", "night_stand")


def write_shape(path: Path, generator: np.random.Generator, count: int = 60) -> np.ndarray:
    normals = generator.standard_normal((count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    table = np.concatenate([normals * [1.0, 0.5, 0.3] + 0.2, normals], 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, fmt="%.6f", delimiter=",")
    return table


@pytest.fixture
def root(tmp_path, monkeypatch):
    """6 training and 3 test shapes of two classes, 60 points each."""
    monkeypatch.setenv("GEO3D_DATA", str(tmp_path / "cache"))
    folder = tmp_path / "modelnet"
    generator = np.random.default_rng(0)
    shapes = {"train": [], "test": []}
    for number in range(9):
        name = f"{CLASSES[number % 2]}_{number:04d}"
        shapes["test" if number >= 6 else "train"].append(name)
        write_shape(folder / CLASSES[number % 2] / f"{name}.txt", generator)
    (folder / "modelnet40_shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    for split, names in shapes.items():
        (folder / f"modelnet40_{split}.txt").write_text("\n".join(names) + "\n")
    return folder


def module(root: Path, **options) -> ModelNet40:
    return ModelNet40(**{"root": str(root), "num_points": 16, "batch_size": 2, "test_batch_size": 2} | options)


def test_clouds_are_spread_subsets_in_the_unit_sphere(root):
    dataset = ModelNet40Dataset(root, "train", 16)
    sample = dataset[3]
    file = np.loadtxt(root / "night_stand" / "night_stand_0003.txt", delimiter=",")
    assert len(dataset) == 6 and sample.label == 1 and sample.points.dtype == torch.float32
    norms = sample.points[:, :3].norm(dim=1)
    assert norms.max().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(sample.points[:, :3].mean(0), torch.zeros(3))
    # The normals tell which line of the file each point is: the first is line 1, the second the farthest from it.
    lines = np.linalg.norm(file[None, :, 3:] - sample.points[:, None, 3:].numpy(), axis=2).argmin(1)
    assert len(set(lines)) == 16 and lines[0] == 0
    assert lines[1] == np.linalg.norm(file[:, :3] - file[0, :3], axis=1).argmax()


def test_second_read_comes_from_the_cache(root, monkeypatch):
    first = ModelNet40Dataset(root, "train", 16).points
    assert (root / "modelnet40_train_16pts.npz").is_file()
    assert not list(root.glob(".*"))
    monkeypatch.setattr("geo3d.data.shapes.modelnet40.read_point_table", None)
    torch.testing.assert_close(ModelNet40Dataset(root, "train", 16).points, first, rtol=0, atol=0)


@pytest.mark.parametrize("damage", ["changed_file", "shorter_list", "cut_off_cache", "foreign_cache"])
def test_cache_is_never_stale(root, damage):
    before = ModelNet40Dataset(root, "train", 16).points
    cache = root / "modelnet40_train_16pts.npz"
    if damage == "changed_file":
        write_shape(root / "airplane" / "airplane_0000.txt", np.random.default_rng(9))
    elif damage == "shorter_list":
        (root / "modelnet40_train.txt").write_text("airplane_0002\nnight_stand_0003\n")
    elif damage == "cut_off_cache":
        cache.write_bytes(cache.read_bytes()[:200])
    else:
        np.savez(cache, points=np.zeros((6, 16, 6), np.float32))
    after = ModelNet40Dataset(root, "train", 16).points
    if damage == "shorter_list":
        torch.testing.assert_close(after, before[2:4], rtol=0, atol=0)
    else:
        assert bool((after[0] == before[0]).all()) == (damage != "changed_file")
        torch.testing.assert_close(after[1:], before[1:], rtol=0, atol=0)


def test_cache_of_a_folder_that_cannot_be_written(root, tmp_path, monkeypatch):
    from geo3d.data import cache

    real = cache.tempfile.mkstemp

    def refuse(*args, dir, **options):
        if Path(dir) == root:
            raise PermissionError("read-only")
        return real(*args, dir=dir, **options)

    monkeypatch.setattr(cache.tempfile, "mkstemp", refuse)
    first = ModelNet40Dataset(root, "train", 16).points
    assert not list(root.glob("*.npz")) and len(list((tmp_path / "cache").rglob("*.npz"))) == 1
    monkeypatch.setattr("geo3d.data.shapes.modelnet40.read_point_table", None)
    torch.testing.assert_close(ModelNet40Dataset(root, "train", 16).points, first, rtol=0, atol=0)


def test_batches(root):
    data = module(root)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [tuple(batch.points.shape) for batch in batches] == [(2, 16, 6)] * 3
    assert data.num_classes == 2 and data.class_names == list(CLASSES)
    tested = list(data.test_dataloader())
    assert [batch.labels.tolist() for batch in tested] == [[0, 1], [0]]
    assert isinstance(tested[0], ClassificationBatch)
    assert tested[0].to("meta").points.device.type == "meta"


def test_an_epoch_is_whole_and_each_epoch_differs(root):
    sampler = EpochSampler(6, seed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == [(i, 0) for i in range(6)] and sorted(second) == [(i, 1) for i in range(6)]
    assert [i for i, _ in first] != [i for i, _ in second]
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_training_is_reproducible_whatever_the_workers(root):
    def epochs(num_workers: int, seed: int) -> list[torch.Tensor]:
        loader = module(root, num_workers=num_workers, seed=seed, train_rotation="so3").train_dataloader()
        return [torch.cat([batch.points for batch in loader]) for _ in range(2)]

    alone, beside, other = epochs(0, 3), epochs(2, 3), epochs(0, 4)
    for one, two in zip(alone, beside, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not torch.equal(alone[0], alone[1]) and not torch.equal(alone[0], other[0])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_resumed_training_goes_on_with_the_same_batches(root, tmp_path, num_workers):
    def fit(max_epochs: int, checkpoint: Path | None = None) -> tuple[list[float], lightning.Trainer]:
        network, data = RecordBatches(), module(root, num_workers=num_workers)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=max_epochs,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(network, data, ckpt_path=checkpoint)
        return network.sums, trainer

    whole, _ = fit(3)
    begun, trainer = fit(2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed, _ = fit(3, tmp_path / "last.ckpt")
    assert begun + resumed == whole and len(set(whole)) == 9


class RecordBatches(lightning.LightningModule):
    """Trains one weight and keeps a sum of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6, 1)
        self.sums: list[float] = []

    def training_step(self, batch: ClassificationBatch, index: int) -> torch.Tensor:
        self.sums.append(batch.points.sum().item())
        return self.layer(batch.points).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def test_plain_index_augments_anew(root):
    dataset = module(root).dataset("train")
    torch.manual_seed(0)
    first, second = dataset[0].points, dataset[0].points
    torch.manual_seed(0)
    assert not torch.equal(first, second) and torch.equal(dataset[0].points, first)


def test_test_rotation_is_fixed_per_item(root):
    plain = module(root).dataset("test")
    rotated = module(root, test_rotation="so3").dataset("test")
    about_y = module(root, test_rotation="z").dataset("test")
    assert torch.equal(rotated[0].points, rotated[0].points)
    assert not torch.allclose(rotated[0].points, plain[0].points)
    torch.testing.assert_close(about_y[0].points[:, 1::3], plain[0].points[:, 1::3])
    assert not torch.allclose(about_y[0].points, plain[0].points)
    gram = [torch.cat([p[:, :3], p[:, 3:]]) @ torch.cat([p[:, :3], p[:, 3:]]).T for p in (rotated[1].points, plain[1].points)]
    torch.testing.assert_close(*gram)


def test_orient_normals(root):
    oriented = module(root, orient_normals=True).dataset("test").points
    offset = oriented[..., :3] - oriented[..., :3].mean(1, keepdim=True)
    assert (oriented[..., 3:] * offset).sum(-1).min() >= -1e-6


def write_pickle(root: Path, content: object, protocol: int = 2) -> None:
    (root / "modelnet40_train_16pts_fps.dat").write_bytes(pickle.dumps(content, protocol))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_cache_of_the_authors(root, protocol):
    clouds = [np.random.default_rng(i).standard_normal((16, 6)).astype(np.float32) for i in range(3)]
    write_pickle(root, [clouds, [np.array([i % 2]) for i in range(3)]], protocol)
    dataset = ModelNet40Dataset(root, "train", 16)
    assert dataset.labels == [0, 1, 0]
    torch.testing.assert_close(dataset.points[1, :, 3:], torch.from_numpy(clouds[1][:, 3:]), rtol=0, atol=0)
    assert len(ModelNet40Dataset(root, "train", 8)) == 6  # another number of points: from the text files


class Malicious:
    def __reduce__(self):
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Malicious(), "a pickle of numpy arrays and lists, got posix.system, which is refused"),
        ([[np.zeros((16, 6))], [Malicious()]], "a pickle of numpy arrays and lists, got posix.system, which is refused"),
        ([np.zeros((2, 16, 6))], r"\[clouds, labels\], got list"),
        ([[np.zeros((16, 6)), np.zeros((15, 6))], [0, 0]], "clouds of one size and one label each"),
        ([[np.zeros((16, 3))], [0]], r"clouds of one size and one label each, got \[16, 3\]"),
        ([[np.full((16, 6), np.nan)], [0]], "finite points, got a value that is not in cloud 0"),
    ],
)
def test_pickle_errors(root, content, message):
    write_pickle(root, content)
    with pytest.raises(ValueError, match=f"modelnet40_train_16pts_fps.dat: expected {message}"):
        ModelNet40Dataset(root, "train", 16)


def test_broken_pickle(root):
    (root / "modelnet40_train_16pts_fps.dat").write_bytes(b"\x80\x04garbage")
    with pytest.raises(ValueError, match="modelnet40_train_16pts_fps.dat: expected a pickle of numpy arrays"):
        ModelNet40Dataset(root, "train", 16)


@pytest.mark.parametrize("name", ["modelnet40_shape_names.txt", "modelnet40_train.txt"])
def test_missing_list(root, name):
    (root / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name} in "):
        ModelNet40Dataset(root, "train", 16)
    (root / name).write_text("\n")
    with pytest.raises(ValueError, match=f"{name}: expected at least one line"):
        ModelNet40Dataset(root, "train", 16)


def test_missing_file(root):
    (root / "airplane" / "airplane_0002.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no airplane/airplane_0002.txt under .*; modelnet40_train.txt names it"):
        ModelNet40Dataset(root, "train", 16)


def test_unknown_class(root):
    (root / "modelnet40_train.txt").write_text("boat_0001\n")
    with pytest.raises(ValueError, match="modelnet40_train.txt: expected ids of .* classes, got boat_0001"):
        ModelNet40Dataset(root, "train", 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0,1\n" * 20, "expected 6 numbers a line .*, got 3"),
        ("0,0,0,0,0,1\n" * 20 + "0,0,0\n", "expected 6 numbers a line"),
        ("0 0 0 0 0 1\n" * 20, "expected 6 numbers a line"),
        ("0,0,0,0,0,one\n" * 20, "expected 6 numbers a line .*'one'"),
        ("0,0,0,0,0,1\n" * 20 + "0,nan,0,0,0,1\n", "expected finite numbers, got y = nan in line 21"),
        ("", "expected 6 numbers a line .*, got an empty file"),
        ("0,0,0,0,0,1\n" * 15, "expected at least num_points = 16 points, got 15"),
    ],
    ids=["three_columns", "ragged", "delimiter", "word", "nan", "empty", "too_few_points"],
)
def test_file_errors(root, text, message):
    (root / "airplane" / "airplane_0000.txt").write_text(text)
    with pytest.raises(ValueError, match=f"airplane_0000.txt: {message}"):
        ModelNet40Dataset(root, "train", 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": ["twist"]}, "ModelNet40: augment takes names of .*, got 'twist'"),
        ({"train_rotation": "SO3"}, "ModelNet40: rotation must be one of .*, got 'SO3'"),
        ({"generate": GeneratedShapes(4)}, "ModelNet40: generate goes with root 'generated'"),
    ],
)
def test_option_errors(root, options, message):
    with pytest.raises(ValueError, match=message):
        module(root, **options).setup("fit")


def test_other_errors(root):
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        ModelNet40Dataset(root, "val", 16)
    with pytest.raises(FileNotFoundError, match="ModelNet40: no folder .*nowhere"):
        module(root / "nowhere").setup("fit")
    with pytest.raises(ValueError, match="batch_size 32 needs as many training items, there are 6"):
        module(root, batch_size=32).train_dataloader()


def test_real_files(tmp_path):
    source = SAMPLES / "modelnet40_normal_resampled"
    if not source.is_dir():
        pytest.skip(f"no real samples in {SAMPLES}; set GEO3D_SAMPLES")
    root = tmp_path / "modelnet"
    shutil.copytree(source, root, copy_function=shutil.copyfile)
    os.chmod(root, 0o755)
    (root / "modelnet40_test.txt").write_text("airplane_0627\nairplane_0628\nperson_0001\n")
    dataset = ModelNet40Dataset(root, "test", 1024)
    assert len(dataset.class_names) == 40 and [dataset.class_names[i] for i in dataset.labels] == ["airplane"] * 2 + ["person"]
    assert tuple(dataset.points.shape) == (3, 1024, 6)
    torch.testing.assert_close(
        dataset.points[..., 3:].norm(dim=-1), torch.ones(3, 1024), rtol=0, atol=2e-3
    )  # 4 digits in the file
    nearest = torch.cdist(dataset.points[..., :3], dataset.points[..., :3]) + 9 * torch.eye(1024)
    assert nearest.amin(-1).min() > 0.01  # spread out: 1024 points at random come 10 times closer
