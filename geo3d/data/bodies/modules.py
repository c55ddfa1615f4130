"""Lightning data module of bodies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
from torch.utils.data import DataLoader, Dataset

from geo3d.data.bodies.amass import AmassPoses, SampledBodies, Turn
from geo3d.data.bodies.samples import BodyBatch, collate_bodies
from geo3d.data.bodies.scans import ArchivedBodies, ScannedBodies
from geo3d.data.generated import GeneratedBodies, resolve_root
from geo3d.data.loading import EpochSampler, current_epoch, make_loader
from geo3d.data.synthetic.bodies.scans import ScanSettings
from geo3d.descriptions import ScanInput


class Amass(lightning.LightningDataModule):
    """Clouds of bodies in the poses of AMASS, or of generated ones in the same files.

    Args:
        root: folder of the subsets, or "generated".
        generate: what to generate, with root "generated".
        train, val, test: folders below the root.
        archives: folders of ArtEq's evaluation archives, which take the place of `test`.
        body: file of the body model (SMPL_MALE.pkl as published); None for the packaged one, whose shape coefficients generated data has.
        num_points: of each cloud.
        turn: rotation of the whole body in training: "uniform" over all rotations, "euler" as published, or "none".
        scan: how points are taken in training; None draws it anew for each.
        every: take each so many-th frame of a file for training.
        every_evaluated: likewise for validation and testing.
        batch_size: bodies of a training batch; an incomplete last batch is dropped.
        test_batch_size: bodies of a batch in validation and testing.
        num_workers: worker processes of each loader.
        pin_memory: put batches in page-locked memory, for training on a GPU.
        seed: of order and sampling.
    """

    def __init__(
        self,
        root: str = "generated",
        generate: GeneratedBodies | None = None,
        train: Sequence[str] = ("GeneratedBodies/train",),
        val: Sequence[str] = ("GeneratedBodies/val",),
        test: Sequence[str] = ("GeneratedBodies/test",),
        archives: Sequence[str] = (),
        body: str | None = None,
        num_points: int = 5000,
        turn: Turn = "uniform",
        scan: ScanSettings | None = None,
        every: int = 1,
        every_evaluated: int = 1,
        batch_size: int = 2,
        test_batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        self.root, self.generate, self.body = root, generate, body
        self.folders = {"train": tuple(train), "val": tuple(val), "test": tuple(test)}
        self.archives = tuple(archives)
        self.num_points, self.turn, self.scan = num_points, turn, scan
        self.every, self.every_evaluated = every, every_evaluated
        self.batch_size, self.test_batch_size = batch_size, test_batch_size
        self.num_workers, self.pin_memory, self.seed = num_workers, pin_memory, seed

    def prepare_data(self) -> None:
        """Write what is generated, on one process only."""
        self._root()

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any]:
        """The bodies of a split: sampled anew for training; for the others the archives or scans where there are, else sampled once and for all."""
        if split == "test" and self.archives:
            return ArchivedBodies(self.archives, self.num_points)
        root = self._root()
        if split != "train" and (root / "scans" / split).is_dir():
            return ScannedBodies(root, split, self.num_points, self.seed)
        training = split == "train"
        poses = AmassPoses([root / folder for folder in self.folders[split]], self.every if training else self.every_evaluated)
        if training:
            return SampledBodies(poses, self.body, self.num_points, self.turn, self.scan, seed=self.seed)
        return SampledBodies(poses, self.body, self.num_points, "none", ScanSettings(noise=0.001), fixed=True, seed=self.seed)

    def groups(self, split: Literal["val", "test"]) -> tuple[str, ...]:
        """Names of the groups that metrics are also given for; one where there are none."""
        if split == "test" and self.archives:
            return tuple(Path(folder).name for folder in self.archives)
        return ScannedBodies.groups if (self._root() / "scans" / split).is_dir() else ("all",)

    def preprocessing(self) -> ScanInput:
        """How clouds are prepared, for the description of the weights."""
        return ScanInput(self.num_points)

    def train_dataloader(self) -> DataLoader[BodyBatch]:
        """Clouds in a new order and sampled anew each epoch, in whole batches."""
        dataset: Any = self.dataset("train")
        return self._loader(dataset, self.batch_size, EpochSampler(len(dataset), self.seed, current_epoch(self)))

    def val_dataloader(self) -> DataLoader[BodyBatch]:
        """The clouds of validation."""
        return self._loader(self.dataset("val"), self.test_batch_size)

    def test_dataloader(self) -> DataLoader[BodyBatch]:
        """The clouds of the test."""
        return self._loader(self.dataset("test"), self.test_batch_size)

    def _root(self) -> Path:
        return resolve_root("Amass", self.root, self.generate, GeneratedBodies())

    def _loader(self, dataset: Dataset[Any], batch_size: int, sampler: EpochSampler | None = None) -> DataLoader[BodyBatch]:
        return make_loader(
            dataset, collate_bodies, batch_size, num_workers=self.num_workers, pin_memory=self.pin_memory, sampler=sampler
        )
