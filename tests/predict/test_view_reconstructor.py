"""From a user's pictures to voxels: a stand-in network shows what it was given."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from small_views import ARGUMENTS, INFO, SIDE, write_views
from torch import nn

from geo3d import load
from geo3d.data.images.preprocessing import prepare_views, read_image
from geo3d.predict import ReconstructedObject, ViewReconstructor


class Camera(nn.Module):
    """Keeps what it is given; voxels are full in the lower half."""

    def forward(self, images):
        self.images = images
        occupancy = torch.full((1, 8, 8, 8), 0.1)
        occupancy[:, :, :4] = 0.7
        return occupancy


@pytest.fixture
def reconstructor():
    return ViewReconstructor(Camera(), INFO)


def rendering(size=(60, 90)):
    """A red block, [H, W, 4]."""
    picture = np.zeros((*size, 4), np.uint8)
    picture[20:40, 30:70] = (200, 10, 20, 255)
    return picture


def test_pictures_of_all_kinds_become_views_of_one_size(reconstructor, tmp_path):
    color = rendering()
    gray = np.full((50, 40), 240, np.uint8)
    gray[10:30, 10:20] = 60
    paths = []
    for name, array in {"rgba.png": color, "gray.png": gray, "deep.png": gray.astype(np.uint16) * 257}.items():
        paths.append(tmp_path / name)
        Image.fromarray(array).save(paths[-1])
    found = reconstructor([*paths, color, color[..., :3], gray, gray[..., None]])
    assert isinstance(found, ReconstructedObject)
    assert reconstructor.network.images.shape == (1, 7, 3, SIDE, SIDE)
    assert [view.shape for view in found.views] == [(SIDE, SIDE, 3)] * 7
    np.testing.assert_allclose(found.views[0][SIDE // 2, SIDE // 2], [200, 10, 20], atol=2)  # R, G, B for people
    blue, _, red = reconstructor.network.images[0, 0, :, SIDE // 2, SIDE // 2]  # B, G, R for the network
    assert red > 0.5 > -0.8 > blue
    assert found.views[0][0, 0].tolist() == [240, 240, 240]
    assert "2 pictures cut out by transparency" in found.notes
    assert found.voxels.sum() == 256 and len(found.mesh()[1])


def test_exif_turns_the_picture(reconstructor, tmp_path):
    upright, turned = tmp_path / "upright.png", tmp_path / "turned.jpg"
    tall = np.full((80, 60, 3), 250, np.uint8)
    tall[20:60, 25:35] = (10, 120, 10)
    Image.fromarray(tall).save(upright)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(np.ascontiguousarray(np.rot90(tall))).save(turned, exif=exif, quality=95)
    for path in (upright, turned):
        is_object = (reconstructor(path).views[0] < 200).any(2)
        assert is_object.any(1).sum() > 2 * is_object.any(0).sum()  # taller than wide


def test_forty_views_are_thinned_and_twenty_are_not(reconstructor):
    assert len(reconstructor([rendering()] * 20).views) == 20
    found = reconstructor([rendering()] * 40)
    assert len(found.views) == 20 and "20 of 40 pictures are used, evenly spaced" in found.notes
    assert len(reconstructor([rendering()] * 40, max_views=40).views) == 40


def test_masks(reconstructor):
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    mask = rendering()[..., 3]
    for given in (mask, mask > 0, np.dstack([picture, mask])):
        found = reconstructor([picture], [given])
        assert found.notes == ("1 picture cut out by mask",)
        assert found.views[0][0, 0].tolist() == [240, 240, 240]
    assert "a mask would help" in reconstructor([picture]).notes[0]
    with pytest.raises(ValueError, match="a mask for each of 2 pictures, got 1"):
        reconstructor([picture, picture], [mask])
    assert len(reconstructor([picture] * 30, [mask] * 30).views) == 20  # the masks are thinned as the pictures are


def test_framed_pictures_are_prepared_as_in_testing(reconstructor, samples):
    files = sorted((samples / "shapenet_r2n2" / "ShapeNetRendering").glob("*/chair_a/rendering/0*.png"))[:3]
    reconstructor(files, is_framed=True)
    expected = prepare_views([read_image(path) for path in files], SIDE, crop=128)
    torch.testing.assert_close(reconstructor.network.images[0], expected, rtol=0, atol=0)


def test_cutting_out_gives_about_the_framing_of_renderings(reconstructor, samples):
    """Of 3D-R2N2's own renderings, whose framing it is."""
    files = sorted((samples / "shapenet_r2n2" / "ShapeNetRendering").glob("*/*/rendering/0[0-4].png"))
    shares = [[], []]
    for is_framed in (False, True):
        for path in files:
            is_object = (reconstructor(path, is_framed=is_framed).views[0] != 240).any(2)
            sides = [np.ptp(np.flatnonzero(is_object.any(axis))) + 1 for axis in (0, 1)]
            shares[is_framed].append(max(sides) / SIDE)
    assert len(files) == 20 and np.median(shares[0]) == pytest.approx(np.median(shares[1]), abs=0.08)


def test_threshold(reconstructor):
    assert reconstructor(rendering()).threshold == 0.4  # of the weights
    assert not reconstructor(rendering(), threshold=0.75).voxels.any()
    assert "no voxel is full: the highest occupancy is 0.70" in reconstructor(rendering(), threshold=0.75).notes[-1]
    with pytest.raises(ValueError, match="threshold must be within 0 and 1"):
        reconstructor(rendering(), threshold=1.5)


def test_folders_and_videos(reconstructor, tmp_path):
    for number in range(3):
        Image.fromarray(rendering()).save(tmp_path / f"{number}.png")
    assert len(reconstructor(tmp_path).views) == 3
    video = tmp_path / "turn.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(30):
        writer.write(np.full((48, 64, 3), 200, np.uint8))
    writer.release()
    assert len(reconstructor(video, max_views=4).views) == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "at least one picture"),
        ([np.zeros((8, 8, 4), np.uint8)], "picture 0: all of the picture is transparent"),
        ([np.zeros((8, 8, 2), np.uint8)], r"picture 0: .*\[H, W, 3\] or \[H, W, 4\] uint8 or uint16, got \[8, 8, 2\]"),
        ([np.zeros((8, 8, 3))], "got .* float64"),
        ([np.zeros((0, 8, 3), np.uint8)], r"got \[0, 8, 3\]"),
    ],
)
def test_bad_pictures(reconstructor, source, message):
    with pytest.raises(ValueError, match=message):
        reconstructor(source)


def test_a_damaged_picture_is_named(reconstructor, tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(rendering()).save(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"^\S*cut.png: expected a picture"):
        reconstructor([path])


def test_a_folder_of_several_objects_is_refused(reconstructor, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(rendering()).save(tmp_path / name / "0.png")
    with pytest.raises(ValueError, match="pictures of one object, got folders of 2"):
        reconstructor(tmp_path)


def test_load_gives_it_from_weights_and_from_an_export(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from geo3d.export.networks import export_network

    weights = write_views(tmp_path / "views.safetensors")
    loaded = load(weights)
    assert isinstance(loaded, ViewReconstructor) and loaded.image_size == ARGUMENTS["image_size"]
    expected = loaded([rendering()] * 3)
    export_network(loaded.network, loaded.info, tmp_path / "exported")
    exported = load(tmp_path / "exported")
    assert isinstance(exported, ViewReconstructor)
    for count in (3, 1):
        expected, found = (each([rendering()] * count) for each in (loaded, exported))
        np.testing.assert_allclose(found.occupancy, expected.occupancy, atol=1e-5)
