"""Pictures as LRGT takes them: every kind of file, crops, boxes, backgrounds, colours; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from geo3d.data.images.preprocessing import (
    ColorJitter,
    center_crop,
    crop_box,
    object_box,
    on_background,
    prepare_views,
    read_image,
)


def picture(height: int = 20, width: int = 30, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("RGB", 3), ("RGBA", 4), ("LA", 4), ("P", 3), ("CMYK", 3), ("1", 3)])
def test_every_kind_of_picture_is_read(mode, channels, tmp_path):
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.fromarray(picture()).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (20, 30, channels) and image.dtype == np.uint8


def test_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (30, 20, 3)


def test_damaged_files(tmp_path):
    Image.fromarray(picture(200, 200)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for name, bad in (("cut.png", content[: len(content) // 2]), ("text.png", b"hello")):
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(ValueError, match=f"{name}: expected a picture"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_image(tmp_path / "none.png")


def test_values_and_order_of_channels():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = 255  # red
    views = prepare_views([image, image], 4)
    assert views.shape == (2, 3, 4, 4)
    assert (views[:, 2] == 1).all() and (views[:, :2] == -1).all()  # B, G, R


def test_a_gray_picture_and_views_of_different_sizes():
    gray = picture(40, 60)[..., 0]
    views = prepare_views([gray, picture(200, 150, 4), picture(3, 5)], 16)
    assert views.shape == (3, 3, 16, 16) and (views[0, 0] == views[0, 2]).all()
    assert views.min() >= -1 and views.max() <= 1


def test_background_shows_where_all_is_transparent():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = (200, 100, 0, 255)
    image[0, 1] = (200, 100, 0, 51)  # partly: keeps its colour, or is blended
    views = prepare_views([image], 2, background=(10, 20, 30))[0].add(1).mul(127.5).round()
    assert views[:, 1].T.tolist() == [[30, 20, 10]] * 2 and views[:, 0].T.tolist() == [[0, 100, 200]] * 2
    blended = prepare_views([image], 2, background=(10, 20, 30), blend=True)[0].add(1).mul(127.5).round()
    assert blended[:, 0, 1].tolist() == [24, 36, 48]  # a fifth of the colour
    photograph = picture(2, 2)
    behind = prepare_views([image], 2, background=[photograph])[0].add(1).mul(127.5).round()
    assert behind[:, 1, 1].tolist() == photograph[1, 1, ::-1].tolist()


def test_center_crop():
    image = picture(137, 137)
    np.testing.assert_array_equal(center_crop(image, 128), image[4:132, 4:132])
    assert center_crop(picture(100, 300), 128).shape == (100, 300, 3)  # only where both sides are larger


def test_crop_box_repeats_the_border():
    image = picture(10, 10)
    inside = crop_box(image, (0.2, 0.3, 0.6, 0.7))
    np.testing.assert_array_equal(inside, image[3:8, 2:7])  # right and bottom pixels among it
    corner = crop_box(image, (0.6, 0.6, 1.4, 1.4))
    np.testing.assert_array_equal(corner[:4, :4], image[6:, 6:])
    assert (corner[4:, 4:] == image[9, 9]).all() and corner.shape == (9, 9, 3)
    with pytest.raises(ValueError, match="with an area"):
        crop_box(image, (0.5, 0.5, 0.5, 0.7))


def test_object_box():
    alpha = np.zeros((10, 20), np.uint8)
    alpha[2:6, 5:15] = 1
    assert object_box(alpha) == (0.25, 0.2, 0.75, 0.6)
    assert object_box(alpha, 0.1) == pytest.approx((0.2, 0.1, 0.8, 0.7))
    with pytest.raises(ValueError, match="transparent everywhere"):
        object_box(np.zeros((4, 4)))


def test_color_jitter_is_the_same_for_all_views():
    image = np.random.default_rng(0).random((1, 6, 6, 3)).astype(np.float32) * 0.5 + 0.2
    jitter = ColorJitter(0.4, np.random.default_rng(3))
    changed = jitter(np.repeat(image, 3, 0))
    assert (changed == changed[:1]).all() and abs(changed - image).max() > 0.02
    np.testing.assert_allclose(ColorJitter(0.0, np.random.default_rng(3))(image), image, atol=1e-6)
    gray = np.full((1, 4, 4, 3), 0.5, np.float32)
    jitter = ColorJitter(0.4, np.random.default_rng(1))
    np.testing.assert_allclose(jitter(gray), 0.5 * jitter.factors[0], rtol=1e-5)  # grey feels brightness alone


def test_on_background_of_one_color():
    image = np.array([[[0.5, 0.5, 0.5, 0.0], [0.5, 0.5, 0.5, 1e-4]]], np.float32)
    assert on_background(image, np.ones(3, np.float32))[0].tolist() == [[1, 1, 1], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize("image", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture(image):
    with pytest.raises(ValueError, match=r"picture 0 must be \[H, W\], \[H, W, 3\] or \[H, W, 4\] uint8"):
        prepare_views([image])


def test_no_picture():
    with pytest.raises(ValueError, match="at least one picture"):
        prepare_views([])
