"""Trainings that take seconds: a shipped configuration and options that make it small, by task."""

from __future__ import annotations

SMALL = {
    "classification": (
        "risurconv/generated_classification",
        "--data.init_args.generate.size=126",
        "--data.init_args.num_points=128",
        "--data.init_args.batch_size=16",
        "--model.init_args.network.init_args.centers=[64,32]",
        "--model.init_args.network.init_args.neighbors=[8,8]",
        "--model.init_args.network.init_args.channels=[16,16,32]",
        "--model.init_args.network.init_args.embedding=16",
    ),
    "parts": (
        "risurconv/generated_parts",
        "--data.init_args.generate.size=126",
        "--data.init_args.num_points=128",
        "--data.init_args.batch_size=8",
        "--model.init_args.network.init_args.centers=[64,32]",
        "--model.init_args.network.init_args.neighbors=[8,8]",
        "--model.init_args.network.init_args.channels=[16,32]",
        "--model.init_args.network.init_args.up_neighbors=[8,8]",
        "--model.init_args.network.init_args.up_channels=[32,16]",
        "--model.init_args.network.init_args.up_mlp=[16]",
        "--model.init_args.network.init_args.embedding=16",
    ),
}
