"""`geo3d predict` with a classifier: the most likely classes of each file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geo3d.tools.parsing import add_columns
from geo3d.tools.predicting.kind import Kind

if TYPE_CHECKING:
    from geo3d.predict.shapes import ShapeClassifier
    from geo3d.zoo.weights import WeightsInfo


def _add_options(group: argparse._ActionsContainer, info: WeightsInfo | None) -> None:
    group.add_argument("--top", type=int, default=3, metavar="N", help="classes to print (default: 3)")
    add_columns(group)


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    if arguments.top < 1:
        raise ValueError(f"--top must be 1 or more, got {arguments.top}")
    return [] if arguments.save is None else [arguments.save]


def _run(predictor: ShapeClassifier, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from geo3d.data.files.geometry import read_geometry
    from geo3d.data.files.orientation import guessed_up

    results: list[dict[str, Any]] = []
    scores, ups = [], []
    width = max(len(path.name) for path in arguments.files)
    for path in arguments.files:
        geometry = read_geometry(path, columns=arguments.columns)
        ups.append(guessed_up(geometry))
        score = predictor(geometry)
        scores.append(score)
        top = score.top(arguments.top)
        print(f"{path.name:<{width}}  " + "   ".join(f"{name} {probability:.2f}" for name, probability in top))
        results.append({"file": str(path), "classes": [{"name": name, "probability": value} for name, value in top]})
    if arguments.save:
        from geo3d.viz.builders import classification_sheet

        best = [score.top(1)[0] for score in scores]
        named = zip(arguments.files, best, strict=True)
        titles = [f"{path.name}: {name} {probability:.2f}" for path, (name, probability) in named]
        classification_sheet([score.cloud for score in scores], titles, arguments.save, up=ups)
        print(f"picture: {arguments.save}")
    return results


KIND = Kind("classifiers", "take clouds and meshes and print the most likely classes", _add_options, _outputs, _run)
