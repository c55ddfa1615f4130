"""Body model files: pickles as they are published, read without running code, and what smplx makes of them."""

from __future__ import annotations

import copyreg
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import scipy.sparse
import torch

from geo3d.body.models import EXTRA_JOINTS, load_body_model
from geo3d.body.pickles import read_model_file

VERTICES, JOINTS = 40, 24


class Ch:
    """A stand-in for chumpy's array, which is pickled with its numbers in `x`."""

    def __init__(self, x):
        self.x, self._status, self._dirty_vars = x, "old", set()


class Select:
    """A stand-in for chumpy's selection."""

    def __init__(self, a, idxs, preferred_shape):
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


def fields(joints: int = JOINTS, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    weights = rng.random((VERTICES, joints))
    regressor = np.where(rng.random((joints, VERTICES)) < 0.3, rng.random((joints, VERTICES)), 0)
    return {
        "v_template": rng.standard_normal((VERTICES, 3)),
        "f": rng.integers(0, VERTICES, (60, 3)).astype(np.uint32),
        "shapedirs": rng.standard_normal((VERTICES, 3, 10)),
        "posedirs": 0.01 * rng.standard_normal((VERTICES, 3, 9 * (joints - 1))),
        "J_regressor": regressor,
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([np.arange(-1, joints - 1), np.arange(joints)]).astype(np.int64),
    }


def hands(sides: str = "lr") -> dict:
    rng = np.random.default_rng(1)
    names = (
        {"": ("hands_components", "hands_mean")}
        if not sides
        else {s: (f"hands_components{s}", f"hands_mean{s}") for s in sides}
    )
    return {name: rng.standard_normal((45, 45) if "comp" in name else 45) for pair in names.values() for name in pair}


@pytest.fixture
def chumpy(monkeypatch):
    """The modules that the published pickles name, while a pickle is written; they are gone when it is read."""
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    for name, kind in (("chumpy.ch", Ch), ("chumpy.reordering", Select)):
        module = types.ModuleType(name)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(kind, "__module__", name)


def test_a_pickle_as_published(tmp_path, chumpy, monkeypatch):
    plain = fields()
    published = dict(plain, model_type="smpl", bs_style="lbs")
    published["v_template"] = Ch(plain["v_template"])
    published["shapedirs"] = Select(
        Ch(plain["shapedirs"].ravel()), np.arange(plain["shapedirs"].size), plain["shapedirs"].shape
    )
    published["J_regressor"] = scipy.sparse.csc_matrix(plain["J_regressor"])
    published["weights"] = scipy.sparse.csr_matrix(plain["weights"])
    for protocol in (2, 4):
        (tmp_path / "SMPL.pkl").write_bytes(pickle.dumps(published, protocol))
        with monkeypatch.context() as context:
            for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
                context.delitem(sys.modules, name)
            read = read_model_file(tmp_path / "SMPL.pkl")
        assert read["bs_style"] == "lbs"
        for name, array in plain.items():
            np.testing.assert_array_equal(read[name], array, err_msg=name)


def test_objects_of_python_2(tmp_path, chumpy, monkeypatch):
    """Old pickles make objects through copy_reg._reconstructor."""
    monkeypatch.setattr(Ch, "__reduce_ex__", lambda self, p: (copyreg._reconstructor, (Ch, object, None), dict(x=self.x)))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"v_template": Ch(np.arange(3))}, 2))
    assert read_model_file(tmp_path / "a.pkl")["v_template"].tolist() == [0, 1, 2]


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "attack",
    [
        Attack(os.system, "touch TARGET"),
        Attack(eval, "open('TARGET', 'w')"),
        Attack(subprocess.check_output, ["touch", "TARGET"]),
        Attack(copyreg._reconstructor, os._wrap_close, object, None),
        Attack(np.load, "TARGET"),
        Attack(getattr, np.ndarray, "tofile"),
    ],
    ids=lambda attack: attack.call[0].__name__,
)
def test_a_pickle_that_would_run_code_is_refused(tmp_path, attack, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SMPL.pkl").write_bytes(pickle.dumps(dict(fields(), J_regressor=attack)))
    with pytest.raises(ValueError, match="SMPL.pkl: expected a body model of arrays .* refused"):
        read_model_file(tmp_path / "SMPL.pkl")
    assert not (tmp_path / "TARGET").exists()


def test_objects_in_an_npz_are_left_out(tmp_path):
    np.savez(tmp_path / "SMPLX.npz", v_template=np.zeros(3), part2num=np.array({"a": Attack(os.system, "false")}, dtype=object))
    assert list(read_model_file(tmp_path / "SMPLX.npz")) == ["v_template"]


def test_smpl_of_a_file_poses_as_smplx_does(tmp_path):
    import smplx
    from smplx.utils import Struct

    np.savez(tmp_path / "body.npz", **fields(), extra_joint_vertices=np.arange(21)[::-1])
    body = load_body_model(tmp_path / "body.npz", batch_size=2)
    ids = dict(zip(EXTRA_JOINTS, range(20, -1, -1), strict=True))
    theirs = smplx.SMPL(model_path="", data_struct=Struct(**fields()), vertex_ids=ids, batch_size=2)
    arguments = {"betas": torch.randn(2, 10), "body_pose": torch.randn(2, 69), "global_orient": torch.randn(2, 3)}
    ours, expected = body(**arguments), theirs(**arguments)
    torch.testing.assert_close(ours.vertices, expected.vertices)
    torch.testing.assert_close(ours.joints, expected.joints)
    assert ours.joints.shape == (2, 45, 3)
    torch.testing.assert_close(ours.joints[:, 24], ours.vertices[:, 20])  # the nose


@pytest.mark.parametrize(
    ("kind", "joints", "extra"),
    [
        ("SMPL", 24, {}),
        ("SMPLH", 52, hands()),
        ("MANO", 16, hands("")),
        (
            "SMPLX",
            55,
            hands()
            | {
                "lmk_faces_idx": np.arange(51) % 60,
                "lmk_bary_coords": np.full((51, 3), 1 / 3),
                "shapedirs": np.zeros((VERTICES, 3, 400)),
            },
        ),
    ],
)
def test_kind_is_told_by_the_fields(tmp_path, kind, joints, extra, capsys, monkeypatch):
    import smplx
    from smplx import vertex_ids

    # the numbers of smplx are those of full-size meshes
    small = {name: {key: 0 for key in ids} for name, ids in vertex_ids.vertex_ids.items()}
    monkeypatch.setattr(smplx.body_models, "VERTEX_IDS", small)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(fields(joints) | extra))
    model = load_body_model(tmp_path / "model.pkl")
    assert type(model).__name__ == kind
    assert model().vertices.shape == (1, VERTICES, 3)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no pickle", "expected a body model of arrays"),
        (pickle.dumps([1, 2]), "expected a body model, a dictionary of arrays, got list"),
        (pickle.dumps({"f": np.zeros(3)}), "there is no v_template, shapedirs, posedirs"),
        (pickle.dumps(dict(fields(), weights=np.zeros((3, 24)))), r"weights must be \[40, 24\] first .* got \[3, 24\]"),
        (pickle.dumps(dict(fields(), extra_joint_vertices=np.arange(21) + 30)), "extra_joint_vertices must be 21 vertices"),
    ],
)
def test_bad_files(tmp_path, content, message):
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_body_model(tmp_path / "model.pkl")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*nothing.pkl"):
        load_body_model(tmp_path / "nothing.pkl")
