"""Loading: the predictor of each task, and what is told when the weights are loaded, not at the first input."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import geo3d
from geo3d.predict import Detector, HandFinder, HandPredictor, PartLabeler, Predictor, ShapeClassifier, ViewReconstructor
from geo3d.predict.loading import predictor_for
from geo3d.zoo import weights_path
from geo3d.zoo.weights import build, read_info

PACKAGED = {
    "dsvt-streets-detector": Detector,
    "lrgt-objects": ViewReconstructor,
    "rejshand-hand-detector": HandFinder,
    "rejshand-hands": HandPredictor,
    "risurconv-shapes-classifier": ShapeClassifier,
    "risurconv-shapes-parts": PartLabeler,
}


@pytest.mark.parametrize("name", PACKAGED)
def test_predictor_of_each_packaged_model(name):
    predictor = geo3d.load(name)
    assert type(predictor) is PACKAGED[name] and isinstance(predictor, Predictor)
    assert not predictor.network.training and predictor.device == torch.device("cpu")


def test_both_names_are_one_function():
    assert geo3d.load is geo3d.predict.load


def test_the_zoo_stands_below_predictors():
    code = "import sys, geo3d.zoo, geo3d.zoo.weights; sys.exit(any(name.startswith('geo3d.predict') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_bad_decoder_option_is_told_before_any_sweep():
    info = read_info(weights_path("dsvt-streets-detector"))
    labels = replace(info.labels, decoder={**info.labels.decoder, "wings": 2})
    with pytest.raises(ValueError, match=r"net\.safetensors: CenterDecoder has no option 'wings'"):
        predictor_for(build(info), replace(info, labels=labels), "net.safetensors")


def test_a_task_of_a_later_version():
    info = replace(read_info(weights_path("dsvt-streets-detector")), task="singing")
    with pytest.raises(
        ValueError, match="weights are for the task 'singing'; this version of geo3d predicts body_fitting, classification"
    ):
        predictor_for(build(info), info)


def test_a_step_finds_what_the_sweep_has():
    detector = geo3d.load("dsvt-streets-detector")
    low, high = torch.tensor(detector.network.encoder.point_range).split(3)
    cloud = torch.cat([low + (high - low) * torch.rand(3000, 3), torch.rand(3000, 1)], 1)
    detector.decode = replace(detector.decode, score_threshold=0.0)
    found = detector(cloud.numpy())
    step = detector.step(cloud)
    assert len(step) == len(found) > 0
    np.testing.assert_array_equal(step.boxes.numpy(), found.detections.boxes.numpy())


def test_options_of_another_model_are_refused():
    with pytest.raises(TypeError, match="category"):
        geo3d.load("risurconv-shapes-classifier")(np.zeros((9, 3)), category="chair")
