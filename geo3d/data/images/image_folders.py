"""Objects of one's own: a folder of pictures with voxels for each, cut out and framed as `geo3d predict` does.

root/
  train/chair_1/    front.jpg, left.png, ...; model.binvox
  test/mug_7/       ...

Without the folders train and test all objects are for testing. Folders without a .binvox are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.data.files.binvox import read_binvox
from geo3d.data.images.cutouts import cut_out
from geo3d.data.images.folders import ObjectPictures, find_objects
from geo3d.data.images.modules import TEST_VIEWS, ReconstructionDataModule
from geo3d.data.images.preprocessing import read_image
from geo3d.data.images.reconstruction import ReconstructionDataset, ViewSettings


class ImageFolderDataset(ReconstructionDataset):
    """Objects of a folder, all of one category.

    Args:
        root: a folder of objects.
        num_views, settings, training, seed: of `ReconstructionDataset`; pictures are framed by their object, so `settings.crop` is not used.

    Raises:
        FileNotFoundError: no object with voxels.
        ValueError: an object with several .binvox files.
    """

    def __init__(
        self,
        root: str | Path,
        num_views: int,
        settings: ViewSettings | None = None,
        *,
        training: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(["object"], num_views, replace(settings or ViewSettings(), crop=None), training=training, seed=seed)
        found = [(each, sorted(each.files[0].parent.glob("*.binvox"))) for each in find_objects([root]) if not each.is_video]
        several = [each.files[0].parent for each, grids in found if len(grids) > 1]
        if several:
            raise ValueError(f"{several[0]}: expected one .binvox, the voxels of the pictures beside it, got several")
        self.objects: list[tuple[ObjectPictures, Path]] = [(each, grids[0]) for each, grids in found if grids]
        if not self.objects:
            raise FileNotFoundError(f"{root}: none of {len(found)} folders of pictures has a .binvox beside them")
        if len(self.objects) < len(found):
            warnings.warn(f"{root}: {len(found) - len(self.objects)} of {len(found)} folders have no .binvox, and are left out")

    def __len__(self) -> int:
        return len(self.objects)

    def category(self, index: int) -> int:
        return 0

    def pictures(self, index: int) -> Sequence[Path]:
        return self.objects[index][0].files

    def picture(self, path: Path) -> np.ndarray:
        return cut_out(read_image(path), self.settings.image_size).image

    def voxels(self, index: int) -> np.ndarray:
        return read_binvox(self.objects[index][1]).voxels


class ImageFolders(ReconstructionDataModule):
    """Loaders of one's own objects; see `geo3d.data.images.image_folders`.

    Args:
        root: the folder drawn there; validation is on the test objects.
        settings, batch_size, test_batch_size, train_views, val_views, test_views, num_workers, pin_memory, seed: of
            `ReconstructionDataModule`.

    Raises:
        FileNotFoundError: no such folder.
    """

    def __init__(
        self,
        root: str,
        settings: ViewSettings | None = None,
        batch_size: int = 8,
        test_batch_size: int = 1,
        train_views: Sequence[int] = (3,),
        val_views: int | None = None,
        test_views: Sequence[int] = TEST_VIEWS,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        framed = replace(settings or ViewSettings(), crop=None)
        super().__init__(framed, batch_size, test_batch_size, train_views, val_views, test_views, num_workers, pin_memory, seed)
        if not Path(root).is_dir():
            raise FileNotFoundError(f"ImageFolders: no folder {root}")
        self.root = Path(root)

    @property
    def class_names(self) -> list[str]:
        """One category: folders do not tell any."""
        return ["object"]

    def make_dataset(self, split: Any, num_views: int, training: bool) -> ImageFolderDataset:
        """Objects for training, or those for testing.

        Raises:
            FileNotFoundError: training without a folder train.
        """
        folder = self.root / ("train" if split == "train" else "test")
        if not folder.is_dir():
            if split == "train":
                raise FileNotFoundError(f"{self.root}: no folder train with objects to train on")
            folder = self.root
        return ImageFolderDataset(folder, num_views, self.settings, training=training, seed=self.seed)
