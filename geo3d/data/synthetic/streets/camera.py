"""The camera of generated streets: pictures, and how much of each object they show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geo3d.data.synthetic.streets.lidar_sensor import CastScene
from geo3d.data.synthetic.streets.mesh import Mesh
from geo3d.geometry.boxes import project_boxes
from geo3d.geometry.cameras import Camera, kitti_camera

IMAGE_SIZE = (1242, 375)
# A calibration such as KITTI has: the picture is that of the left colour camera, 6 cm beside the one whose frame the labels are in.
P2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
CAMERA_FROM_LIDAR = np.array([[0, -1, 0, 0.0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]])
SUN = np.array([0.35, 0.45, 0.82])
RAYS_OF_AN_OBJECT = 1500  # about so many tell how much of it is hidden


@dataclass(frozen=True)
class View:
    """What the camera sees.

    Attributes:
        picture: [375, 1242, 3] uint8.
        owners: [375, 1242] int64 which mesh of the scene each pixel shows, -1 for the sky.
    """

    picture: np.ndarray
    owners: np.ndarray


def street_camera() -> Camera:
    """KITTI's left colour camera."""
    return kitti_camera(P2, np.eye(3), CAMERA_FROM_LIDAR, IMAGE_SIZE)


def calibration_text() -> str:
    """A calibration file; the other cameras and the inertial sensor, which nothing is written of, are where the first is."""
    rows = {"P0": P2 * [1, 1, 1, 0], "P1": P2 * [1, 1, 1, 0], "P2": P2, "P3": P2 * [1, 1, 1, 0], "R0_rect": np.eye(3)}
    rows |= {"Tr_velo_to_cam": CAMERA_FROM_LIDAR, "Tr_imu_to_velo": np.eye(4)[:3]}
    return "".join(f"{name}: {' '.join(f'{value:.12e}' for value in matrix.ravel())}\n" for name, matrix in rows.items())


def photograph(scene: CastScene, camera: Camera) -> View:
    """The picture of a scene under a high sun, without shadows."""
    width, height = IMAGE_SIZE
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2)
    origin, directions = _pixel_rays(camera, pixels)
    _, face = scene.cast(origin, directions)
    hit = face >= 0
    normals = scene.normals[face]
    facing = np.sign(np.einsum("ri,ri->r", normals, directions))[:, None]
    light = 0.55 + 0.45 * np.clip(np.einsum("ri,i->r", -facing * normals, SUN / np.linalg.norm(SUN)), 0, 1)
    sky = np.array([150, 185, 225]) + np.clip(1 - directions[:, 2:] * 6, 0, 1) * np.array([70, 50, 25])
    colors = np.where(hit[:, None], scene.color[face] * light[:, None], sky)
    owners = np.where(hit, scene.owner[face], -1)
    return View(colors.clip(0, 255).astype(np.uint8).reshape(height, width, 3), owners.reshape(height, width))


def visible_share(mesh: Mesh, number: int, view: View, camera: Camera, rectangle: np.ndarray) -> float:
    """Share of the pixels of an object that nothing hides.

    Args:
        mesh: the object alone.
        number: its place among the meshes of the scene.
        view: of the whole scene.
        camera: the camera of the view.
        rectangle: [4] left, top, right, bottom of the object within the image, pixels.
    """
    left, top, right, bottom = rectangle
    step = max(1, int(np.sqrt((right - left + 1) * (bottom - top + 1) / RAYS_OF_AN_OBJECT)))
    columns, rows = np.arange(int(left), int(right) + 1, step), np.arange(int(top), int(bottom) + 1, step)
    pixels = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    origin, directions = _pixel_rays(camera, pixels)
    _, face = CastScene([mesh]).cast(origin, directions)
    own = pixels[face >= 0]
    return float((view.owners[own[:, 1], own[:, 0]] == number).mean()) if len(own) else 0.0


def truncated_share(boxes: np.ndarray, camera: Camera) -> np.ndarray:
    """Share [K] of the rectangles around boxes that lies outside the image."""
    room = 20_000  # pixels added on every side
    shift = np.array([[1, 0, room], [0, 1, room], [0, 0, 1.0]])
    width, height = IMAGE_SIZE
    full, _ = project_boxes(boxes, shift @ camera.image_from_lidar, (width + 2 * room, height + 2 * room))
    inside, visible = project_boxes(boxes, camera.image_from_lidar, IMAGE_SIZE)
    areas = [np.prod(rectangles[:, 2:] - rectangles[:, :2], axis=1) for rectangles in (inside, full)]
    return np.where(visible, np.clip(1 - areas[0] / np.maximum(areas[1], 1e-9), 0, 1), 1.0)


def _pixel_rays(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The camera's place [1, 3] and unit directions [R, 3] in the LiDAR frame."""
    matrix = camera.image_from_lidar
    inverse = np.linalg.inv(matrix[:, :3])
    directions = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ inverse.T
    return -(inverse @ matrix[:, 3])[None], directions / np.linalg.norm(directions, axis=1, keepdims=True)
