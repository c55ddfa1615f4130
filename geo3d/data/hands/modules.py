"""Lightning data modules of hands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import lightning
import numpy as np
from torch.utils.data import DataLoader, Dataset

from geo3d.data.generated import GeneratedHands, GeneratedHandScenes, resolve_root
from geo3d.data.hands.crops import CropDraws, HandAugmentation, crop_hand
from geo3d.data.hands.freihand import LOOKS, FreiHandFrames, Look
from geo3d.data.hands.labeled import LabeledHands
from geo3d.data.hands.photographs import HandPhotographs
from geo3d.data.hands.samples import HandLabels, HandSample, collate_hands
from geo3d.data.hands.scenes import SceneDataset, SceneFrames, collate_scenes
from geo3d.data.loading import EpochSampler, ItemKey, current_epoch, item_generator, make_loader
from geo3d.descriptions import HandInput, SceneInput


class HandFrames(Protocol):
    """Pictures of hands with labels."""

    def __len__(self) -> int: ...

    def picture(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, HandLabels]:
        """A picture [H, W, 3] uint8 R, G, B and what is known of its hand."""
        ...


class HandDataset(Dataset[HandSample]):
    """Crops of hands.

    Args:
        frames: the pictures.
        side: of the crops, pixels.
        augment: ranges of the augmentation; None for the crops of evaluation.
        extra: other pictures that take the place of some.
        extra_share: how many of the items are of those.
        length: items of an epoch, drawn with replacement; as many as there are pictures, each once, when None.
        num_vertices: of the meshes.
        as_released: see `virtual_camera`.
        fixed: the same random numbers at every access.
        seed: of the random numbers.
    """

    def __init__(
        self,
        frames: HandFrames,
        side: int = 224,
        augment: HandAugmentation | None = None,
        extra: HandFrames | None = None,
        extra_share: float = 0.0,
        length: int | None = None,
        num_vertices: int = 778,
        as_released: bool = False,
        fixed: bool = False,
        seed: int = 0,
    ):
        self.frames, self.extra, self.extra_share = frames, extra, extra_share
        self.side, self.augment, self.length, self.num_vertices = side, augment, length, num_vertices
        self.as_released, self.fixed, self.seed = as_released, fixed, seed

    def __len__(self) -> int:
        return len(self.frames) if self.length is None else self.length

    def __getitem__(self, key: ItemKey) -> HandSample:
        index, generator = item_generator(key, self.seed, self.fixed)
        frames = self.frames
        if self.extra is not None and generator.random() < self.extra_share:
            frames = self.extra
        if frames is not self.frames or self.length is not None:
            index = int(generator.integers(len(frames)))
        image, labels = frames.picture(index, generator)
        draws = CropDraws() if self.augment is None else self.augment.draw(generator)
        return crop_hand(image, labels, self.side, draws, self.num_vertices, self.as_released)


class HandDataModule(lightning.LightningDataModule, ABC):
    """What the data modules of hands share: photographs to mix in, and loaders of a training and an evaluation split.

    Args:
        photographs: folder of photographs; None for none.
        photograph_share: how many of the training items have one.
        batch_size: items of a training batch; an incomplete last batch is dropped.
        test_batch_size: items of a batch in validation and testing.
        num_workers, pin_memory: of the loaders.
        seed: of order and augmentation.

    Raises:
        ValueError: a share of photographs without any, or one outside 0..1.
    """

    collate: Callable[[Any], Any]

    def __init__(
        self,
        photographs: str | None,
        photograph_share: float,
        batch_size: int,
        test_batch_size: int,
        num_workers: int,
        pin_memory: bool,
        seed: int,
    ):
        super().__init__()
        if not 0 <= photograph_share <= 1 or (photograph_share > 0) != (photographs is not None):
            raise ValueError(
                f"{type(self).__name__}: photograph_share goes with photographs, above 0 and at most 1; "
                f"got {photograph_share:g} with {photographs}"
            )
        self.photographs, self.photograph_share = photographs, photograph_share
        self.batch_size, self.test_batch_size = batch_size, test_batch_size
        self.num_workers, self.pin_memory, self.seed = num_workers, pin_memory, seed

    @abstractmethod
    def dataset(self, split: Literal["train", "test"]) -> Any:
        """A split as the loaders use it."""

    def train_dataloader(self) -> DataLoader[Any]:
        """Training items, shuffled and augmented, in whole batches."""
        dataset = self.dataset("train")
        return self._loader(dataset, self.batch_size, EpochSampler(len(dataset), self.seed, current_epoch(self)))

    def val_dataloader(self) -> DataLoader[Any]:
        """The evaluation items: there are no others."""
        return self._loader(self.dataset("test"), self.test_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """The evaluation items, in the order of the files."""
        return self._loader(self.dataset("test"), self.test_batch_size)

    def _loader(self, dataset: Dataset[Any], batch_size: int, sampler: EpochSampler | None = None) -> DataLoader[Any]:
        return make_loader(
            dataset,
            type(self).collate,
            batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
            sampler=sampler,
        )


class FreiHand(HandDataModule):
    """FreiHAND, or data in its folders.

    Args:
        root: the folder, or "generated".
        generate: what to generate, with root "generated".
        image_size: side of the crops, pixels.
        looks: versions of the training pictures, of those that there are.
        augment: ranges of the augmentation in training.
        photographs: folder of photographs with pseudo labels to mix in (`HandPhotographs`).
        photograph_share: how many of the training items are photographs.
        photograph_backgrounds: folder of photographs to put behind them.
        epoch_size: items of an epoch, drawn with replacement (published: 16,384); each picture once when None.
        as_released: see `virtual_camera`.
        batch_size: crops of a training batch; an incomplete last batch is dropped.
        test_batch_size: crops of a batch in validation and testing.
        num_workers: worker processes of each loader.
        pin_memory: put batches in page-locked memory, for training on a GPU.
        seed: of order and augmentation.

    Raises:
        ValueError: a share of photographs without any, or one outside 0..1.
    """

    collate = staticmethod(collate_hands)

    def __init__(
        self,
        root: str,
        generate: GeneratedHands | None = None,
        image_size: int = 224,
        looks: Sequence[Look] = LOOKS,
        augment: HandAugmentation | None = None,
        photographs: str | None = None,
        photograph_share: float = 0.0,
        photograph_backgrounds: str | None = None,
        epoch_size: int | None = None,
        as_released: bool = False,
        batch_size: int = 64,
        test_batch_size: int = 64,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ):
        super().__init__(photographs, photograph_share, batch_size, test_batch_size, num_workers, pin_memory, seed)
        self.root, self.generate = root, generate
        self.image_size, self.looks, self.as_released, self.epoch_size = image_size, tuple(looks), as_released, epoch_size
        self.augment = HandAugmentation() if augment is None else augment
        self.photograph_backgrounds = photograph_backgrounds
        self._frames: dict[str, FreiHandFrames] = {}

    def preprocessing(self) -> HandInput:
        """How crops are made, for the description of trained weights."""
        return HandInput(self.image_size, self.as_released)

    def data_root(self) -> Path:
        """The folder of the data, which is generated first where that is asked for."""
        return resolve_root("FreiHand", self.root, self.generate, GeneratedHands())

    def prepare_data(self) -> None:
        """Write what is generated and fill the caches, on one process only."""
        self.frames("train")
        self.frames("test")

    def setup(self, stage: str) -> None:
        """Read the splits that a stage ("fit", "validate", "test", "predict") needs."""
        if stage == "fit":
            self.frames("train")
        self.frames("test")

    def frames(self, split: Literal["train", "test"]) -> FreiHandFrames:
        """The pictures of a split, read on first use."""
        if split not in self._frames:
            self._frames[split] = FreiHandFrames(self.data_root(), split, self.looks)
        return self._frames[split]

    def dataset(self, split: Literal["train", "test"]) -> HandDataset:
        """A split as the loaders use it."""
        if split == "test":
            return HandDataset(self.frames("test"), self.image_size, as_released=self.as_released, fixed=True, seed=self.seed)
        extra = HandPhotographs(self.photographs, self.photograph_backgrounds) if self.photographs else None
        return HandDataset(
            self.frames("train"),
            self.image_size,
            self.augment,
            extra,
            self.photograph_share,
            self.epoch_size,
            as_released=self.as_released,
            seed=self.seed,
        )


class HandFolder(HandDataModule):
    """Pictures with joints or keypoints, for evaluation alone: InterHand2.6M, RHD, OneHand10K and others (`LabeledHands`).

    Args:
        root: the folder.
        image_size: side of the crops, pixels.
        as_released: see `virtual_camera`.
        test_batch_size: crops of a batch.
        num_workers: worker processes of the loader.
        pin_memory: put batches in page-locked memory.

    Raises:
        FileNotFoundError: no labelled hands in the folder, on first use.
    """

    collate = staticmethod(collate_hands)

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        as_released: bool = False,
        test_batch_size: int = 64,
        num_workers: int = 0,
        pin_memory: bool = False,
    ):
        super().__init__(None, 0.0, test_batch_size, test_batch_size, num_workers, pin_memory, seed=0)
        self.root, self.image_size, self.as_released = root, image_size, as_released

    def preprocessing(self) -> HandInput:
        """How crops are made, for the description of trained weights."""
        return HandInput(self.image_size, self.as_released)

    def dataset(self, split: Literal["train", "test"]) -> HandDataset:
        """The hands, whichever split."""
        if split == "train":
            raise ValueError("HandFolder: its pictures are for evaluation; FreiHand is for training")
        return HandDataset(LabeledHands(self.root), self.image_size, as_released=self.as_released, fixed=True)


class HandScenes(HandDataModule):
    """Pictures with any number of hands.

    Args:
        root: the folder, or "generated".
        generate: what to generate, with root "generated".
        image_size: side of the pictures, pixels.
        photographs: folder of photographs of right hands to cut out and paste in (`HandPhotographs`).
        photograph_share: how many of the training pictures get one.
        batch_size: pictures of a training batch; an incomplete last batch is dropped.
        test_batch_size: pictures of a batch in validation and testing.
        num_workers: worker processes of each loader.
        pin_memory: put batches in page-locked memory, for training on a GPU.
        seed: of order and augmentation.

    Raises:
        ValueError: a share of photographs without any, or one outside 0..1.
    """

    collate = staticmethod(collate_scenes)

    def __init__(
        self,
        root: str,
        generate: GeneratedHandScenes | None = None,
        image_size: int = 192,
        photographs: str | None = None,
        photograph_share: float = 0.0,
        batch_size: int = 32,
        test_batch_size: int = 64,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ):
        super().__init__(photographs, photograph_share, batch_size, test_batch_size, num_workers, pin_memory, seed)
        self.root, self.generate, self.image_size = root, generate, image_size
        self._datasets: dict[str, SceneDataset] = {}

    def preprocessing(self) -> SceneInput:
        """How pictures are prepared, for the description of trained weights."""
        return SceneInput(self.image_size)

    def prepare_data(self) -> None:
        """Write what is generated, on one process only."""
        self._root()

    def setup(self, stage: str) -> None:
        """Read the splits that a stage ("fit", "validate", "test", "predict") needs."""
        for split in ("train", "test") if stage == "fit" else ("test",):
            self.dataset(split)

    def _root(self) -> Path:
        return resolve_root("HandScenes", self.root, self.generate, GeneratedHandScenes())

    def dataset(self, split: Literal["train", "test"]) -> SceneDataset:
        """A split as the loaders use it, read on first use."""
        if split not in self._datasets:
            frames = SceneFrames(self._root(), split)
            pasted = HandPhotographs(self.photographs) if self.photographs and split == "train" else None
            share = self.photograph_share if split == "train" else 0.0
            self._datasets[split] = SceneDataset(frames, self.image_size, split == "train", pasted, share, self.seed)
        return self._datasets[split]
