"""Learning-rate schedules: the rate of each epoch, in closed form."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field


class Schedule(ABC):
    """Rate of each epoch. Subclasses define `rate`."""

    @abstractmethod
    def rate(self, epoch: int, max_epochs: int, lr: float) -> float:
        """Learning rate during an epoch, counted from 0, of a training that starts at `lr`."""


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply the rate every so many epochs, with restarts.

    Attributes:
        factor: multiplies the rate.
        every: number of epochs between decays.
        lead: the decay takes effect this many epochs before each multiple of `every`.
        floor: the lowest rate.
        restarts: rate by epoch, at the end of which it is written; decay goes on from it.
    """

    factor: float = 0.7
    every: int = 20
    lead: int = 0
    floor: float = 0.0
    restarts: Mapping[int, float] = field(default_factory=dict)

    def rate(self, epoch: int, max_epochs: int, lr: float) -> float:
        for e in range(1, epoch + 1):
            if (e + self.lead) % self.every == 0:
                lr *= self.factor
            lr = self.restarts.get(e - 1, lr)
        return max(lr, self.floor)


@dataclass(frozen=True)
class Milestones(Schedule):
    """Multiply the rate at some epochs.

    Attributes:
        epochs: those that have the new rate, counted from 0.
        factor: multiplies the rate at each.
    """

    epochs: tuple[int, ...]
    factor: float = 0.1

    def rate(self, epoch: int, max_epochs: int, lr: float) -> float:
        return lr * self.factor ** sum(epoch >= milestone for milestone in self.epochs)


@dataclass(frozen=True)
class WarmupCosine(Schedule):
    """Linear rise, then half a cosine down.

    Attributes:
        warmup: epochs of the rise.
        final: rate at the end, relative to the highest.
    """

    warmup: int = 1
    final: float = 0.01

    def rate(self, epoch: int, max_epochs: int, lr: float) -> float:
        if epoch < self.warmup:
            return lr * (epoch + 1) / (self.warmup + 1)
        done = (epoch - self.warmup) / max(1, max_epochs - self.warmup)
        return lr * (self.final + (1 - self.final) * (1 + math.cos(math.pi * min(done, 1))) / 2)


@dataclass(frozen=True)
class OneCycle:
    """Rate and momentum of each optimiser step: half a cosine up to the highest rate, another down (Smith, 2018; as DSVT has it).

    Attributes:
        rise: share of the steps before the highest rate.
        start: the highest rate over that of the first step.
        end: the first rate over that which the last step comes near to.
        momentum: at both ends, and at the highest rate.
    """

    rise: float = 0.1
    start: float = 100.0
    end: float = 1e4
    momentum: tuple[float, float] = (0.95, 0.85)

    def rate(self, step: int, steps: int, lr: float) -> float:
        """Learning rate of a step, counted from 0, of so many, with `lr` the highest."""
        rising, part = self._phase(step, steps)
        low = lr / self.start
        return _half_cosine(low, lr, part) if rising else _half_cosine(lr, low / self.end, part)

    def momentum_at(self, step: int, steps: int) -> float:
        """Momentum of a step (the first beta of Adam)."""
        rising, part = self._phase(step, steps)
        high, low = self.momentum
        return _half_cosine(high, low, part) if rising else _half_cosine(low, high, part)

    def _phase(self, step: int, steps: int) -> tuple[bool, float]:
        """Whether the rate rises, and how far that is done."""
        top = int(self.rise * steps)
        if step < top:
            return True, step / top
        return False, min((step - top) / max(1, steps - top), 1.0)


@dataclass(frozen=True)
class HandSteps:
    """Factor of the rate at each step: a linear rise from 0, then the whole rate, and a fraction of it in the end (ReJSHand).

    Attributes:
        warmup: share of the steps in which the rate rises (published: 5 of 200 epochs).
        drop_at: share of the steps after which the rate drops.
        drop: factor of the rate from there on.
        cosine: fall along half a cosine from the end of the rise to `drop` at the end instead.
    """

    warmup: float = 0.025
    drop_at: float = 0.5
    drop: float = 0.1
    cosine: bool = False

    def factor(self, step: int, steps: int) -> float:
        """Factor at a step, counted from 0, of so many."""
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return step / max(1, rise - 1)
        if self.cosine:
            return _half_cosine(1.0, self.drop, min(1.0, (step - rise) / max(1, steps - rise)))
        return 1.0 if step < self.drop_at * steps else self.drop


def _half_cosine(first: float, last: float, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2
