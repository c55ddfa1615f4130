"""Images as users have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geo3d.data.images.preprocessing import read_image

Image = str | Path | np.ndarray


def upright(source: Image) -> np.ndarray:
    """An image [H, W, 3] uint8 R, G, B, or [H, W, 4] where it has transparency, turned as its EXIF data says, from a file or an array with
    one, three or four channels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, or an array of another form.
    """
    array = source if isinstance(source, np.ndarray) else read_image(source)
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or 0 in array.shape
        or (array.ndim == 3 and array.shape[2] not in (1, 3, 4))
    ):
        raise ValueError(
            f"image: expected [H, W], [H, W, 3] or [H, W, 4] uint8 or uint16, got {list(array.shape)} {array.dtype}"
        )
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array)


def upright_rgb(source: Image) -> np.ndarray:
    """As `upright`, [H, W, 3]; what is transparent is white."""
    array = upright(source)
    if array.shape[2] == 4:  # on white, as the viewer shows it
        alpha = array[..., 3:] / 255.0
        array = np.round(array[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return array
