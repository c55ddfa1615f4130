"""The class of a shape of your own: a file in, likely classes with their probabilities out.

    python examples/01_own_cloud_to_class.py chair.off

Learn here: `geo3d.load` gives a predictor, which takes a file, a `Geometry` or an array [N, 3] or [N, 6]. The pose and the number of
points do not matter, and normals are estimated where there are none. Without a file it makes a chair.
"""

from __future__ import annotations

import sys

import numpy as np

import geo3d


def made_up_chair() -> np.ndarray:
    """Points [4096, 6] of a generated chair, positions and normals."""
    from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape

    random = np.random.default_rng(0)
    points, _ = sample_shape(make_shape("chair", random), 4096, random)
    return points


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else made_up_chair()
    classify = geo3d.load("risurconv-shapes-classifier")
    scores = classify(source)
    for name, probability in scores.top(3):
        print(f"{name:12} {probability:.3f}")


if __name__ == "__main__":
    main()
