"""What geo3d reads of nuScenes' records, checked when a table is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_vector(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == length and all(map(_is_number, value))


def _is_rotation(value: Any) -> bool:
    return _is_vector(4)(value) and any(abs(part) > 1e-6 for part in value)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and (not value or (len(value) == 3 and all(map(_is_vector(3), value))))


def _is_inside(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_sizes(value: Any) -> bool:
    return _is_vector(3)(value) and all(size > 0 for size in value)


TEXT = ("text", lambda value: isinstance(value, str))
FLAG = ("true or false", lambda value: isinstance(value, bool))
TIME = ("microseconds", _is_number)
COUNT = ("a whole number", _is_count)
PLACE = ("3 finite numbers", _is_vector(3))
SIZES = ("3 numbers above 0", _is_sizes)
ROTATION = ("a quaternion", _is_rotation)
MATRIX = ("a 3 x 3 matrix, or an empty list", _is_matrix)
FILE = ("a path within the data", _is_inside)

FIELDS: dict[str, dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "attribute": {"name": TEXT},
    "calibrated_sensor": {"sensor_token": TEXT, "translation": PLACE, "rotation": ROTATION, "camera_intrinsic": MATRIX},
    "category": {"name": TEXT},
    "ego_pose": {"translation": PLACE, "rotation": ROTATION},
    "instance": {"category_token": TEXT},
    "sample": {"next": TEXT, "timestamp": TIME},
    "sample_annotation": {
        "sample_token": TEXT,
        "instance_token": TEXT,
        "translation": PLACE,
        "size": SIZES,
        "rotation": ROTATION,
        "prev": TEXT,
        "next": TEXT,
        "num_lidar_pts": COUNT,
    },
    "sample_data": {
        "sample_token": TEXT,
        "ego_pose_token": TEXT,
        "calibrated_sensor_token": TEXT,
        "filename": FILE,
        "is_key_frame": FLAG,
        "prev": TEXT,
        "timestamp": TIME,
    },
    "scene": {"name": TEXT, "first_sample_token": TEXT},
    "sensor": {"channel": TEXT},
}
OPTIONAL: dict[str, dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "sample_annotation": {
        "num_radar_pts": COUNT,
        "attribute_tokens": ("a list of texts", lambda value: isinstance(value, list) and all(map(TEXT[1], value))),
    },
    "sample_data": {"width": COUNT, "height": COUNT},
}


def check_record(table: str, record: Any) -> str | None:
    """What is wrong with a record of a table, in a few words that name its token and field; None if nothing is."""
    if not isinstance(record, dict) or not isinstance(record.get("token"), str):
        return "expected a JSON list of records with tokens"
    for name, (wanted, holds) in FIELDS.get(table, {}).items():
        if name not in record:
            return f"record {record['token'][:40]} lacks {name}"
        if not holds(record[name]):
            return f"record {record['token'][:40]}: expected {name} as {wanted}, got {_short(record[name])}"
    for name, (wanted, holds) in OPTIONAL.get(table, {}).items():
        if name in record and record[name] is not None and not holds(record[name]):
            return f"record {record['token'][:40]}: expected {name} as {wanted}, got {_short(record[name])}"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
