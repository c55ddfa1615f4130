"""Reproducible loading: the order of a training epoch, the random numbers of an item, and loaders of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

ItemKey = int | tuple[int, int]  # an index, or an index and an epoch


class EpochSampler(Sampler[tuple[int, int]]):
    """A random order of the items for each epoch, as pairs of index and epoch.

    The pair tells a data set in any worker process which epoch it works for, so that augmentation depends on seed, epoch and
    item and on nothing else: not on the number of workers, and the same after a resumed training.

    Args:
        num_items: length of the data set.
        seed: of the orders.
        epoch: the epoch of the first iteration.
    """

    def __init__(self, num_items: int, seed: int, epoch: int = 0) -> None:
        self.num_items = num_items
        self.seed = seed
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration; Lightning calls this. Without it each iteration is the next epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_items

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        self.epoch += 1
        for index in np.random.default_rng([self.seed, epoch]).permutation(self.num_items):
            yield int(index), epoch


def item_generator(key: ItemKey, seed: int, fixed: bool) -> tuple[int, np.random.Generator]:
    """Index of the item that a key asks for, and the random generator of this access.

    Args:
        key: (index, epoch) from an `EpochSampler`, or a plain index.
        seed: of the data set.
        fixed: the same numbers at every access, as evaluation needs. Otherwise they depend on the epoch, and for a plain index on
            torch's generator, which differs between worker processes and epochs.
    """
    if isinstance(key, tuple):
        index, stream = key[0], key[1] + 1
    else:
        index, stream = int(key), 0 if fixed else int(torch.randint(1, 2**31, ()))
    # A seed sequence ignores zeros at its end, so [seed, index, 0] would be [seed, index]: streams start at 1.
    return index, np.random.default_rng([seed, index] if fixed else [seed, index, stream])


def make_loader(
    dataset: Dataset[Any],
    collate: Callable[[Any], Any],
    batch_size: int,
    *,
    num_workers: int,
    pin_memory: bool,
    sampler: EpochSampler | None = None,
) -> DataLoader[Any]:
    """A loader for training (an incomplete last batch is dropped) or, without a sampler, for evaluation.

    Raises:
        ValueError: fewer items than one training batch, which would train on nothing.
    """
    if sampler is not None and len(sampler) < batch_size:
        name = type(dataset).__name__
        raise ValueError(f"{name}: batch_size {batch_size} needs as many training items, there are {len(sampler)}")
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=sampler is not None,
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
    )


def current_epoch(module: lightning.LightningDataModule) -> int:
    """Epoch that the trainer which asks for loaders is about to run, 0 without one.

    Worker processes start to load before Lightning calls `set_epoch`. `trainer.current_epoch` is not it: a checkpoint that was
    written at the end of an epoch counts that epoch as processed, but not yet as completed.
    """
    return module.trainer.fit_loop.epoch_progress.current.processed if module.trainer is not None else 0  # type: ignore[attr-defined]
