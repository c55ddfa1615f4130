"""What stands between a scan and the thing that was scanned: units, a floor under it, clutter beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError, cKDTree

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
PERSON = (0.9, 2.4)  # metres, the longest side of a person's box in most poses
UNIT_SIZES = (1.0, 2.0)  # longest side of a cloud that was scaled to a unit box, [0, 1] or [-1, 1]
GAP = 0.12  # metres between pieces
PERSON_SEEN = (0.4, 2.4)  # metres, likewise of a piece of a scene, of which a camera may show head and shoulders alone
MUCH = 0.05  # of the points of a scene, from which a piece may be the person
BARE = 0.15  # metres from what stands on a floor to where there is only floor
HULL_FACES = 60  # the largest ones, whose planes are tried as floors


@dataclass(frozen=True)
class UnitGuess:
    """What a scan's numbers are taken for.

    Attributes:
        scale: metres for a unit of the scan.
        name: of the unit, or None where no unit makes a person of it, and `scale` makes it 1.7 m long.
        is_normalized: whether there is no unit since the cloud was scaled to a unit box or ball.
    """

    scale: float
    name: str | None
    is_normalized: bool = False


def guess_units(points: np.ndarray) -> UnitGuess:
    """Units in which a scan [N, 3] of a person is as long as a person can be: m, cm or mm; else a scale of its own.

    The length is the longest side between the 1 % and 99 % quantiles, so that single points do not count. A cloud that fills a unit box or
    ball to a thousandth has no unit. Where the whole fits no unit, it may be a room with a person in it, a piece of its own.
    """
    low, high = np.quantile(points, (0.01, 0.99), axis=0)
    length = float((high - low).max())
    if _is_normalized(points):
        return UnitGuess(1.7 / max(length, 1e-12), None, is_normalized=True)
    for name in ("m", "cm", "mm"):
        if PERSON[0] <= length * UNITS[name] <= PERSON[1]:
            return UnitGuess(UNITS[name], name)
    some = points[:: max(1, len(points) // 20_000)]
    for name in ("m", "cm", "mm"):
        pieces = _pieces(some * UNITS[name], GAP)
        person = _person_piece(pieces, some * UNITS[name])
        if person is not None and (pieces != person).mean() > MUCH:
            return UnitGuess(UNITS[name], name)
    return UnitGuess(1.7 / max(length, 1e-12), None)


def _is_normalized(points: np.ndarray) -> bool:
    """Whether the longest side of the box, or the distance from the mean, is what scaling to a unit box or ball makes it."""
    side, center = np.ptp(points, axis=0).max(), points.mean(0)
    in_box = np.isclose(side, UNIT_SIZES, rtol=0, atol=1e-3).any()
    return bool(in_box or (np.abs(center) < 1e-3).all() and abs(np.linalg.norm(points, axis=1).max() - 1) < 1e-3)


def find_floor(
    points: np.ndarray, rng: np.random.Generator, tolerance: float = 0.015, min_share: float = 0.02, tries: int = 300
) -> np.ndarray:
    """Which points [N] bool lie on a plane that all others are on one side of, and that reaches beyond what stands on it.

    Args:
        points: [N, 3] metres.
        rng: draws planes that are tried (RANSAC; Fischler and Bolles, 1981) beside those of the convex hull.
        tolerance: metres from the plane.
        min_share: fewer points are no floor.
        tries: planes through three points.
    """
    nothing = np.zeros(len(points), bool)
    if len(points) < 50:
        return nothing
    some = points[rng.choice(len(points), min(len(points), 4000), replace=False)]
    drawn = np.stack([some[rng.choice(len(some), 3, replace=False)] for _ in range(tries)])
    best, most = None, min_share * len(some)
    for corners in np.concatenate([_hull_faces(some), drawn]):
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if np.linalg.norm(normal) < 1e-9:
            continue
        normal /= np.linalg.norm(normal)
        away = (some - corners[0]) @ normal
        on_plane = np.abs(away) < tolerance
        beyond = away[~on_plane]
        if on_plane.sum() <= most or not len(beyond) or min((beyond > 0).mean(), (beyond < 0).mean()) >= 0.01:
            continue
        if _reaches_beyond(some[on_plane], some[~on_plane]):
            best, most = (corners[0], normal), on_plane.sum()
    return nothing if best is None else np.abs((points - best[0]) @ best[1]) < tolerance


def _hull_faces(points: np.ndarray) -> np.ndarray:
    """[F, 3, 3]: the largest triangles of the convex hull; none of points in a plane."""
    try:
        corners = points[ConvexHull(points).simplices]
    except QhullError:
        return np.empty((0, 3, 3))
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return corners[np.argsort(-area)[:HULL_FACES]]


def _reaches_beyond(floor: np.ndarray, others: np.ndarray) -> bool:
    """Whether much of a floor has nothing on it: a side of a body or of a box that touches a plane has the rest of it all around."""
    is_bare = cKDTree(others).query(floor, distance_upper_bound=BARE)[0] > BARE
    return bool(is_bare.mean() > 0.3 and np.sort(np.ptp(floor, axis=0))[1] > 0.5)


def person_piece(points: np.ndarray) -> np.ndarray:
    """Which points [N] bool belong to the person: the largest of the pieces that are as large as one, or of all where none is.

    Pieces are farther apart than `GAP` metres. Points are put into cells of half of that first, so that the time does not grow with their density.
    """
    pieces = _pieces(points, GAP)
    person = _person_piece(pieces, points)
    return pieces == (np.bincount(pieces).argmax() if person is None else person)


def _person_piece(pieces: np.ndarray, points: np.ndarray) -> int | None:
    counts = np.bincount(pieces)
    for piece in np.argsort(-counts, kind="stable"):
        if counts[piece] < MUCH * len(points):
            break
        if PERSON_SEEN[0] <= np.ptp(points[pieces == piece], axis=0).max() <= PERSON_SEEN[1]:
            return int(piece)
    return None


def _pieces(points: np.ndarray, gap: float) -> np.ndarray:
    """Number of the piece [N] of each point."""
    cells, of_point = np.unique(np.floor(points / (gap / 2)).astype(np.int64), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(2.9, output_type="ndarray")  # cells up to two apart along an axis
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    return connected_components(links, directed=False)[1][of_point.ravel()]
