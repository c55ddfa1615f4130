"""`geo3d predict` with a network of hands: every hand of pictures of all kinds, as files and overlay."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from PIL import Image
from small_hands import write_hands

from geo3d.geometry.virtual_camera import default_camera_matrix
from geo3d.tools.predict import main


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_hands(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


def run(weights, *argv):
    return main([str(weights / "hands.safetensors"), *map(str, argv)])


def test_boxes_give_joints_meshes_and_an_overlay(weights, photo, tmp_path, capsys):
    out, picture = tmp_path / "out", tmp_path / "overlay.png"
    options = [
        "--box",
        "10,10,40,50",
        "--box",
        "60,20,40,40,left",
        "--out",
        out,
        "--save",
        picture,
        "--json",
        tmp_path / "all.json",
    ]
    assert run(weights, photo, *options) == 0
    printed = capsys.readouterr().out
    assert "photo.png: right, left" in printed and "assumed field of view of 60 degrees" in printed
    content = json.loads((out / "photo_hands.json").read_text())
    assert [hand["side"] for hand in content["hands"]] == ["right", "left"] and content["camera_is_assumed"]
    np.testing.assert_allclose(content["camera_matrix"], default_camera_matrix(120, 90))
    mesh = trimesh.load(out / "photo_hands.ply", process=False)
    assert mesh.vertices.shape == (2 * 778, 3) and mesh.faces.shape == (2 * 1538, 3)
    [result] = json.loads((tmp_path / "all.json").read_text())
    assert result["hands"] == content["hands"] and result["file"] == str(photo)
    assert np.asarray(Image.open(picture)).shape == (90, 120, 3)


def test_a_focal_length_twice_as_long_puts_hands_twice_as_far(weights, photo, tmp_path):
    depths = []
    for number, length in enumerate((200, 400)):
        out = tmp_path / str(number)
        box = ["--box", "58,43,4,4", "--focal-length", length, "--out", out]  # small and in the middle: its rays are parallel
        assert run(weights, photo, *box) == 0
        content = json.loads((out / "photo_hands.json").read_text())
        assert not content["camera_is_assumed"] and content["camera_matrix"][0][0] == length
        depths.append(content["hands"][0]["joints"][9][2])
    assert depths[1] / depths[0] == pytest.approx(2, rel=0.05)


def test_a_camera_is_taken_as_it_is(weights, photo, tmp_path):
    assert run(weights, photo, "--whole", "--camera", "210,205,61,44", "--out", tmp_path) == 0
    content = json.loads((tmp_path / "photo_hands.json").read_text())
    assert content["camera_matrix"] == [[210, 0, 61], [0, 205, 44], [0, 0, 1]] and len(content["hands"]) == 1


def test_a_detector_says_where_hands_are(weights, photo, tmp_path, capsys):
    assert run(weights, photo, "--detector", weights / "eager.safetensors", "--out", tmp_path) == 0
    found = json.loads((tmp_path / "photo_hands.json").read_text())["hands"]
    assert found and all(np.shape(hand["joints"]) == (21, 3) for hand in found)


def test_no_hand_in_view(weights, photo, tmp_path, capsys):
    assert (
        run(weights, photo, "--detector", weights / "blind.safetensors", "--out", tmp_path, "--save", tmp_path / "o.png") == 0
    )
    assert "photo.png: no hand" in capsys.readouterr().out
    assert json.loads((tmp_path / "photo_hands.json").read_text())["hands"] == []
    assert not (tmp_path / "photo_hands.ply").exists()
    assert (np.asarray(Image.open(tmp_path / "o.png")) == np.asarray(Image.open(photo))).all()


PICTURES = {
    "grey": np.full((40, 50), 90, np.uint8),
    "sixteen_bits": np.full((40, 50), 90 * 256, np.uint16),
    "four_channels": np.full((40, 50, 4), 90, np.uint8),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_all_kinds(weights, tmp_path, kind):
    Image.fromarray(PICTURES[kind]).save(tmp_path / "a.png")
    assert run(weights, tmp_path / "a.png", "--whole", "--out", tmp_path / "out", "--save", tmp_path / "o.png") == 0
    assert np.asarray(Image.open(tmp_path / "o.png")).shape == (40, 50, 3)


def test_pictures_are_turned_as_their_exif_says(weights, tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert run(weights, tmp_path / "a.jpg", "--whole", "--out", tmp_path, "--save", tmp_path / "o.png") == 0
    assert np.asarray(Image.open(tmp_path / "o.png")).shape == (60, 40, 3)


def test_bad_options_and_files_are_told(weights, photo, tmp_path, capsys):
    cases = {
        "expected 4 numbers": ["--box", "1,2,3"],
        "width and height must be above 0": ["--box", "1,2,0,4"],
        "--box and --whole exclude each other": ["--box", "1,2,3,4", "--whole"],
        "--camera and --focal-length exclude each other": ["--whole", "--camera", "1,1,1,1", "--focal-length", "3"],
        "focal lengths above 0": ["--whole", "--focal-length", "-3"],
        "expected weights of a detector of hands": ["--detector", weights / "hands.safetensors"],
        "--box or --whole say where the hands are": ["--detector", tmp_path / "absent.safetensors"],
    }
    for message, options in cases.items():
        assert run(weights, photo, "--out", tmp_path, *options) == 2, message
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    (tmp_path / "text.jpg").write_text("no picture")
    assert run(weights, tmp_path / "text.jpg", "--whole", "--out", tmp_path) == 2
    assert "text.jpg: expected a picture" in capsys.readouterr().err
