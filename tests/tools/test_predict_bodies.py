"""`geo3d predict` with a body fitter: what it writes and says; the weights are untrained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from geo3d.body import load_body_model
from geo3d.data.files.geometry import write_ply
from geo3d.models.arteq import ArtEq
from geo3d.tools.predict import main
from geo3d.tools.predicting.bodies import _picture_axes
from geo3d.zoo.weights import WeightsInfo, save_weights

TINY = {"widths": [8], "neighbors": 8, "kernel_size": 4, "hidden": 16, "heads": 2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "bodies.safetensors"
    info = WeightsInfo("geo3d.models.arteq.ArtEq", TINY, "body_fitting", preprocessing={"num_points": 128})
    save_weights(path, ArtEq(**TINY), info)
    return path


@pytest.fixture
def scan(tmp_path):
    vertices = load_body_model()().vertices[0].detach().numpy()
    return write_ply(tmp_path / "scan.ply", 100 * vertices[::8].astype(np.float64) + [500, 0, 0])


def test_writes_parameters_mesh_parts_and_a_picture(weights, scan, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(weights), "--refine", "2", str(scan), "--out", str(out), "--json", str(tmp_path / "found.json")]
    assert main([*arguments, "--save", str(tmp_path / "fit.png"), "--displacements"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "taken for cm" in said and "mm on average" in said
    fields = np.load(out / "scan_smpl.npz")
    body = load_body_model()
    made = body(**{name: torch.from_numpy(fields[name]).float() for name in ("betas", "global_orient", "body_pose", "transl")})
    vertices = made.vertices[0].detach().numpy() + fields["displacements"]
    mesh = trimesh.load(out / "scan_body.ply", process=False)
    assert np.allclose(vertices / fields["meters_per_unit"], mesh.vertices, atol=0.1)  # in the scan's centimetres
    assert len(trimesh.load(out / "scan_parts.ply").vertices) == len(trimesh.load(scan).vertices)
    [result] = json.loads((tmp_path / "found.json").read_text())
    assert result["meters_per_unit"] == 0.01 and result["mean_distance_mm"] > 0
    assert (tmp_path / "fit.png").stat().st_size > 5000
    assert main(arguments) == 2  # nothing is replaced
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_in_the_picture_the_body_stands_and_faces_the_viewer(up):
    """Else the scan beside it could be hidden behind it."""
    vertical = np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)
    orient = Rotation.align_vectors(vertical[None], [[0, 1, 0]])[0]
    orient = Rotation.from_rotvec(2.0 * vertical) * orient  # about its own axis
    axes = _picture_axes(orient.as_rotvec(), up)
    np.testing.assert_allclose(axes @ orient.as_matrix(), np.eye(3), atol=1e-6)


def test_in_the_picture_a_body_on_its_back_is_seen_from_its_side():
    axes = _picture_axes(np.array([-np.pi / 2, 0, 0]), "y")  # the face is up, the head towards -z
    np.testing.assert_allclose(axes, [[0, 0, -1], [0, 1, 0], [1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--category", "chair"], "--category is no option of"),
        (["--refine", "-1"], "--refine must be 0 or more"),
        (["--units", "miles"], "--units"),
        (["--body", "nothing.pkl"], "no such file"),
    ],
)
def test_bad_options(options, message, weights, scan, capsys):
    assert main([str(weights), str(scan), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_cloud_of_few_points(weights, tmp_path, capsys):
    path = write_ply(tmp_path / "few.ply", np.random.default_rng(0).random((20, 3)))
    assert main([str(weights), str(path), "--out", str(tmp_path / "out")]) == 2
    assert "at least 100 points" in capsys.readouterr().err
