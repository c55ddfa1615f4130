"""Pictures of objects as users have them: files, folders without labels, a video turned around the object.

One object: `a.jpg b.jpg c.jpg`, a folder of pictures, or a video. Several objects: a folder of such folders.

objects/
  chair/    front.jpg, left.jpg, ...
  mug/      IMG_0001.png, ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
RENDERING = "rendering"  # the folder of an object's pictures in 3D-R2N2's data
LEVELS = 3  # of folders that are looked into
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif")


@dataclass(frozen=True)
class ObjectPictures:
    """Views of one object.

    Attributes:
        name: of the file, folder or video.
        files: pictures, or one video.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def is_video(self) -> bool:
        """Whether the views are frames of a video."""
        return self.files[0].suffix.lower() in VIDEOS


def find_objects(paths: Sequence[str | Path]) -> list[ObjectPictures]:
    """Objects whose pictures files and folders hold, as the docstring of this module says.

    Pictures that are given as files are views of one object, which is called after the first, or after its folder where its name is a
    number. Pictures of a folder come in the order of their names, in which 10 is after 9. Folders are looked into three levels deep.

    Raises:
        FileNotFoundError: a file that is not there, a folder without pictures.
        ValueError: no path; a file that is neither picture nor video.
    """
    if not paths:
        raise ValueError("expected pictures, a folder of them or a video, got none")
    places = [Path(path) for path in paths]
    files = [path for path in places if path.suffix.lower() in PICTURES and not path.is_dir()]
    objects = [ObjectPictures(_file_name(files[0]), tuple(files))] if files else []
    for path in places:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        if path.is_dir():
            objects.extend(_objects_in(path))
        elif path.suffix.lower() in VIDEOS:
            objects.append(ObjectPictures(path.stem, (path,)))
        elif path not in files:
            known = ", ".join((*PICTURES, *VIDEOS))
            raise ValueError(f"{path}: expected a picture, a video or a folder ({known})")
    return objects


def find_masks(pictures: Sequence[Path], mask: Path, name: str | None = None) -> list[Path]:
    """The mask of each picture.

    Args:
        pictures: of an object.
        mask: the mask of a single picture, or a folder with one of the same name, whatever its ending, for each.
        name: of the object; the masks are in a folder of this name, if the folder has one.

    Raises:
        FileNotFoundError: a mask that is not there.
        ValueError: one mask for several pictures.
    """
    if not mask.is_dir():
        if not mask.is_file():
            raise FileNotFoundError(f"{mask}: no such file or folder")
        if len(pictures) != 1:
            raise ValueError(f"{mask} is one mask for {len(pictures)} pictures; give a folder with a mask of the name of each")
        return [mask]
    folder = mask / name if name is not None and (mask / name).is_dir() else mask
    by_stem = {path.stem: path for path in _pictures_in(folder)}
    missing = [picture for picture in pictures if picture.stem not in by_stem]
    if missing:
        raise FileNotFoundError(f"{folder}: no mask {missing[0].stem}.png for {missing[0]}")
    return [by_stem[picture.stem] for picture in pictures]


def evenly(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers 0 to count - 1, the first among them, evenly spaced around the object."""
    return list(range(count)) if count <= most else [number * count // most for number in range(most)]


def read_frames(path: str | Path, most: int) -> list[np.ndarray]:
    """Up to so many frames of a video, evenly spaced: [H, W, 3] uint8 R, G, B each.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a video.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    count = sum(1 for _ in _frames(path, ()))
    wanted = set(evenly(count, most))
    frames = [frame for frame in _frames(path, wanted) if frame is not None]
    if not frames:
        raise ValueError(f"{path}: expected a video, got no frame from it")
    return frames


def _frames(path: Path, wanted: Sequence[int] | set[int]) -> Iterator[np.ndarray | None]:
    """All frames of a video; those that are not wanted are not decoded, and None."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path))
    try:
        number = 0
        while capture.isOpened() and capture.grab():
            found, frame = capture.retrieve() if number in wanted else (False, None)
            yield np.ascontiguousarray(frame[..., ::-1]) if found and frame is not None else None
            number += 1
    finally:
        capture.release()


def _objects_in(root: Path) -> list[ObjectPictures]:
    own = _pictures_in(root)
    if own:
        return [ObjectPictures(_folder_name(root), tuple(own))]
    objects = []
    for folder in _folders_in(root, LEVELS):
        files = _pictures_in(folder)
        if files:
            parts = folder.relative_to(root).parts
            parts = parts[:-1] if parts[-1] == RENDERING and len(parts) > 1 else parts
            objects.append(ObjectPictures(_folder_name(root) if parts == (RENDERING,) else "_".join(parts), tuple(files)))
    if not objects:
        raise FileNotFoundError(f"{root}: no pictures ({', '.join(PICTURES)}) in it or in its folders")
    return objects


def _folders_in(root: Path, levels: int) -> Iterator[Path]:
    """Folders below a root, without hidden ones."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield folder
        if levels > 1:
            yield from _folders_in(folder, levels - 1)


def _file_name(path: Path) -> str:
    return path.stem if not path.stem.isdecimal() else _folder_name(path.parent)


def _folder_name(folder: Path) -> str:
    folder = folder.absolute()
    return (folder.parent.name if folder.name == RENDERING else folder.name) or "object"


def _pictures_in(folder: Path) -> list[Path]:
    """Pictures of a folder, without hidden files, 10 after 9."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")]
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    digits, parts = "", []
    for letter in f"{path.name.lower()}\0":
        if letter.isdecimal():
            digits += letter
        else:
            parts.append((int(digits), letter) if digits else (-1, letter))
            digits = ""
    return parts
