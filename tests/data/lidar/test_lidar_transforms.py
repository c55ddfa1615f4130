"""Augmentation of LiDAR frames: points and boxes stay together, ranges, masks, order of the random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geo3d.data.lidar import transforms
from geo3d.data.lidar.sweeps import CameraView, LidarSample
from geo3d.data.lidar.transforms import LidarAugmentation, augment_lidar
from geo3d.geometry.boxes import box_corners
from geo3d.geometry.cameras import pinhole
from geo3d.ops import points_in_boxes


def scene(boxes: int = 4, columns: int = 9) -> LidarSample:
    """Boxes with 30 points inside each, at places of the box that the fifth column numbers, and a camera."""
    generator = np.random.default_rng(0)
    values = np.zeros((boxes, columns), np.float32)
    values[:, :3] = np.stack([20 * np.arange(boxes) - 30, 5 * np.arange(boxes) - 8, np.ones(boxes)], 1)
    values[:, 3:6] = generator.uniform(1, 5, (boxes, 3))
    values[:, 6:] = generator.uniform(-3, 3, (boxes, columns - 6))
    table = torch.from_numpy(values)
    corners = box_corners(table)  # points are mixtures of corners, shrunk towards the centre
    weights = torch.from_numpy(generator.dirichlet(np.ones(8), (boxes, 30))).float()
    points = (weights[..., None] * corners[:, None]).sum(2).reshape(-1, 3)
    features = torch.stack((torch.rand(len(points)), torch.arange(len(points)).float()), 1)
    return LidarSample(
        torch.cat((points, features), 1),
        ("intensity", "number"),
        "0",
        Path("0.bin"),
        boxes=table[:3],
        labels=torch.tensor([0, 1, 1]),
        class_names=("Car", "Pedestrian"),
        num_points=torch.tensor([30, 30, 0]),
        difficulty=torch.tensor([0, 1, 2]),
        other_boxes=table[3:],
        other_names=("Van",),
        cameras=(CameraView("front", Path("0.png"), pinhole(np.eye(3), np.eye(4))),),
    )


def owners(sample: LidarSample) -> list[int]:
    boxes = torch.cat((sample.boxes, sample.other_boxes))[:, :7]
    grown = boxes + torch.tensor([0, 0, 0, 1e-4, 1e-4, 1e-4, 0])
    return points_in_boxes(sample.points[:, :3].contiguous(), grown).tolist()


MOVES = {
    "flip_x": lambda sample: transforms.flipped(sample, "x"),
    "flip_y": lambda sample: transforms.flipped(sample, "y"),
    "rotate": lambda sample: transforms.rotated(sample, 0.7),
    "scale": lambda sample: transforms.scale(sample, np.random.default_rng(1)),
    "translate": lambda sample: transforms.translate(sample, np.random.default_rng(1)),
    "all": lambda sample: augment_lidar(sample, np.random.default_rng(1), LidarAugmentation()),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("columns", [7, 9])
def test_points_stay_in_their_boxes(name, columns):
    sample = scene(columns=columns)
    before = (sample.points.clone(), sample.boxes.clone())
    moved = MOVES[name](sample)
    assert owners(moved) == owners(sample) == np.repeat([0, 1, 2, 3], 30).tolist()
    assert torch.equal(moved.points[:, 3:], sample.points[:, 3:]) and moved.cameras == ()
    assert not torch.equal(moved.points, sample.points)
    assert torch.equal(sample.points, before[0]) and torch.equal(sample.boxes, before[1])  # the input is left alone


@pytest.mark.parametrize("name", [name for name in MOVES if name != "all"])
def test_velocities_and_headings_move_with_the_boxes(name):
    """A box that drives for a second and is then moved is where the moved box arrives that drives for a second."""
    sample = scene()

    def driven(boxes):
        arrived = boxes.clone()
        arrived[:, :2] += boxes[:, 7:]
        return arrived

    moved = MOVES[name](sample)
    later = MOVES[name](
        LidarSample(sample.points, sample.features, "0", sample.source, boxes=driven(sample.boxes), labels=sample.labels)
    )
    torch.testing.assert_close(driven(moved.boxes)[:, :3], later.boxes[:, :3])
    ahead = torch.stack((sample.boxes[:, 6].cos(), sample.boxes[:, 6].sin()), 1)
    nose = LidarSample(
        torch.cat((sample.boxes[:, :2] + ahead, sample.boxes[:, 2:3], torch.zeros(3, 2)), 1),
        sample.features,
        "0",
        sample.source,
    )
    direction = MOVES[name](nose).points[:, :2] - moved.boxes[:, :2]
    expected = torch.atan2(direction[:, 1], direction[:, 0])
    torch.testing.assert_close((moved.boxes[:, 6] - expected).cos(), torch.ones(3), rtol=0, atol=1e-5)


def test_ranges():
    generator = np.random.default_rng(0)
    sample = scene()
    factors, angles, offsets, flips = [], [], [], []
    for _ in range(200):
        factors.append(float(transforms.scale(sample, generator, 0.9, 1.1).boxes[0, 3] / sample.boxes[0, 3]))
        angles.append(float(transforms.rotate(sample, generator, 0.5).boxes[0, 6] - sample.boxes[0, 6]))
        offsets.append((transforms.translate(sample, generator, 0.5).boxes[0, :3] - sample.boxes[0, :3]).numpy())
        flips.append(tuple((transforms.flip(sample, generator).boxes[0, :2].sign() != sample.boxes[0, :2].sign()).tolist()))
    assert 0.9 <= min(factors) < 0.91 and 1.09 < max(factors) <= 1.1001
    assert -0.5001 <= min(angles) < -0.45 and 0.45 < max(angles) <= 0.5001
    np.testing.assert_allclose(np.std(offsets, 0), 0.5, atol=0.1)
    counts = [flips.count(pair) for pair in ((False, False), (False, True), (True, False), (True, True))]
    assert min(counts) > 30


def test_augmentation_is_reproducible_and_can_be_turned_off():
    sample = scene()
    first, second = (augment_lidar(sample, np.random.default_rng(5), LidarAugmentation()) for _ in range(2))
    assert torch.equal(first.points, second.points) and torch.equal(first.boxes, second.boxes)
    off = augment_lidar(sample, np.random.default_rng(5), LidarAugmentation(), ("flip", "rotation", "scaling", "translation"))
    assert torch.equal(off.points, sample.points)
    none = LidarAugmentation(flip_axes=(), rotation=0, scaling=(1, 1), translation=0)
    assert torch.equal(augment_lidar(sample, np.random.default_rng(5), none).points, sample.points)
    assert (first.boxes[:, 6] >= -np.pi).all() and (first.boxes[:, 6] < np.pi).all()


def test_mask_points():
    points = torch.tensor([[1.0, 1, 9, 0], [0, 0, 0, 0], [2, 2, 1, 0], [2.001, 1, 0, 0], [1, -0.001, 0, 0]])
    sample = LidarSample(points, ("intensity",), "0", Path("0"))
    limits = (0, 0, 0, 2, 2, 1)
    assert torch.equal(transforms.mask_points(sample, limits).points, points[:3])
    assert torch.equal(transforms.mask_points(sample, limits, mask_z=True).points, points[1:3])


def test_mask_boxes_keeps_what_belongs_to_them():
    sample = scene()  # centres at (-30, -8), (-10, -3) and (10, 2)
    kept = transforms.mask_boxes(sample, (-10, -10, -5, 10, 10, 5))
    assert torch.equal(kept.boxes, sample.boxes[1:]) and kept.labels.tolist() == [1, 1]
    assert kept.num_points.tolist() == [30, 0] and kept.difficulty.tolist() == [1, 2]
    assert len(transforms.mask_boxes(sample, (-10, -10, 2, 10, 10, 5)).boxes) == 0  # too low


def test_shuffle():
    sample = scene()
    shuffled = transforms.shuffle(sample, np.random.default_rng(0))
    assert not torch.equal(shuffled.points, sample.points)
    assert torch.equal(shuffled.points[shuffled.points[:, 4].argsort()], sample.points)


def test_empty_frame():
    empty = LidarSample(torch.zeros(0, 4), ("intensity",), "0", Path("0"))
    moved = augment_lidar(empty, np.random.default_rng(0), LidarAugmentation())
    moved = transforms.shuffle(
        transforms.mask_boxes(transforms.mask_points(moved, (0, 0, 0, 1, 1, 1)), (0, 0, 0, 1, 1, 1)), np.random.default_rng(0)
    )
    assert moved.points.shape == (0, 4) and moved.boxes.shape == (0, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip_axes": ("z",)}, r"flip_axes takes 'x' and 'y', got \['z'\]"),
        ({"rotation": -1}, "expected no negative range, got -1 and 0.5"),
        ({"scaling": (1.1, 0.9)}, r"scaling must be 0 < low <= high, got \[1.1, 0.9\]"),
        ({"disabled": ("jitter",)}, r"disabled takes names of .* got \['jitter'\] for 0"),
    ],
)
def test_option_errors(options, message):
    with pytest.raises(ValueError, match=f"LidarAugmentation: {message}"):
        LidarAugmentation(**options)


def test_range_errors():
    with pytest.raises(ValueError, match="point_range must be x y z of both ends, low below high"):
        transforms.mask_points(scene(), (0, 0, 0, 1, 1, 0))
