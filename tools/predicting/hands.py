"""`geo3d predict` with a network of hands: every hand of a picture, as overlay, mesh and joints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geo3d.tools.predicting.files import output_files, picture_files
from geo3d.tools.predicting.kind import Kind

if TYPE_CHECKING:
    from geo3d.predict.hand_finder import HandFinder
    from geo3d.predict.hands import FoundHands, HandPredictor, Side
    from geo3d.zoo.weights import WeightsInfo

DETECTOR = "rejshand-hand-detector"


def _add_options(group: argparse._ActionsContainer, info: WeightsInfo | None) -> None:
    group.add_argument(
        "--box",
        action="append",
        metavar="X,Y,W,H[,SIDE]",
        help="upper left corner, width and height of a hand, pixels, and right or left (default: right); again for each hand",
    )
    group.add_argument("--whole", action="store_true", help="the whole picture is one right hand")
    group.add_argument("--detector", default=DETECTOR, metavar="WEIGHTS", help=f"finds the hands (default: {DETECTOR})")
    group.add_argument("--min-score", type=float, default=0.5, metavar="S", help="lowest score of the detector (default: 0.5)")
    group.add_argument(
        "--focal-length", type=float, metavar="PIXELS", help="of the camera (default: a field of view of 60 degrees)"
    )
    group.add_argument(
        "--camera", metavar="FX,FY,CX,CY", help="focal lengths and principal point, pixels (default: that of --focal-length)"
    )
    group.add_argument("--vertices", action="store_true", help="write vertices into the JSON files too")


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    if arguments.whole and arguments.box:
        raise ValueError("--box and --whole exclude each other")
    if arguments.camera is not None and arguments.focal_length is not None:
        raise ValueError("--camera and --focal-length exclude each other")
    if not 0 <= arguments.min_score <= 1:
        raise ValueError(f"--min-score must be 0 to 1, got {arguments.min_score:g}")
    _boxes(arguments)
    _camera(arguments, 1, 1)
    pictures = [path for path in picture_files(arguments, _stem) if path is not None]
    return [*output_files(arguments, "_hands.json"), *output_files(arguments, "_hands.ply"), *pictures]


def _stem(path: Path) -> str:
    return path.stem


def _run(predictor: HandPredictor, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    finder = None if arguments.box or arguments.whole else _finder(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = []
    outputs, meshes = output_files(arguments, "_hands.json"), output_files(arguments, "_hands.ply")
    pictures = picture_files(arguments, _stem)
    for path, output, mesh, picture in zip(arguments.files, outputs, meshes, pictures, strict=True):
        found = _found(predictor, finder, path, arguments)
        found.write_json(output, arguments.vertices)
        if found.hands:
            _write_meshes(found, mesh)
        if picture is not None:
            _draw(found, picture)
        sides = ", ".join(hand.side for hand in found.hands) or "no hand"
        written = f"{output}, {mesh}" if found.hands else str(output)
        print(f"{path.name}: {sides} -> {written}")
        results.append({"file": str(path), "output": str(output), **found.as_json(arguments.vertices)})
    if any(result["camera_is_assumed"] and result["hands"] for result in results):
        print("depths are for an assumed field of view of 60 degrees; --focal-length or --camera gives the camera's")
    return results


def _finder(arguments: argparse.Namespace) -> HandFinder:
    from geo3d.predict import load
    from geo3d.predict.hand_finder import HandFinder

    try:
        finder = load(arguments.detector, arguments.device)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; --box or --whole say where the hands are without a detector") from None
    if not isinstance(finder, HandFinder):
        raise ValueError(f"--detector {arguments.detector}: expected weights of a detector of hands")
    return finder


def _found(predictor: HandPredictor, finder: HandFinder | None, path: Path, arguments: argparse.Namespace) -> FoundHands:
    from geo3d.predict.images import upright_rgb

    image = upright_rgb(path)
    matrix = _camera(arguments, image.shape[1], image.shape[0])
    if arguments.whole:
        return predictor(image, camera_matrix=matrix)
    if finder is None:
        boxes, sides = _boxes(arguments)
        return predictor(image, boxes, sides, matrix)
    found = finder(image, arguments.min_score)
    return predictor(image, [hand.box.tolist() for hand in found], [hand.sure_side for hand in found], matrix)


def _boxes(arguments: argparse.Namespace) -> tuple[list[list[float]], list[Side]]:
    boxes: list[list[float]] = []
    sides: list[Side] = []
    for text in arguments.box or ():
        *numbers, last = text.split(",")
        side: Side = "left" if last == "left" else "right"
        values = _numbers("--box", numbers if last in ("right", "left") else [*numbers, last], 4, text)
        if min(values[2:]) <= 0:
            raise ValueError(f"--box {text}: width and height must be above 0")
        boxes.append(values)
        sides.append(side)
    return boxes, sides


def _camera(arguments: argparse.Namespace, width: int, height: int) -> np.ndarray | None:
    if arguments.camera is not None:
        fx, fy, cx, cy = _numbers("--camera", arguments.camera.split(","), 4, arguments.camera)
    elif arguments.focal_length is not None:
        fx, fy, cx, cy = arguments.focal_length, arguments.focal_length, (width - 1) / 2, (height - 1) / 2
    else:
        return None
    if min(fx, fy) <= 0:
        raise ValueError(f"expected focal lengths above 0, got {fx:g} and {fy:g}")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _numbers(option: str, parts: list[str], count: int, text: str) -> list[float]:
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{option} {text}: expected {count} numbers with commas between them")
    return values


def _write_meshes(found: FoundHands, path: Path) -> None:
    """All hands of a picture in one .ply, each in the colour of its side; metres in the camera's frame, faces looking outward."""
    import trimesh

    from geo3d.tools.hands.drawing import COLORS, hand_faces

    meshes = []
    for hand in found.hands:
        color = np.array([*COLORS[hand.side], 255], np.uint8)
        meshes.append(trimesh.Trimesh(hand.vertices, hand_faces(hand.side), vertex_colors=color, process=False))
    trimesh.util.concatenate(meshes).export(path)


def _draw(found: FoundHands, path: Path) -> None:
    from PIL import Image

    from geo3d.tools.hands.drawing import draw_hand

    picture = found.image.copy()
    for hand in found.hands:
        draw_hand(picture, hand, found.camera_matrix)
    Image.fromarray(picture).save(path)
    print(f"picture: {path}")


KIND = Kind(
    "networks of hands",
    "take pictures and write NAME_hands.json (joints) and NAME_hands.ply (meshes)",
    _add_options,
    _outputs,
    _run,
)
