"""Training on shapes of your own: a folder of labelled clouds, one of the configurations, a few options.

    python examples/04_train_on_your_data.py

Learn here: a data set that lies in a known format (here ModelNet40's text files) needs no code, only `--data.init_args.root`; a shipped
configuration is changed on the command line; `geo3d.load` takes the weights that training wrote. The network here is far too small
and the training far too short to be of use: drop the options under SMALL to train in earnest (`docs/training.md`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import geo3d
from geo3d.tools import train

CLASSES = ("ball", "box")
SMALL = (
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.accelerator=cpu",
    "--data.init_args.num_points=64",
    "--data.init_args.batch_size=8",
    "--model.init_args.network.init_args.centers=[32,16]",
    "--model.init_args.network.init_args.neighbors=[8,8]",
    "--model.init_args.network.init_args.channels=[16,16,32]",
    "--model.init_args.network.init_args.embedding=16",
)


def cloud(name: str, random: np.random.Generator) -> np.ndarray:
    """256 points [256, 6] on a ball or a box, positions and normals."""
    direction = random.normal(size=(256, 3))
    if name == "ball":
        normals = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        return np.hstack([normals, normals])
    side = np.abs(direction).argmax(1)
    normals = np.zeros((256, 3))
    normals[np.arange(256), side] = np.sign(direction[np.arange(256), side])
    return np.hstack([direction / np.abs(direction).max(1, keepdims=True), normals])


def write_data(root: Path) -> None:
    """A folder as ModelNet40's: CLASS/CLASS_0001.txt with "x,y,z,nx,ny,nz" lines, the names of the classes, and two lists."""
    random = np.random.default_rng(0)
    (root / "modelnet40_shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(1, 13):
            np.savetxt(root / name / f"{name}_{number:04d}.txt", cloud(name, random), delimiter=",", fmt="%.6f")
            lists["train" if number <= 8 else "test"].append(f"{name}_{number:04d}")
    for split, names in lists.items():
        (root / f"modelnet40_{split}.txt").write_text("\n".join(names) + "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clouds"
        root.mkdir()
        write_data(root)
        arguments = ["risurconv/generated_classification", f"--data.init_args.root={root}", "--data.init_args.generate=null"]
        arguments += ["--model.init_args.network.init_args.num_classes=2", f"--out={folder}", "--name=mine", *SMALL]
        if train.main(arguments):
            raise SystemExit("the training failed")
        [weights] = Path(folder).rglob("weights.safetensors")
        print(geo3d.load(weights)(cloud("ball", np.random.default_rng(1)).astype(np.float32)).top(2))


if __name__ == "__main__":
    main()
