"""The detector of hands: targets and loss, decoding, one hand in one place."""

from __future__ import annotations

import pytest
import torch

from geo3d.models.rejshand import HandBoxes, HandDetector, HandMaps, decode_hands, detector_losses

CELLS = 24


def perfect_maps(hands: HandBoxes, batch: int) -> HandMaps:
    """Maps that say exactly where hands are."""
    scores = torch.full((batch, 2, CELLS, CELLS), -8.0)
    boxes = torch.zeros(batch, 4, CELLS, CELLS)
    centers = torch.arange(CELLS) + 0.5
    for box, side, image in zip(hands.boxes * CELLS, hands.sides, hands.batch_index, strict=True):
        x, y = (int(value) for value in box[:2])
        scores[image, side, y, x] = 8
        boxes[image, 0] = box[0] - centers
        boxes[image, 1] = (box[1] - centers)[:, None]
        boxes[image, 2:] = box[2:].log()[:, None, None]
    return HandMaps(scores, boxes)


@pytest.fixture
def hands():
    boxes = torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.7, 0.62, 0.4, 0.3], [0.5, 0.5, 0.9, 0.8]])
    return HandBoxes(boxes, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2]))


def test_decoding_gives_what_the_maps_say(hands):
    one_each = HandBoxes(hands.boxes[[0, 2]], hands.sides[[0, 2]], torch.tensor([0, 2]))
    found = decode_hands(perfect_maps(one_each, 3))
    assert [len(each.sides) for each in found] == [1, 0, 1]
    torch.testing.assert_close(found[0].boxes, one_each.boxes[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[2].boxes, one_each.boxes[1:], atol=1e-5, rtol=1e-5)
    assert found[0].sides.tolist() == [0] and found[2].sides.tolist() == [1]
    assert found[0].side_scores.item() > 0.99


def test_the_loss_is_least_where_the_maps_are_right(hands):
    one = HandBoxes(hands.boxes[:1], hands.sides[:1], hands.batch_index[:1])
    right = perfect_maps(one, 1)
    least = detector_losses(right, one)
    assert least.boxes < 1e-5
    moved = HandMaps(right.scores.roll(3, -1), right.boxes)
    other_side = HandMaps(right.scores.flip(1), right.boxes)
    larger = HandMaps(right.scores, right.boxes + torch.tensor([0, 0, 0.5, 0.5])[:, None, None])
    assert detector_losses(moved, one).centers > 2 * least.centers
    assert detector_losses(other_side, one).centers > 2 * least.centers
    torch.testing.assert_close(detector_losses(larger, one).boxes, torch.tensor(0.25), atol=1e-4, rtol=0)


def test_ignored_hands_cost_nothing():
    box = torch.tensor([[0.5, 0.5, 0.4, 0.4]])
    shown = perfect_maps(HandBoxes(box, torch.tensor([0]), torch.tensor([0])), 1)
    ignored = HandBoxes(box, torch.tensor([-1]), torch.tensor([0]))
    nothing = HandBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert detector_losses(shown, nothing).total > 5
    assert detector_losses(shown, ignored).total < 0.05


def test_a_place_holds_one_hand():
    """A right and a left peak on one hand are one of a doubtful side, whose scores add; of two boxes over each other one stays."""
    scores = torch.full((1, 2, CELLS, CELLS), -8.0)
    boxes = torch.zeros(1, 4, CELLS, CELLS)
    boxes[:, 2:] = torch.tensor(6.0).log()
    scores[0, 0, 6, 6], scores[0, 1, 6, 6] = 1.0, 0.5
    scores[0, 1, 6, 8] = 0.4
    scores[0, 1, 6, 14] = 2.0
    [found] = decode_hands(HandMaps(scores, boxes))
    assert found.sides.tolist() == [0, 1]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert 0.5 < found.side_scores[0] < 0.6 and found.scores[0] == 1


def test_shapes_and_gradients():
    detector = HandDetector(96, channels=16)
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    maps = detector(images)
    assert maps.scores.shape == (2, 2, 12, 16) and maps.boxes.shape == (2, 4, 12, 16)
    truth = HandBoxes(torch.tensor([[0.5, 0.5, 0.4, 0.6]]), torch.tensor([1]), torch.tensor([1]))
    detector_losses(maps, truth).total.backward()
    missing = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
    assert not missing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((100,), "multiple of 32"), ((96, 16, False, "lite0"), "a network of timm")],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        HandDetector(*arguments)


def test_images_are_checked():
    with pytest.raises(ValueError, match=r"multiples of 32, got \[1, 3, 90, 96\]"):
        HandDetector(96, channels=16)(torch.zeros(1, 3, 90, 96))
