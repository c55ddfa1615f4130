"""From pictures of an object to the input of LRGT (ICCV 2023), as the released training and evaluation prepare them.

The network takes B, G, R from -1 to 1, though its first weights came from a classifier of R, G, B: released weights were trained so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Box = tuple[float, float, float, float]
TEST_BACKGROUND = (240.0, 240.0, 240.0)  # of the published evaluation; 0 to 255
TRAIN_BACKGROUND = (225, 255)  # each channel of a training background is drawn from here, both ends among it
CROP = 128  # pixels in the middle of a rendering that are kept
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B


def read_image(path: str | Path) -> np.ndarray:
    """A picture, turned as its EXIF tag says: [H, W, 4] uint8 R, G, B, A where the file has transparency, else [H, W, 3].

    Of grey pictures with 16 bits the higher eight are taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, or a truncated one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I"):
                gray = (np.asarray(turned).clip(0, 65535).astype(np.uint16) >> 8).astype(np.uint8)
                return np.repeat(gray[..., None], 3, axis=2)
            has_alpha = "A" in turned.getbands() or "transparency" in turned.info
            return np.asarray(turned.convert("RGBA" if has_alpha else "RGB"))
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
    ) as error:  # Pillow reports damaged PNGs as syntax errors
        raise ValueError(f"{path}: expected a picture, got {str(error) or 'a damaged file'}") from None


def prepare_views(
    images: Sequence[np.ndarray],
    image_size: int = 224,
    *,
    crop: int | None = CROP,
    boxes: Sequence[Box] | None = None,
    background: Sequence[float] | Sequence[np.ndarray] = TEST_BACKGROUND,
    blend: bool = False,
    jitter: ColorJitter | None = None,
) -> Tensor:
    """Pictures of one object as the network takes them.

    Args:
        images: V pictures [H, W], [H, W, 3] or [H, W, 4] uint8, grey, R G B or R G B A, of any sizes.
        image_size: S, of the network.
        crop: keep so many pixels in the middle of a picture that is larger on both sides; the whole picture when None.
        boxes: cut out the square around each box instead, see `crop_box`.
        background: a colour R, G, B from 0 to 255, or V pictures [S, S, 3] uint8, that shows where the resized picture is transparent.
        blend: mix by transparency. Otherwise, as published, the background is only where a pixel is transparent altogether, and pixels
            on the edge of the object keep what colour they hold.
        jitter: change of the colours, of all views alike.

    Returns:
        [V, 3, S, S] float32.

    Raises:
        ValueError: no picture, or an array that is none.
    """
    if not len(images):
        raise ValueError("prepare_views: expected at least one picture, got none")
    planes = []
    for number, image in enumerate(images):
        pixels = _as_float(image, number)
        if boxes is not None:
            pixels = crop_box(pixels, boxes[number])
        elif crop is not None:
            pixels = center_crop(pixels, crop)
        pixels = _resized(pixels, image_size)
        if pixels.shape[2] == 4:
            behind = np.asarray(background[number] if np.ndim(background[0]) else background, np.float32) / 255
            pixels = on_background(pixels, behind, blend)
        planes.append(pixels)
    stacked = np.stack(planes)
    if jitter is not None:
        stacked = jitter(stacked)
    bgr = np.ascontiguousarray(stacked[..., ::-1].transpose(0, 3, 1, 2))
    return torch.from_numpy(bgr).mul_(2).sub_(1)


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The middle [size, size, C] of a picture [H, W, C] that is larger on both sides; any other as it is."""
    height, width = image.shape[:2]
    if min(height, width) <= size:
        return image
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def crop_box(image: np.ndarray, box: Box) -> np.ndarray:
    """The square around a box, with the longer side of it; beyond the border the outermost pixels are repeated.

    Args:
        image: [H, W, C].
        box: left, top, right and bottom as shares of the picture's width and height.

    Returns:
        [side, side, C]; the right and bottom pixels belong to it, as in the released code.

    Raises:
        ValueError: a box without area.
    """
    height, width = image.shape[:2]
    x0, x1 = box[0] * width, box[2] * width
    y0, y1 = box[1] * height, box[3] * height
    if not (x1 > x0 and y1 > y0):
        raise ValueError(f"crop_box: box must be left, top, right, bottom with an area, got {list(box)}")
    half = max(x1 - x0, y1 - y0) / 2
    columns = _clipped((x0 + x1) / 2 - half, (x0 + x1) / 2 + half, width)
    rows = _clipped((y0 + y1) / 2 - half, (y0 + y1) / 2 + half, height)
    return image[rows][:, columns]


def on_background(image: np.ndarray, background: np.ndarray, blend: bool = False) -> np.ndarray:
    """A picture R, G, B, A [H, W, 4] in [0, 1] before a colour [3] or a picture [H, W, 3] -> [H, W, 3]; `blend` as in `prepare_views`."""
    colors, alpha = image[..., :3], image[..., 3:]
    if blend:
        return colors * alpha + background * (1 - alpha)
    return np.where(alpha == 0, background, colors)


def object_box(alpha: np.ndarray, margin: float = 0.0) -> Box:
    """The box around what is not transparent [H, W], as shares of the picture, widened by a share of its longer side all around.

    Raises:
        ValueError: all is transparent.
    """
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(rows):
        raise ValueError("object_box: expected a picture that shows something, got one that is transparent everywhere")
    height, width = alpha.shape
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    grow = margin * max(x1 - x0, y1 - y0)
    return (x0 - grow) / width, (y0 - grow) / height, (x1 + grow) / width, (y1 + grow) / height


class ColorJitter:
    """A change of brightness, contrast and saturation in a random order, drawn once and then the same for every view.

    Args:
        strength: each is multiplied by 1 - strength to 1 + strength. The authors' code offers 0.4; their training does without.
        rng: of the draw.
    """

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        self.factors = rng.uniform(1 - strength, 1 + strength, 3)
        self.order = rng.permutation(3)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Pictures [V, H, W, 3] in [0, 1] -> the same shape, values in [0, 1]."""
        for kind in self.order:
            gray = (images @ GRAY)[..., None]
            other = (np.zeros_like(gray), gray.mean((1, 2, 3), keepdims=True), gray)[kind]
            images = other + np.float32(self.factors[kind]) * (images - other)
        return images.clip(0, 1)


def _as_float(image: np.ndarray, number: int) -> np.ndarray:
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or 0 in image.shape
        or (image.ndim == 3 and image.shape[2] not in (1, 3, 4))
    ):
        found = f"{list(image.shape)} {image.dtype}"
        raise ValueError(f"prepare_views: picture {number} must be [H, W], [H, W, 3] or [H, W, 4] uint8, got {found}")
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return image.astype(np.float32) / 255


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, without smoothing before a picture is made smaller, as published."""
    import cv2

    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def _clipped(start: float, stop: float, size: int) -> np.ndarray:
    """Rows of a picture from start to stop, the first or last again and again beyond its border."""
    return np.arange(int(start), int(stop) + 1).clip(0, size - 1)
