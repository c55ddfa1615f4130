"""Lightning data modules of images with voxels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import DataLoader

from geo3d.data.generated import GeneratedRenders, resolve_root
from geo3d.data.images.pix3d import Pix3DDataset
from geo3d.data.images.reconstruction import ReconstructionDataset, ViewCollate, ViewSettings
from geo3d.data.images.shapenet_r2n2 import R2N2Dataset, find_categories
from geo3d.data.loading import EpochSampler, current_epoch, make_loader
from geo3d.descriptions import ViewInput

TEST_VIEWS = (1, 2, 3, 4, 5, 8, 12, 16, 20)  # of the published evaluation


class ReconstructionDataModule(lightning.LightningDataModule):
    """What the data modules of reconstruction share.

    Args:
        settings: of the pictures; `image_size` is that of the network.
        batch_size: objects of a training batch; an incomplete last batch is dropped.
        test_batch_size: of a batch in validation and testing.
        train_views: numbers of views of a training batch, drawn anew for each; the published networks have one number.
        val_views: of validation; the largest of `train_views` when None.
        test_views: numbers of views of the test, which is run with each.
        num_workers, pin_memory: of the loaders.
        seed: of order, views and backgrounds.
    """

    def __init__(
        self,
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
        super().__init__()
        counts = [*train_views, *test_views] + ([] if val_views is None else [val_views])
        if not train_views or not test_views or min(counts) < 1:
            raise ValueError(
                f"{type(self).__name__}: train_views and test_views must be numbers of 1 or more, got {list(train_views)} and {list(test_views)}"
            )
        self.settings = settings or ViewSettings()
        self.batch_size, self.test_batch_size = batch_size, test_batch_size
        self.train_views, self.test_views = tuple(train_views), tuple(test_views)
        self.val_views = max(train_views) if val_views is None else val_views
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.seed = seed

    def preprocessing(self) -> ViewInput:
        """How pictures are prepared, for the description of trained weights."""
        return ViewInput(self.settings.crop, self.settings.blend)

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the categories, in the order of their numbers."""

    @abstractmethod
    def make_dataset(self, split: Any, num_views: int, training: bool) -> ReconstructionDataset:
        """The objects of a split."""

    def train_dataloader(self) -> DataLoader[Any]:
        dataset = self.make_dataset("train", max(self.train_views), True)
        sampler = EpochSampler(len(dataset), self.seed, current_epoch(self))
        return self._loader(dataset, self.batch_size, self.train_views, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.make_dataset("val", self.val_views, False), self.test_batch_size, (self.val_views,))

    def test_dataloader(self) -> DataLoader[Any]:
        count = max(self.test_views)
        return self._loader(self.make_dataset("test", count, False), self.test_batch_size, (count,))

    def _loader(
        self, dataset: ReconstructionDataset, size: int, counts: Sequence[int], sampler: EpochSampler | None = None
    ) -> DataLoader[Any]:
        return make_loader(
            dataset, ViewCollate(counts), size, num_workers=self.num_workers, pin_memory=self.pin_memory, sampler=sampler
        )


class ShapeNetR2N2(ReconstructionDataModule):
    """Loaders of ShapeNet as 3D-R2N2 rendered it, or of generated objects in the same folders.

    Args:
        root: the folder drawn in `geo3d.data.images.shapenet_r2n2`, or "generated".
        generate: what to generate with root "generated"; 2,000 objects by default.
        splits_file: the list of splits, when it is not ShapeNet.json in the root.
        options: of `ReconstructionDataModule`.
    """

    def __init__(
        self,
        root: str = "generated",
        generate: GeneratedRenders | None = None,
        splits_file: str | None = None,
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
        super().__init__(
            settings, batch_size, test_batch_size, train_views, val_views, test_views, num_workers, pin_memory, seed
        )
        self.root, self.generate, self.splits_file = root, generate, splits_file

    @property
    def class_names(self) -> list[str]:
        """Names of the categories, in the order of their numbers."""
        return [category.name for category in find_categories(self._folder(), self.splits_file)]

    def make_dataset(self, split: Any, num_views: int, training: bool) -> R2N2Dataset:
        """Models of "train", "val" or "test"."""
        return R2N2Dataset(
            self._folder(), split, num_views, self.settings, splits_file=self.splits_file, training=training, seed=self.seed
        )

    def _folder(self) -> Path:
        return resolve_root(type(self).__name__, self.root, self.generate, GeneratedRenders())


class Pix3D(ReconstructionDataModule):
    """Loaders of Pix3D for testing, one view each; see `Pix3DDataset`.

    Args:
        root: the folder drawn in `geo3d.data.images.pix3d`.
        categories, whole_only, side, quarter_turns: of `Pix3DDataset`.
        settings, test_batch_size, num_workers, pin_memory: of `ReconstructionDataModule`.
    """

    def __init__(
        self,
        root: str,
        categories: Sequence[str] = ("chair",),
        whole_only: bool = True,
        side: int = 32,
        quarter_turns: int = 0,
        settings: ViewSettings | None = None,
        test_batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(settings, 1, test_batch_size, (1,), None, (1,), num_workers, pin_memory)
        self.root, self.categories, self.whole_only = root, tuple(categories), whole_only
        self.side, self.quarter_turns = side, quarter_turns

    @property
    def class_names(self) -> list[str]:
        """Names of the categories, in the order of their numbers."""
        return list(self.categories)

    def make_dataset(self, split: Any, num_views: int, training: bool) -> Pix3DDataset:
        """All photographs: the protocol has no training split.

        Raises:
            ValueError: the training split is asked for.
        """
        if split == "train":
            raise ValueError("Pix3D: there is no training split; train on renderings of ShapeNet and test here")
        return Pix3DDataset(
            self.root,
            self.categories,
            self.settings,
            whole_only=self.whole_only,
            side=self.side,
            quarter_turns=self.quarter_turns,
        )
