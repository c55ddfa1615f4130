"""`geo3d predict` with a network of reconstruction: voxels and a mesh of each object, from pictures of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geo3d.tools.predicting.kind import Kind

if TYPE_CHECKING:
    from geo3d.data.images.folders import ObjectPictures
    from geo3d.predict.views import ReconstructedObject, ViewReconstructor
    from geo3d.zoo.weights import WeightsInfo

MAX_VIEWS = 20
BINVOX = "_voxels.binvox"
ORIGIN = (-0.5, -0.5, -0.5)  # lowest corner of the grid, whose side is 1


def _add_options(group: argparse._ActionsContainer, info: WeightsInfo | None) -> None:
    default = getattr(getattr(info, "labels", None), "threshold", None)
    shown = "" if default is None else f" (default: {default:g})"
    group.add_argument("--threshold", type=float, metavar="T", help=f"occupancy from which a voxel is full{shown}")
    group.add_argument(
        "--mask",
        type=Path,
        metavar="FILE_OR_FOLDER",
        help="mask of the picture, bright where the object is; or a folder with one of the same name for each",
    )
    group.add_argument(
        "--framed", action="store_true", help="take pictures as they are, such as 3D-R2N2's renderings, without cutting out"
    )
    group.add_argument(
        "--max-views",
        type=int,
        default=MAX_VIEWS,
        metavar="N",
        help=f"of more pictures or frames so many (default: {MAX_VIEWS})",
    )
    group.add_argument("--mesh", choices=("ply", "glb"), default="ply", help="kind of the mesh file (default: ply)")


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    from geo3d.data.images.folders import find_masks, find_objects

    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        raise ValueError(f"--threshold must be within 0 and 1, got {arguments.threshold:g}")
    if arguments.max_views < 1:
        raise ValueError(f"--max-views must be 1 or more, got {arguments.max_views}")
    if arguments.framed and arguments.mask is not None:
        raise ValueError("--framed and --mask exclude each other")
    arguments.objects = find_objects(arguments.files)
    arguments.masks = [None] * len(arguments.objects)
    if arguments.mask is not None:
        if any(each.is_video for each in arguments.objects):
            raise ValueError("--mask goes with pictures; take the frames out of the video and give a mask for each")
        name_of = {each: each.name if len(arguments.objects) > 1 else None for each in arguments.objects}
        arguments.masks = [find_masks(each.files, arguments.mask, name_of[each]) for each in arguments.objects]
    pictures = [path for path in _picture_files(arguments) if path is not None]
    return [*(path for each in arguments.objects for path in _files(each, arguments)), *pictures]


def _files(each: ObjectPictures, arguments: argparse.Namespace) -> tuple[Path, Path]:
    return arguments.out / f"{each.name}{BINVOX}", arguments.out / f"{each.name}_mesh.{arguments.mesh}"


def _picture_files(arguments: argparse.Namespace) -> list[Path | None]:
    """The picture of each object: the one of `--save`, or with the object's name behind where there are several."""
    save: Path | None = arguments.save
    if save is None or len(arguments.objects) == 1:
        return [save] * len(arguments.objects)
    return [save.with_name(f"{save.stem}_{each.name}{save.suffix}") for each in arguments.objects]


def _run(predictor: ViewReconstructor, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = []
    for each, masks, picture in zip(arguments.objects, arguments.masks, _picture_files(arguments), strict=True):
        found = predictor(each, masks, threshold=arguments.threshold, max_views=arguments.max_views, is_framed=arguments.framed)
        voxels, mesh = _files(each, arguments)
        written = _write(found, voxels, mesh)
        for note in found.notes:
            print(f"{each.name}: {note}")
        count, side = int(found.voxels.sum()), len(found.voxels)
        views = f"{len(found.views)} view{'' if len(found.views) == 1 else 's'}"
        print(f"{each.name}: {views}, {count} of {side}^3 voxels full -> {', '.join(map(str, written))}")
        if picture is not None:
            _draw(found, picture, each.name)
        results.append(
            {
                "object": each.name,
                "files": [str(path) for path in each.files],
                "views": len(found.views),
                "threshold": found.threshold,
                "full_voxels": count,
                "notes": list(found.notes),
                "outputs": [str(path) for path in written],
            }
        )
    return results


def _write(found: ReconstructedObject, voxels: Path, mesh: Path) -> list[Path]:
    """Files that were written: no mesh where no voxel is full."""
    import trimesh

    from geo3d.data.files.binvox import write_binvox

    write_binvox(voxels, found.voxels, translate=ORIGIN, scale=1.0)
    vertices, faces = found.mesh()
    if not len(faces):
        return [voxels]
    trimesh.Trimesh(vertices, faces, process=False).export(mesh)
    return [voxels, mesh]


def _draw(found: ReconstructedObject, picture: Path, name: str) -> None:
    from geo3d.viz.builders import object_sheet

    vertices, faces = found.mesh()
    title = f"{name}: {int(found.voxels.sum())} voxels at {found.threshold:g}"
    object_sheet(found.views, found.voxels, vertices, faces, picture, title=title)
    print(f"picture: {picture}")


KIND = Kind(
    "networks of reconstruction",
    "take pictures of an object, a folder of them or a video (several folders for several objects), and write\n"
    f"NAME{BINVOX} and NAME_mesh.ply, in the cube of side 1 about the origin, y up, into --out",
    _add_options,
    _outputs,
    _run,
)
