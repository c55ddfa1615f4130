"""LiDAR sweeps as samples: single files and the folders of KITTI, nuScenes, Argoverse 2 and SemanticKITTI."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from geo3d.data.files.geometry import TABLES
from geo3d.data.lidar.box_files import SweepBoxes
from geo3d.data.lidar.sweeps import LidarSample, read_sweep
from geo3d.tools.viewing.naming import distinct_names
from geo3d.tools.viewing.predictions import MIN_SCORE
from geo3d.tools.viewing.reading import readable_images
from geo3d.tools.viewing.samples import Options, Sample, Samples
from geo3d.viz import Scene
from geo3d.viz.builders import detection_scene, detection_views
from geo3d.viz.colors import by_label

SWEEP_FOLDERS = ("velodyne", "velodyne_reduced")
NUSCENES_FORWARD = 90.0  # degrees: its LiDAR is mounted with y forward
SEMANTIC_LABELS = (
    *(0, 1, 10, 11, 13, 15, 16, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 52, 60, 70, 71, 72, 80, 81, 99),
    *range(252, 260),
)  # of SemanticKITTI
KITTI_FRAME = r"\d{6}"  # Waymo in KITTI's layout has seven digits, and other columns


def sweep_sample(sweep: LidarSample, options: Options, title: str, forward_deg: float = 0.0) -> Sample:
    """A sweep with labelled boxes, predicted ones and images, as far as there are any."""
    labeled = len(sweep.boxes) + len(sweep.other_boxes) > 0
    true = np.concatenate([sweep.boxes[:, :7].numpy(), sweep.other_boxes[:, :7].numpy()]) if labeled else None
    predicted = _predicted(sweep, options)
    intensity = sweep.points[:, 3] if sweep.features and sweep.features[0] == "intensity" else None
    cameras, images = readable_images(sweep.cameras)
    scene = detection_scene(
        sweep.points,
        intensity=intensity,
        boxes=None if predicted is None else predicted.boxes,
        scores=None if predicted is None else predicted.scores,
        names=None if predicted is None else predicted.names,
        gt_boxes=true,
        gt_names=[*sweep.names, *sweep.other_names] if labeled else None,
        images=images,
        cameras=[view.camera for view in cameras],
        captions=[view.name for view in cameras] if len(sweep.cameras) > 1 else None,
        title=title,
    )
    views = detection_views(sweep.points, true, None if predicted is None else predicted.boxes, forward_deg=forward_deg)
    return Sample(scene, (views["bird"], views["driver"]), first=1)


def _predicted(sweep: LidarSample, options: Options) -> SweepBoxes | None:
    """Predicted boxes that are shown, in the coordinates of the points, which an offset parts from the file's."""
    found = None if options.predictions is None else options.predictions.of(sweep)
    if found is None:
        return None
    if options.min_score is not None or found.min_score is None:
        found = found.at_least(MIN_SCORE if options.min_score is None else options.min_score)
    return replace(found, boxes=found.boxes[:, :7] - np.concatenate([sweep.offset, np.zeros(4)]))


def sweep_files(paths: Sequence[Path], options: Options) -> Samples:
    """Sweeps of which nothing but the points is known, unless they lie in the folders of a data set."""

    def make(index: int) -> Sample:
        path = paths[index]
        labels = path.parent.parent / "labels" / f"{path.stem}.label"
        if path.suffix == ".bin" and labels.is_file():
            return _semantic_sample(path, labels)
        return sweep_sample(_read(path, options), options, path.name)

    return Samples("sweeps", distinct_names(paths), make, steady=True)


def open_kitti(root: Path, options: Options) -> Samples | None:
    """Frames of KITTI's training and testing folders, or of a folder that has velodyne with labels or calibration beside it."""
    from geo3d.data.lidar.kitti import read_kitti_frame

    folders = [folder for folder in (root / "training", root / "testing", root) if _is_kitti(folder)]
    places = [(folder, frame) for folder in folders for frame in _frames(folder)]
    names = tuple(frame if folder == root else f"{folder.name} {frame}" for folder, frame in places)
    return _frames_of("KITTI frames", names, lambda index: read_kitti_frame(*places[index]), options)


def open_nuscenes(root: Path, options: Options) -> Samples | None:
    """Key frames of nuScenes."""
    from geo3d.data.lidar.nuscenes import NuScenesDataset

    if not any((root / name).is_dir() for name in ("v1.0-trainval", "v1.0-mini", "v1.0-test")):
        return None
    frames = NuScenesDataset(root, num_sweeps=1)
    return _frames_of("nuScenes key frames", tuple(frames.frames), frames.__getitem__, options, NUSCENES_FORWARD)


def open_argoverse(root: Path, options: Options) -> Samples | None:
    """Sweeps of Argoverse 2: a log, a folder of logs, or what holds such a folder."""
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        found = next(root.glob(f"{depth}sensors/lidar"), None)
        if found is not None:
            from geo3d.data.lidar.argoverse import Argoverse2Dataset

            log = found.parents[1]
            frames = Argoverse2Dataset(root if not depth else log.parent)
            return _frames_of("Argoverse 2 sweeps", tuple(frames.frames), frames.__getitem__, options)
    return None


def open_sequences(root: Path, options: Options) -> Samples | None:
    """Sweeps of SemanticKITTI's sequences, or of a folder of sweeps, coloured by label where there are labels."""
    folders = [
        *sorted(root.glob("sequences/*/velodyne")),
        *(root / name for name in SWEEP_FOLDERS),
        *((root / split / name) for split in ("training", "testing") for name in SWEEP_FOLDERS),
    ]
    paths = [path for folder in folders for path in sorted(folder.glob("*.bin"))]
    return sweep_files(paths, options) if paths else None


def _frames_of(
    kind: str, names: tuple[str, ...], read: Callable[[int], LidarSample], options: Options, forward_deg: float = 0.0
) -> Samples | None:
    if not names:
        return None
    return Samples(kind, names, lambda index: sweep_sample(read(index), options, names[index], forward_deg), steady=True)


def _is_kitti(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in SWEEP_FOLDERS) and any(
        (folder / name).is_dir() for name in ("label_2", "calib", "image_2")
    )


def _frames(folder: Path) -> list[str]:
    return sorted({path.stem for name in SWEEP_FOLDERS for path in (folder / name).glob("*.bin")})


def _read(path: Path, options: Options) -> LidarSample:
    """A sweep, with labels, images and calibration where its folder is KITTI's."""
    folder = path.parent.parent
    if path.parent.name in SWEEP_FOLDERS and _is_kitti(folder) and re.fullmatch(KITTI_FRAME, path.stem):
        from geo3d.data.lidar.kitti import read_kitti_frame

        return read_kitti_frame(folder, path.stem)
    return read_sweep(path, columns=options.columns if path.suffix.lower() in TABLES else None)


def _semantic_sample(path: Path, labels: Path) -> Sample:
    """A sweep of SemanticKITTI, each class in a colour."""
    points = read_sweep(path, format="kitti").points[:, :3]
    raw = np.fromfile(labels, "<u4") if labels.stat().st_size % 4 == 0 else np.zeros(0, np.uint32)
    if len(raw) != len(points):
        raise ValueError(f"{labels}: expected a label for each of the {len(points)} points, got {len(raw)}")
    classes, of_class = np.unique(raw & 0xFFFF, return_inverse=True)  # the upper half numbers the objects
    rows = np.array([_palette_row(number) for number in classes.tolist()])
    scene = Scene(up="z", title=f"{path.parent.parent.name}/{path.name}")
    scene.add_points(points, labels=rows[of_class.reshape(-1)], name="points")
    scene.add_legend([f"label {number}" for number in classes], by_label(rows))
    views = detection_views(points)
    return Sample(scene, (views["bird"], views["driver"]), first=1)


def _palette_row(label: int) -> int:
    """The colour of a label, whichever others a sweep has."""
    return SEMANTIC_LABELS.index(label) if label in SEMANTIC_LABELS else len(SEMANTIC_LABELS) + label
