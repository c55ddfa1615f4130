"""Capture, network and drawing at the same time, each in a thread of its own; what nobody has time for is dropped, not queued."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from geo3d.predict.tracking import HandTracker, TrackedFrame
from geo3d.tools.hands.sources import Frame, Source

Item = TypeVar("Item")
WAITING = 2  # items between two stages where none is dropped
KEPT_TIMES = 300  # that percentiles are of


class Handover(Generic[Item]):
    """Hands items from one thread to another.

    Args:
        drop: keep the newest item alone, and count those that it replaces; else wait until there is room.
    """

    def __init__(self, drop: bool):
        self.drop, self.dropped = drop, 0
        self._items: deque[Item] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> bool:
        """Hand an item over; False when nobody wants any more."""
        with self._condition:
            if self.drop:
                self.dropped += len(self._items)
                self._items.clear()
            else:
                self._condition.wait_for(lambda: len(self._items) < WAITING or self._closed)
            if self._closed:
                return False
            self._items.append(item)
            self._condition.notify_all()
            return True

    def close(self, error: BaseException | None = None) -> None:
        """No more items come or are wanted; those that wait are still taken."""
        with self._condition:
            self._closed = True
            self._error = self._error or error
            self._condition.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._condition.notify_all()
            yield item


class Times:
    """Durations of a stage, the last so many of them."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT_TIMES)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def percentiles(self) -> tuple[float, float]:
        """Median and 95th percentile, milliseconds; 0 without any."""
        if not self._seconds:
            return 0.0, 0.0
        median, high = np.percentile(self._seconds, [50, 95]) * 1000
        return float(median), float(high)


@dataclass(eq=False)
class Result:
    """A frame with what was found in it, and the picture to show."""

    frame: Frame
    tracked: TrackedFrame
    begun: float  # clock when the frame was there
    picture: np.ndarray = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))


class Pipeline:
    """Runs the stages; iterate over it for the results in order.

    Args:
        source: of frames.
        tracker: of hands.
        draw: makes the picture of a result.
        drop: leave frames out that come while the network or the drawing is busy.
        paced: give frames of a film at its rate, not as fast as they can be read.
    """

    def __init__(
        self, source: Source, tracker: HandTracker, draw: Callable[[Result], np.ndarray], *, drop: bool, paced: bool = False
    ):
        self.source, self.tracker, self.draw, self.paced = source, tracker, draw, paced
        self.frames: Handover[tuple[Frame, float]] = Handover(drop)
        self.found: Handover[Result] = Handover(drop)
        self.shown: Handover[Result] = Handover(drop)
        self.times = {name: Times() for name in ("capture", "network", "drawing", "whole")}
        self._ends: deque[float] = deque(maxlen=60)
        self._threads = [
            threading.Thread(target=stage, args=(output,), name=f"hands {stage.__name__}", daemon=True)
            for stage, output in ((self._capture, self.frames), (self._track, self.found), (self._draw, self.shown))
        ]

    @property
    def dropped(self) -> int:
        """Frames that were left out."""
        return self.frames.dropped + self.found.dropped + self.shown.dropped

    @property
    def rate(self) -> float:
        """Results a second, of late."""
        ends = list(self._ends)
        return (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 and ends[-1] > ends[0] else 0.0

    def __iter__(self) -> Iterator[Result]:
        for thread in self._threads:
            thread.start()
        try:
            for result in self.shown:
                now = time.perf_counter()
                self.times["whole"].add(now - result.begun)
                self._ends.append(now)
                yield result
        finally:
            self.close()

    def close(self) -> None:
        """Stop all stages and wait until they have."""
        for handover in (self.frames, self.found, self.shown):
            handover.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        self.source.close()

    def _capture(self, output: Handover[tuple[Frame, float]]) -> None:
        with _PassedOn(output):
            start = last = time.perf_counter()
            for frame in self.source:
                now = time.perf_counter()
                self.times["capture"].add(now - last)
                if self.paced:
                    time.sleep(max(0.0, start + frame.time - now))
                if not output.put((frame, time.perf_counter())):
                    return
                last = time.perf_counter()

    def _track(self, output: Handover[Result]) -> None:
        with _PassedOn(output):
            for frame, begun in self.frames:
                start = time.perf_counter()
                tracked = self.tracker(frame.image, frame.time)
                self.times["network"].add(time.perf_counter() - start)
                if not output.put(Result(frame, tracked, begun)):
                    return

    def _draw(self, output: Handover[Result]) -> None:
        with _PassedOn(output):
            for result in self.found:
                start = time.perf_counter()
                result.picture = self.draw(result)
                self.times["drawing"].add(time.perf_counter() - start)
                if not output.put(result):
                    return


class _PassedOn:
    """Closes a stage's output at its end, with the error that ended it."""

    def __init__(self, output: Handover[object] | Handover[Result] | Handover[tuple[Frame, float]]):
        self.output = output

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.output.close(error)
        return True
