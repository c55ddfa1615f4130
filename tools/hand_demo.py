"""Hands in a video as it comes: `geo3d hand-demo [SOURCE]`.

SOURCE is the number of a camera (0), a film, or a folder of pictures; without one a generated clip plays. Mesh, skeleton, state, rate and
times are shown in a window, saved with --save out.mp4, or shown by a page with --web, which sends the frames of its own camera.
--json writes a line for each frame: hands with side, confidence, keypoints (pixels) and joints (metres, camera's frame). Examples:

    geo3d hand-demo                              # the clip, in a window
    geo3d hand-demo 0 --mirror                   # the first camera, as in a mirror
    geo3d hand-demo film.mp4 --save hands.mp4 --json hands.jsonl
    geo3d hand-demo --web                        # open the address that it prints, in a browser of this machine
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from geo3d.heap import keep_heap
from geo3d.tools.errors import run_tool

if TYPE_CHECKING:
    import numpy as np

    from geo3d.predict.hand_finder import HandFinder
    from geo3d.predict.hands import HandPredictor
    from geo3d.predict.tracking import HandTracker, TrackedFrame
    from geo3d.tools.hands.sources import Source
    from geo3d.tools.hands.stages import Pipeline, Result

CLIP = Path(__file__).parent / "assets" / "hand_clip.mp4"
WEIGHTS, DETECTOR = "rejshand-hands", "rejshand-hand-detector"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    return run_tool(_demo, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "geo3d hand-demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", help="number of a camera, film, or folder of pictures (default: a packaged clip)")
    parser.add_argument("--weights", default=WEIGHTS, help=f"of the mesh network (default: {WEIGHTS})")
    parser.add_argument("--detector", default=DETECTOR, help=f"weights of the detector (default: {DETECTOR})")
    parser.add_argument("--web", action="store_true", help="serve a page that sends the frames of its own camera")
    parser.add_argument("--host", default="127.0.0.1", help="--web: address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8765, help="--web: (default: 8765; 0 for a free one)")
    parser.add_argument("--save", type=Path, metavar="MP4", help="write the pictures; every frame of a film, none is dropped")
    parser.add_argument("--json", metavar="FILE", help="write a line for each frame; - for standard output")
    parser.add_argument("--vertices", action="store_true", help="--json: vertices too")
    parser.add_argument("--mirror", action="store_true", help="show the picture as a mirror does; hands keep their sides")
    parser.add_argument("--hands", type=int, default=2, help="that are followed at most (default: 2)")
    parser.add_argument("--no-mesh", action="store_true", help="draw skeletons alone")
    parser.add_argument("--no-smoothing", action="store_true", help="show what the network says, frame by frame")
    parser.add_argument(
        "--focal-length", type=float, metavar="PIXELS", help="of the camera (default: a field of view of 60 degrees)"
    )
    parser.add_argument("--frames", type=int, help="stop after so many")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--pytorch", action="store_true", help="run by PyTorch where ONNX Runtime is installed too")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


def _demo(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.hands < 1 or (arguments.frames is not None and arguments.frames < 1):
        raise ValueError("--hands and --frames must be at least 1")
    for path in (arguments.save, Path(arguments.json) if arguments.json not in (None, "-") else None):
        if path is not None and path.exists() and not arguments.overwrite:
            raise FileExistsError(f"{path} exists; choose another name, or --overwrite")
    if arguments.web:
        if arguments.source or arguments.save or arguments.json:
            raise ValueError("--web takes the camera of the page: leave SOURCE, --save and --json out")
        return _serve(arguments)
    from geo3d.tools.hands.sources import open_source

    source = open_source(str(arguments.source or CLIP))
    try:
        predictor, finder = load_networks(arguments.weights, arguments.detector, arguments.device, arguments.pytorch)
        tracker = make_tracker(predictor, finder, arguments)
        return _run(source, tracker, arguments)
    finally:
        source.close()


def load_networks(weights: str, detector: str, device: str = "cpu", pytorch: bool = False) -> tuple[HandPredictor, HandFinder]:
    """Mesh network and detector, by ONNX Runtime on a CPU where it is installed.

    Raises:
        FileNotFoundError, ValueError: no such weights, or weights of another task.
    """
    from geo3d.predict import load
    from geo3d.predict.hand_finder import HandFinder
    from geo3d.predict.hand_runtime import has_onnx_runtime
    from geo3d.predict.hands import HandPredictor

    predictor, finder = load(weights, device), load(detector, device)
    for name, loaded, kind in ((weights, predictor, HandPredictor), (detector, finder, HandFinder)):
        if not isinstance(loaded, kind):
            raise ValueError(f"{name}: expected weights for {kind.__name__}, got those of {type(loaded).__name__}")
    if device == "cpu" and not pytorch and has_onnx_runtime():
        predictor.use_onnx()
        finder.use_onnx()
    return predictor, finder


def make_tracker(predictor: HandPredictor, finder: HandFinder, arguments: argparse.Namespace) -> HandTracker:
    """A tracker as the options say."""
    from geo3d.predict.tracking import HandTracker

    return HandTracker(
        predictor, finder, arguments.hands, smooth=not arguments.no_smoothing, focal_length=arguments.focal_length
    )


def draw_frame(
    image: np.ndarray, tracked: TrackedFrame, lines: Sequence[str], *, mesh: bool = True, mirror: bool = False
) -> np.ndarray:
    """A picture [H, W, 3] with hands and lines of text; mirrored after the hands are drawn, so that they keep their sides."""
    import numpy as np

    from geo3d.tools.hands.drawing import draw_hand, draw_lines

    picture = image.copy()
    for each in reversed(tracked.hands):
        draw_hand(picture, each.hand, tracked.camera_matrix, mesh=mesh)
    if mirror:
        picture = np.ascontiguousarray(picture[:, ::-1])
    names = [f"{each.hand.side} {each.confidence:.2f}" for each in tracked.hands]
    draw_lines(picture, [*lines, *names])
    return picture


def _run(source: Source, tracker: HandTracker, arguments: argparse.Namespace) -> int:
    from geo3d.tools.hands.stages import Pipeline
    from geo3d.tools.hands.window import Window

    quiet = arguments.save is not None or arguments.json is not None
    window = None if quiet else Window(f"geo3d: {source.name}")

    def draw(result: Result) -> np.ndarray:
        lines = status_lines(pipeline, result.tracked)
        return draw_frame(result.frame.image, result.tracked, lines, mesh=not arguments.no_mesh, mirror=arguments.mirror)

    pipeline = Pipeline(source, tracker, draw, drop=source.live, paced=window is not None and not source.live)
    begun, shown = time.perf_counter(), 0
    with contextlib.ExitStack() as stack:
        film = stack.enter_context(_film(arguments.save, source.rate)) if arguments.save else None
        lines = stack.enter_context(_lines(arguments.json)) if arguments.json else None
        for result in pipeline:
            shown += 1
            if film is not None:
                film(result.picture)
            if lines is not None:
                lines.write(json.dumps(frame_record(result, arguments.vertices)) + "\n")
            if (window is not None and not window.show(result.picture)) or shown == arguments.frames:
                break
    if arguments.json != "-":
        _summary(pipeline, shown, time.perf_counter() - begun)
    return 0


def status_lines(pipeline: Pipeline, tracked: TrackedFrame) -> list[str]:
    """State, rate and times of the stages as text."""
    times = "  ".join(f"{name} {median:.0f}/{high:.0f}" for name, (median, high) in _percentiles(pipeline).items())
    return [f"{tracked.state}  {pipeline.rate:.0f} frames/s  {pipeline.dropped} dropped", f"ms, median/95 %: {times}"]


def _percentiles(pipeline: Pipeline) -> dict[str, tuple[float, float]]:
    return {name: each.percentiles() for name, each in pipeline.times.items()}


def _summary(pipeline: Pipeline, shown: int, seconds: float) -> None:
    times = ", ".join(f"{name} {median:.1f} / {high:.1f}" for name, (median, high) in _percentiles(pipeline).items())
    rate = shown / max(seconds, 1e-9)
    print(f"{shown} frames in {seconds:.1f} s: {rate:.1f} a second, {pipeline.dropped} dropped; ms, median / 95 %: {times}")


def frame_record(result: Result, vertices: bool = False) -> dict[str, Any]:
    """What --json writes of a frame."""
    hands = []
    for each in result.tracked.hands:
        record: dict[str, Any] = {"id": each.identity, "side": each.hand.side, "confidence": round(each.confidence, 4)}
        record["keypoints"] = each.hand.keypoints.round(2).tolist()
        record["joints"] = each.hand.joints.round(5).tolist()
        if vertices:
            record["vertices"] = each.hand.vertices.round(5).tolist()
        hands.append(record)
    return {
        "frame": result.frame.number,
        "time": round(result.frame.time, 4),
        "state": result.tracked.state,
        "camera_matrix": result.tracked.camera_matrix.tolist(),
        "camera_is_assumed": result.tracked.camera_is_assumed,
        "hands": hands,
    }


@contextlib.contextmanager
def _film(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Writes pictures as a film, in the size of the first one."""
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    writers: list[tuple[cv2.VideoWriter, tuple[int, int]]] = []

    def write(picture: np.ndarray) -> None:
        if not writers:
            size = (picture.shape[1], picture.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
            if not writer.isOpened():
                raise ValueError(f"{path}: OpenCV cannot write this kind of film here; give a name that ends with .mp4")
            writers.append((writer, size))
        writer, size = writers[0]
        if (picture.shape[1], picture.shape[0]) != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        writer.write(np.ascontiguousarray(picture[..., ::-1]))

    try:
        yield write
    finally:
        for writer, _ in writers:
            writer.release()


@contextlib.contextmanager
def _lines(name: str) -> Iterator[IO[str]]:
    if name == "-":
        yield sys.stdout
        return
    with Path(name).open("w", encoding="utf-8") as file:
        yield file


def _serve(arguments: argparse.Namespace) -> int:
    from functools import partial

    from geo3d.tools.hands.web import HandServer, serve

    predictor, finder = load_networks(arguments.weights, arguments.detector, arguments.device, arguments.pytorch)
    draw = partial(draw_frame, mesh=not arguments.no_mesh)
    server = HandServer(lambda: make_tracker(predictor, finder, arguments), draw, arguments.host, arguments.port)
    with contextlib.suppress(KeyboardInterrupt):
        serve(server)
    return 0


if __name__ == "__main__":
    keep_heap()
    sys.exit(main())
