"""Generated LiDAR streets in KITTI's folders: ray-cast sweeps, pictures, calibrations and labels.

A sweep goes all around, but as in KITTI only objects that the camera shows are labelled: train and evaluate on the points in the
camera's view (`camera_view_only` of `geo3d.data.KittiDataset`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from geo3d.data.lidar.kitti_labels import KittiObjects, objects_from_boxes, write_label_file
from geo3d.data.synthetic.streets.camera import (
    View,
    calibration_text,
    photograph,
    street_camera,
    truncated_share,
    visible_share,
)
from geo3d.data.synthetic.streets.layout import StreetScene, draw_scene
from geo3d.data.synthetic.streets.lidar_sensor import CastScene, Sweep, sweep
from geo3d.data.synthetic.writing import new_folder, write_each
from geo3d.geometry.boxes import project_boxes

VERSION = 1  # raised when the same seed gives other streets; part of the name of the cached data
MIN_POINTS = 3  # objects of which the LiDAR sees less are not labelled
HIDDEN = 0.05  # nor are those of which the camera sees no more than this share
PARTLY, LARGELY = 0.8, 0.4  # visible share below which an object counts as partly and largely occluded
OUTSIDE = 0.95  # objects of which more lies outside the image are not labelled


@dataclass(frozen=True, eq=False)
class StreetFrame:
    """One generated frame.

    Attributes:
        scene: what is in it, labelled or not.
        sweep: the points; the owner of a point below the number of the scene's boxes is that object.
        view: the picture.
        objects: the lines of the label file.
    """

    scene: StreetScene
    sweep: Sweep
    view: View
    objects: KittiObjects


def make_street(seed: int, number: int) -> StreetFrame:
    """Frame `number` of a seed; it depends on these two alone."""
    rng = np.random.default_rng([seed, number])
    scene = draw_scene(rng)
    cast = CastScene(scene.meshes)
    swept = sweep(cast, rng)
    view = photograph(cast, street_camera())
    return StreetFrame(scene, swept, view, label_objects(scene, swept, view))


def label_objects(scene: StreetScene, swept: Sweep, view: View) -> KittiObjects:
    """What KITTI's annotators would have written.

    Objects in the image are labelled if at least 3 points lie on them and at most 95 % of them is hidden or outside the image.
    Others that the image shows become DontCare regions. Occlusion goes by the share of the object's pixels that are visible: 0
    from 80 %, 1 from 40 %, else 2.
    """
    camera = street_camera()
    if not len(scene.boxes):
        return KittiObjects.empty()
    rectangles, in_image = project_boxes(scene.boxes, camera.image_from_lidar, view.owners.shape[::-1])
    truncation = truncated_share(scene.boxes, camera)
    points = np.bincount(swept.owners, minlength=len(scene.meshes))
    visible = np.zeros(len(scene.boxes))
    for number in np.flatnonzero(in_image):
        visible[number] = visible_share(scene.meshes[number], int(number), view, camera, rectangles[number])
    seen = in_image & (visible > HIDDEN) & (truncation <= OUTSIDE)
    labeled = np.flatnonzero(seen & (points[: len(seen)] >= MIN_POINTS))
    occlusion = (visible < PARTLY).astype(np.int64) + (visible < LARGELY)
    objects = objects_from_boxes(
        scene.boxes[labeled],
        [scene.names[number] for number in labeled],
        camera,
        truncation=truncation[labeled],
        occlusion=occlusion[labeled],
    )
    ignored = in_image & (visible > 0)
    ignored[labeled] = False
    return _with_ignored(objects, rectangles[ignored])


def _with_ignored(objects: KittiObjects, rectangles: np.ndarray) -> KittiObjects:
    """Objects and DontCare regions, written as KITTI does."""
    count = len(rectangles)
    box = np.array([-1000.0, -1000.0, -1000.0, -1, -1, -1, -10])
    return KittiObjects(
        names=(*objects.names, *["DontCare"] * count),
        truncation=np.concatenate([objects.truncation, np.full(count, -1.0)]),
        occlusion=np.concatenate([objects.occlusion, np.full(count, -1)]),
        alpha=np.concatenate([objects.alpha, np.full(count, -10.0)]),
        rectangles=np.concatenate([objects.rectangles, rectangles]),
        boxes_camera=np.concatenate([objects.boxes_camera, np.tile(box, (count, 1))]),
    )


def write_streets(out: str | Path, size: int, seed: int, *, test_size: int = 0, workers: int = 2) -> None:
    """Write frames in KITTI's folders; every fifth of training/ is for validation.

    Frame i depends on the seed and i alone.

    Args:
        out: folder to write; it must not exist, or be empty. An interrupted run leaves nothing in it.
        size: frames of training/.
        seed: another seed gives other streets.
        test_size: frames of testing/, which have no labels.
        workers: processes.

    Raises:
        FileExistsError: `out` holds something.
        ValueError: sizes out of range.
    """
    if size < 1 or test_size < 0 or workers < 1:
        raise ValueError(
            "write_streets: size and workers must be at least 1 and test_size at least 0, "
            f"got {size}, {workers} and {test_size}"
        )
    with new_folder(out) as folder:
        _write_lists(folder, size, test_size)
        write = partial(_write_frame, out=folder, size=size, seed=seed)
        write_each(write, size + test_size, workers, title="streets", unit="frame", fewest=4, chunk=2)


def _write_lists(out: Path, size: int, test_size: int) -> None:
    folders: dict[str, tuple[str, ...]] = {"training": ("velodyne", "label_2", "calib", "image_2")}
    if test_size:
        folders["testing"] = ("velodyne", "calib", "image_2")
    for folder, kinds in folders.items():
        for kind in kinds:
            (out / folder / kind).mkdir(parents=True)
    (out / "ImageSets").mkdir()
    frames = list(range(size))
    lists = {"train": [i for i in frames if i % 5 != 4], "val": frames[4::5] or frames, "trainval": frames}
    if test_size:
        lists["test"] = list(range(test_size))
    for name, numbers in lists.items():
        (out / "ImageSets" / f"{name}.txt").write_text("".join(f"{number:06d}\n" for number in numbers))


def _write_frame(number: int, out: Path, size: int, seed: int) -> None:
    """Frames from `size` on are those of testing/."""
    frame = make_street(seed, number)
    folder, name = (out / "training", number) if number < size else (out / "testing", number - size)
    (folder / "velodyne" / f"{name:06d}.bin").write_bytes(frame.sweep.points.astype("<f4").tobytes())
    (folder / "calib" / f"{name:06d}.txt").write_text(calibration_text())
    Image.fromarray(frame.view.picture).save(folder / "image_2" / f"{name:06d}.png", compress_level=3)
    if number < size:
        write_label_file(folder / "label_2" / f"{name:06d}.txt", frame.objects)
