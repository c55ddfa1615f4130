"""Generate data in the native formats of the real data sets: `geo3d make-data KIND --out DIR [--size N] [--seed S]`.

shapes: objects of 18 categories as ModelNet40 (points with normals) and ShapeNetPart text files.
renders: such objects in 3D-R2N2's folders: 24 pictures and a voxel grid each.
hands: pictures of hands with their meshes and keypoints in FreiHAND's folders.
lidar: ray-cast street scenes in KITTI's folders, with pictures, calibrations and labels.
bodies: people in all kinds of poses as AMASS's files, and scans (.ply) of those that are not for training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from geo3d.tools.errors import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Generate; returns the exit code."""
    return run_tool(_make_data, argv)


def _make_data(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "geo3d make-data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=sorted(KINDS), help="what to generate")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; it must not hold anything")
    parser.add_argument(
        "--size",
        type=int,
        help="number of objects, bodies, pictures or frames (default: 2000 shapes, renders or bodies, 20000 hands, 500 frames)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other data (default: 0)")
    parser.add_argument("--num-points", type=int, default=10_000, help="shapes: points of a ModelNet40 file (default: 10000)")
    parser.add_argument("--test-size", type=int, default=0, help="lidar: frames of testing/, without labels (default: 0)")
    parser.add_argument(
        "--skins", type=Path, help="hands: folder of skins in the texture layout of anny (default: procedural skin)"
    )
    parser.add_argument(
        "--backgrounds", type=Path, help="hands: folder of photographs for backgrounds and cloth (default: procedural)"
    )
    parser.add_argument("--evaluation-size", type=int, help="hands: pictures of evaluation/ among them (default: a tenth)")
    parser.add_argument(
        "--wide", action="store_true", help="hands: scenes with no, one or two hands of any size, for detectors"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    arguments = parser.parse_args(argv)
    KINDS[arguments.kind](arguments)
    print(f"wrote {arguments.out}")
    return 0


def _shapes(arguments: argparse.Namespace) -> None:
    from geo3d.data.synthetic.shapes.generate import write_shapes

    size = 2000 if arguments.size is None else arguments.size
    write_shapes(arguments.out, size, arguments.seed, num_points=arguments.num_points, workers=arguments.workers)


def _lidar(arguments: argparse.Namespace) -> None:
    from geo3d.data.synthetic.streets.generate import write_streets

    size = 500 if arguments.size is None else arguments.size
    write_streets(arguments.out, size, arguments.seed, test_size=arguments.test_size, workers=arguments.workers)


def _renders(arguments: argparse.Namespace) -> None:
    from geo3d.data.synthetic.renders.generate import write_renders

    size = 2000 if arguments.size is None else arguments.size
    write_renders(arguments.out, size, arguments.seed, workers=arguments.workers)


def _hands(arguments: argparse.Namespace) -> None:
    from geo3d.data.synthetic.hands.generate import write_hands

    write_hands(
        arguments.out,
        20_000 if arguments.size is None else arguments.size,
        arguments.seed,
        skins=arguments.skins,
        backgrounds=arguments.backgrounds,
        evaluation_size=arguments.evaluation_size,
        wide=arguments.wide,
        workers=arguments.workers,
    )


def _bodies(arguments: argparse.Namespace) -> None:
    from geo3d.data.synthetic.bodies.generate import write_bodies

    size = 2000 if arguments.size is None else arguments.size
    write_bodies(arguments.out, size, arguments.seed, workers=arguments.workers)


KINDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "bodies": _bodies,
    "hands": _hands,
    "lidar": _lidar,
    "renders": _renders,
    "shapes": _shapes,
}

if __name__ == "__main__":
    sys.exit(main())
