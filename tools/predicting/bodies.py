"""`geo3d predict` with a body fitter: parameters as `smplx` takes them, the mesh, the parts of the scan, distances."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geo3d.geometry.scans import UNITS
from geo3d.tools.parsing import add_columns
from geo3d.tools.predicting.files import output_files, picture_files
from geo3d.tools.predicting.kind import Kind

if TYPE_CHECKING:
    from geo3d.predict.bodies import BodyFit, BodyFitter
    from geo3d.zoo.weights import WeightsInfo

ENDINGS = ("_smpl.npz", "_body.ply", "_parts.ply")
PICTURE = (1500, 900)  # pixels
ERROR_LIMIT = 0.05  # metres, at the end of the colours
UPS = ("x", "y", "z", "-x", "-y", "-z")


def _add_options(group: argparse._ActionsContainer, info: WeightsInfo | None) -> None:
    group.add_argument(
        "--refine", type=int, default=0, metavar="N", help="steps of optimisation after the network (default: 0; 100 are good)"
    )
    group.add_argument("--units", choices=tuple(UNITS), help="of the scan (default: by its size)")
    group.add_argument("--up", choices=UPS, help="axis that points up in the picture (default: from hip to head)")
    group.add_argument(
        "--body", type=Path, metavar="FILE", help="body model that the weights were trained on (default: the packaged one)"
    )
    group.add_argument("--displacements", action="store_true", help="also fit an offset of each vertex to clothes and hair")
    add_columns(group)


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    if arguments.refine < 0:
        raise ValueError(f"--refine must be 0 or more, got {arguments.refine}")
    if arguments.body is not None and not arguments.body.is_file():
        raise FileNotFoundError(f"--body {arguments.body}: no such file")
    written = [path for ending in ENDINGS for path in output_files(arguments, ending)]
    return [*written, *(path for path in picture_files(arguments, lambda path: path.stem) if path is not None)]


def _run(predictor: BodyFitter, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from tqdm import tqdm

    from geo3d.data.files.geometry import read_geometry

    if arguments.body is not None:
        predictor.use_body(arguments.body)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    names = zip(*(output_files(arguments, ending) for ending in ENDINGS), strict=True)
    for path, outputs, picture in zip(arguments.files, names, picture_files(arguments, lambda path: path.stem), strict=True):
        geometry = read_geometry(path, columns=arguments.columns)
        with tqdm(total=arguments.refine, desc=path.name, disable=None if arguments.refine else True) as bar:
            fit = predictor(
                geometry,
                units=arguments.units,
                refine_steps=arguments.refine,
                displacements=arguments.displacements,
                progress=lambda step: bar.update(),  # noqa: B023
            )
        _write(fit, outputs, geometry.offset)
        for note in fit.notes:
            print(f"{path.name}: {note}")
        print(f"{path.name}: scan to body {_distances(fit)} -> {', '.join(str(each) for each in outputs)}")
        if picture is not None:
            _draw(fit, picture, arguments.up, path.name)
        results.append(_as_json(path, fit, outputs))
    return results


def _distances(fit: BodyFit) -> str:
    return f"{1000 * fit.mean_distance:.1f} mm on average, {1000 * fit.far_distance:.1f} mm at 95 %"


def _as_json(path: Path, fit: BodyFit, outputs: tuple[Path, ...]) -> dict[str, Any]:
    return {
        "file": str(path),
        "mean_distance_mm": 1000 * fit.mean_distance,
        "distance_95_mm": 1000 * fit.far_distance,
        "meters_per_unit": fit.units.scale,
        "notes": list(fit.notes),
        "betas": fit.betas.tolist(),
        "outputs": [str(output) for output in outputs],
    }


def _write(fit: BodyFit, outputs: tuple[Path, ...], offset: Any) -> None:
    import trimesh

    from geo3d.data.files.geometry import write_ply
    from geo3d.viz.colors import by_label

    parameters, mesh, parts = outputs
    arrays: dict[str, Any] = {name: getattr(fit, name)[None] for name in ("betas", "global_orient", "body_pose", "transl")}
    if fit.displacements is not None:
        arrays["displacements"] = fit.displacements
    # metres; divided by meters_per_unit, plus offset, they are in the coordinates of the file
    np.savez(parameters, **arrays, meters_per_unit=fit.units.scale, offset=offset)
    trimesh.Trimesh(fit.vertices + offset, fit.faces, process=False).export(mesh)
    write_ply(parts, fit.points + offset, colors=by_label(fit.labels), labels=fit.labels, overwrite=True)


def _draw(fit: BodyFit, picture: Path, up: str | None, name: str) -> None:
    from geo3d.viz.builders import body_scene

    axes = _picture_axes(fit.global_orient, up or fit.up)
    scene = body_scene(
        fit.points[fit.labels >= 0] * fit.units.scale @ axes.T,
        fit.vertices * fit.units.scale @ axes.T,
        fit.faces,
        errors=fit.vertex_errors,
        error_limits=(0, ERROR_LIMIT),
        beside=True,
        title=f"{name}: {_distances(fit)}",
    )
    scene.save(picture, size=PICTURE, view="front")
    print(f"picture: {picture}")


def _picture_axes(global_orient: np.ndarray, up: str) -> np.ndarray:
    """[3, 3]: to the right, up and to the viewer, whom the body faces, or turns its side to where it faces up or down."""
    import torch

    from geo3d.geometry.rotations import axis_angle_to_matrix
    from geo3d.viz.camera import AXES

    side, _, front = axis_angle_to_matrix(torch.from_numpy(np.asarray(global_orient, np.float64))).numpy().T
    vertical = AXES[up].astype(np.float64)
    ahead = front if abs(front @ vertical) < 0.9 else side
    ahead = ahead - (ahead @ vertical) * vertical
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(vertical, ahead), vertical, ahead])


KIND = Kind(
    "body fitters",
    "take scans of people and write NAME_smpl.npz (parameters as smplx takes them), NAME_body.ply (the mesh) and\n"
    "NAME_parts.ply (the scan with the part of each point) into --out",
    _add_options,
    _outputs,
    _run,
)
