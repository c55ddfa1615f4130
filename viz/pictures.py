"""Putting finished views together: tiles, captions and legends, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

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


def legend_size(names: Sequence[str], height: int, size: int) -> tuple[int, int]:
    """(width in pixels, number of columns) of a legend that fits a picture of this height."""
    letters = font(size)
    rows = max(1, (height - size) // round(1.7 * size))
    columns = math.ceil(len(names) / rows)
    column = round(max(letters.getlength(name) for name in names) + 3.2 * size)
    return columns * column, columns


def with_legend(
    picture: np.ndarray, entries: Mapping[str, Sequence[int]], background: tuple[int, int, int], size: int
) -> np.ndarray:
    """The picture [H, W, 3] with a list of coloured squares and names at its right."""
    from PIL import Image, ImageDraw

    height = picture.shape[0]
    width, columns = legend_size(list(entries), height, size)
    canvas = Image.new("RGB", (picture.shape[1] + width, height), background)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw, letters = ImageDraw.Draw(canvas), font(size)
    rows, step = math.ceil(len(entries) / columns), round(1.7 * size)
    top = (height - rows * step) // 2
    for index, (name, color) in enumerate(entries.items()):
        left = picture.shape[1] + index // rows * (width // columns) + size // 2
        middle = top + index % rows * step + step // 2
        box = (left, middle - round(0.55 * size), left + round(1.1 * size), middle + round(0.55 * size))
        draw.rounded_rectangle(box, radius=size // 5, fill=tuple(int(value) for value in color))
        draw.text((left + round(1.7 * size), middle), name, fill=INK, font=letters, anchor="lm")
    return np.asarray(canvas)


def grid(count: int, width: int, height: int) -> tuple[int, int]:
    """(columns, rows) for this many tiles in an area, so that the tiles are as close to 4:3 as can be."""
    shapes = [(columns, math.ceil(count / columns)) for columns in range(1, count + 1)]
    return min(shapes, key=lambda shape: abs(math.log(width / shape[0] / (height / shape[1]) * 3 / 4)))


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
