"""Reproducible loading: the order of a training epoch, the random numbers of an item, and loaders of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

ItemKey = int | tuple[int, int]  # an index, or an index and an epoch


def this_process() -> tuple[int, int]:
    """Number of this process among those that share the work, and how many they are; (0, 1) alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


# Both samplers are DistributedSamplers for Lightning alone: it takes those as they are and would wrap any other in one that repeats items.
class EpochSampler(DistributedSampler[Any]):
    """A random order of the items for each epoch, as pairs of index and epoch; several processes share it.

    The pair tells a data set in any worker process which epoch it works for, so that augmentation depends on seed, epoch and
    item and on nothing else: not on the number of workers, and the same after a resumed training. Every process gets as many items;
    those at the end of an epoch's order that cannot be shared evenly are left out of it.

    Args:
        num_items: length of the data set.
        seed: of the orders.
        epoch: the epoch of the first iteration.
    """

    def __init__(self, num_items: int, seed: int, epoch: int = 0) -> None:
        self.rank, self.num_replicas = this_process()
        self.num_items = num_items
        self.seed = seed
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration; Lightning calls this. Without it each iteration is the next epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_items // self.num_replicas

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        self.epoch += 1
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_items)
        for index in order[self.rank :: self.num_replicas][: len(self)]:
            yield int(index), epoch


class ShareSampler(DistributedSampler[Any]):
    """Every n-th item for each of n processes that evaluate together: none is repeated and none left out, so their shares differ by one.

    Raises:
        ValueError: fewer items than processes.
    """

    def __init__(self, num_items: int, name: str) -> None:
        self.rank, self.num_replicas = this_process()
        if num_items < self.num_replicas:
            raise ValueError(f"{name}: {num_items} items cannot be shared by {self.num_replicas} processes; start fewer")
        self.indices = range(self.rank, num_items, self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the order is the same in every epoch."""

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


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
    """A loader for training (an incomplete last batch is dropped) or, without a sampler, for evaluation; each of several processes
    gets its share of the items.

    Raises:
        ValueError: fewer items than one training batch, which would train on nothing, or than processes.
    """
    name = type(dataset).__name__
    if sampler is not None and len(sampler) < batch_size:
        each = f" for each of {sampler.num_replicas} processes" if sampler.num_replicas > 1 else ""
        raise ValueError(f"{name}: batch_size {batch_size} needs as many training items, there are {len(sampler)}{each}")
    shared = ShareSampler(len(dataset), name) if sampler is None and this_process()[1] > 1 else None  # type: ignore[arg-type]
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler or shared,
        drop_last=sampler is not None,
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        # Its own: an iterator draws a number when it begins, before or after an epoch is seeded, as a training is new or resumed.
        generator=torch.Generator().manual_seed(0),
    )


def current_epoch(module: lightning.LightningDataModule) -> int:
    """Epoch that the trainer which asks for loaders is about to run, 0 without one.

    Worker processes start to load before Lightning calls `set_epoch`. `trainer.current_epoch` is not it: a checkpoint that was
    written at the end of an epoch counts that epoch as processed, but not yet as completed.
    """
    return module.trainer.fit_loop.epoch_progress.current.processed if module.trainer is not None else 0  # type: ignore[attr-defined]
