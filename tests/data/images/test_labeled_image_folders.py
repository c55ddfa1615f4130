"""Folders of pictures with voxels beside them, as data to train and test on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from small_views import SIDE
from torch import nn

from geo3d.data import ImageFolders, ViewSettings
from geo3d.data.files.binvox import write_binvox
from geo3d.descriptions import ReconstructionLabels
from geo3d.predict import ViewReconstructor
from geo3d.zoo.weights import WeightsInfo

SETTINGS = ViewSettings(image_size=SIDE)


@pytest.fixture
def root(tmp_path):
    for name, count in {"train/a": 3, "train/b": 3, "test/c": 2, "test/unlabeled": 1}.items():
        folder = tmp_path / "root" / name
        folder.mkdir(parents=True)
        for number in range(count):
            picture = np.full((70, 90, 3), 200, np.uint8)
            picture[20:50, 10 : 30 + 10 * number] = (180, 20, 20)
            Image.fromarray(picture).save(folder / f"{number}.png")
        if name != "test/unlabeled":
            voxels = np.zeros((8, 8, 8), bool)
            voxels[0, 1, 2] = True
            write_binvox(folder / "model.binvox", voxels)
    return tmp_path / "root"


def module(root, **options):
    return ImageFolders(str(root), SETTINGS, batch_size=2, train_views=(1, 3), val_views=2, test_views=(1, 2), **options)


def test_splits_are_folders(root):
    data = module(root)
    [batch] = list(data.train_dataloader())
    assert batch.images.shape in {(2, count, 3, SIDE, SIDE) for count in (1, 3)} and batch.voxels[:, 0, 1, 2].all()
    with pytest.warns(UserWarning, match="1 of 2 folders have no .binvox"):
        [batch] = list(data.test_dataloader())
    assert batch.images.shape == (1, 2, 3, SIDE, SIDE)
    assert len(module(root / "train").make_dataset("test", 1, False)) == 2  # without folders train and test all are for testing


def test_pictures_are_framed_as_for_prediction(root):
    class Camera(nn.Module):
        def forward(self, images):
            self.images = images
            return torch.zeros(1, 8, 8, 8)

    data = module(root)
    info = WeightsInfo("", {"image_size": SIDE}, "reconstruction", ReconstructionLabels(("object",), 0.5), data.preprocessing())
    reconstructor = ViewReconstructor(Camera(), info)
    reconstructor(root / "train" / "a")
    sample = data.make_dataset("train", 3, False)[0]
    torch.testing.assert_close(sample.images, reconstructor.network.images[0], rtol=0, atol=0)


def test_folders_that_do_not_fit(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder train with objects to train on"):
        module(root / "train").train_dataloader()
    with pytest.raises(FileNotFoundError, match="ImageFolders: no folder"):
        module(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="none of 1 folders of pictures has a .binvox"):
        module(root / "test" / "unlabeled").make_dataset("test", 1, False)
    path = root / "test" / "c" / "model.binvox"
    path.write_bytes(path.read_bytes()[:-1])
    dataset = module(root / "test" / "c").make_dataset("test", 1, False)
    with pytest.raises(ValueError, match=r"model.binvox: .*truncated"):
        dataset[0]
    write_binvox(path.with_name("other.binvox"), np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match="expected one .binvox"):
        module(root / "test" / "c").make_dataset("test", 1, False)
