"""Objects cut out of pictures of all kinds, and their framing."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.data.images.cutouts import OBJECT_SHARE, cut_out, plain_background_object


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 3, shape)


def scene(background=(120, 160, 210), height=240, width=320, gradient=0.15):
    """A red ring on a plain background with falling light and noise; and the ring [H, W] bool."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - 110, x - 190)
    is_ring = (radius < 70) & (radius > 35)
    light = 1 - gradient * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    picture = np.array(background) * light[..., None]
    picture[is_ring] = (190, 40, 30)
    return (picture + noise(picture.shape)).clip(0, 255).astype(np.uint8), is_ring


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("background", [(120, 160, 210), (245, 245, 245), (20, 20, 22)])
def test_a_plain_background_is_found_with_the_hole_in_the_object(background):
    picture, is_ring = scene(background)
    found = plain_background_object(picture)
    assert iou(found, is_ring) > 0.93
    assert not found[110, 190]


def test_an_object_at_the_border_of_the_picture():
    picture, _ = scene()
    picture[200:, 150:230] = (190, 40, 30)
    assert plain_background_object(picture)[220, 190]


@pytest.mark.parametrize("kind", ["noise", "one colour", "two colours"])
def test_no_plain_background(kind):
    picture = np.full((100, 100, 3), 128, np.uint8)
    if kind == "noise":
        picture = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    elif kind == "two colours":
        picture[:50] = (30, 90, 30)
    assert plain_background_object(picture) is None
    cutout = cut_out(picture, 32)
    assert cutout.evidence == "none" and cutout.image.shape == (32, 32, 3)


def framed(cutout):
    """Sides and middle of the object's box, as shares of the crop."""
    rows, columns = (np.flatnonzero((cutout.image[..., 3] > 127).any(axis)) for axis in (1, 0))
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    return (high - low) / len(cutout.image), (high + low) / 2 / len(cutout.image)


@pytest.mark.parametrize("size", [(137, 137), (90, 300), (2000, 1500)])
def test_framing_is_that_of_training_whatever_the_size_and_place(size):
    picture = np.zeros((*size, 4), np.uint8)
    height, width = size
    picture[height // 10 : height // 2, : width // 5] = (200, 100, 50, 255)
    cutout = cut_out(picture, 64)
    sides, middle = framed(cutout)
    assert cutout.evidence == "transparency" and cutout.image.shape == (64, 64, 4)
    assert sides.max() == pytest.approx(OBJECT_SHARE, abs=0.05)
    np.testing.assert_allclose(middle, 0.5, atol=0.04)
    opaque = cutout.image[cutout.image[..., 3] > 250]
    assert np.abs(opaque[:, :3].astype(int) - (200, 100, 50)).max() <= 1  # nothing of the black behind


def test_a_mask_comes_before_transparency_and_background():
    picture, _ = scene()
    mask = np.zeros(picture.shape[:2], bool)
    mask[20:60, 20:60] = True
    opaque = np.dstack([picture, np.full(mask.shape, 255, np.uint8)])
    assert cut_out(picture, 32, mask).evidence == cut_out(opaque, 32, mask).evidence == "mask"
    sides, _ = framed(cut_out(picture, 32, mask))
    np.testing.assert_allclose(sides, OBJECT_SHARE, atol=0.05)


def test_transparency_that_says_nothing_is_not_looked_at():
    picture, _ = scene()
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(cut_out(opaque, 32).image, cut_out(picture, 32).image)
    assert cut_out(opaque, 32).evidence == "border"


def test_what_cannot_be_cut_out():
    picture, _ = scene()
    with pytest.raises(ValueError, match="all of the picture is transparent"):
        cut_out(np.zeros((20, 20, 4), np.uint8), 32)
    with pytest.raises(ValueError, match="the mask shows no object"):
        cut_out(picture, 32, np.zeros(picture.shape[:2], bool))
    with pytest.raises(ValueError, match="mask must have 320 x 240 pixels as its picture has, got 10 x 20"):
        cut_out(picture, 32, np.ones((20, 10), bool))
    with pytest.raises(ValueError, match=r"picture must be \[H, W, 3\] or \[H, W, 4\] uint8"):
        cut_out(picture.astype(float), 32)
    with pytest.raises(ValueError, match="share must be above 0"):
        cut_out(picture, 32, share=0)


def test_real_renderings_before_a_plain_wall(samples):
    """Renderings of 3D-R2N2 before a wall: the cut equals their own transparency."""
    from geo3d.data.images.preprocessing import on_background, read_image

    files = sorted((samples / "shapenet_r2n2" / "ShapeNetRendering").glob("*/*/rendering/00.png"))
    scores = []
    for path in files:
        rendering = np.pad(read_image(path), ((30, 30), (60, 60), (0, 0)))
        wall = np.full((*rendering.shape[:2], 3), (100, 140, 190)) / 255
        picture = on_background(rendering / 255, wall, blend=True) * 255 + noise(wall.shape)
        found = plain_background_object(picture.clip(0, 255).astype(np.uint8))
        scores.append(iou(found, rendering[..., 3] > 127))
    assert len(scores) >= 4 and min(scores) > 0.7 and np.mean(scores) > 0.85
