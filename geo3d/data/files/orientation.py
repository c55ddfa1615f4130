"""Which way is up in a file: for looking at it."""

from __future__ import annotations

import numpy as np

from geo3d.data.files.geometry import Geometry

Z_UP = (".off", ".stl", ".las", ".laz", ".pcd", ".bin")  # ModelNet, CAD, surveys, robots
LARGE = 5.0  # metres; what is wider was measured outdoors or in rooms, where z is up


def guessed_up(geometry: Geometry) -> str:
    """The axis that points up ("z", "-y"): as the file tells; else z for what is large or of a kind of file whose makers have z up, else y."""
    if geometry.up is not None:
        return geometry.up
    large = float(np.ptp(geometry.points, axis=0).max()) > LARGE
    return "z" if large or geometry.source.suffix.lower() in Z_UP else "y"
