"""FreiHAND (Zimmermann et al., ICCV 2019), as published, and data in its folders.

    training/rgb/00000000.jpg ...    training_K.json  training_xyz.json  training_verts.json  ...
    evaluation/rgb/00000000.jpg ...  evaluation_K.json ...

Row i of the training lists serves the pictures i, i + N, i + 2 N and i + 3 N, which differ in their backgrounds. Data with fewer
versions, as geo3d generates it, has fewer pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from geo3d.data.cache import cache_folder
from geo3d.data.hands.samples import HandLabels

Look = Literal["gs", "hom", "sample", "auto"]  # green screen; colours harmonised, by another network; automatic recolouring
LOOKS: tuple[Look, ...] = ("gs", "hom", "sample", "auto")
SPLITS = {"train": "training", "test": "evaluation"}


class FreiHandFrames:
    """The pictures of a split with their labels.

    Args:
        root: the folder.
        split: "train" or "test".
        looks: which versions of the training pictures; those that the folder lacks are left out.

    Raises:
        FileNotFoundError: no such folder, or a list that is missing.
        ValueError: lists that do not fit together; the message names the file.
    """

    def __init__(self, root: str | Path, split: Literal["train", "test"] = "train", looks: Sequence[Look] = LOOKS):
        if split not in SPLITS:
            raise ValueError(f"FreiHAND: split must be 'train' or 'test', got {split!r}")
        unknown = [look for look in looks if look not in LOOKS]
        if unknown or not looks:
            raise ValueError(f"FreiHAND: looks must be some of {', '.join(LOOKS)}, got {list(looks)}")
        root, name = Path(root), SPLITS[split]
        self.folder = root / name / "rgb"
        if not self.folder.is_dir():
            raise FileNotFoundError(f"FreiHAND: no folder {self.folder}")
        self.matrices = _numbers(root / f"{name}_K.json", (3, 3))
        rows = len(self.matrices)
        self.joints = _numbers(root / f"{name}_xyz.json", (21, 3), rows)
        self.vertices = _numbers(root / f"{name}_verts.json", (778, 3), rows)
        with os.scandir(self.folder) as entries:
            pictures = sum(entry.name.endswith(".jpg") for entry in entries)
        versions = pictures // rows if split == "train" else 1
        if versions < 1 or (split == "train" and pictures % rows):
            raise ValueError(
                f"{self.folder}: expected a multiple of {rows} pictures, as many as rows in the lists, got {pictures}"
            )
        self.offsets = [LOOKS.index(look) * rows for look in looks if LOOKS.index(look) < versions] if split == "train" else [0]
        if not self.offsets:
            raise ValueError(f"{self.folder}: has {versions} version(s) of the pictures, none of {', '.join(looks)}")

    def __len__(self) -> int:
        return len(self.matrices) * len(self.offsets)

    def path(self, index: int) -> Path:
        """File of a picture."""
        version, row = divmod(index, len(self.matrices))
        return self.folder / f"{self.offsets[version] + row:08d}.jpg"

    def labels(self, index: int) -> HandLabels:
        """Labels of a picture."""
        row = index % len(self.matrices)
        matrix, joints = self.matrices[row].astype(np.float64), self.joints[row].astype(np.float64)
        projected = joints @ matrix.T
        keypoints = projected[:, :2] / (projected[:, 2:] + 1e-7)
        return HandLabels(matrix, keypoints, joints, self.vertices[row].astype(np.float64))

    def picture(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, HandLabels]:
        """A picture [H, W, 3] uint8 R, G, B with its labels; nothing is random here."""
        return read_rgb(self.path(index)), self.labels(index)


def read_rgb(path: Path) -> np.ndarray:
    """An image [H, W, 3] uint8, R, G, B.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image.
    """
    import cv2

    if not path.is_file():
        raise FileNotFoundError(f"no image {path}")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: expected an image, got a file that cannot be decoded")
    return image[..., ::-1]


def _numbers(path: Path, shape: tuple[int, int], rows: int | None = None) -> np.ndarray:
    """The rows of a JSON list of lists of numbers, [N, *shape] float32, from the cache where they are.

    The meshes of FreiHAND are 76 million numbers; as Python objects they would take gigabytes, so they are parsed as text, once.
    """
    if not path.is_file():
        raise FileNotFoundError(f"FreiHAND: no list {path}")
    state = path.stat()
    digest = hashlib.sha256(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]
    cached = cache_folder() / "freihand" / f"{path.stem}-{digest}.npy"
    if cached.is_file():
        values = np.load(cached, mmap_mode="r")
    else:
        values = _parsed(path, shape)
        cached.parent.mkdir(parents=True, exist_ok=True)
        temporary = cached.with_name(f".{cached.name}.{os.getpid()}.npy")
        np.save(temporary, values)
        os.replace(temporary, cached)
    if values.shape[1:] != shape or (rows is not None and len(values) != rows):
        raise ValueError(f"{path}: expected {rows} entries of {list(shape)}, got {list(values.shape)}")
    return values


def _parsed(path: Path, shape: tuple[int, int]) -> np.ndarray:
    text = path.read_bytes()
    depth = len(text) - len(text.lstrip(b"[ \n"))
    size = shape[0] * shape[1]
    try:
        if depth < 3:
            json.loads(text)
            raise ValueError("a list of another depth")
        values = np.fromstring(text.translate(bytes.maketrans(b"[]", b"  ")), dtype=np.float32, sep=",")
    except ValueError as error:
        raise ValueError(f"{path}: expected a list of {list(shape)} lists of numbers, got {str(error)[:80]}") from None
    if not len(values) or len(values) % size:
        raise ValueError(f"{path}: expected a multiple of {size} numbers, {list(shape)} for each picture, got {len(values)}")
    return values.reshape(-1, *shape)
