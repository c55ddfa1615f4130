"""Run a model on your own files: `geo3d predict MODEL FILE... [--save picture.png]`.

MODEL is a packaged name (`geo3d predict --list`), a weights.safetensors that `geo3d train` wrote, or a folder of `geo3d export`.
Files are clouds or meshes:
.ply .pcd .obj .off .stl .glb .npy .npz .txt .xyz .csv .bin .las .laz. A classifier prints the most likely classes; a part segmentor
writes NAME_parts.ply, coloured by part, for each file. A detector takes LiDAR sweeps (.bin of KITTI, nuScenes or Waymo, .feather of
Argoverse 2, .npy, .pcd, .ply, .las) and writes NAME_boxes.json, and NAME_boxes.txt in KITTI's format where a calibration is beside.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geo3d.tools.errors import run_tool

if TYPE_CHECKING:
    from geo3d.data.files.geometry import Geometry
    from geo3d.predict.shapes import ClassScores, PartLabeler, PartLabels, ShapeClassifier


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; returns the exit code."""
    return run_tool(_predict, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("geo3d predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="packaged weights by name, a .safetensors file, or an exported folder")
    parser.add_argument("files", nargs="*", type=Path, help="point clouds and meshes")
    parser.add_argument("--list", action="store_true", help="list the packaged weights and stop")
    parser.add_argument("--category", help="object category for part labels; by default the packaged classifier's guess")
    parser.add_argument("--top", type=int, default=3, help="classes to print (default: 3)")
    parser.add_argument("--save", type=Path, metavar="PNG", help="render the results into a picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder for labelled clouds and boxes (default: the current one)"
    )
    parser.add_argument(
        "--columns",
        help="of tables (.bin .npy .txt ...): numbers a point, or names such as x,y,z,intensity,_ (default: by name)",
    )
    parser.add_argument("--score", type=float, default=0.3, help="lowest score of a box that is shown (default: 0.3)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    return parser


def _predict(argv: list[str]) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    from geo3d.predict import load
    from geo3d.predict.shapes import ShapeClassifier
    from geo3d.predict.sweeps import Detector
    from geo3d.tools.predict_boxes import detect
    from geo3d.zoo import names

    if arguments.list:
        print("\n".join(names()))
        return 0
    if arguments.model is None or not arguments.files:
        parser.error("expected MODEL and at least one FILE")
    for path in filter(None, (arguments.save, arguments.json)):
        if path.exists() and not arguments.overwrite:
            raise FileExistsError(f"{path} exists; choose another name, or --overwrite")
    predictor = load(arguments.model, _device(arguments.device))
    run = detect if isinstance(predictor, Detector) else _classify if isinstance(predictor, ShapeClassifier) else _label_parts
    results = run(predictor, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.save and not isinstance(predictor, Detector):
        print(f"picture: {arguments.save}")
    return 0


def _device(name: str) -> str:
    import torch

    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: this machine has no CUDA device that PyTorch can use")
    return name


def _classify(predictor: ShapeClassifier, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    scores: list[ClassScores] = []
    width = max(len(path.name) for path in arguments.files)
    for path in arguments.files:
        score = predictor(_read(path, arguments.columns))
        scores.append(score)
        top = score.top(arguments.top)
        print(f"{path.name:<{width}}  " + "   ".join(f"{name} {probability:.2f}" for name, probability in top))
        results.append({"file": str(path), "classes": [{"name": name, "probability": value} for name, value in top]})
    if arguments.save:
        from geo3d.viz.builders import classification_sheet

        titles = [
            f"{path.name}: {score.top(1)[0][0]} {score.top(1)[0][1]:.2f}"
            for path, score in zip(arguments.files, scores, strict=True)
        ]
        classification_sheet([score.cloud for score in scores], titles, arguments.save)
    return results


def _label_parts(predictor: PartLabeler, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from geo3d.data.files.geometry import write_ply
    from geo3d.viz.colors import by_label

    outputs = [arguments.out / f"{path.stem}_parts.ply" for path in arguments.files]
    for output in outputs:
        if output.exists() and not arguments.overwrite:
            raise FileExistsError(f"{output} exists; choose another --out, or --overwrite")
    if len(set(outputs)) < len(outputs):
        raise ValueError("files of the same name would write the same labelled cloud; run them apart, with another --out")
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    labelled: list[PartLabels] = []
    for path, output in zip(arguments.files, outputs, strict=True):
        geometry = _read(path, arguments.columns)
        parts = predictor(geometry, _category(geometry, predictor, arguments.category))
        labelled.append(parts)
        counts = {name: int((parts.labels == label).sum()) for label, name in parts.part_names.items()}
        found = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        colors = by_label(parts.labels - min(parts.part_names))
        points = parts.points[:, :3] if not geometry.offset.any() else parts.points[:, :3] + geometry.offset  # as in the file
        write_ply(output, points, colors=colors, labels=parts.labels, overwrite=arguments.overwrite)
        print(f"{path.name}: {parts.category}: {found} points -> {output}")
        results.append({"file": str(path), "category": parts.category, "points": counts, "output": str(output)})
    if arguments.save:
        from geo3d.viz.builders import parts_scene, scene_sheet

        scenes = [
            parts_scene(parts.points, parts.labels - min(parts.part_names), list(parts.part_names.values()), title=path.name)
            for path, parts in zip(arguments.files, labelled, strict=True)
        ]
        scene_sheet(scenes, arguments.save, tile=420)
    return results


def _read(path: Path, columns: str | None) -> Geometry:
    from geo3d.data.files.geometry import read_geometry

    return read_geometry(path, columns=columns)


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


if __name__ == "__main__":
    sys.exit(main())
