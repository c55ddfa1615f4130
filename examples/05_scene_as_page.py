"""A scene of points and boxes as a page that opens in any browser, without a display or a network.

    python examples/05_scene_as_page.py scene.html

Learn here: data first, looks by keyword; each `add_...` returns a handle to change or hide the layer; the name of the file says what is
written (.html .png .mp4 .glb .ply).
"""

from __future__ import annotations

import sys

import numpy as np

from geo3d.viz import Scene


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "scene.html"
    random = np.random.default_rng(0)
    ground = np.column_stack([random.uniform(-10, 10, (5000, 2)), random.normal(0, 0.02, 5000)])
    car = random.uniform(-0.5, 0.5, (800, 3)) * [4.0, 1.8, 1.5] + [3.0, 2.0, 0.75]
    scene = Scene(up="z", title="A car on flat ground")
    scene.add_points(ground, colors="height", name="ground")
    scene.add_points(car, colors="steelblue", name="car")
    boxes = scene.add_boxes(np.array([[3.0, 2.0, 0.75, 4.0, 1.8, 1.5, 0.0]]), labels=[0], scores=[0.9], names=("car",))
    boxes.change(width=4.0)  # looks can change later
    print(scene.save(path))


if __name__ == "__main__":
    main()
