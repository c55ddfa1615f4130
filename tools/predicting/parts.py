"""`geo3d predict` with a part segmentor: each file again, coloured and labelled by part."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geo3d.tools.parsing import add_columns
from geo3d.tools.predicting.files import output_files
from geo3d.tools.predicting.kind import Kind

if TYPE_CHECKING:
    from geo3d.data.files.geometry import Geometry
    from geo3d.predict.shapes import PartLabeler, PartLabels
    from geo3d.zoo.weights import WeightsInfo

ENDING = "_parts.ply"
TILE = 420  # pixels of each shape in the picture


def _add_options(group: argparse._ActionsContainer, info: WeightsInfo | None) -> None:
    group.add_argument("--category", help="object category of all files; by default the packaged classifier's guess of each")
    add_columns(group)


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    return [*output_files(arguments, ENDING), *([] if arguments.save is None else [arguments.save])]


def _run(predictor: PartLabeler, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from geo3d.data.files.geometry import read_geometry
    from geo3d.data.files.orientation import guessed_up

    if arguments.category is not None:
        predictor.category_index(arguments.category)  # an unknown one is told before any file is read
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    labeled, ups = [], []
    for path, output in zip(arguments.files, output_files(arguments, ENDING), strict=True):
        geometry = read_geometry(path, columns=arguments.columns)
        parts = predictor(geometry, _category(geometry, predictor, arguments.category))
        labeled.append(parts)
        ups.append(guessed_up(geometry))
        counts = {name: int((parts.labels == label).sum()) for label, name in parts.part_names.items()}
        _write(parts, geometry, output, arguments.overwrite)
        found = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        print(f"{path.name}: {parts.category}: {found} points -> {output}")
        results.append({"file": str(path), "category": parts.category, "points": counts, "output": str(output)})
    if arguments.save:
        _draw(arguments.files, labeled, ups, arguments.save)
    return results


def _category(geometry: Geometry, predictor: PartLabeler, wanted: str | None) -> str:
    """The category that the user names, or the likeliest of the packaged classifier among those that have parts."""
    if wanted is not None:
        return wanted
    from geo3d.predict import load

    known = {name.lower() for name in predictor.category_names}
    classifier = load("risurconv-shapes-classifier", predictor.device)
    for name, probability in classifier(geometry).top(1000):
        if name.lower() in known:
            print(f"{geometry.source.name}: classified as {name} ({probability:.2f}); --category names another")
            return name
    raise ValueError(f"{geometry.source}: none of the classifier's classes has parts; name one with --category")


def _write(parts: PartLabels, geometry: Geometry, output: Path, overwrite: bool) -> None:
    from geo3d.data.files.geometry import write_ply
    from geo3d.viz.colors import by_label

    points = parts.points[:, :3] if not geometry.offset.any() else parts.points[:, :3] + geometry.offset  # as in the file
    write_ply(output, points, colors=by_label(parts.labels - min(parts.part_names)), labels=parts.labels, overwrite=overwrite)


def _draw(files: Sequence[Path], labeled: Sequence[PartLabels], ups: Sequence[str], picture: Path) -> None:
    from geo3d.viz.builders import parts_scene, scene_sheet

    scenes = [
        parts_scene(parts.points, parts.labels - min(parts.part_names), list(parts.part_names.values()), title=path.name, up=up)
        for path, parts, up in zip(files, labeled, ups, strict=True)
    ]
    scene_sheet(scenes, picture, tile=TILE)
    print(f"picture: {picture}")


KIND = Kind(
    "part segmentors",
    f"take clouds and meshes and write NAME{ENDING}, coloured by part, into --out",
    _add_options,
    _outputs,
    _run,
)
