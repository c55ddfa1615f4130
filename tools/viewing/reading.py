"""What is there is shown, and what is not is told in one line: images that are absent, files of a folder that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geo3d.data.lidar.sweeps import CameraView
from geo3d.tools.errors import BAD_INPUT
from geo3d.tools.viewing.samples import Sample, Samples
from geo3d.viz import Scene

TITLE = 90  # letters of a message above a picture


def readable_images(views: Sequence[CameraView]) -> tuple[list[CameraView], list[np.ndarray]]:
    """The views whose images can be read, and those images."""
    found, images = [], []
    for view in views:
        try:
            images.append(view.read())
        except BAD_INPUT as error:
            print(f"{view.name}: not shown: {_line(error)}", file=sys.stderr)
        else:
            found.append(view)
    return found, images


def first_readable(samples: Samples) -> Samples:
    """Turned so that the first sample that can be read comes first.

    Raises:
        ValueError, OSError, ImportError: that of the first, where none can be read.
    """
    first: Exception | None = None
    for index, name in enumerate(samples.names):
        try:
            sample = samples[index]
        except BAD_INPUT as error:
            if len(samples) == 1:
                raise
            print(f"{name}: not shown: {_line(error)}", file=sys.stderr)
            first = first or error
        else:
            return _with_first(samples.from_index(index), sample)
    assert first is not None
    raise first


def _with_first(samples: Samples, first: Sample) -> Samples:
    """The samples, the first of which has been read already."""
    return replace(samples, make=lambda index: samples.make(index) if index else first)


def readable(samples: Samples) -> Samples:
    """The same samples; in place of one that cannot be read stands an empty scene that says so."""
    told: set[int] = set()

    def make(index: int) -> Sample:
        try:
            return samples.make(index)
        except BAD_INPUT as error:
            if index not in told:
                print(f"{samples.names[index]}: not shown: {_line(error)}", file=sys.stderr)
            told.add(index)
            return Sample(Scene(title=_line(error)[:TITLE]))

    return replace(samples, make=make)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
