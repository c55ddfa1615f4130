"""What training configurations say of their networks without a training."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

import geo3d.configs
from geo3d.descriptions import SweepInput
from geo3d.tasks.base import Task
from geo3d.zoo.configurations import config_path, info_of_config, task_name

SHIPPED = Path(geo3d.configs.__file__).parent
CONFIGS = sorted(path.relative_to(SHIPPED).with_suffix("").as_posix() for path in SHIPPED.rglob("*.yaml"))


@pytest.mark.parametrize("name", CONFIGS)
def test_task_and_network_of_every_shipped_configuration(name):
    content = yaml.safe_load(config_path(name).read_text())
    info = info_of_config(config_path(name))
    module, _, task = content["model"]["class_path"].rpartition(".")
    kind = getattr(importlib.import_module(module), task)
    assert issubclass(kind, Task) and kind.name == task_name(content["model"]["class_path"]) == info.task
    assert info.network == content["model"]["init_args"]["network"]["class_path"]


def test_a_detector_knows_classes_and_columns():
    info = info_of_config(config_path("dsvt/waymo_pillar"))
    assert info.labels.class_names == ("Vehicle", "Pedestrian", "Cyclist") and info.labels.decoder["score_threshold"] == 0.1
    assert info.preprocessing == SweepInput("waymo", ("intensity", "elongation"), camera_view_only=False)


@pytest.mark.parametrize("content", ["model: 3", "[1, 2]", "model: {class_path: geo3d.tasks.Detection}", "{", ""])
def test_another_file(content, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=r"other.yaml: expected (the configuration of a network|a configuration, .*|YAML), got .+"
    ) as error:
        info_of_config(path)
    assert "\n" not in str(error.value)
