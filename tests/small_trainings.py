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

# Those above and one for each other kind of data, with 3 to 5 items to evaluate.
EVERY = {
    **SMALL,
    "detection": (
        "dsvt/generated_pillar",
        "--data.init_args.generate.size=15",
        "--data.init_args.batch_size=2",
        "--data.init_args.test_batch_size=1",
        "--data.init_args.point_range=[0,-10.24,-3,20.48,10.24,1]",
        "--model.init_args.network.init_args.point_range=[0,-10.24,-3,20.48,10.24,1]",
        "--model.init_args.network.init_args.channels=16",
        "--model.init_args.network.init_args.bev_channels=[16,16,16]",
        "--model.init_args.network.init_args.bev_up_channels=[8,8,8]",
        "--model.init_args.network.init_args.head_channels=16",
        "--model.init_args.decoder.score_threshold=0.0",
    ),
    "reconstruction": (
        "lrgt/generated",
        "--data.init_args.generate={size: 25, views: 3, workers: 1}",
        "--data.init_args.settings.image_size=32",
        "--data.init_args.batch_size=4",
        "--data.init_args.test_batch_size=2",
        "--data.init_args.train_views=[1,2]",
        "--data.init_args.val_views=2",
        "--data.init_args.test_views=[1,3]",
        *(
            f"--model.init_args.network.init_args.{option}"
            for option in (
                "image_size=32",
                "patch_size=8",
                "channels=32",
                "depth=2",
                "heads=4",
                "grouping_blocks=[1]",
                "groups=2",
                "merged_tokens=[16]",
                "decoder_widths=[16,8,4]",
                "decoder_heads=4",
            )
        ),
        "--model.init_args.f_score_threshold=0.3",
    ),
    "hands": (
        "rejshand/generated_small",
        "--data.init_args.generate={size: 50, workers: 1}",
        "--data.init_args.image_size=64",
        "--data.init_args.batch_size=8",
        "--data.init_args.test_batch_size=2",
        "--model.init_args.network.init_args.image_size=64",
        "--model.init_args.network.init_args.token_counts=[30,50]",
        "--model.init_args.network.init_args.widths=[32,16,16]",
        "--model.init_args.network.init_args.map_channels=32",
    ),
    "hand_detection": (
        "rejshand/hand_detector",
        "--data.init_args.generate={size: 30, workers: 1}",
        "--data.init_args.image_size=96",
        "--data.init_args.batch_size=8",
        "--data.init_args.test_batch_size=2",
        "--model.init_args.network.init_args.image_size=96",
        "--model.init_args.network.init_args.channels=16",
    ),
    "bodies": (
        "arteq/generated_small",
        "--data.init_args.generate={size: 15, frames: 1, workers: 1}",
        "--data.init_args.num_points=128",
        "--data.init_args.batch_size=4",
        "--data.init_args.test_batch_size=2",
        *(
            f"--model.init_args.network.init_args.{option}"
            for option in ("widths=[8]", "neighbors=8", "kernel_size=4", "hidden=16", "heads=2")
        ),
    ),
}

# For a folder of nuScenes with objects within 35 m, named by --data.init_args.root; nothing is generated in its format.
NUSCENES = (
    "dsvt/nuscenes_pillar",
    "--data.init_args.num_workers=0",
    "--data.init_args.pin_memory=false",
    "--data.init_args.num_sweeps=2",
    "--data.init_args.test_batch_size=1",
    "--data.init_args.point_range=[-38.4,-38.4,-5,38.4,38.4,3]",
    "--trainer.sync_batchnorm=false",
    *(
        f"--model.init_args.network.init_args.{option}"
        for option in (
            "point_range=[-38.4,-38.4,-5,38.4,38.4,3]",
            "voxel_size=[0.6,0.6,8]",
            "channels=16",
            "bev_channels=[16,16,16]",
            "bev_up_channels=[8,8,8]",
            "num_proposals=20",
            "hidden=16",
        )
    ),
)
