"""A small folder in FreiHAND's layout, for tests: posed hands of the packaged model before plain colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from geo3d.body import keypoint_regressor, read_hand

MATRIX = [[480.0, 0.0, 112.0], [0.0, 480.0, 112.0], [0.0, 0.0, 1.0]]


def write_freihand(root: Path, rows: int = 6, versions: int = 2, evaluation: int = 3) -> Path:
    """Pictures of a hand's vertices as dots, with their lists."""
    import cv2

    generator = np.random.default_rng(0)
    fields = read_hand()
    regressor = keypoint_regressor(fields)
    for split, count, looks in (("training", rows, versions), ("evaluation", evaluation, 1)):
        (root / split / "rgb").mkdir(parents=True)
        lists: dict[str, list] = {"K": [], "xyz": [], "verts": []}
        for row in range(count):
            turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
            turn *= np.sign(np.linalg.det(turn))
            vertices = (fields["v_template"] - fields["v_template"].mean(0)) @ turn.T + [0.02, -0.03, 0.6]
            lists["K"].append(MATRIX)
            lists["xyz"].append((regressor @ vertices).tolist())
            lists["verts"].append(vertices.tolist())
            seen = vertices @ np.array(MATRIX).T
            for look in range(looks):
                image = np.full((224, 224, 3), (40, 80 + 60 * look, 60), np.uint8)
                for u, v in (seen[:, :2] / seen[:, 2:]).astype(int):
                    cv2.circle(image, (int(u), int(v)), 2, (140, 170, 220), -1)
                cv2.imwrite(str(root / split / "rgb" / f"{row + look * count:08d}.jpg"), image)
        for name, values in lists.items():
            (root / f"{split}_{name}.json").write_text(json.dumps(values))
    return root
