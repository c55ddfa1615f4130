"""The binvox format: order of axes, run lengths, real files, damaged ones."""

from __future__ import annotations

import numpy as np
import pytest

from geo3d.data.files.binvox import read_binvox, write_binvox

HEADER = b"#binvox 1\ndim 2 3 4\ntranslate -1 0.5 2\nscale 8\ndata\n"


def test_order_of_axes(tmp_path):
    """The file runs along y first, then z, then x."""
    flat = np.zeros(24, np.uint8)
    flat[1 * 12 + 2 * 4 + 3] = 1  # x 1, z 2, y 3
    path = tmp_path / "one.binvox"
    path.write_bytes(HEADER + np.stack([flat, np.ones(24, np.uint8)], 1).tobytes())
    grid = read_binvox(path)
    assert grid.voxels.shape == (3, 4, 2) and np.argwhere(grid.voxels).tolist() == [[2, 3, 1]]
    assert grid.translate.tolist() == [-1, 0.5, 2] and grid.scale == 8 and grid.voxel_size == 2


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_round_trip(share, tmp_path):
    voxels = np.random.default_rng(0).random((9, 17, 31)) < share  # empty and full: runs far beyond 255
    path = write_binvox(tmp_path / "grid.binvox", voxels, translate=(1, 2, 3), scale=0.5)
    grid = read_binvox(path)
    np.testing.assert_array_equal(grid.voxels, voxels)
    assert grid.translate.tolist() == [1, 2, 3] and grid.scale == 0.5


@pytest.mark.parametrize(
    ("model", "occupied"),
    [("02691156/airplane_a", 771), ("02958343/car_a", 2294), ("03001627/chair_a", 1755), ("04530566/watercraft_a", 1303)],
)
def test_real_files(samples, model, occupied, tmp_path):
    path = samples / "shapenet_r2n2" / "ShapeNetVox32" / model / "model.binvox"
    grid = read_binvox(path)
    assert grid.voxels.shape == (32, 32, 32) and grid.voxels.sum() == occupied
    again = read_binvox(write_binvox(tmp_path / "again.binvox", grid.voxels))
    np.testing.assert_array_equal(again.voxels, grid.voxels)


def test_a_chair_stands_upright(samples):
    """y is up: the seat and the back are above the legs, which are thin."""
    voxels = read_binvox(samples / "shapenet_r2n2/ShapeNetVox32/03001627/chair_a/model.binvox").voxels
    layers = np.flatnonzero(voxels.any(axis=(0, 2)))
    counts = voxels.sum(axis=(0, 2))
    assert counts[layers[2]] < 0.3 * counts.max()


BAD = {
    "text": (b"hello", "starts with #binvox"),
    "no_data": (b"#binvox 1\ndim 2 2 2\n", "expected a line 'data'"),
    "no_dim": (b"#binvox 1\nscale 1\ndata\n\0\x08", "expected lines dim, translate and scale"),
    "words": (b"#binvox 1\ndim a b c\ndata\n\0\x08", "expected lines dim, translate and scale"),
    "flat": (b"#binvox 1\ndim 2 2\ndata\n\0\x04", "dim of three positive numbers, got 2 2"),
    "huge": (b"#binvox 1\ndim 9999 9999 9999\ndata\n\0\x04", "dim of three positive numbers"),
    "scale": (b"#binvox 1\ndim 2 2 2\nscale 0\ndata\n\0\x08", "positive scale"),
    "odd": (HEADER + b"\0\x18\0", "expected pairs of bytes after the header, got 3 bytes"),
    "short": (HEADER + b"\0\x17", "expected 24 voxels as dim says, got 23"),
    "long": (HEADER + b"\0\x19", "expected 24 voxels as dim says, got 25"),
    "values": (HEADER + b"\x02\x18", "expected voxels of 0 or 1, got 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files(name, tmp_path):
    content, message = BAD[name]
    path = tmp_path / f"{name}.binvox"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_binvox(path)


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_binvox(tmp_path / "none.binvox")
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_binvox(tmp_path / "none" / "a.binvox", np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match=r"voxels must be \[D, H, W\] bool, got \[2, 2\] float64"):
        write_binvox(tmp_path / "a.binvox", np.ones((2, 2)))
    with pytest.raises(ValueError, match="scale must be positive"):
        write_binvox(tmp_path / "a.binvox", np.ones((2, 2, 2), bool), scale=0)
