"""Objects cut out of a user's pictures, and framed as the renderings that networks are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from geo3d.data.images.preprocessing import crop_box

OBJECT_SHARE = (
    0.67  # longer side of the object's box by the side of the crop: the median of 3D-R2N2's renderings, and of generated ones
)
MAX_SIDE = 1024  # larger pictures are made smaller before anything is looked for
OPAQUE_FROM = 26  # transparency, of 255, from which a pixel belongs to the object
MIN_OBJECT, MAX_OBJECT = 0.002, 0.95  # share of the picture that an object covers
PLAIN_SHARE = 0.75  # of the border that has one colour
PLAIN_DISTANCE = 18.0  # in CIE L*a*b* from the middle colour of a plain border; light falls off towards the corners
MIN_TOLERANCE, MAX_TOLERANCE = 4.0, 10.0  # in L*a*b*, of the colour of a plain background at a place
SPECK = 0.05  # pieces smaller than this share of the largest one are left out

Evidence = Literal["mask", "transparency", "border", "none"]


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object framed for the network.

    Attributes:
        image: [S, S, 4] uint8 R, G, B, A; [S, S, 3] where the background could not be told.
        evidence: what told the object from the background.
    """

    image: np.ndarray
    evidence: Evidence


def cut_out(image: np.ndarray, side: int, mask: np.ndarray | None = None, share: float = OBJECT_SHARE) -> Cutout:
    """The square around an object, the background transparent.

    What the object is tells, in this order: the mask; the picture's transparency, if any of it is transparent; a background of one
    colour, which may have a gradient, around it. Otherwise the whole picture is taken, its border pixels repeated to make it square.

    Args:
        image: [H, W, 3 or 4] uint8 R, G, B, A.
        side: S, pixels.
        mask: [H, W] bool, True on the object.
        share: of the square, that the longer side of the object's box takes.

    Raises:
        ValueError: an array of another form, a mask of another size, a mask or a transparency in which nothing is shown.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or 0 in image.shape:
        raise ValueError(f"picture must be [H, W, 3] or [H, W, 4] uint8, got {list(image.shape)} {image.dtype}")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share:g}")
    evidence: Evidence = "mask"
    alpha: np.ndarray | None = None
    if mask is not None:
        if mask.shape != image.shape[:2]:
            expected = f"{image.shape[1]} x {image.shape[0]} pixels as its picture has"
            raise ValueError(f"mask must have {expected}, got {' x '.join(map(str, mask.shape[::-1]))}")
        alpha = mask.astype(np.uint8) * 255
    elif image.shape[2] == 4 and image[..., 3].min() < 255:
        evidence, alpha = "transparency", image[..., 3]
    if alpha is not None and alpha.max() < OPAQUE_FROM:
        raise ValueError("the mask shows no object" if mask is not None else "all of the picture is transparent")
    colors, alpha = _smaller(image[..., :3], alpha)
    if alpha is None:
        is_object = plain_background_object(colors)
        if is_object is None:
            return Cutout(_scaled(crop_box(colors, (0.0, 0.0, 1.0, 1.0)), side), "none")
        evidence, alpha = "border", is_object.astype(np.uint8) * 255
    return Cutout(_framed(colors, alpha, side, share), evidence)


def plain_background_object(image: np.ndarray) -> np.ndarray | None:
    """What is not background [H, W] bool in a picture [H, W, 3] uint8 whose border has one colour; None where it has not.

    The background's colour is a quadratic over the picture, fitted to the border; background is what has it and is joined to the border,
    and larger patches of it within the object, such as between the legs of a chair.
    """
    from scipy import ndimage

    lab = _lab(image)
    is_border = np.ones(lab.shape[:2], bool)
    width = max(1, round(0.015 * min(lab.shape[:2])))
    is_border[width:-width, width:-width] = False
    is_plain = is_border & (np.linalg.norm(lab - np.median(lab[is_border], axis=0), axis=2) < PLAIN_DISTANCE)
    if is_plain.sum() < PLAIN_SHARE * is_border.sum():
        return None
    distance, tolerance = _from_background(lab, is_plain)
    if (distance[is_border] < tolerance).sum() < PLAIN_SHARE * is_border.sum():
        return None
    labels, _ = ndimage.label(distance < tolerance)
    outside = np.unique(labels[is_border & (labels > 0)])
    holes, count = ndimage.label((distance < tolerance / 2) & ~np.isin(labels, outside))
    sizes = np.bincount(holes.ravel(), minlength=count + 1)
    sizes[0] = 0
    is_object = ~np.isin(labels, outside) & ~(sizes >= 1e-3 * holes.size)[holes]
    is_object = _without_specks(is_object)
    return is_object if MIN_OBJECT <= is_object.mean() <= MAX_OBJECT else None


def _lab(image: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a picture without its finest noise."""
    import cv2

    smooth = cv2.medianBlur(np.ascontiguousarray(image), 3) if min(image.shape[:2]) > 300 else image
    return cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _from_background(lab: np.ndarray, is_plain: np.ndarray) -> tuple[np.ndarray, float]:
    """Distance [H, W] of each pixel to the background's colour at its place, and below which distance it is background."""
    height, width = lab.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1).astype(np.float32)
    used = is_plain
    for _ in range(3):
        factors = np.linalg.lstsq(terms[used], lab[used], rcond=None)[0]
        distance = np.linalg.norm(lab - terms @ factors, axis=2)
        spread = float(np.median(distance[used]))
        used = is_plain & (distance <= 3 * spread + 1)
    return distance, float(np.clip(4 * spread, MIN_TOLERANCE, MAX_TOLERANCE))


def _without_specks(is_object: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels, count = ndimage.label(is_object, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return ((sizes >= SPECK * sizes.max()) & (sizes > 0))[labels]


def _smaller(colors: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture of at most MAX_SIDE pixels a side."""
    import cv2

    factor = MAX_SIDE / max(colors.shape[:2])
    if factor >= 1:
        return colors, alpha
    size = (max(1, round(colors.shape[1] * factor)), max(1, round(colors.shape[0] * factor)))
    if alpha is None:
        return cv2.resize(np.ascontiguousarray(colors), size, interpolation=cv2.INTER_AREA), None
    both = _resized_with_alpha(colors, alpha, size)
    return both[..., :3], both[..., 3]


def _framed(colors: np.ndarray, alpha: np.ndarray, side: int, share: float) -> np.ndarray:
    """The square [side, side, 4] around what is opaque; beyond the picture it is transparent."""
    is_object = alpha >= OPAQUE_FROM
    rows, columns = np.flatnonzero(is_object.any(1)), np.flatnonzero(is_object.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    wanted = max(1, round(max(bottom - top, right - left) / share))
    y, x = (top + bottom - wanted) // 2, (left + right - wanted) // 2
    square = np.zeros((wanted, wanted, 4), np.uint8)
    inside_y, inside_x = slice(max(y, 0), min(y + wanted, len(alpha))), slice(max(x, 0), min(x + wanted, alpha.shape[1]))
    place = square[inside_y.start - y : inside_y.stop - y, inside_x.start - x : inside_x.stop - x]
    place[..., :3], place[..., 3] = colors[inside_y, inside_x], alpha[inside_y, inside_x]
    return _resized_with_alpha(square[..., :3], square[..., 3], (side, side))


def _scaled(image: np.ndarray, side: int) -> np.ndarray:
    import cv2

    way = cv2.INTER_AREA if len(image) > side else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=way)


def _resized_with_alpha(colors: np.ndarray, alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[h, w, 4] uint8; only what is opaque lends its colour."""
    import cv2

    way = cv2.INTER_AREA if size[0] < colors.shape[1] else cv2.INTER_LINEAR
    opacity = alpha[..., None].astype(np.float32) / 255
    both = cv2.resize(np.concatenate([colors.astype(np.float32) * opacity, opacity], 2), size, interpolation=way)
    rgb = both[..., :3] / np.maximum(both[..., 3:], 1e-6)
    result = np.concatenate([rgb * (both[..., 3:] > 0), both[..., 3:] * 255], 2)
    return np.round(result).clip(0, 255).astype(np.uint8)
