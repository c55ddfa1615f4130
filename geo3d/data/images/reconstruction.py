"""Objects with their views and voxels as samples, and batches of them with one number of views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from geo3d.data.images.preprocessing import (
    CROP,
    TEST_BACKGROUND,
    TRAIN_BACKGROUND,
    Box,
    ColorJitter,
    center_crop,
    prepare_views,
    read_image,
)
from geo3d.data.loading import ItemKey, item_generator


@dataclass(frozen=True)
class ViewSettings:
    """How pictures become views; the defaults are the published ones, those of training where `training` is set.

    Attributes:
        image_size: S, of the network.
        crop: pixels in the middle that are kept, see `prepare_views`.
        blend: mix object and background by transparency, see `prepare_views`.
        color_jitter: strength, see `ColorJitter`.
        crop_jitter: in training, the crop of each view is moved and scaled by up to this share of its side.
        photographs: folder of pictures that stand behind the object in training, each cut out at random.
        photograph_share: of the training samples that have one; the others have a plain colour.
    """

    image_size: int = 224
    crop: int | None = CROP
    blend: bool = False
    color_jitter: float = 0.0
    crop_jitter: float = 0.0
    photographs: str | None = None
    photograph_share: float = 0.5


class ReconstructionSample(NamedTuple):
    """An object.

    Attributes:
        images: [V, 3, S, S] float32 views.
        voxels: [D, H, W] bool, indexed z, y, x.
        category: its number.
        key: a number that tells it from all others of its data set.
        draw: drawn anew at every access in training, from which a batch takes its number of views.
    """

    images: Tensor
    voxels: Tensor
    category: int
    key: int
    draw: int


@dataclass(frozen=True)
class ReconstructionBatch:
    """Objects with the same number of views.

    Attributes:
        images: [B, V, 3, S, S] float32.
        voxels: [B, D, H, W] bool, indexed z, y, x.
        categories, keys: [B] int64, see `ReconstructionSample`.
    """

    images: Tensor
    voxels: Tensor
    categories: Tensor
    keys: Tensor

    def to(self, device: torch.device | str) -> ReconstructionBatch:
        """The batch on a device."""
        return ReconstructionBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))

    def pin_memory(self) -> ReconstructionBatch:
        """The batch in pinned memory; loaders call this."""
        return ReconstructionBatch(*(getattr(self, name).pin_memory() for name in self.__dataclass_fields__))

    def with_views(self, count: int) -> ReconstructionBatch:
        """The batch with the first views of each object."""
        return replace(self, images=self.images[:, :count])


class ViewCollate:
    """Makes batches whose number of views is drawn from a list.

    Args:
        counts: numbers of views, equally likely; the largest is that of the samples.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = tuple(counts)

    def __call__(self, samples: Sequence[ReconstructionSample]) -> ReconstructionBatch:
        count = self.counts[samples[0].draw % len(self.counts)]
        return ReconstructionBatch(
            torch.stack([sample.images[:count] for sample in samples]),
            torch.stack([sample.voxels for sample in samples]),
            torch.tensor([sample.category for sample in samples]),
            torch.tensor([sample.key for sample in samples]),
        )


class ReconstructionDataset(Dataset[ReconstructionSample]):
    """Objects whose pictures and voxels are read at access; subclasses say where they are.

    Args:
        class_names: the categories.
        num_views: of each sample: drawn at random in training, otherwise the first.
        settings: of the pictures.
        training: draw views, backgrounds and what the settings ask for anew at every access.
        seed: of the draws.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        num_views: int,
        settings: ViewSettings | None = None,
        *,
        training: bool = False,
        seed: int = 0,
    ) -> None:
        self.class_names = list(class_names)
        self.num_views = num_views
        self.settings = settings or ViewSettings()
        self.training = training
        self.seed = seed
        self.photographs = _photographs(self.settings.photographs) if training else []

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def category(self, index: int) -> int:
        """Number of the category of an object."""

    @abstractmethod
    def pictures(self, index: int) -> Sequence[Path]:
        """Files of the views of an object."""

    @abstractmethod
    def voxels(self, index: int) -> np.ndarray:
        """[D, H, W] bool, indexed z, y, x."""

    def picture(self, path: Path) -> np.ndarray:
        """A picture [H, W, 3 or 4] uint8 as its file has it."""
        return read_image(path)

    def boxes(self, index: int) -> Sequence[Box] | None:
        """Where the object is in each picture, for data sets that know it; the middle of the pictures counts otherwise."""
        return None

    def __getitem__(self, key: ItemKey) -> ReconstructionSample:
        index, rng = item_generator(key, self.seed, fixed=not self.training)
        files = list(self.pictures(index))
        if len(files) < self.num_views:
            where = files[0].parent if files else f"object {index}"
            raise ValueError(f"{where}: expected at least {self.num_views} views, got {len(files)}")
        rows = list(range(self.num_views))
        if self.training:
            rows = rng.choice(len(files), self.num_views, replace=False).tolist()
        images = [self.picture(files[row]) for row in rows]
        boxes = self.boxes(index)
        boxes = None if boxes is None else [boxes[row] for row in rows]
        views = self._views(images, boxes, rng)
        draw = int(rng.integers(1 << 31)) if self.training else 0
        return ReconstructionSample(views, torch.from_numpy(self.voxels(index)), self.category(index), index, draw)

    def _views(self, images: list[np.ndarray], boxes: list[Box] | None, rng: np.random.Generator) -> Tensor:
        settings = self.settings
        background: Any = TEST_BACKGROUND
        jitter = None
        if self.training:
            background = rng.integers(TRAIN_BACKGROUND[0], TRAIN_BACKGROUND[1] + 1, 3).astype(float)
            if self.photographs and rng.random() < settings.photograph_share:
                background = [self._photograph(rng) for _ in images]
            if settings.color_jitter:
                jitter = ColorJitter(settings.color_jitter, rng)
            if settings.crop_jitter:
                if boxes is None:
                    boxes = [_middle(image, settings.crop) for image in images]
                boxes = [_moved(box, settings.crop_jitter, rng) for box in boxes]
        return prepare_views(
            images,
            settings.image_size,
            crop=settings.crop,
            boxes=boxes,
            background=background,
            blend=settings.blend,
            jitter=jitter,
        )

    def _photograph(self, rng: np.random.Generator) -> np.ndarray:
        """A square cut out of a photograph at random, [S, S, 3] uint8."""
        import cv2

        picture = read_image(self.photographs[rng.integers(len(self.photographs))])[..., :3]
        side = int(min(picture.shape[:2]) * rng.uniform(0.5, 1))
        top, left = (rng.integers(0, size - side + 1) for size in picture.shape[:2])
        square = np.ascontiguousarray(picture[top : top + side, left : left + side])
        return cv2.resize(square, (self.settings.image_size,) * 2, interpolation=cv2.INTER_AREA)


def _photographs(folder: str | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not found:
        raise FileNotFoundError(f"{folder}: no pictures (.jpg, .png, .webp) to stand behind the objects")
    return found


def _middle(image: np.ndarray, crop: int | None) -> Box:
    """What `prepare_views` cuts out without boxes, as a box."""
    height, width = image.shape[:2]
    kept = center_crop(image, crop or max(height, width)).shape
    return (1 - kept[1] / width) / 2, (1 - kept[0] / height) / 2, (1 + kept[1] / width) / 2, (1 + kept[0] / height) / 2


def _moved(box: Box, strength: float, rng: np.random.Generator) -> Box:
    """A box that is moved and scaled by up to a share of its sides."""
    x, y, scale = rng.uniform(-strength, strength, 3)
    width, height = box[2] - box[0], box[3] - box[1]
    center_x, center_y = (box[0] + box[2]) / 2 + x * width, (box[1] + box[3]) / 2 + y * height
    half_x, half_y = (1 + scale) * width / 2, (1 + scale) * height / 2
    return center_x - half_x, center_y - half_y, center_x + half_x, center_y + half_y
