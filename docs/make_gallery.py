"""Draws the gallery of the documentation: `python docs/make_gallery.py [NAME...]`.

The pictures show real samples of public data sets, which are not part of this repository: the environment variable GEO3D_SAMPLES names
their folder. Where no model has made a result yet, a simple stand-in takes its place; the captions say so.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hand_photographs
import numpy as np
import torch
from PIL import Image
from stand_ins import body

import geo3d
from geo3d.body import load_body_model
from geo3d.data.files.geometry import read_geometry
from geo3d.data.hands.frames import find_hand_frames
from geo3d.data.images.r2n2 import find_r2n2_models
from geo3d.data.lidar.kitti import read_kitti_frame
from geo3d.data.shapes.part_labels import PARTS, part_range
from geo3d.data.synthetic.bodies.poses import sample_pose
from geo3d.data.synthetic.shapes.generate import make_shape, sample_shape
from geo3d.data.synthetic.streets.camera import street_camera
from geo3d.data.synthetic.streets.generate import make_street
from geo3d.tools import view
from geo3d.tools.hand_demo import CLIP
from geo3d.tools.hands.drawing import hand_faces
from geo3d.tools.hands.sources import open_source
from geo3d.viz import builders
from geo3d.viz.camera import View

GALLERY = Path(__file__).parent / "gallery"
SAMPLES = Path(os.environ.get("GEO3D_SAMPLES", Path(__file__).parents[2] / "shared" / "data"))
MAX_BYTES = 200_000  # bytes of a picture


@dataclass(frozen=True)
class Entry:
    """A picture: its name, a caption, what draws it into a file, and the command or call that does."""

    name: str
    caption: str
    draw: Callable[[Path], object]
    source: str


def viewed(name: str, caption: str, path: str, *options: str, size: tuple[int, int] = (800, 600)) -> Entry:
    """A picture that `geo3d view` makes of a sample."""

    def draw(target: Path) -> None:
        sizes = ["--size", *map(str, size)]
        if view.main([str(SAMPLES / path), *options, "--save", str(target), *sizes]) != 0:
            raise SystemExit(f"{name}: geo3d view failed")

    return Entry(name, caption, draw, " ".join(["geo3d view", path, *options, "--save picture.png"]))


def detection(path: Path) -> None:
    sample = read_kitti_frame(SAMPLES / "kitti" / "training", "000008")
    generator = np.random.default_rng(0)
    true = sample.boxes.numpy()
    guessed = true[:5] + generator.normal(0, (0.2, 0.2, 0.05, 0.15, 0.05, 0.05, 0.05), (5, 7))
    builders.detection_sheet(
        sample.points,
        path,
        size=(1200, 700),
        intensity=sample.points[:, 3],
        boxes=guessed,
        scores=generator.uniform(0.5, 1, 5),
        names=sample.names[:5],
        gt_boxes=true,
        gt_names=sample.names,
        images=[each.read() for each in sample.cameras],
        cameras=[each.camera for each in sample.cameras],
    )


def generated_street(path: Path) -> None:
    frame = make_street(0, 4)
    hits = np.bincount(frame.sweep.owners[frame.sweep.owners >= 0], minlength=len(frame.scene.boxes))[: len(frame.scene.boxes)]
    seen = np.flatnonzero(hits >= 10)
    scene = builders.detection_scene(
        frame.sweep.points,
        gt_boxes=frame.scene.boxes[seen],
        gt_names=[frame.scene.names[row] for row in seen],
        images=[frame.view.picture],
        cameras=[street_camera()],
    )
    scene.layers.pop("points")
    scene.add_points(frame.sweep.points[:, :3], colors="height", name="points")
    frame_of_view = ((-35.0, -25.0, -2.0), (50.0, 25.0, 3.0))
    views = [View(180, 90, fov_deg=15, frame=frame_of_view), View(180, 28, fov_deg=40, frame=frame_of_view)]
    scene.save(path, size=(1200, 700), views=views)


def classification(path: Path) -> None:
    names = ("airplane/airplane_0001", "airplane/airplane_0627", "person/person_0001", "person/person_0003")
    clouds = [read_geometry(SAMPLES / "modelnet40_normal_resampled" / f"{name}.txt") for name in names]
    points = [np.hstack([cloud.points, cloud.normals]) for cloud in clouds]
    builders.classification_sheet(points, [name.split("/")[1] for name in names], path, columns=4, tile=260)


def parts(path: Path) -> None:
    scenes = []
    for number, category in enumerate(("airplane", "chair", "lamp", "guitar")):
        generator = np.random.default_rng([9, number])
        points, labels = sample_shape(make_shape(category, generator), 6000, generator)
        first, names = part_range(category.capitalize()).start, PARTS[category.capitalize()]
        scenes.append(builders.parts_scene(points, labels - first, names, title=category))
    builders.scene_sheet(scenes, path, columns=4, tile=300)


def fitted_body(path: Path) -> None:
    scan = read_geometry(SAMPLES / "body_scan" / "bps_demo_scan" / "demo_scan.ply").points
    scan = scan - (0, scan[:, 1].min(), 0)
    vertices, faces, joints, bones = body(float(scan[:, 1].max()))
    builders.body_scene(scan, vertices, faces, joints, bones).save(path, size=(800, 600))


def body_errors(path: Path) -> None:
    from scipy.spatial import cKDTree

    scan = read_geometry(SAMPLES / "body_scan" / "bps_demo_scan" / "demo_scan.ply").points
    scan = scan - (0, scan[:, 1].min(), 0)
    vertices, faces, joints, bones = body(float(scan[:, 1].max()))
    errors = cKDTree(scan).query(vertices)[0]
    scene = builders.body_scene(scan, vertices, faces, joints, bones, errors=errors, beside=True)
    scene.save(path, size=(1000, 500), view=View(10, 10, fov_deg=20))


def body_poses(path: Path) -> None:
    """The packaged body in poses drawn at random, two of its shapes taking turns with the average one."""
    model, generator = load_body_model().requires_grad_(False), np.random.default_rng(5)
    scenes = []
    for number in range(20):
        pose = torch.from_numpy(sample_pose(generator)).float()
        betas = torch.from_numpy(generator.normal(0, 1, (1, 10)) * (number % 3 > 0)).float()
        posed = model(betas=betas, global_orient=pose[:1], body_pose=pose[1:].reshape(1, -1)).vertices[0].numpy()
        scenes.append(builders.body_scene(vertices=posed, faces=model.faces.astype(np.int64)))
    builders.scene_sheet(scenes, path, columns=7, tile=200, view=View(25, 10, fov_deg=25))


def reconstruction(path: Path) -> None:
    model = find_r2n2_models(SAMPLES / "shapenet_r2n2")[1]
    pictures = model.read_views(8)
    found = geo3d.load("lrgt-objects")(pictures, is_framed=True)
    builders.reconstruction_sheet(pictures, found.occupancy, model.read_voxels(), path, size=(1200, 600))


def hands(path: Path) -> None:
    frame = find_hand_frames(SAMPLES / "onehand10k")[0]
    low, high = frame.keypoints.min(0), frame.keypoints.max(0)
    _hand_sheet(geo3d.load("rejshand-hands")(frame.image, [[*low, *(high - low)]]), path)


def two_hands(path: Path) -> None:
    source = open_source(str(CLIP))
    image = next(frame.image for frame in source if frame.number == 255)
    source.close()
    boxes = geo3d.load("rejshand-hand-detector")(image)
    found = geo3d.load("rejshand-hands")(image, [box.box.tolist() for box in boxes], [box.sure_side for box in boxes])
    _hand_sheet(found, path)


def _hand_sheet(found, path: Path) -> None:
    counts = np.cumsum([0, *(len(hand.vertices) for hand in found.hands)])
    builders.hand_sheet(
        found.image,
        path,
        size=(1000, 640),
        vertices=np.concatenate([hand.vertices for hand in found.hands]),
        faces=np.concatenate([hand_faces(hand.side) + start for hand, start in zip(found.hands, counts, strict=False)]),
        joints=np.concatenate([hand.joints for hand in found.hands]),
        camera_matrix=found.camera_matrix,
    )


def photographs(path: Path) -> None:
    hand_photographs.draw_sheet(hand_photographs.found_in("rejshand-hands"), path, size=100)


WIDE = (1200, 700)
ENTRIES = (
    Entry("detection", "Predicted boxes (here: the labels, moved at random) and true ones on a KITTI frame.", detection, "detection_sheet"),
    Entry("generated_street", "A generated street: camera, sweep coloured by height, boxes.", generated_street, "make_street"),
    Entry("classification", "Shapes of ModelNet40 with their names.", classification, "classification_sheet"),
    Entry("parts", "Generated shapes coloured by part.", parts, "parts_scene, scene_sheet"),
    Entry("body", "A body scan, a mesh (a stand-in of tubes) and its skeleton.", fitted_body, "body_scene"),
    Entry("body_errors", "The scan beside the mesh, whose colours are the distance to it.", body_errors, "body_scene(errors=..., beside=True)"),
    Entry("body_poses", "The packaged body in 20 poses drawn at random, some of other shapes.", body_poses, "sample_pose, body_scene, scene_sheet"),
    Entry("reconstruction", "A car of ShapeNet as the packaged network finds it in 8 views.", reconstruction, "reconstruction_sheet"),
    Entry("hand", "A hand as the packaged network finds it (OneHand10K), in the image and from three sides.", hands, "hand_sheet"),
    Entry("two_hands", "The same with both hands of a frame of the packaged clip.", two_hands, "hand_sheet"),
    Entry("hand_photographs", "What it finds in pictures of data sets that it was not trained on.", photographs, "docs/hand_photographs.py"),
    viewed("kitti", "KITTI: a frame with its labels.", "kitti", "--index", "2", size=WIDE),
    viewed("nuscenes", "nuScenes: a key frame with six cameras.", "nuscenes", size=WIDE),
    viewed("argoverse2", "Argoverse 2: a sweep with its boxes.", "argoverse2", size=WIDE),
    viewed("semantickitti", "SemanticKITTI: a sweep.", "semantickitti", size=WIDE),
    viewed("scannet", "ScanNet: a room in colour.", "scannet/points/scene0000_00.bin", "--columns", "6"),
    viewed("modelnet10", "ModelNet10: a mesh.", "modelnet10", "--index", "4"),
    viewed("modelnet40", "ModelNet40, resampled: points with normals.", "modelnet40_normal_resampled"),
    viewed("shapenet_r2n2", "ShapeNet (3D-R2N2): views, voxels, surface.", "shapenet_r2n2", "--index", "1", size=(1200, 600)),
    viewed("body_scan", "A body scan.", "body_scan/bps_demo_scan/demo_scan.ply"),
    viewed("kinect_person", "A depth camera's frame with a person.", "body_scan/pcl_kinect_person/person.pcd", "--up=-y", "--view", "front"),
    viewed("freihand", "FreiHAND: keypoints in the image.", "freihand"),
    viewed("interhand", "InterHand2.6M: two hands with their camera.", "interhand2.6m", size=WIDE),
    viewed("onehand10k", "OneHand10K: keypoints on a photograph.", "onehand10k"),
    viewed("handmesh_real", "A hand's crop, as a model takes it.", "handmesh_real", "--index", "3"),
    viewed("room", "A PCD of a room.", "generic/pcd/room_scan1.pcd", "--view", "driver"),
    viewed("kitchen", "An RGB-D fragment of 258,342 points.", "generic/ply/redkitchen_000.ply", "--up=-y", "--view", "front"),
    viewed("airborne", "Airborne LiDAR (LAZ) in colour.", "generic/las/autzen_trim.laz"),
    viewed("bunny", "A mesh.", "generic/mesh/bunny.ply"),
)  # fmt: skip


def write_index() -> Path:
    """The page that lists the pictures."""
    lines = [
        "# Gallery",
        "",
        "Each picture was made by the line below it, by `python docs/make_gallery.py`, without a display. The samples are real ones of",
        "public data sets, which keep their licences and are not part of the package. Names without `geo3d view` are functions of",
        "`geo3d.viz.builders`.",
        "",
    ]
    for entry in ENTRIES:
        lines += [f"## {entry.name.replace('_', ' ')}", "", entry.caption, "", f"![{entry.caption}]({entry.name}.png)", ""]
        lines += [f"`{entry.source}`", ""]
    path = GALLERY / "README.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def main(names: list[str]) -> None:
    """Draws the pictures of these names, or all, and the index."""
    if not SAMPLES.is_dir():
        raise SystemExit(f"no samples in {SAMPLES}; GEO3D_SAMPLES names their folder")
    unknown = sorted(set(names) - {entry.name for entry in ENTRIES})
    if unknown:
        raise SystemExit(f"no picture {unknown[0]!r}; there are {', '.join(entry.name for entry in ENTRIES)}")
    GALLERY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for entry in ENTRIES:
            if names and entry.name not in names:
                continue
            drawn = Path(folder) / f"{entry.name}.png"
            entry.draw(drawn)
            target = GALLERY / drawn.name
            write_small(drawn, target)
    write_index()


def write_small(drawn: Path, target: Path) -> None:
    """A picture with a palette of as many colours as fit into the largest size."""
    for colors in (256, 192, 128, 96, 64):
        # maximum coverage keeps the few pixels of legends and bones in their colours, which the median cut gives away; k-means fits
        # the rest
        small = (
            Image.open(drawn).convert("RGB").quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        )
        small.save(target, optimize=True)
        if target.stat().st_size <= MAX_BYTES:
            return
    raise SystemExit(f"{target}: {target.stat().st_size} bytes are more than {MAX_BYTES}; draw it smaller")


if __name__ == "__main__":
    main(sys.argv[1:])
