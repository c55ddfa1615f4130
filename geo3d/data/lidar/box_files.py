"""Boxes found in sweeps, as JSON: `geo3d predict` writes them, `geo3d view` reads them.

    {"file": "velodyne/000008.bin", "min_score": 0.5, "counts": {"Car": 1},
     "objects": [{"name": "Car", "score": 0.9, "center": [x, y, z], "size": [dx, dy, dz], "yaw": 0.1, "velocity": [vx, vy]}]}

or a list of these. Metres and radians in the coordinates of the sweep's file. "min_score" (the threshold of the detector), "counts" and
"velocity" may be left out. `geo3d predict` adds "placement": the ground that was found (null where none was), and how the sweep was moved.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ENDING = "_boxes.json"  # behind the name of the sweep


@dataclass(frozen=True, eq=False)
class SweepBoxes:
    """Boxes of a sweep.

    Attributes:
        boxes: [K, 7] float64, see `geo3d.geometry.boxes`, or [K, 9] with velocities; in the coordinates of the sweep's file.
        names: K names of classes.
        scores: [K] float64.
        min_score: scores below were not looked for; None where that is not known.
    """

    boxes: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray
    min_score: float | None = None

    def at_least(self, score: float) -> SweepBoxes:
        """Those with that score or more."""
        kept = self.scores >= score
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        return SweepBoxes(self.boxes[kept], names, self.scores[kept], self.min_score)


def sweep_name(file: str | Path) -> str:
    """What a sweep's file is called in results: its name without suffix, .pcd.bin being one."""
    return re.sub(r"(\.pcd)?\.[^.]+$", "", Path(file).name, flags=re.IGNORECASE)


def boxes_as_json(file: str | Path, found: SweepBoxes, class_names: Sequence[str] = ()) -> dict[str, Any]:
    """An entry of the format drawn above; `class_names` are those that are counted, also where there are none."""
    objects = []
    for name, score, box in zip(found.names, found.scores.tolist(), found.boxes.tolist(), strict=True):
        velocity = {"velocity": box[7:9]} if len(box) == 9 else {}
        objects.append({"name": name, "score": score, "center": box[:3], "size": box[3:6], "yaw": box[6], **velocity})
    counts = Counter(found.names)
    threshold = {} if found.min_score is None else {"min_score": found.min_score}
    names = class_names or sorted(counts)
    return {"file": str(file), **threshold, "counts": {name: counts[name] for name in names}, "objects": objects}


def read_box_file(path: str | Path) -> list[tuple[Path, SweepBoxes]]:
    """Sweeps with their boxes; sweeps that are not found from here are looked for beside the JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another form.
    """
    path = Path(path)
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    found = []
    for entry in content if isinstance(content, list) else [content]:
        if not isinstance(entry, dict) or not {"file", "objects"} <= set(entry):
            raise ValueError(f"{path}: expected boxes as geo3d predict writes them, got an entry without 'file' and 'objects'")
        try:
            boxes = _from_json(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected objects with name, score, center, size and yaw, got {error}") from None
        found.append((_beside(path, Path(str(entry["file"]))), boxes))
    return found


def _from_json(entry: dict[str, Any]) -> SweepBoxes:
    objects = entry["objects"]
    rows = [[*each["center"], *each["size"], each["yaw"]] for each in objects]
    boxes = np.array(rows, dtype=np.float64).reshape(len(rows), 7)
    if objects and all("velocity" in each for each in objects):
        velocities = np.array([each["velocity"] for each in objects], dtype=np.float64).reshape(len(rows), 2)
        boxes = np.concatenate([boxes, velocities], 1)
    threshold = entry.get("min_score")
    names = tuple(str(each["name"]) for each in objects)
    scores = np.array([each["score"] for each in objects], dtype=np.float64)
    return SweepBoxes(boxes, names, scores, None if threshold is None else float(threshold))


def _beside(path: Path, file: Path) -> Path:
    """The sweep as seen from here, or from the folder of the JSON file."""
    return path.parent / file if not file.exists() and (path.parent / file).exists() else file
