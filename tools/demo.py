"""See geo3d work: `geo3d demo [--out demo]` writes sample shapes and pictures, predicts on them and draws the results.

The shapes are generated, turned at random, and none of them was trained on, nor were the pictures of hands and of an object. Everything
goes through the tool that you would use on your own files, `geo3d predict`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from geo3d.heap import keep_heap
from geo3d.tools import predict
from geo3d.tools.errors import run_tool

SHAPES = ("airplane", "car", "chair", "guitar", "lamp", "mug", "person", "table")
SEED = 20_000  # far from the seeds of training data
HANDS_FRAME = 255  # of the packaged clip: both hands are in it
OBJECT, VIEWS, VIEW_SIZE = "guitar", 3, 400  # of which pictures are drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    return run_tool(_demo, argv)


def _demo(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("geo3d demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for shapes, results and pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    if out.exists() and any(out.iterdir()) and not arguments.overwrite:
        raise FileExistsError(f"{out} is not empty; choose another --out, or --overwrite")
    names = [str(path) for path in _write_shapes(out)]
    hands, views = _write_hands(out), _write_views(out)
    for command in (
        ["risurconv-shapes-classifier", *names, "--save", f"{out}/classes.png", "--json", f"{out}/classes.json"],
        ["risurconv-shapes-parts", *names, "--out", str(out), "--save", f"{out}/parts.png"],
        ["rejshand-hands", str(hands), "--out", str(out), "--save", f"{out}/hands_found.png"],
        ["lrgt-objects", str(views), "--out", str(out), "--save", f"{out}/object.png"],
    ):
        print(f"\n# geo3d predict {command[0]} ...")
        code = predict.main([*command, "--overwrite"])
        if code != 0:
            return code
    return 0


def _write_shapes(out: Path) -> list[Path]:
    import numpy as np

    from geo3d.data.files.geometry import write_ply
    from geo3d.data.shapes.transforms import randomly_rotated
    from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape

    out.mkdir(parents=True, exist_ok=True)
    files = []
    for number, category in enumerate(SHAPES):
        generator = np.random.default_rng([SEED, number])
        points, _ = sample_shape(make_shape(category, generator), 4096, generator)
        points = np.asarray(randomly_rotated(points, "so3", generator, "y"))
        files.append(out / f"{category}.ply")
        write_ply(files[-1], points[:, :3], normals=points[:, 3:], overwrite=True)
    print(f"wrote {len(files)} shapes to {out}")
    return files


def _write_hands(out: Path) -> Path:
    from PIL import Image

    from geo3d.tools.hand_demo import CLIP
    from geo3d.tools.hands.sources import open_source

    source = open_source(str(CLIP))
    frame = next(frame for frame in source if frame.number == HANDS_FRAME)
    source.close()
    Image.fromarray(frame.image).save(out / "hands.png")
    print(f"wrote a picture of hands to {out}")
    return out / "hands.png"


def _write_views(out: Path) -> Path:
    import numpy as np
    from PIL import Image

    from geo3d.data.images.r2n2_camera import draw_views
    from geo3d.data.synthetic.renders.generate import SHAPES_VERSION
    from geo3d.data.synthetic.renders.pictures import paint
    from geo3d.data.synthetic.shapes.generate import make_shape

    folder = out / OBJECT
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(SEED)
    painted = paint(make_shape(OBJECT, generator, SHAPES_VERSION), generator)
    for number, view in enumerate(draw_views(VIEWS, generator)):
        Image.fromarray(painted.picture(view.camera(VIEW_SIZE))).save(folder / f"{number:02d}.png")
    print(f"wrote {VIEWS} pictures of an object to {folder}")
    return folder


if __name__ == "__main__":
    keep_heap()
    sys.exit(main())
