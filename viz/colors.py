"""Colours for points: by label, by height, by distance, by value; all give uint8 [N, 3]."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

# The first ten stay apart for viewers with red-green blindness too; all 64 are apart from each other and from white.
_PALETTE_HEX = (
    "0072B2 E69F00 009E73 CC79A7 56B4E9 D55E00 332288 F0E442 882255 773311 FC48FC 3CF03C E4CCA8 606C00 485448 4848FC "
    "FC4860 B484FC 9CE478 F03CA8 009000 60E4E4 E4846C 9000A8 9C9CA8 543C6C C0B4FC 005418 008490 C0B454 A8000C 9C6C0C "
    "849C6C 84A800 306CD8 906060 30E49C FCC0CC FCB46C 90489C FC90F0 9CE430 A8003C 004860 786030 B454FC 24D860 90D8A8 "
    "E45484 549C48 8478A8 B4D8D8 186C54 9C0078 606CFC 3C24B4 D860E4 A84848 A89078 FCB4F0 3C480C 543C48 489CFC C0CCF0"
)
PALETTE = np.frombuffer(bytes.fromhex(_PALETTE_HEX), dtype=np.uint8).reshape(-1, 3)  # [64, 3], read-only
KNOWN_CLASSES = (
    ("car", "vehicle", "regular_vehicle"),
    ("pedestrian", "person", "official_signaler"),
    ("cyclist", "bicyclist", "bicycle", "wheeled_rider"),
    ("truck", "large_vehicle", "box_truck", "truck_cab"),
    ("bus", "school_bus", "articulated_bus", "tram"),
    ("motorcycle", "motorcyclist"),
    ("van",),
    ("trailer", "vehicular_trailer"),
    ("person_sitting", "stroller", "wheelchair"),
    ("construction_vehicle", "other_vehicle", "emergency_vehicle"),
    ("traffic_cone", "construction_cone", "construction_barrel", "bollard"),
    ("barrier",),
    ("sign", "stop_sign", "message_board_trailer", "mobile_pedestrian_sign"),
    ("animal", "dog"),
    ("misc", "wheeled_device"),
)
UNLABELED = (200, 200, 205)  # for negative labels and values that are not finite


def by_label(labels: Any) -> np.ndarray:
    """Palette colour of each label; the palette repeats after 64 labels, negative labels are light grey.

    Args:
        labels: [N] integers or booleans.

    Returns:
        [N, 3] uint8.

    Raises:
        ValueError: another shape, or not integers.
    """
    labels = as_array(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ValueError(f"labels must be [N] integers, got {list(labels.shape)} {labels.dtype}")
    labels = labels.astype(np.int64)
    colors = PALETTE[labels % len(PALETTE)]
    colors[labels < 0] = UNLABELED
    return colors


def class_color(name: str) -> tuple[int, int, int]:
    """The colour of a class, by its name alone: the same in each picture, whichever classes are there.

    Usual classes of driving have palette colours of their own, under any data set's spelling; others get one by their letters, which
    two of them may share.
    """
    word = name.strip().lower().replace(" ", "_")
    known = next((row for row, names in enumerate(KNOWN_CLASSES) if word in names), None)
    rest = len(PALETTE) - len(KNOWN_CLASSES)
    row = len(KNOWN_CLASSES) + zlib.crc32(word.encode()) % rest if known is None else known
    return tuple(PALETTE[row].tolist())


def by_value(values: Any, *, low: float | None = None, high: float | None = None, colormap: str = "viridis") -> np.ndarray:
    """Colour of each value on a continuous scale; values that are not finite are light grey.

    Args:
        values: [N] numbers.
        low: the value at the lower end of the scale; the first percentile when None, so that outliers do not flatten it.
        high: the value at the upper end; the 99th percentile when None.
        colormap: a name that matplotlib knows.

    Returns:
        [N, 3] uint8.

    Raises:
        ValueError: another shape, not numbers, low above high, or an unknown colormap.
    """
    from matplotlib import colormaps

    values = as_array(values)
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        raise ValueError(f"values must be [N] numbers, got {list(values.shape)} {values.dtype}")
    if colormap not in colormaps:
        raise ValueError(f"colormap must be a name that matplotlib knows, such as viridis or turbo, got {colormap!r}")
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if low is None:
        low = float(np.percentile(values[finite], 1)) if finite.any() else 0.0
    if high is None:
        high = float(np.percentile(values[finite], 99)) if finite.any() else 1.0
    if low > high:
        raise ValueError(f"low must not be above high, got {low:g} and {high:g}")
    scaled = np.clip((np.where(finite, values, low) - low) / ((high - low) or 1.0), 0, 1)
    colors = np.round(colormaps[colormap](scaled)[:, :3] * 255).astype(np.uint8)
    colors[~finite] = UNLABELED
    return colors


def by_height(points: Any, *, up: str = "z", colormap: str = "viridis") -> np.ndarray:
    """Colour of each point by its coordinate along an axis.

    Args:
        points: [N, 3].
        up: the axis that points up: x, y, z, -x, -y or -z.
        colormap: a name that matplotlib knows.

    Returns:
        [N, 3] uint8.

    Raises:
        ValueError: another shape, or an unknown axis.
    """
    points = as_array(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be [N, 3], got {list(points.shape)}")
    if up not in ("x", "y", "z", "-x", "-y", "-z"):
        raise ValueError(f"up must be x, y, z, -x, -y or -z, got {up!r}")
    height = points[:, "xyz".index(up[-1])]
    return by_value(-height if up.startswith("-") else height, colormap=colormap)


def by_distance(points: Any, *, origin: Any = (0.0, 0.0, 0.0), colormap: str = "viridis") -> np.ndarray:
    """Colour of each point by how far it is from an origin, such as the sensor.

    Args:
        points: [N, 3].
        origin: [3], in the same coordinates.
        colormap: a name that matplotlib knows.

    Returns:
        [N, 3] uint8.

    Raises:
        ValueError: another shape.
    """
    points, origin = as_array(points), as_array(origin)
    if points.ndim != 2 or points.shape[1] != 3 or origin.shape != (3,):
        raise ValueError(f"points must be [N, 3] and origin [3], got {list(points.shape)} and {list(origin.shape)}")
    return by_value(np.linalg.norm(points - origin, axis=1), colormap=colormap)


def as_colors(colors: Any, count: int) -> np.ndarray:
    """One colour (a name, "#rrggbb" or three numbers) or [count, 3] colours, uint8 or floats in 0..1, as [count, 3] uint8.

    Raises:
        ValueError: another shape, an unknown name, or floats outside 0..1.
    """
    if isinstance(colors, str):
        from matplotlib.colors import to_rgb

        try:
            colors = to_rgb(colors)
        except ValueError:
            raise ValueError(
                f"colors must be a colour that matplotlib knows, such as 'steelblue' or '#4682b4', got {colors!r}"
            ) from None
    colors = as_array(colors)
    if colors.shape not in ((3,), (count, 3)):
        raise ValueError(f"colors must be one colour or [{count}, 3], got {list(colors.shape)}")
    if colors.dtype.kind in "iu":
        if colors.size and (colors.min() < 0 or colors.max() > 255):
            raise ValueError(f"colors must be 0..255 if they are integers, got {colors.min()} to {colors.max()}")
    elif colors.dtype.kind != "f" or not ((colors >= 0) & (colors <= 1)).all():
        raise ValueError("colors must be uint8 in 0..255 or floats in 0..1")
    else:
        colors = np.round(colors * 255)
    return np.ascontiguousarray(np.broadcast_to(colors.astype(np.uint8), (count, 3)))


def linear(colors: np.ndarray) -> np.ndarray:
    """[..., 3] uint8 colours as light, floats in 0..1, without the gamma of sRGB."""
    srgb = colors / 255
    light: np.ndarray = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return light


def as_array(values: Any) -> np.ndarray:
    """A NumPy array of anything like an array, torch tensors on any device included."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
