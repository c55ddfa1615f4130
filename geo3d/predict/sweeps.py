"""The predictor of 3D detectors: a sweep in, named boxes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from geo3d.data.lidar.kitti import SWEEP_FOLDERS, read_kitti_frame
from geo3d.data.lidar.sensors import SENSORS
from geo3d.data.lidar.sweeps import LidarSample, finite_points, read_sweep
from geo3d.descriptions import DetectionLabels, SweepInput
from geo3d.models.detection import Detections, decoder_for
from geo3d.models.detection.pairing import check_classes
from geo3d.models.dsvt import DSVTDetector
from geo3d.predict.all_around import detect_around, faces_one_side
from geo3d.predict.base import Predictor
from geo3d.predict.placement import Mounting, Placement, looks_forward, move_boxes_back, move_points, placements
from geo3d.zoo.weights import WeightsInfo

INTENSITY_SHARE = 0.995  # of values that lie within the scale; single echoes exceed it
Sweep = str | Path | np.ndarray | Tensor | LidarSample


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """Result of a detection.

    Attributes:
        detections: boxes, scores and labels on the CPU; metres and radians in the frame of the points.
        class_names: the classes that labels count.
        sample: the sweep as it was read, all of its points.
        placement: how the sweep was brought to the frame of the training, and the ground that was found.
    """

    detections: Detections
    class_names: tuple[str, ...]
    sample: LidarSample
    placement: Placement

    def __len__(self) -> int:
        return len(self.detections)

    @property
    def names(self) -> list[str]:
        """Class name of each box."""
        return [self.class_names[label] for label in self.detections.labels.tolist()]

    def at_least(self, score: float) -> DetectionResult:
        """Those with that score or more."""
        return replace(self, detections=self.detections[self.detections.scores >= score])

    def counts(self) -> dict[str, int]:
        """How many of each class, in the order of the classes."""
        counts = Counter(self.names)
        return {name: counts[name] for name in self.class_names}


class Detector(Predictor[Sweep, DetectionResult]):
    """Finds objects in a LiDAR sweep; `step` does so for the points of a running sensor.

    Attributes:
        decode: from outputs of the head to boxes.
        trained: heading and height of the sensor in training.

    Raises:
        ValueError: another network, a description that does not fit it, or options that the head's decoder does not have.
    """

    network: DSVTDetector

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        if not isinstance(network, DSVTDetector):
            raise ValueError(f"Detector: expected a detector of DSVT, got {type(network).__name__}")
        self.input = self.described("preprocessing", SweepInput)
        self.labels = self.described("labels", DetectionLabels)
        self.decode = decoder_for(network.head, network.bev_grid, self.labels.decoder)
        if self.input.sensor not in SENSORS:
            raise ValueError(f"preprocessing.sensor must be one of {', '.join(SENSORS)}, got {self.input.sensor!r}")
        self.trained = SENSORS[self.input.sensor]
        self._check_description(network.num_classes, network.in_features)

    def _check_description(self, num_classes: int, in_features: int) -> None:
        check_classes(self.decode, num_classes)
        if len(self.labels.class_names) != num_classes:
            raise ValueError(
                f"labels.class_names must be the names of {num_classes} classes, got {len(self.labels.class_names)}"
            )
        if in_features != 3 + len(self.input.features):
            found = ", ".join(self.input.features) or "none"
            raise ValueError(f"preprocessing.features must be {in_features - 3} names, got {found}")

    @property
    def min_score(self) -> float:
        """The decoder's threshold: boxes with a score up to this are not found; see `score_threshold` of the decoders."""
        return self.decode.score_threshold

    @min_score.setter
    def min_score(self, score: float) -> None:
        if not 0 <= score <= 1:
            raise ValueError(f"min_score must be a number of 0 to 1, got {score:g}")
        self.decode = replace(self.decode, score_threshold=score)

    def __call__(self, source: Sweep, mounting: Mounting | None = None, *, all_around: bool = False) -> DetectionResult:
        """Objects of a sweep, the best of each class first; none where no point is in the network's range.

        The sweep is brought to the heading, height and level of the training (`geo3d.predict.place`: by what its data set or
        `mounting` says and by the ground near the sensor), and boxes back; where a lean may be the street's or the sensor's, both are
        tried and the one with more and surer objects holds. z must point up within 25 degrees. Of a sweep of another sensor the
        intensities are brought to the network's scale, and measurements that it does not have are zero. Rows with NaN are dropped.

        Args:
            source: a file (see `geo3d.data.lidar.sweeps.read_sweep`; of KITTI's folders calibration and image too, never labels), a sample, or an
                array [N, 3 or more] of x, y, z and measurements in the units of the data that the network was trained on.
            mounting: what is known about the sensor; by default what its data set says, else x forward.
            all_around: look on every side, in four passes, where the network was trained to look in one direction.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged file, or an array of another shape.
        """
        sample = self.read(source)
        point_range = self.network.point_range
        around = all_around and faces_one_side(point_range)
        results = []
        for placement in placements(sample, self.trained, mounting, all_around=around):
            points = self.network_points(sample, placement, cut_view=not all_around)
            results.append((detect_around(points, point_range, self.step) if around else self.step(points), placement))
        found, placement = max(results, key=lambda result: float(result[0].scores.sum()))  # the first of equal ones
        pose = placement.network_from_points
        found = replace(found.to("cpu"), boxes=move_boxes_back(found.boxes.cpu(), pose))
        return DetectionResult(found, self.labels.class_names, sample, placement)

    @torch.inference_mode()
    def step(self, points: Tensor) -> Detections:
        """Objects of one frame, the best of each class first, on the network's device.

        Args:
            points: [M, 3 + F] float32, metres and the measurements that the network was trained on (see `network_points`).
        """
        points = points.to(self.device)
        batch_index = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        [found] = self.decode(self.network(points, batch_index, 1))
        return found

    def read(self, sweep: Sweep) -> LidarSample:
        """The sweep of any source."""
        if isinstance(sweep, LidarSample):
            return sweep
        if isinstance(sweep, np.ndarray | Tensor):
            return _from_array(sweep, self.input.features)
        path = Path(sweep)
        if path.suffix == ".bin" and path.is_file() and is_kitti_frame(path):
            return read_kitti_frame(path.parent.parent, path.stem, labeled=False)
        return read_sweep(path)

    def network_points(self, sample: LidarSample, placement: Placement | None = None, *, cut_view: bool = True) -> Tensor:
        """Points [M, 3 + F] as the network was trained to see them.

        Args:
            sample: a sweep.
            placement: of the sweep; None where it stands as in training.
            cut_view: of a network that saw what a camera shows alone, leave out what the camera that looks forward does not show.
        """
        points = sample.points
        forward = self.trained.forward if placement is None else placement.forward
        cameras = [view.camera for view in sample.cameras if looks_forward(view.camera, forward)]
        if cut_view and self.input.camera_view_only and cameras and cameras[0].image_size is not None:
            points = points[cameras[0].in_view(points.double())]
        pose = np.eye(4) if placement is None else placement.network_from_points
        columns = [_column(points, sample.features, name, self.input.sensor) for name in self.input.features]
        return torch.cat([move_points(points[:, :3], pose), *columns], 1)


def is_kitti_frame(path: Path) -> bool:
    """Whether a sweep lies in KITTI's folders, with its calibration beside."""
    return path.parent.name in SWEEP_FOLDERS and (path.parent.parent / "calib" / f"{path.stem}.txt").is_file()


def _from_array(array: np.ndarray | Tensor, features: Sequence[str]) -> LidarSample:
    table = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    if table.ndim != 2 or table.shape[1] < 3 or table.dtype.kind not in "fiu":
        raise ValueError(f"points must be an array [N, 3 or more] of numbers, got {list(table.shape)} {table.dtype}")
    width = min(table.shape[1], 3 + len(features))
    points = finite_points(table[:, :width])
    zeros = points.new_zeros(len(points), 3 + len(features) - width)
    return LidarSample(torch.cat([points, zeros], 1), tuple(features), "array", Path("array"))


def _column(points: Tensor, features: Sequence[str], name: str, sensor: str) -> Tensor:
    """A measurement [N, 1] by its name in the scale of the sensor that the network was trained with."""
    is_age = "laser" not in features  # Argoverse's time is that within one sweep, where all points are of now
    if name not in features or (name == "time" and not is_age):
        return points.new_zeros(len(points), 1)
    index = 3 + list(features).index(name)
    values = points[:, index : index + 1]
    if "no_label_zone" in features and name in ("intensity", "elongation"):
        values = values.tanh()  # Waymo's are unbounded
    if name != "intensity":
        return values
    unit = (values / intensity_scale(values)).clamp(max=1)
    return unit * 255 if sensor == "nuscenes" else unit


def intensity_scale(values: Tensor) -> float:
    """What stands for full intensity in a sweep: 1, 100, 255 or 65535, the least that nearly all values fit; else their own quantile.

    Args:
        values: [N, 1] or [N] intensities, of which single ones may be outliers.
    """
    if not len(values):
        return 1.0
    high, highest = np.quantile(values.numpy(), (INTENSITY_SHARE, 0.9999)).tolist()
    if high <= 255:
        percent = 60 < highest <= 100
        return 1.0 if high <= 1 else 100.0 if percent else 255.0
    return 65535.0 if high > 65535 / 8 else high  # between them counts of photons, whose own quantile is the scale
