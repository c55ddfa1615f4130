"""Where frames come from: a camera, a film, or the pictures of a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
STILL_RATE = 10.0  # pictures of a folder a second
LOST_AFTER = 2.0  # seconds without a frame after which a camera counts as gone


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a source.

    Attributes:
        number: from 0.
        time: seconds: of a camera when it was taken, of a film its place in it.
        image: [H, W, 3] uint8 R, G, B.
    """

    number: int
    time: float
    image: np.ndarray


class Source(Protocol):
    """Frames one after the other.

    Attributes:
        name: for titles.
        rate: frames a second.
        live: frames come when they come; those that nobody has time for are dropped.
    """

    name: str
    rate: float
    live: bool

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Give the device or file back."""
        ...


def open_source(name: str) -> Source:
    """A camera's number, a film, or a folder of pictures.

    Raises:
        FileNotFoundError: no such file or folder, or no picture in it.
        ValueError: no such camera, or a film without frames.
    """
    if name.isdigit():
        return Camera(int(name))
    path = Path(name)
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such film or folder; a camera is given by its number")
    return Film(path)


class Camera:
    """A camera of this machine."""

    live = True

    def __init__(self, number: int):
        import cv2

        _silence()
        self.name = f"camera {number}"
        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise ValueError(f"no camera {number} here; give a film or a folder, or let a browser send its camera with --web")
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 30.0
        first = self._read()
        if first is None:
            raise ValueError(f"camera {number} gives no picture; another program may use it")
        self._first: np.ndarray | None = first

    def __iter__(self) -> Iterator[Frame]:
        start = last = time.monotonic()
        number = 0
        while True:
            image, self._first = (self._first, None) if self._first is not None else (self._read(), None)
            now = time.monotonic()
            if image is None:
                if now - last > LOST_AFTER:
                    raise ValueError(f"{self.name} stopped: no picture for {LOST_AFTER:g} seconds")
                time.sleep(0.02)
                continue
            last = now
            yield Frame(number, now - start, image)
            number += 1

    def _read(self) -> np.ndarray | None:
        found, image = self._capture.read()
        return np.ascontiguousarray(image[..., ::-1]) if found and image is not None else None

    def close(self) -> None:
        self._capture.release()


class Film:
    """A film."""

    live = False

    def __init__(self, path: Path):
        import cv2

        _silence()
        self.name, self._path = path.name, path
        self._capture = cv2.VideoCapture(str(path))
        rate = self._capture.get(cv2.CAP_PROP_FPS) if self._capture.isOpened() else 0.0
        self.rate = rate if 1 <= rate <= 1000 else 30.0
        found, first = self._capture.read() if self._capture.isOpened() else (False, None)
        self._first: np.ndarray | None = first
        if not found or first is None:
            raise ValueError(f"{path}: expected a film, got no frame from it")

    def __iter__(self) -> Iterator[Frame]:
        image, number = self._first, 0
        while image is not None:
            yield Frame(number, number / self.rate, np.ascontiguousarray(image[..., ::-1]))
            number += 1
            found, image = self._capture.read()
            if not found:
                break

    def close(self) -> None:
        self._capture.release()


class Folder:
    """The pictures of a folder, in the order of their names, in the size of the first."""

    live = False
    rate = STILL_RATE

    def __init__(self, path: Path):
        self.name = path.name
        self._files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not self._files:
            raise FileNotFoundError(f"{path}: no picture (.jpg, .png, ...) in it")

    def __iter__(self) -> Iterator[Frame]:
        from geo3d.predict.images import upright_rgb

        for number, file in enumerate(self._files):
            yield Frame(number, number / self.rate, upright_rgb(file))

    def close(self) -> None:
        """Nothing is open."""


def _silence() -> None:
    """Keep OpenCV's own words about devices that are not there off the screen."""
    import cv2

    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
