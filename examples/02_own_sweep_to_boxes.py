"""Objects in a LiDAR sweep of your own: points in, named boxes in metres out.

    python examples/02_own_sweep_to_boxes.py 000008.bin

Learn here: `read_sweep` reads the files of several data sets and of other sensors into one structure; a detector takes it, the path or an
array, and gives boxes x y z dx dy dz yaw in the frame of the points. x points forward and z up. Without a file it drives through a
generated street.
"""

from __future__ import annotations

import sys

import numpy as np

import geo3d
from geo3d.data import read_sweep


def made_up_sweep() -> np.ndarray:
    """Points [N, 4] of a generated street: x y z in metres and intensity in 0..1."""
    from geo3d.data.synthetic.streets.generate import make_street

    return make_street(seed=0, number=0).sweep.points


def main() -> None:
    sweep = read_sweep(sys.argv[1]) if len(sys.argv) > 1 else made_up_sweep()
    detect = geo3d.load("dsvt-streets-detector")
    found = detect(sweep).at_least(0.3)
    print(", ".join(f"{count} {name}" for name, count in found.counts().items()))
    detections = found.detections
    for name, score, box in zip(found.names, detections.scores.tolist(), detections.boxes.tolist(), strict=True):
        x, y, z, length, width, height, yaw = box[:7]
        print(
            f"{name:10} {score:.2f}  at {x:6.1f} {y:6.1f} {z:5.1f} m, {length:.1f} x {width:.1f} x {height:.1f} m, yaw {yaw:+.2f}"
        )


if __name__ == "__main__":
    main()
