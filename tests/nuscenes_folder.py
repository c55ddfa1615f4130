"""A tiny scene in nuScenes' folders: tables, sweeps and key frames with objects."""

from __future__ import annotations

import json

import numpy as np

SWEEP = np.array([[10, 0, -1, 30, 3], [0.5, -0.5, 0, 8, 1], [0.5, 5, 0, 9, 2]], np.float32)  # the second is on the car
SPEED = 4.0  # metres per second of the car, along its heading, which is global +y
STEP = 50_000  # microseconds between sweeps; every other one is a key frame


def fixed_tables(scene):
    """What does not change with time: categories, objects, sensors, the scene; and empty lists for what does."""
    half = 0.5**0.5
    names = ["vehicle.car", "animal", "vehicle.bus.rigid"]
    # The LiDAR is turned by -90 degrees: its x is the car's right, its y the car's front.
    lidar = {"translation": [1, 0, 2], "rotation": [half, 0, 0, -half], "camera_intrinsic": []}
    matrix = [[1000, 0, 800], [0, 1000, 450], [0, 0, 1]]
    front = {"translation": [1.5, 0, 1.5], "rotation": [0.5, -0.5, 0.5, -0.5], "camera_intrinsic": matrix}
    return {
        "category": [{"token": f"category-{index}", "name": name} for index, name in enumerate(names)],
        "instance": [{"token": f"instance-{index}", "category_token": f"category-{index}"} for index in range(3)],
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP"}, {"token": "front", "channel": "CAM_FRONT"}],
        "calibrated_sensor": [
            {"token": "lidar-0", "sensor_token": "lidar", **lidar},
            {"token": "front-0", "sensor_token": "front", **front},
        ],
        "scene": [{"token": "scene", "name": scene, "first_sample_token": "sample-0"}],
        **{name: [] for name in ("ego_pose", "sample", "sample_data", "sample_annotation")},
    }


def annotation(instance, index, last, speed):
    """Box of an object 30 m ahead of the car's first place, at a key frame."""
    return {
        "token": f"box-{instance}-{index}",
        "sample_token": f"sample-{index}",
        "instance_token": f"instance-{instance}",
        "translation": [100 + instance, 230 + speed * 1e-6 * index * STEP, 1],
        "size": [2, 5, 1.5],
        "rotation": [0.5**0.5, 0, 0, 0.5**0.5],
        "prev": f"box-{instance}-{index - 2}" if index else "",
        "next": f"box-{instance}-{index + 2}" if index < last else "",
        "num_lidar_pts": 3 * instance,
    }


def write_tables(root, scene="scene-0103", num_sweeps=5):
    """A scene in which the car drives along +y; sweeps 0, 2 and 4 are key frames, each with a moving and a still object."""
    tables, last = fixed_tables(scene), num_sweeps - 1 - (num_sweeps - 1) % 2
    for index in range(num_sweeps):
        time, is_key = 1_000_000 + index * STEP, index % 2 == 0
        place = [100, 200 + SPEED * 1e-6 * index * STEP, 0]
        tables["ego_pose"].append({"token": f"ego-{index}", "translation": place, "rotation": [0.5**0.5, 0, 0, 0.5**0.5]})
        data = {"sample_token": f"sample-{index - index % 2}", "ego_pose_token": f"ego-{index}", "timestamp": time}
        data |= {"is_key_frame": is_key, "width": 1600, "height": 900}
        file = f"{'samples' if is_key else 'sweeps'}/LIDAR_TOP/{index}.pcd.bin"
        lidar = {"token": f"lidar-data-{index}", "calibrated_sensor_token": "lidar-0", "filename": file}
        tables["sample_data"].append({**data, **lidar, "prev": f"lidar-data-{index - 1}" if index else ""})
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(SWEEP.tobytes())
        if is_key:
            camera = {"token": f"front-data-{index}", "calibrated_sensor_token": "front-0", "prev": ""}
            tables["sample_data"].append({**data, **camera, "filename": f"samples/CAM_FRONT/{index}.jpg"})
            follower = f"sample-{index + 2}" if index < last else ""
            tables["sample"].append({"token": f"sample-{index}", "timestamp": time, "next": follower, "scene_token": "scene"})
            tables["sample_annotation"] += [annotation(0, index, last, 8.0), annotation(1, index, last, 0.0)]
    (root / "v1.0-mini").mkdir(parents=True, exist_ok=True)
    for name, records in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(records))
