"""What a path is: which reader opens a file or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geo3d.data.files.geometry import SUFFIXES
from geo3d.tools.viewing.geometry import geometry_files, image_files, voxel_files
from geo3d.tools.viewing.hands import open_hands
from geo3d.tools.viewing.naming import with_distinct_names
from geo3d.tools.viewing.predictions import read_predictions
from geo3d.tools.viewing.renders import open_r2n2
from geo3d.tools.viewing.samples import Options, Samples, joined
from geo3d.tools.viewing.sweeps import open_argoverse, open_kitti, open_nuscenes, open_sequences, sweep_files

IMAGES = (".png", ".jpg", ".jpeg")
FOLDERS = (open_kitti, open_nuscenes, open_argoverse, open_sequences, open_r2n2, open_hands)
KNOWN = tuple(sorted({*SUFFIXES, ".feather", ".binvox", ".json", *IMAGES}))


def open_paths(paths: Sequence[str | Path], options: Options) -> Samples:
    """The samples of files and folders, in order.

    Args:
        paths: files of the kinds in `KNOWN`; folders of the data sets that geo3d knows, or any with such files below.
        options: how to read them.

    Raises:
        FileNotFoundError: no such path, or a folder with nothing to look at.
        ValueError: a file of an unknown kind; at access also a damaged one.
    """
    places = [Path(path) for path in paths]
    return joined(with_distinct_names([_open(path, options) for path in places], places))


def _open(path: Path, options: Options) -> Samples:
    if path.is_dir():
        return _open_folder(path, options)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix not in KNOWN:
        raise ValueError(
            f"{path}: unknown kind {suffix or 'without a suffix'!r}, expected a folder or one of {' '.join(KNOWN)}"
        )
    if suffix == ".json":
        return _open_results(path, options)
    return _open_file(path, path.name, options)


def _open_file(path: Path, name: str, options: Options) -> Samples:
    suffix = path.suffix.lower()
    if suffix == ".binvox":
        return voxel_files([path], [name], options)
    if suffix in IMAGES:
        return image_files([path], [name], options)
    if suffix == ".feather" or (suffix == ".bin" and options.columns in (None, 4, 5)) or options.predictions is not None:
        return sweep_files([path], options)
    return geometry_files([path], [name], options)


def _open_results(path: Path, options: Options) -> Samples:
    """The sweeps that a file of predictions names, with its boxes."""
    predictions = read_predictions(path)
    missing = [file for file in predictions.files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: no {missing[0]}, whose boxes it holds; open the sweep and add --predictions {path}")
    with_boxes = Options(options.up, options.columns, options.predictions or predictions, options.min_score)
    return sweep_files(predictions.files, with_boxes)


def _open_folder(folder: Path, options: Options) -> Samples:
    for reader in FOLDERS:
        samples = reader(folder, options)
        if samples is not None:
            return samples
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in KNOWN and path.suffix.lower() != ".json")
    solid = [path for path in files if path.suffix.lower() not in (*IMAGES, ".npz") and "_names" not in path.stem]
    chosen = solid or files  # images beside clouds are textures, or belong to a layout that is not known here
    if not chosen:
        raise FileNotFoundError(f"{folder}: nothing to look at in it; expected a data set's folder, or files {' '.join(KNOWN)}")
    parts = [_open_file(path, str(path.relative_to(folder)), options) for path in chosen]
    return joined(with_distinct_names(parts, chosen))
