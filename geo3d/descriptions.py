"""What weights say of their results and of their inputs, by task: given by task and data module, stored as JSON, read by predictors.

Each is checked when it is made; errors begin with the name of the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

MAX_NAMES = 10_000  # classes, parts or columns
MAX_POINTS = 10_000_000
MAX_SIDE = 8192  # pixels
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class ClassificationLabels:
    """class_names: of the labels, in their order."""

    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_names("class_names", self.class_names)


@dataclass(frozen=True)
class PartSegmentationLabels:
    """Categories and their parts.

    Attributes:
        category_names: in the order of their numbers.
        part_names: name of each part label, counted over all categories.
        part_ranges: first part label of each category, and the one after its last.
    """

    category_names: tuple[str, ...]
    part_names: tuple[str, ...]
    part_ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        check_names("category_names", self.category_names)
        check_names("part_names", self.part_names)
        ranges, stop = self.part_ranges, len(self.part_names)
        good = isinstance(ranges, tuple) and len(ranges) == len(self.category_names)
        if not good or not all(_is_range(each, stop) for each in ranges):
            expected = f"a range of labels from 0 to {stop} for each of {len(self.category_names)} categories"
            raise ValueError(f"part_ranges must be {expected}, got {shortened(ranges)}")


@dataclass(frozen=True)
class DetectionLabels:
    """Classes of boxes, and how they are found in the head's outputs.

    Attributes:
        class_names: of the labels, in their order.
        decoder: options of the head's decoder, see `geo3d.models.detection.decoder_for`, which checks their names.
    """

    class_names: tuple[str, ...]
    decoder: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names("class_names", self.class_names)
        if not isinstance(self.decoder, Mapping):
            raise ValueError(f"decoder must be an object, got {shortened(self.decoder)}")
        check_options("decoder", self.decoder)


@dataclass(frozen=True)
class ReconstructionLabels:
    """Categories that were trained on, and the occupancy from which a voxel is solid.

    Attributes:
        class_names: of the categories.
        threshold: of the network's occupancies, 0..1.
    """

    class_names: tuple[str, ...]
    threshold: float

    def __post_init__(self) -> None:
        check_names("class_names", self.class_names)
        check_number("threshold", self.threshold, 0, 1)


@dataclass(frozen=True)
class CloudInput:
    """A cloud or mesh as oriented points; see `geo3d.data.shapes.prepare.network_points`.

    Attributes:
        num_points: points of a cloud.
        orient_normals: turn the normals away from the centroid.
        draw: points that are drawn at random first; None for all.
    """

    num_points: int
    orient_normals: bool = False
    draw: int | None = None

    def __post_init__(self) -> None:
        check_count("num_points", self.num_points, MAX_POINTS)
        check_flag("orient_normals", self.orient_normals)
        if self.draw is not None:
            check_count("draw", self.draw, MAX_POINTS)


@dataclass(frozen=True)
class SweepInput:
    """A LiDAR sweep.

    Attributes:
        sensor: whose scale intensities are in: "kitti", "nuscenes", "waymo", or the name of another data set.
        features: columns after x, y, z.
        camera_view_only: points outside the image were left out.
    """

    sensor: str
    features: tuple[str, ...]
    camera_view_only: bool = False

    def __post_init__(self) -> None:
        check_names("sensor", (self.sensor,))
        if self.features != ():
            check_names("features", self.features)
        check_flag("camera_view_only", self.camera_view_only)


@dataclass(frozen=True)
class ViewInput:
    """Pictures of an object; see `geo3d.data.images.preprocessing.prepare_views`.

    Attributes:
        crop: pixels in the middle that are kept; None for all.
        blend: mix object and background by transparency.
    """

    crop: int | None = None
    blend: bool = False

    def __post_init__(self) -> None:
        if self.crop is not None:
            check_count("crop", self.crop, MAX_SIDE)
        check_flag("blend", self.blend)


@dataclass(frozen=True)
class HandInput:
    """Crops of hands; see `geo3d.geometry.virtual_camera`.

    Attributes:
        image_size: side of the crops, pixels.
        as_released: crop as the authors' released code does.
    """

    image_size: int
    as_released: bool = False

    def __post_init__(self) -> None:
        check_count("image_size", self.image_size, MAX_SIDE)
        check_flag("as_released", self.as_released)


@dataclass(frozen=True)
class ScanInput:
    """num_points: drawn of a scan of one body, metres."""

    num_points: int

    def __post_init__(self) -> None:
        check_count("num_points", self.num_points, MAX_POINTS)


@dataclass(frozen=True)
class SceneInput:
    """image_size: side of the square that pictures of whole scenes are scaled into, pixels."""

    image_size: int

    def __post_init__(self) -> None:
        check_count("image_size", self.image_size, MAX_SIDE)


Labels = ClassificationLabels | PartSegmentationLabels | DetectionLabels | ReconstructionLabels
Input = CloudInput | SweepInput | ViewInput | HandInput | ScanInput | SceneInput
DESCRIPTIONS: dict[str, tuple[type[Labels] | None, type[Input] | None]] = {  # of labels and of the input, by task
    "body_fitting": (None, ScanInput),
    "classification": (ClassificationLabels, CloudInput),
    "detection": (DetectionLabels, SweepInput),
    "hand_detection": (None, SceneInput),
    "hand_mesh": (None, HandInput),
    "part_segmentation": (PartSegmentationLabels, CloudInput),
    "reconstruction": (ReconstructionLabels, ViewInput),
}


def read_description(kind: type[Kind], content: object, name: str) -> Kind:
    """A description from JSON.

    Args:
        kind: one of the dataclasses here.
        content: what JSON holds for it.
        name: of the field that holds it, for errors.

    Raises:
        ValueError: unknown or missing fields, or values that the dataclass does not take; the message names the field.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{name} must be an object, got {shortened(content)}")
    known: Sequence[Any] = fields(kind)  # type: ignore[arg-type]
    unknown = [key for key in content if key not in {each.name for each in known}]
    if unknown:
        raise ValueError(f"{name} has no field {shortened(unknown[0])}; it takes {', '.join(each.name for each in known)}")
    for each in known:
        if each.default is MISSING and each.default_factory is MISSING and each.name not in content:
            raise ValueError(f"{name} lacks {each.name}")
    try:
        return kind(**{key: as_tuples(value) for key, value in content.items()})
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from None


def as_tuples(value: Any) -> Any:
    """Lists as tuples, in lists too; JSON knows no tuples."""
    return tuple(as_tuples(each) for each in value) if isinstance(value, list) else value


def check_names(name: str, value: object) -> None:
    """Raise ValueError unless a value is a tuple of 1 to `MAX_NAMES` texts."""
    good = isinstance(value, tuple) and 0 < len(value) <= MAX_NAMES
    if not good or not all(isinstance(each, str) and each for each in value):  # type: ignore[attr-defined]
        raise ValueError(f"{name} must be 1 to {MAX_NAMES} names, got {shortened(value)}")


def check_flag(name: str, value: object) -> None:
    """Raise ValueError unless a value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {shortened(value)}")


def check_count(name: str, value: object, most: int) -> None:
    """Raise ValueError unless a value is a whole number of 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number of 1 to {most}, got {shortened(value)}")


def check_number(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> None:
    """Raise ValueError unless a value is a finite number within limits."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not least <= value <= most or not math.isfinite(value):  # type: ignore[operator,arg-type]
        limits = f" of {least:g} to {most:g}" if math.isfinite(most) else ""
        raise ValueError(f"{name} must be a number{limits}, got {shortened(value)}")


def check_options(name: str, value: object, most: float = 2**20, items: int = 10_000) -> int:
    """Raise ValueError unless a value is made of what options of a network are: objects, lists, short texts, flags, moderate numbers.

    Args:
        name: of the value, for errors.
        value: from JSON.
        most: the largest absolute number.
        items: numbers, texts and flags in all of it.

    Returns:
        how many items are left.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        check_number(name, value, -most, most)
    elif isinstance(value, str):
        if len(value) > 1000:
            raise ValueError(f"{name} must be a short text, got {len(value)} letters")
    elif isinstance(value, Mapping):
        for key, each in value.items():
            items = check_options(f"{name}.{shortened(key)[1:-1]}", each, most, items)
    elif isinstance(value, list | tuple):
        for each in value:
            items = check_options(name, each, most, items)
    elif value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} must be an option that JSON can hold, got {type(value).__name__}")
    if items <= 0:
        raise ValueError(f"{name} has too many options")
    return items - 1


def shortened(value: object) -> str:
    """A value as one short line for an error."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_range(value: object, stop: int) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(type(each) is int for each in value)
    return is_pair and 0 <= value[0] < value[1] <= stop  # type: ignore[index]
