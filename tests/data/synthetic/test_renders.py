"""Generated renderings: files as 3D-R2N2 has them, pictures that agree with the voxels, the camera of the released ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo3d.data.files.binvox import read_binvox
from geo3d.data.images.preprocessing import read_image
from geo3d.data.images.r2n2 import find_r2n2_models
from geo3d.data.images.r2n2_camera import R2N2View, draw_views, read_views, write_views
from geo3d.data.images.shapenet_r2n2 import find_categories
from geo3d.data.synthetic.renders.generate import write_renders
from geo3d.data.synthetic.renders.pictures import paint
from geo3d.data.synthetic.shapes.generate import make_shape
from geo3d.geometry.voxelization import voxelize_mesh
from geo3d.tools import make_data


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("renders") / "data"
    write_renders(out, 10, 0, views=4, workers=1, categories=("chair", "car"))
    return out


def silhouette(voxels: np.ndarray, scale: float, view: R2N2View) -> np.ndarray:
    """Pixels [137, 137] that full voxels, about the origin, project to."""
    inner = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), -1).reshape(-1, 3)
    points = ((np.argwhere(voxels)[:, None, ::-1] + 0.5 + inner).reshape(-1, 3) / len(voxels) - 0.5) * scale
    pixels = np.rint(view.camera().project(points)[0]).astype(int)
    mask = np.zeros((137, 137), bool)
    pixels = pixels[((pixels >= 0) & (pixels < 137)).all(1)]
    mask[pixels[:, 1], pixels[:, 0]] = True
    return mask


def agreement(model, views: int) -> tuple[float, float]:
    """Of pictures and silhouettes: intersection over union, and share of the pictures that the silhouettes cover."""
    grid, cameras = read_binvox(model.voxels), read_views(model.views[0].parent / "rendering_metadata.txt")
    shares = []
    for path, view in zip(model.views[:views], cameras[:views], strict=True):
        shown, mask = read_image(path)[..., 3] > 0, silhouette(grid.voxels, grid.scale, view)
        shares.append(((shown & mask).sum() / (shown | mask).sum(), (shown & mask).sum() / shown.sum()))
    overlap, covered = np.mean(shares, axis=0)
    return float(overlap), float(covered)


def test_files(root):
    models = find_r2n2_models(root)
    assert [(m.synset, m.name) for m in models[:1]] == [("02958343", "car_00001")] and len(models) == 10
    for model in models:
        assert len(model.views) == 4 and model.read_voxels().shape == (32, 32, 32)
        assert model.read_views(1)[0].shape == (137, 137, 4)
    assert {c.name: [len(c.models[s]) for s in ("train", "val", "test")] for c in find_categories(root)} == {
        "chair": [3, 1, 1],
        "car": [3, 1, 1],
    }


def test_pictures_agree_with_the_voxels(root):
    found = {model.name: agreement(model, 4) for model in find_r2n2_models(root)}
    for name, (overlap, covered) in found.items():
        assert covered > 0.97 and overlap > 0.55, name  # voxels are thicker than thin legs
    assert np.mean([overlap for overlap, _ in found.values()]) > 0.75


def test_the_camera_is_that_of_the_released_renderings(samples):
    found = {model.name: agreement(model, 24)[0] for model in find_r2n2_models(samples / "shapenet_r2n2")}
    assert found["chair_a"] > 0.85 and found["car_a"] > 0.82 and found["watercraft_a"] > 0.82 and found["airplane_a"] > 0.65


def test_fronts_are_where_the_released_ones_are(samples):
    """Generated airplanes and chairs overlap with the real ones the most as they are, and less after any quarter turn."""
    rng = np.random.default_rng(0)
    for category, place in (("airplane", "02691156/airplane_a"), ("chair", "03001627/chair_a")):
        real = read_binvox(samples / "shapenet_r2n2" / "ShapeNetVox32" / place / "model.binvox").voxels
        mean = np.mean([paint(make_shape(category, rng), rng).voxels(32).voxels for _ in range(30)], axis=0)
        turned = [np.rot90(mean, quarters, axes=(0, 2)) for quarters in range(4)]
        shares = [np.minimum(grid, real).sum() / np.maximum(grid, real).sum() for grid in turned]
        assert np.argmax(shares) == 0, (category, shares)


def test_an_object_depends_on_seed_and_number_alone(root, tmp_path):
    write_renders(tmp_path / "again", 3, 0, views=4, workers=1, categories=("chair", "car"))
    for path in ("ShapeNetVox32/03001627/chair_00002/model.binvox", "ShapeNetRendering/03001627/chair_00002/rendering/03.png"):
        assert (tmp_path / "again" / path).read_bytes() == (root / path).read_bytes()


def test_pictures_are_deterministic():
    pictures = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        painted = paint(make_shape("lamp", rng), rng)
        pictures.append(painted.picture(draw_views(1, rng)[0].camera()))
    np.testing.assert_array_equal(*pictures)
    alpha = pictures[0][..., 3]
    assert 0.005 < (alpha > 0).mean() < 0.5 and ((alpha > 0) & (alpha < 255)).any()
    assert (pictures[0][alpha == 0] == 0).all()  # black where transparent, as the released ones are


def test_objects_have_shapenets_frame():
    rng = np.random.default_rng(1)
    shape = make_shape("table", rng)
    painted = paint(shape, rng)
    low, high = painted.vertices.min(0), painted.vertices.max(0)
    np.testing.assert_allclose(low, -high, atol=1e-12)
    assert np.linalg.norm(high - low) == pytest.approx(1)
    assert painted.voxels(16).voxels.sum() == voxelize_mesh(painted.vertices, painted.faces, 16).voxels.sum() > 0


def test_metadata_round_trip(tmp_path):
    views = draw_views(5, np.random.default_rng(0))
    write_views(tmp_path / "m.txt", views)
    for ours, read in zip(views, read_views(tmp_path / "m.txt"), strict=True):
        assert read == pytest.approx(ours, abs=1e-8)
    (tmp_path / "m.txt").write_text("1 2 3\n")
    with pytest.raises(ValueError, match="five numbers in line 1, got '1 2 3'"):
        read_views(tmp_path / "m.txt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_views(tmp_path / "none.txt")


def test_the_command(tmp_path, capsys):
    assert make_data.main(["renders", "--out", str(tmp_path / "r"), "--size", "1", "--workers", "1"]) == 0
    assert len(list((tmp_path / "r").rglob("*.png"))) == 24
    assert json.loads((tmp_path / "r" / "ShapeNet.json").read_text())[0]["train"] == ["airplane_00001"]
    assert make_data.main(["renders", "--out", str(tmp_path / "r"), "--size", "1"]) == 2
    assert "is not an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"), [({"size": 0}, "must be at least 1, got 0"), ({"categories": ("boat",)}, "some of .* got boat")]
)
def test_bad_options(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_renders(tmp_path / "r", **({"size": 1, "seed": 0} | options))
    assert not (tmp_path / "r").exists()
