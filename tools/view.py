"""Look at your data: `geo3d view PATH... [--save picture.png | --html | --web]`.

  geo3d view sweep.bin                                 a window; the arrow keys step through samples
  geo3d view kitti/ --index 8 --save street.png        a frame with boxes and image, no display needed
  geo3d view kitti/ --predictions results.json --web   predicted beside labelled boxes, in the browser

PATH is a file: sweeps and clouds (.bin .pcd.bin .npy .feather .pcd .ply .las .laz .txt), meshes (.off .obj .stl .ply .glb), voxels
(.binvox), images, boxes that `geo3d predict --json` wrote (.json); or a folder: KITTI, nuScenes, Argoverse 2, SemanticKITTI,
ModelNet, ShapeNet's R2N2 renderings, FreiHAND, InterHand2.6M, RHD, or any folder of files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geo3d.tools.errors import run_tool
from geo3d.tools.parsing import ToolParser, add_columns

if TYPE_CHECKING:
    from geo3d.tools.viewing import Samples

MAX_SAMPLES = 200  # in one video or page
FPS = 2.0  # samples a second
SEQUENCES = (".mp4", ".gif", ".html")


def main(argv: Sequence[str] | None = None) -> int:
    """View; returns the exit code."""
    return run_tool(_view, argv)


def _parser() -> ToolParser:
    parser = ToolParser("geo3d view", __doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files and folders")
    parser.add_argument("--index", type=int, metavar="N", help="the sample to begin with, or to save (default: 0)")
    parser.add_argument("--list", action="store_true", help="list the samples and stop")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--save", type=Path, metavar="FILE", help=".png .jpg .webp .mp4 .gif .html .glb or .ply")
    ways.add_argument("--html", action="store_true", help="write a page of its own, named after PATH, into this folder")
    ways.add_argument("--web", action="store_true", help="show it live in the browser")
    parser.add_argument("--port", type=int, default=8080, help="of --web (default: 8080)")
    parser.add_argument("--predictions", type=Path, metavar="PATH", help="predicted boxes to lay over: .json, or a folder")
    default = "that of geo3d predict; 0.3 for boxes of others"
    parser.add_argument("--min-score", type=float, metavar="S", help=f"leave out predicted boxes below (default: {default})")
    parser.add_argument("--view", help="corner, front, back, left, right, top or driver (default: fits the kind of data)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="of pictures and windows, in pixels")
    parser.add_argument("--up", help="the axis that points up: x, y, z, or with a minus, as in --up=-y (default: guessed)")
    add_columns(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def _view(argv: list[str]) -> int:
    arguments = _parser().parse(argv)
    if arguments.up is not None:
        from geo3d.viz import Scene

        Scene(up=arguments.up)  # refused here, not for each file
    target = Path(f"{arguments.paths[0].resolve().stem or 'view'}.html") if arguments.html else arguments.save
    if target is not None and target.exists() and not arguments.overwrite:
        raise FileExistsError(f"{target} exists; choose another name, or --overwrite")
    if target is None and not arguments.web and not arguments.list:
        _check_display()
    from geo3d.tools.viewing.reading import first_readable

    samples = _open(arguments)
    if arguments.list:
        print("\n".join(f"{index:>5}  {name}" for index, name in enumerate(samples.names)))
        return 0
    index = arguments.index or 0
    if not -len(samples) <= index < len(samples):
        raise ValueError(f"--index {index}: expected 0..{len(samples) - 1}, as there are {len(samples)} {samples.kind}")
    chosen = arguments.index is not None or arguments.columns is not None  # errors are then of what the user asked for
    samples = samples.from_index(index % len(samples)) if chosen else first_readable(samples)
    if target is not None:
        _save(samples, target, arguments)
    else:
        _show(samples, arguments)
    return 0


def _open(arguments: argparse.Namespace) -> Samples:
    from geo3d.tools.viewing import Options, open_paths
    from geo3d.tools.viewing.predictions import read_predictions

    predictions = None if arguments.predictions is None else read_predictions(arguments.predictions)
    return open_paths(arguments.paths, Options(arguments.up, arguments.columns, predictions, arguments.min_score))


def _save(samples: Samples, target: Path, arguments: argparse.Namespace) -> None:
    """Pictures and models hold one sample; videos and pages hold all, unless --index names one."""
    from geo3d.tools.viewing.reading import readable
    from geo3d.tools.viewing.samples import Scenes
    from geo3d.viz import SceneSequence
    from geo3d.viz.pictures import PICTURE_SUFFIXES

    size: dict[str, Any] = {} if arguments.size is None else {"size": tuple(arguments.size)}
    suffix = target.suffix.lower()
    if suffix in SEQUENCES and len(samples) > 1 and arguments.index is None:
        if len(samples) > MAX_SAMPLES:
            print(f"{target}: the first {MAX_SAMPLES} of {len(samples)} samples; --index N takes one", file=sys.stderr)
        view = arguments.view or samples[0].view
        SceneSequence(islice(Scenes(readable(samples)), MAX_SAMPLES), fps=FPS).save(target, view=view, **size)
    else:
        sample = samples[0]
        views = [arguments.view] if arguments.view else list(sample.views)
        if suffix in PICTURE_SUFFIXES:
            sample.scene.save(target, views=views, **(size or {"size": (1600, 900) if len(views) > 1 else (1200, 900)}))
        else:
            sample.scene.save(target, view=arguments.view or sample.view, **size)
    print(f"{samples.names[0]}: {target}" if len(samples) == 1 or suffix not in SEQUENCES else f"{samples.kind}: {target}")


def _show(samples: Samples, arguments: argparse.Namespace) -> None:
    from geo3d.tools.viewing.reading import readable
    from geo3d.tools.viewing.samples import Scenes
    from geo3d.viz import SceneSequence

    size = (1280, 800) if arguments.size is None else tuple(arguments.size)
    sequence = SceneSequence(Scenes(readable(samples)), fps=FPS)
    view = arguments.view or samples[0].view
    keys = "; the arrow keys step through them" if len(samples) > 1 else ""
    print(f"{len(samples)} {samples.kind}{keys}", flush=True)
    if not arguments.web:
        sequence.show(size=size, view=view)
        return
    live = sequence.serve(port=arguments.port, view=view)
    print(f"{live.url} (Ctrl-C ends)", flush=True)
    live.wait()


def _check_display() -> None:
    from geo3d.viz.display import missing_display

    if problem := missing_display():
        raise ValueError(
            f"no display to open a window on ({problem}); add --save picture.png, --html for a page, or --web for a browser"
        )


if __name__ == "__main__":
    sys.exit(main())
