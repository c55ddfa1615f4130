"""Generate data in the native formats of the real data sets: `geo3d make-data KIND --out DIR [--size N] [--seed S]`.

shapes: objects of 18 categories as ModelNet40 (points with normals) and ShapeNetPart text files.
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
    parser.add_argument("--size", type=int, default=2000, help="number of objects (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other objects (default: 0)")
    parser.add_argument("--num-points", type=int, default=10_000, help="points of a ModelNet40 file (default: 10000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    arguments = parser.parse_args(argv)
    KINDS[arguments.kind](arguments)
    print(f"wrote {arguments.out}")
    return 0


def _shapes(arguments: argparse.Namespace) -> None:
    from geo3d.data.synthetic.shapes import write_shapes

    write_shapes(arguments.out, arguments.size, arguments.seed, num_points=arguments.num_points, workers=arguments.workers)


KINDS: dict[str, Callable[[argparse.Namespace], None]] = {"shapes": _shapes}

if __name__ == "__main__":
    sys.exit(main())
