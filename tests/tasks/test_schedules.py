"""Learning-rate schedules of the papers, at the epochs that they name."""

from __future__ import annotations

import pytest

from geo3d.tasks.schedules import Milestones, StepDecay, WarmupCosine


def test_modelnet40():
    schedule = StepDecay(0.7, 20, restarts={300: 1e-3})
    rates = [schedule.rate(epoch, 450, 1e-3) for epoch in range(450)]
    assert rates[:20] == [1e-3] * 20
    assert rates[20] == pytest.approx(0.7e-3) and rates[40] == pytest.approx(0.49e-3)
    assert rates[300] == pytest.approx(1e-3 * 0.7**15)
    assert rates[301:320] == [1e-3] * 19 and rates[320] == pytest.approx(0.7e-3)


def test_scanobjectnn_steps_one_epoch_earlier():
    schedule = StepDecay(0.7, 20, lead=1, restarts={300: 1e-3})
    assert schedule.rate(18, 450, 1e-3) == 1e-3 and schedule.rate(19, 450, 1e-3) == pytest.approx(0.7e-3)
    assert schedule.rate(318, 450, 1e-3) == 1e-3 and schedule.rate(319, 450, 1e-3) == pytest.approx(0.7e-3)


def test_floor():
    assert StepDecay(0.5, 20, floor=1e-5).rate(249, 250, 1e-3) == 1e-5


def test_warmup_cosine():
    schedule = WarmupCosine(warmup=2, final=0.1)
    rates = [schedule.rate(epoch, 12, 3.0) for epoch in range(13)]
    assert rates[:3] == pytest.approx([1, 2, 3])
    assert rates[12] == pytest.approx(0.3) and all(a > b for a, b in zip(rates[2:], rates[3:], strict=False))


def test_milestones():
    schedule = Milestones((60, 90))
    rates = [schedule.rate(epoch, 110, 1e-4) for epoch in (0, 59, 60, 89, 90, 109)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])
