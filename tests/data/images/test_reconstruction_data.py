"""Data sets of images with voxels: R2N2's folders, Pix3D, their loaders; and what they refuse."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from geo3d.data import Pix3D, Pix3DDataset, R2N2Dataset, ShapeNetR2N2, ViewSettings
from geo3d.data.files.binvox import write_binvox
from geo3d.data.generated import GeneratedRenders
from geo3d.data.images.modules import TEST_VIEWS
from geo3d.data.images.reconstruction import ViewCollate
from geo3d.data.images.shapenet_r2n2 import find_categories, read_splits

SMALL = ViewSettings(image_size=16)
SPLITS = [
    {"taxonomy_id": "03001627", "taxonomy_name": "chair", "train": ["a", "b", "c"], "val": ["d"], "test": ["e"]},
    {"taxonomy_id": "02958343", "taxonomy_name": "car", "train": ["f"], "val": ["g"], "test": ["h"]},
]


def write_model(root, category: str, name: str, views: int = 5) -> None:
    """View i has alpha 255 and grey value 40 + i all over; one voxel, at x 1, y 2, z 3, is full."""
    pictures = root / "ShapeNetRendering" / category / name / "rendering"
    pictures.mkdir(parents=True)
    for i in range(views):
        Image.fromarray(np.full((137, 137, 4), (40 + i, 40 + i, 40 + i, 255), np.uint8)).save(pictures / f"{i:02d}.png")
    (root / "ShapeNetVox32" / category / name).mkdir(parents=True)
    voxels = np.zeros((8, 8, 8), bool)
    voxels[3, 2, 1] = True
    write_binvox(root / "ShapeNetVox32" / category / name / "model.binvox", voxels)


@pytest.fixture
def root(tmp_path):
    for entry in SPLITS:
        for split in ("train", "val", "test"):
            for name in entry[split]:
                write_model(tmp_path, entry["taxonomy_id"], name)
    (tmp_path / "ShapeNet.json").write_text(json.dumps(SPLITS))
    return tmp_path


def grays(images: torch.Tensor) -> list[int]:
    """Number of each view [V, 3, S, S], as `write_model` drew them."""
    return [round(value) - 40 for value in ((images[:, 0, 0, 0] + 1) * 127.5).tolist()]


def test_evaluation_takes_the_first_views(root):
    dataset = R2N2Dataset(root, "test", 3, SMALL)
    assert dataset.class_names == ["chair", "car"] and len(dataset) == 2
    sample = dataset[1]
    assert sample.images.shape == (3, 3, 16, 16) and grays(sample.images) == [0, 1, 2]
    assert (sample.category, sample.key) == (1, 1)
    assert sample.voxels.dtype == torch.bool and sample.voxels.nonzero().tolist() == [[3, 2, 1]]


def test_training_draws_different_views_by_epoch(root):
    dataset = R2N2Dataset(root, "train", 3, SMALL, training=True)
    drawn = [grays(dataset[0, epoch].images) for epoch in range(6)]
    assert all(len(set(views)) == 3 for views in drawn) and len({tuple(views) for views in drawn}) > 3
    assert torch.equal(dataset[0, 2].images, dataset[0, 2].images)


def test_backgrounds(root, samples):
    for path in root.rglob("*.png"):
        Image.fromarray(np.zeros((137, 137, 4), np.uint8)).save(path)
    value = (R2N2Dataset(root, "test", 1, SMALL)[0].images + 1) * 127.5
    torch.testing.assert_close(value, torch.full_like(value, 240))
    dataset = R2N2Dataset(root, "train", 3, SMALL, training=True)
    colors = torch.stack([(dataset[0, epoch].images[:, :, 0, 0] + 1) * 127.5 for epoch in range(20)])
    assert (colors == colors[:, :1]).all()  # the same behind all views of a sample
    assert colors.min() > 224.9 and colors.max() < 255.1 and len(colors[:, 0, 0].round().unique()) > 8
    photographs = ViewSettings(image_size=16, photographs=str(samples / "photographs"), photograph_share=1.0)
    views = R2N2Dataset(root, "train", 2, photographs, training=True)[0, 0].images
    assert views.std() > 0.05 and not torch.equal(views[0], views[1])
    evaluated = R2N2Dataset(root, "test", 1, photographs)[0].images
    torch.testing.assert_close((evaluated + 1) * 127.5, torch.full_like(evaluated, 240))


def test_jitter_is_for_training_alone(root):
    settings = ViewSettings(image_size=16, color_jitter=0.4, crop_jitter=0.2)
    plain, jittered = (R2N2Dataset(root, "train", 1, s, training=True, seed=1) for s in (SMALL, settings))
    assert abs(plain[0, 0].images - jittered[0, 0].images).max() > 0.01
    assert torch.equal(R2N2Dataset(root, "test", 1, settings)[0].images, R2N2Dataset(root, "test", 1, SMALL)[0].images)


def test_batches_have_one_number_of_views(root):
    data = ShapeNetR2N2(str(root), settings=SMALL, batch_size=2, train_views=(1, 2, 4), test_views=(1, 5))
    sizes = []
    loader = data.train_dataloader()
    for _ in range(12):
        sizes += [batch.images.shape[:2] for batch in loader]
    assert {views for _, views in sizes} == {1, 2, 4} and {count for count, _ in sizes} == {2}
    [batch] = [batch for batch in data.val_dataloader() if batch.categories.item() == 1]
    assert batch.images.shape == (1, 4, 3, 16, 16)
    tested = list(data.test_dataloader())
    assert [b.images.shape[1] for b in tested] == [5, 5] and grays(tested[0].with_views(2).images[0]) == [0, 1]
    assert torch.equal(torch.cat([batch.keys for batch in tested]), torch.tensor([0, 1]))


def test_number_of_views_does_not_depend_on_workers(root):
    def drawn(workers: int) -> list:
        data = ShapeNetR2N2(str(root), settings=SMALL, batch_size=2, train_views=(1, 2, 4), num_workers=workers)
        return [(batch.images.shape[1], batch.keys.tolist(), batch.images.sum().item()) for batch in data.train_dataloader()]

    assert drawn(0) == drawn(2)


def test_models_that_are_missing_are_left_out(root):
    (root / "ShapeNetVox32" / "03001627" / "b" / "model.binvox").unlink()
    (root / "ShapeNetRendering" / "03001627" / "c" / "rendering" / "00.png").unlink()
    with pytest.warns(UserWarning, match="2 of 4 models of train have no pictures or no voxels"):
        assert len(R2N2Dataset(root, "train", 1, SMALL)) == 2
    (root / "ShapeNetVox32" / "03001627" / "e" / "model.binvox").unlink()
    (root / "ShapeNetVox32" / "02958343" / "h" / "model.binvox").unlink()
    with pytest.raises(FileNotFoundError, match="none of the 2 models that are listed for test"):
        R2N2Dataset(root, "test", 1, SMALL)


def test_too_few_views(root):
    with pytest.raises(ValueError, match="rendering: expected at least 40 views, got 5"):
        R2N2Dataset(root, "test", 40, SMALL)[0]


def test_real_models_without_a_list_are_for_testing(samples):
    folder = samples / "shapenet_r2n2"
    assert [category.name for category in find_categories(folder)] == ["aeroplane", "car", "chair", "watercraft"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = R2N2Dataset(folder, "test", 24)
    assert len(dataset) == 4 and dataset[2].images.shape == (24, 3, 224, 224)
    assert [int(dataset[i].voxels.sum()) for i in range(4)] == [771, 2294, 1755, 1303]
    with pytest.raises(FileNotFoundError, match="none of the 0 models that are listed for train"):
        R2N2Dataset(folder, "train", 1)


@pytest.mark.parametrize("content", ["{", "{}x", '[{"taxonomy_id": "1"}]', '{"a": 1}'])
def test_damaged_lists(content, tmp_path):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(ValueError, match="list.json: expected a list of objects with taxonomy_id"):
        read_splits(tmp_path / "list.json")


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no list of splits"):
        read_splits(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no ShapeNet.json and no ShapeNetVox32"):
        find_categories(tmp_path)
    with pytest.raises(FileNotFoundError, match="ShapeNetR2N2: no folder"):
        _ = ShapeNetR2N2(str(tmp_path / "none")).class_names
    with pytest.raises(ValueError, match="generate goes with root 'generated'"):
        _ = ShapeNetR2N2(str(tmp_path), GeneratedRenders()).class_names
    with pytest.raises(ValueError, match="numbers of 1 or more"):
        ShapeNetR2N2(train_views=(0,))


def test_published_views():
    data = ShapeNetR2N2()
    assert data.train_views == (3,) and data.val_views == 3 and data.test_views == TEST_VIEWS == (1, 2, 3, 4, 5, 8, 12, 16, 20)
    assert ViewCollate((2,)).counts == (2,)


@pytest.fixture
def pix3d(tmp_path):
    """A chair seen whole, one that is occluded, a table; the model is a flat box, wide in x."""
    from geo3d.data.synthetic.shapes.primitives import box

    (tmp_path / "img").mkdir()
    (tmp_path / "model").mkdir()
    solid = box((2.0, 0.5, 1.0))
    lines = [f"v {x} {y} {z}" for x, y, z in solid.vertices] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in solid.faces]
    (tmp_path / "model" / "m.obj").write_text("\n".join(lines) + "\n")
    entries = []
    for number, (category, occluded) in enumerate((("chair", False), ("chair", True), ("table", False))):
        image = np.zeros((60, 100, 3), np.uint8)
        image[10:30, 20:60] = 255
        Image.fromarray(image).save(tmp_path / "img" / f"{number}.png")
        entries.append(
            {
                "img": f"img/{number}.png",
                "category": category,
                "img_size": [100, 60],
                "bbox": [20, 10, 60, 30],
                "model": "model/m.obj",
                "truncated": False,
                "occluded": occluded,
                "slightly_occluded": False,
            }
        )
    (tmp_path / "pix3d.json").write_text(json.dumps(entries))
    return tmp_path


def test_pix3d(pix3d):
    dataset = Pix3DDataset(pix3d, settings=SMALL)
    assert len(dataset) == 1 and len(Pix3DDataset(pix3d, settings=SMALL, whole_only=False)) == 2
    sample = dataset[0]
    assert sample.images.shape == (1, 3, 16, 16)
    white = sample.images[0, 0] > 0
    assert white[5:12].all() and not white[0].any() and not white[-1].any()  # the box is cut out as a square of its longer side
    grid = sample.voxels
    assert grid.shape == (32, 32, 32) and [int(grid.any(d).any(0).sum()) for d in (0,)] == [32]
    assert (pix3d / "model" / "m_voxels32.npz").is_file()  # voxelised once
    turned = Pix3DDataset(pix3d, settings=SMALL, quarter_turns=1)[0].voxels
    assert torch.equal(turned.any(1).any(0), grid.any(1).any(1)) and grid.sum() == turned.sum()


def test_pix3d_is_for_testing(pix3d):
    data = Pix3D(str(pix3d), settings=SMALL)
    assert next(iter(data.test_dataloader())).images.shape == (1, 1, 3, 16, 16)
    with pytest.raises(ValueError, match="there is no training split"):
        data.train_dataloader()


def test_pix3d_errors(pix3d, tmp_path):
    with pytest.raises(ValueError, match="no photograph of sofa; pix3d.json has chair, table"):
        Pix3DDataset(pix3d, ["sofa"])
    with pytest.raises(FileNotFoundError, match="pix3d.json; it comes with"):
        Pix3DDataset(tmp_path / "none")
    (pix3d / "model" / "m.obj").unlink()
    with pytest.raises(FileNotFoundError, match="m.obj: no such file; pix3d.json names it for img/0.png"):
        Pix3DDataset(pix3d, settings=SMALL)[0]
    (pix3d / "pix3d.json").write_text('[{"img": "a.png"}]')
    with pytest.raises(ValueError, match="got one without category"):
        Pix3DDataset(pix3d)
