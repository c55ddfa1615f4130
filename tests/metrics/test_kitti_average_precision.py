"""KITTI's average precision on frames worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geo3d.data.lidar.kitti_labels import KittiObjects
from geo3d.metrics.kitti import KittiAveragePrecision, kitti_average_precision
from geo3d.metrics.kitti_matching import recall_thresholds

CAR = {"name": "Car", "high": 50.0, "occlusion": 0, "truncation": 0.0, "alpha": 0.0, "score": 0.5}


def frame(*objects: dict, scored: bool = False) -> KittiObjects:
    """Objects at x = 20 i metres and pixels, 4 x 1.6 x 1.5 m; `at` moves them, `box` and `rectangle` take their place."""
    given = [CAR | {"at": 20.0 * i} | each for i, each in enumerate(objects)]
    rectangles = [each.get("rectangle", [each["at"], 100, each["at"] + 10, 100 + each["high"]]) for each in given]
    boxes = [each.get("box", [each["at"], 1.5, 20, 4, 1.5, 1.6, 0]) for each in given]
    return KittiObjects(
        tuple(each["name"] for each in given),
        np.array([each["truncation"] for each in given], dtype=float),
        np.array([each["occlusion"] for each in given], dtype=np.int64),
        np.array([each["alpha"] for each in given], dtype=float),
        np.array(rectangles, dtype=float).reshape(-1, 4),
        np.array(boxes, dtype=float).reshape(-1, 7),
        np.array([each["score"] for each in given], dtype=float) if scored else None,
    )


def found(*objects: dict) -> KittiObjects:
    return frame(*objects, scored=True)


def cars(count: int, **changes) -> list[dict]:
    return [{"at": 20.0 * i, "score": 0.9 - 0.01 * i, **changes} for i in range(count)]


def test_all_found():
    """41 objects give 41 scores, precision 1 at each; 4 give 4, so that the mean over positions 1..40 is 3 / 40 and over 0, 4, ... 1 / 11."""
    many = kitti_average_precision([frame(*cars(41))], [found(*cars(41))])
    for measure in ("image", "aos", "bev", "3d"):
        assert many[f"Car_{measure}_easy_R40"] == many[f"Car_{measure}_hard_R11"] == 1
    few = kitti_average_precision([frame(*cars(4))], [found(*cars(4))])
    assert few["Car_3d_moderate_R40"] == pytest.approx(3 / 40) and few["Car_3d_moderate_R11"] == pytest.approx(1 / 11)
    assert math.isnan(few["Cyclist_3d_easy_R40"])


def test_precision_falls_with_false_positives():
    """Two objects found at 0.9 and 0.7, one false positive at 0.8 between them and one at 0.1 below.

    The scores of the two are the thresholds: precision 1 at 0.9 and 2 / 3 at 0.7, 0 at the other 39 positions.
    R40 leaves out the first: 2 / 3 / 40. R11 takes positions 0, 4, ...: 1 / 11.
    """
    truth = frame({}, {})
    predictions = found({"score": 0.9}, {"score": 0.7}, {"at": 500.0, "score": 0.8}, {"at": 600.0, "score": 0.1})
    result = kitti_average_precision([truth], [predictions])
    for measure in ("image", "aos", "bev", "3d"):
        assert result[f"Car_{measure}_easy_R40"] == pytest.approx(2 / 3 / 40)
        assert result[f"Car_{measure}_easy_R11"] == pytest.approx(1 / 11)


def test_precision_is_the_best_at_this_recall_or_a_higher_one():
    """False positive at 0.95, objects at 0.9, 0.8 and 0.7: precision 1/2, 2/3, 3/4, made falling 3/4 at each."""
    predictions = found({"score": 0.9}, {"score": 0.8}, {"score": 0.7}, {"at": 500.0, "score": 0.95})
    result = kitti_average_precision([frame({}, {}, {})], [predictions])
    assert result["Car_3d_easy_R40"] == pytest.approx(2 * 0.75 / 40) and result["Car_3d_easy_R11"] == pytest.approx(0.75 / 11)


def test_scores_nearest_to_the_recall_positions():
    """80 objects: position k / 40 is reached by 2 k objects. Position 0 is nearest to the first (recall 1/80, the second would
    be 2/80), position 1/40 to the second, then every other one: 1, 2, 4, 6, ... 80 objects are 41 scores."""
    scores = np.arange(80, 0, -1.0)
    assert recall_thresholds(scores, 80).tolist() == [80.0, 79.0, *np.arange(77.0, 0, -2)]
    # 20 of 100 found: the positions up to 0.2 are 9; 1, 2 or 3, 5, ... objects (steps of 2.5)
    assert len(recall_thresholds(scores[:20], 100)) == 9
    assert recall_thresholds(scores[:0], 5).tolist() == []


def test_a_second_prediction_of_an_object_is_false():
    predictions = found({"score": 0.9}, {"at": 0.0, "score": 0.95})
    result = kitti_average_precision([frame({})], [predictions])
    # the score of the surer one, 0.95, is the only threshold, and there it is alone
    assert result["Car_3d_easy_R11"] == pytest.approx(1 / 11)
    two = kitti_average_precision([frame({}, {})], [found({"score": 0.9}, {"score": 0.8}, {"at": 0.0, "score": 0.95})])
    # thresholds 0.95 (precision 1) and 0.8 (2 of 3)
    assert two["Car_3d_easy_R40"] == pytest.approx(2 / 3 / 40)


def test_the_overlap_must_exceed_the_threshold():
    """Shifted along its length of 4 m by s, a box overlaps (4 - s) / (4 + s): 0.739 at 0.6 m, 0.684 at 0.75 m."""
    for shift, average in ((0.6, 1 / 11), (0.75, 0)):
        result = kitti_average_precision([frame({})], [found({"box": [shift, 1.5, 20, 4, 1.5, 1.6, 0]})])
        assert result["Car_3d_easy_R11"] == result["Car_bev_easy_R11"] == pytest.approx(average)
        assert result["Car_image_easy_R11"] == pytest.approx(1 / 11)
    relaxed = kitti_average_precision([frame({})], [found({"box": [0.75, 1.5, 20, 4, 1.5, 1.6, 0]})], {"Car": 0.5})
    assert relaxed["Car_3d_easy_R11"] == pytest.approx(1 / 11) and "Cyclist_3d_easy_R11" not in relaxed


def test_bird_and_space_differ_in_height():
    """Raised by 0.5 of 1.5 m: 1 / 2 of the volume of both together, 1 seen from above."""
    result = kitti_average_precision([frame({})], [found({"box": [0, 1.0, 20, 4, 1.5, 1.6, 0]})])
    assert result["Car_bev_easy_R11"] == pytest.approx(1 / 11) and result["Car_3d_easy_R11"] == 0


def test_rotation_is_about_the_cameras_axis_downwards():
    """A box turned by rotation_y heads towards (cos, -sin) in (x, z): moved 2.5 m that way it overlaps nothing less than
    another turned the wrong way."""
    turn = 0.6
    box = [0, 1.5, 20, 4, 1.5, 1.6, turn]
    along = [0.3 * math.cos(turn), 1.5, 20 - 0.3 * math.sin(turn), 4, 1.5, 1.6, turn]  # 3.7 / 4.3 = 0.86
    mirrored = [0.3 * math.cos(turn), 1.5, 20 + 0.3 * math.sin(turn), 4, 1.5, 1.6, turn]
    for moved, average in ((along, 1 / 11), (mirrored, 0)):
        result = kitti_average_precision([frame({"box": box})], [found({"box": moved})], {"Car": 0.84})
        assert result["Car_3d_easy_R11"] == pytest.approx(average)


def test_difficulties():
    """One object for each, found at 0.9, 0.8, 0.7, 0.6: a fifth is too hard for all and its prediction does not count."""
    truth = [
        {"high": 40},
        {"high": 39},  # moderate: high enough for 25
        {"occlusion": 2},  # hard
        {"truncation": 0.5},  # hard
        {"high": 24},  # none
    ]
    predictions = [{"score": 0.9 - 0.1 * i, "high": truth[i].get("high", 50)} for i in range(5)]
    result = kitti_average_precision([frame(*truth)], [found(*predictions)])
    # easy: 1 object, thresholds [0.9]; moderate: 2; hard: 4
    assert result["Car_3d_easy_R40"] == 0 and result["Car_3d_easy_R11"] == pytest.approx(1 / 11)
    assert result["Car_3d_moderate_R40"] == pytest.approx(1 / 40)
    assert result["Car_3d_hard_R40"] == pytest.approx(3 / 40)


def test_a_low_prediction_is_no_false_positive():
    high, low = ({"at": 500.0, "score": 0.95, "high": high} for high in (50, 30))
    truth = frame(*cars(2))
    with_false = kitti_average_precision([truth], [found(*cars(2), high)])
    without = kitti_average_precision([truth], [found(*cars(2), low)])
    assert with_false["Car_3d_easy_R40"] == pytest.approx(2 / 3 / 40)
    assert without["Car_3d_easy_R40"] == pytest.approx(1 / 40)
    assert without["Car_3d_moderate_R40"] == pytest.approx(2 / 3 / 40)  # 30 pixels are enough there


def test_an_object_found_by_a_low_prediction_alone_is_neither_found_nor_missed():
    """Two objects, the first found by a rectangle of 30 pixels only: one score, at which there is one true positive, none false."""
    result = kitti_average_precision([frame(*cars(2))], [found({"score": 0.9, "high": 30}, {"score": 0.8})])
    assert result["Car_3d_easy_R11"] == pytest.approx(1 / 11) and result["Car_3d_easy_R40"] == 0
    assert result["Car_3d_moderate_R40"] == pytest.approx(1 / 40)


def test_neighboring_class_is_neither_missed_nor_false():
    truth = frame(*cars(2), {"name": "Van"}, {"name": "Truck"})
    van = kitti_average_precision([truth], [found(*cars(2), {"at": 40.0, "score": 0.95})])
    assert van["Car_3d_easy_R40"] == pytest.approx(1 / 40)
    truck = kitti_average_precision([truth], [found(*cars(2), {"at": 60.0, "score": 0.95})])
    assert truck["Car_3d_easy_R40"] == pytest.approx(2 / 3 / 40)
    people = frame({"name": "Pedestrian"}, {"name": "Pedestrian"}, {"name": "Person_sitting"})
    predicted = found(*({"name": "Pedestrian", "score": 0.8 + 0.05 * i} for i in range(3)))
    assert kitti_average_precision([people], [predicted])["Pedestrian_3d_easy_R40"] == pytest.approx(1 / 40)


def test_dont_care_regions_excuse_in_the_image_alone():
    """A false positive whose rectangle lies to 4/5 in a region, one to 1/2."""
    region = {"name": "DontCare", "occlusion": -1, "truncation": -1.0, "box": [-1000, -1000, -1000, -1, -1, -1, -10]}
    truth = frame(*cars(2), region | {"rectangle": [500, 100, 508, 150]})
    inside = {"score": 0.95, "at": 500.0}
    result = kitti_average_precision([truth], [found(*cars(2), inside)])
    assert result["Car_image_easy_R40"] == pytest.approx(1 / 40)
    assert result["Car_3d_easy_R40"] == result["Car_bev_easy_R40"] == pytest.approx(2 / 3 / 40)
    half = kitti_average_precision([truth], [found(*cars(2), inside | {"rectangle": [503, 100, 513, 150]})])
    assert half["Car_image_easy_R40"] == pytest.approx(2 / 3 / 40)


def test_orientation_similarity():
    """Two objects, the first predicted the wrong way round: (1 + cos pi) / 2 = 0, then (0 + 1) / 2."""
    result = kitti_average_precision([frame({}, {})], [found({"score": 0.9, "alpha": math.pi}, {"score": 0.8})])
    assert result["Car_aos_easy_R11"] == pytest.approx(0.5 / 11)  # made falling, 0.5 at the first position too
    assert result["Car_aos_easy_R40"] == pytest.approx(0.5 / 40)
    assert result["Car_image_easy_R40"] == pytest.approx(1 / 40)


def test_an_object_takes_the_prediction_that_overlaps_most_but_counts_the_surest_score():
    """Predictions at 0.9 (moved by 0.5 m) and 0.6 (exact) of one object, another object at 0.5: scores 0.9 and 0.5.

    At 0.9 the moved one is the only one: 1. At 0.5 the exact one is taken and the moved one is false: 2 / 3.
    """
    predictions = found({"score": 0.6}, {"score": 0.5}, {"score": 0.9, "at": 0.0, "box": [0.5, 1.5, 20, 4, 1.5, 1.6, 0]})
    result = kitti_average_precision([frame({}, {})], [predictions])
    assert result["Car_3d_easy_R40"] == pytest.approx(2 / 3 / 40) and result["Car_3d_easy_R11"] == pytest.approx(1 / 11)


def test_frames_without_objects_or_predictions():
    truth = [frame(*cars(2)), frame(), frame({"score": 0.0})]
    predictions = [found(*cars(2)), found({"score": 0.95}), KittiObjects.empty()]
    result = kitti_average_precision(truth, predictions)
    # three objects, two found at 0.90 and 0.89, one false in the second frame: 1 / 2 and 2 / 3
    assert result["Car_3d_easy_R11"] == pytest.approx(2 / 3 / 11) and result["Car_3d_easy_R40"] == pytest.approx(2 / 3 / 40)
    nothing = kitti_average_precision([frame()], [KittiObjects.empty()])
    assert all(math.isnan(value) for value in nothing.values())
    missed = kitti_average_precision([frame({})], [KittiObjects.empty()])
    assert missed["Car_3d_easy_R11"] == 0


def test_metric_over_batches_equals_the_function():
    truth = [frame(*cars(3)), frame(), frame(*cars(5, occlusion=1)), frame(*cars(2, name="Cyclist"))]
    predictions = [found(*cars(4)), KittiObjects.empty(), found(*cars(4, high=30)), found(*cars(2, name="Cyclist"))]
    metric = KittiAveragePrecision()
    metric.update(truth[:1], predictions[:1])
    metric.update(truth[1:], predictions[1:])
    expected = kitti_average_precision(truth, predictions)
    assert metric.compute() == pytest.approx(expected, nan_ok=True)
    assert expected["Car_3d_moderate_R40"] > 0


def test_messages():
    with pytest.raises(ValueError, match="of the same frames, got 1 and 0"):
        kitti_average_precision([frame()], [])
    with pytest.raises(ValueError, match="predictions must have scores, those of frame 0 have none"):
        kitti_average_precision([frame({})], [frame({})])
    with pytest.raises(ValueError, match="classes must be KITTI's, got \\['Dog'\\]"):
        kitti_average_precision([frame()], [frame()], {"Dog": 0.5})
