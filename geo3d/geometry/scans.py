"""What stands between a scan and the thing that was scanned: units, a floor under it, clutter beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
PERSON = (0.9, 2.4)  # metres, the longest side of a person's box in most poses


@dataclass(frozen=True)
class UnitGuess:
    """What a scan's numbers are taken for.

    Attributes:
        scale: metres for a unit of the scan.
        name: of the unit, or None where no unit makes a person of it, and `scale` makes it 1.7 m long.
    """

    scale: float
    name: str | None


def guess_units(points: np.ndarray) -> UnitGuess:
    """Units in which a scan [N, 3] of a person is as long as a person can be: m, cm or mm; else a scale of its own.

    The length is the longest side between the 1 % and 99 % quantiles, so that single points do not count.
    """
    low, high = np.quantile(points, (0.01, 0.99), axis=0)
    length = float((high - low).max())
    for name in ("m", "cm", "mm"):
        if PERSON[0] <= length * UNITS[name] <= PERSON[1]:
            return UnitGuess(UNITS[name], name)
    return UnitGuess(1.7 / max(length, 1e-12), None)


def find_floor(
    points: np.ndarray, rng: np.random.Generator, tolerance: float = 0.015, min_share: float = 0.04, tries: int = 300
) -> np.ndarray:
    """Which points [N] bool lie on a plane that all others are on one side of, wider than what stands on it.

    Args:
        points: [N, 3] metres.
        rng: draws the planes that are tried (RANSAC; Fischler and Bolles, 1981).
        tolerance: metres from the plane.
        min_share: fewer points are no floor.
        tries: planes through three points.
    """
    nothing = np.zeros(len(points), bool)
    if len(points) < 50:
        return nothing
    some = points[rng.choice(len(points), min(len(points), 4000), replace=False)]
    best, most = None, min_share * len(some)
    for _ in range(tries):
        corners = some[rng.choice(len(some), 3, replace=False)]
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if np.linalg.norm(normal) < 1e-9:
            continue
        normal /= np.linalg.norm(normal)
        away = (some - corners[0]) @ normal
        on_plane = np.abs(away) < tolerance
        beyond = away[~on_plane]
        if on_plane.sum() > most and min((beyond > 0).mean(), (beyond < 0).mean()) < 0.01 if len(beyond) else False:
            best, most = (corners[0], normal), on_plane.sum()
    if best is None:
        return nothing
    on_floor = np.abs((points - best[0]) @ best[1]) < tolerance
    across = np.ptp(points[on_floor], axis=0)
    is_wide = np.sort(across)[1] > 0.5  # a side of a box or a sole is narrower
    return on_floor if is_wide else nothing


def largest_piece(points: np.ndarray, gap: float = 0.12) -> np.ndarray:
    """Which points [N] bool belong to the largest piece, pieces being farther apart than `gap` metres.

    Points are put into cells of half the gap first, so that the time does not grow with their density.
    """
    cells, of_point = np.unique(np.floor(points / (gap / 2)).astype(np.int64), axis=0, return_inverse=True)
    of_point = of_point.ravel()
    pairs = cKDTree(cells).query_pairs(2.9, output_type="ndarray")  # cells up to two apart along an axis
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    pieces = connected_components(links, directed=False)[1][of_point]
    return pieces == np.bincount(pieces).argmax()
