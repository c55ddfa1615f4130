"""Putting finished views together: tiles, captions and legends, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geo3d.viz.colors import by_value
from geo3d.viz.layers import Picture

INK = (38, 42, 48)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def font(size: int):
    """DejaVu Sans, which matplotlib brings along, in pixels."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def text_size(width: int, height: int) -> int:
    """Height in pixels of text that reads well on a picture of this size."""
    return int(np.clip(round(0.026 * min(width, height) + 5), 11, 48))


def caption_height(size: int) -> int:
    """Height in pixels of a strip for one line of text."""
    return round(2.2 * size)


def with_caption(picture: np.ndarray, text: str, background: tuple[int, int, int], size: int) -> np.ndarray:
    """The picture [H, W, 3] below a strip with one line of text, which is shortened to fit."""
    from PIL import Image, ImageDraw

    strip = caption_height(size)
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + strip), background)
    canvas.paste(Image.fromarray(picture), (0, strip))
    draw, letters = ImageDraw.Draw(canvas), font(size)
    text = shortened(text, picture.shape[1] - size, lambda line: draw.textlength(line, font=letters))
    draw.text((canvas.width / 2, strip / 2), text, fill=INK, font=letters, anchor="mm")
    return np.asarray(canvas)


@dataclass(frozen=True)
class Scale:
    """A colour scale: values at its ends, what is measured, and the colormap's name."""

    low: float
    high: float
    text: str
    colormap: str


def margin_width(legend: Mapping[str, Sequence[int]], scale: Scale | None, height: int, size: int) -> int:
    """Width in pixels of what stands at the right of a picture of this height; 0 for nothing."""
    return (_legend_size(legend, height, size)[0] if legend else 0) + (_scale_width(scale, size) if scale else 0)


def with_margin(
    picture: np.ndarray,
    legend: Mapping[str, Sequence[int]],
    scale: Scale | None,
    background: tuple[int, int, int],
    size: int,
) -> np.ndarray:
    """The picture [H, W, 3] with legend and colour scale at its right."""
    from PIL import Image, ImageDraw

    height = picture.shape[0]
    canvas = Image.new("RGB", (picture.shape[1] + margin_width(legend, scale, height, size), height), background)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    if legend:
        _draw_legend(draw, legend, picture.shape[1], height, size)
    if scale:
        _draw_scale(canvas, draw, scale, canvas.width - _scale_width(scale, size), height, size)
    return np.asarray(canvas)


def _legend_size(names: Collection[str], height: int, size: int) -> tuple[int, int]:
    """(width in pixels, number of columns) of a legend that fits a picture of this height."""
    letters = font(size)
    rows = max(1, (height - size) // round(1.7 * size))
    columns = math.ceil(len(names) / rows)
    column = round(max(letters.getlength(name) for name in names) + 3.2 * size)
    return columns * column, columns


def _draw_legend(draw: Any, entries: Mapping[str, Sequence[int]], start: int, height: int, size: int) -> None:
    """Coloured squares and names from the pixel column `start` on."""
    width, columns = _legend_size(entries, height, size)
    rows, step, letters = math.ceil(len(entries) / columns), round(1.7 * size), font(size)
    top = (height - rows * step) // 2
    for index, (name, color) in enumerate(entries.items()):
        left = start + index // rows * (width // columns) + size // 2
        middle = top + index % rows * step + step // 2
        box = (left, middle - round(0.55 * size), left + round(1.1 * size), middle + round(0.55 * size))
        draw.rounded_rectangle(box, radius=size // 5, fill=tuple(int(value) for value in color))
        draw.text((left + round(1.7 * size), middle), name, fill=INK, font=letters, anchor="lm")


def scale_ticks(scale: Scale) -> list[tuple[float, str]]:
    """(value, text) at round values of the scale."""
    from matplotlib.ticker import MaxNLocator

    values = MaxNLocator(5).tick_values(scale.low, scale.high)
    return [(float(value), f"{value:.6g}") for value in values if scale.low <= value <= scale.high]


def _scale_width(scale: Scale, size: int) -> int:
    ticks = max(font(size).getlength(text) for _, text in scale_ticks(scale))
    return round(max(2.6 * size + ticks, font(size).getlength(scale.text)) + size)


def _draw_scale(canvas: Any, draw: Any, scale: Scale, start: int, height: int, size: int) -> None:
    """A bar with ticks from the pixel column `start` on, its text above."""
    from PIL import Image

    letters, bar = font(size), (round(1.2 * size), max(2 * size, height // 2))
    top, left = (height - bar[1]) // 2 + size, start + size // 2
    colors = by_value(np.linspace(1, 0, bar[1]), low=0, high=1, colormap=scale.colormap)
    canvas.paste(Image.fromarray(np.repeat(colors[:, None], bar[0], axis=1)), (left, top))
    draw.text((left, top - size), scale.text, fill=INK, font=letters, anchor="ls")
    for value, text in scale_ticks(scale):
        y = top + bar[1] * (scale.high - value) / (scale.high - scale.low)
        draw.line((left + bar[0], y, left + bar[0] + size // 3, y), fill=INK)
        draw.text((left + bar[0] + size // 2, y), text, fill=INK, font=letters, anchor="lm")


def grid(count: int, width: int, height: int) -> tuple[int, int]:
    """(columns, rows) for this many tiles in an area, so that the tiles are as close to 4:3 as can be."""
    shapes = [(columns, math.ceil(count / columns)) for columns in range(1, count + 1)]
    return min(shapes, key=lambda shape: abs(math.log(width / shape[0] / (height / shape[1]) * 3 / 4)))


def fitted(image: Picture, cell: tuple[int, int]) -> tuple[int, int]:
    """(width, height) at which an image with its caption fills a cell, but for a small gap."""
    gap = round(0.015 * min(cell)) + 2
    free_height = cell[1] - 2 * gap - (caption_height(text_size(*cell)) if image.caption else 0)
    height, width = image.pixels.shape[:2]
    scale = min((cell[0] - 2 * gap) / width, free_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def best_grid(images: Sequence[Picture], area: tuple[int, int]) -> tuple[int, float]:
    """(columns, pixels covered) of the grid in which images are largest."""

    def covered(columns: int) -> float:
        cell = (area[0] // columns, area[1] // math.ceil(len(images) / columns))
        return sum(width * height for width, height in (fitted(image, cell) for image in images))

    columns = max(range(1, len(images) + 1), key=covered)
    return columns, covered(columns)


def centered(picture: np.ndarray, size: tuple[int, int], background: tuple[int, int, int]) -> np.ndarray:
    """The picture [H, W, 3] in the middle of (width, height) pixels, cut where it is larger."""
    picture = picture[: size[1], : size[0]]
    top, left = (size[1] - picture.shape[0]) // 2, (size[0] - picture.shape[1]) // 2
    result = np.empty((size[1], size[0], 3), dtype=np.uint8)
    result[:] = background
    result[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return result


def tiled(pictures: Sequence[np.ndarray], columns: int, size: tuple[int, int], background: tuple[int, int, int]) -> np.ndarray:
    """Pictures [H, W, 3] of one size row by row on a sheet of (width, height) pixels."""
    height, width = pictures[0].shape[:2]
    sheet = np.empty((size[1], size[0], 3), dtype=np.uint8)
    sheet[:] = background
    for index, picture in enumerate(pictures):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + height, left : left + width] = picture
    return sheet


def check_picture_path(path: str | Path, suffixes: Sequence[str] = PICTURE_SUFFIXES) -> Path:
    """The path of a picture to write.

    Raises:
        ValueError: a suffix that is no picture's.
        FileNotFoundError: no such folder.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"{path}: expected a picture's name that ends in {', '.join(suffixes)}, got {path.suffix or 'no suffix'!r}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}")
    return path


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Writes [H, W, 3] uint8."""
    from PIL import Image

    Image.fromarray(picture).save(path)
    return path


def shortened(text: str, width: float, measure) -> str:
    """The text, or its beginning with an ellipsis where it is wider than `width`."""
    if measure(text) <= width:
        return text
    while text and measure(text + "…") > width:
        text = text[:-1]
    return text + "…"
