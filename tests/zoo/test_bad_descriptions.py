"""Weights whose description does not hold: one line that names file and field, at every door, before memory is taken."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import geo3d
from geo3d.descriptions import ClassificationLabels, CloudInput, read_description
from geo3d.export.onnx import FORMAT, MANIFEST
from geo3d.tools import cli
from geo3d.zoo import weights_path
from geo3d.zoo.weights import MAX_ELEMENTS, WeightsInfo, build, read_info, record_metrics

CLASSIFIER, PARTS, DETECTOR = "risurconv-shapes-classifier", "risurconv-shapes-parts", "dsvt-streets-detector"
MISSING = object()

# (packaged weights, path of the changed field, its value, what the line says)
CHANGES = {
    "unknown_field": (CLASSIFIER, ["wings"], 2, "has no field 'wings'"),
    "no_network": (CLASSIFIER, ["network"], MISSING, "lacks network"),
    "network_of_a_number": (CLASSIFIER, ["network"], 7, "network must be a name, got 7"),
    "network_of_others": (CLASSIFIER, ["network"], "os.system", "not one of geo3d.models"),
    "network_that_is_a_function": (CLASSIFIER, ["network"], "geo3d.models.lrgt.load_deit", "load_deit: no network"),
    "arguments_of_a_list": (CLASSIFIER, ["arguments"], [1], r"arguments must be an object, got \[1\]"),
    "unknown_argument": (CLASSIFIER, ["arguments", "wings"], 2, "does not build: .*wings"),
    "missing_argument": (CLASSIFIER, ["arguments", "num_classes"], MISSING, "does not build: .*num_classes"),
    "argument_of_another_kind": (CLASSIFIER, ["arguments", "centers"], "many", "does not build"),
    "minus_one_class": (CLASSIFIER, ["arguments", "num_classes"], -1, "does not build: .*-1"),
    "classes_of_2^40": (CLASSIFIER, ["arguments", "num_classes"], 2**40, r"arguments\.num_classes must be a number of"),
    "classes_of_2^60_boxes": (DETECTOR, ["arguments", "num_classes"], 2**60, r"arguments\.num_classes must be a number of"),
    "infinite": (CLASSIFIER, ["arguments", "dropout"], float("inf"), r"arguments\.dropout must be a number"),
    "wide": (CLASSIFIER, ["arguments", "channels"], [100_000] * 5, "its arguments make it larger than"),
    "many_classes": (CLASSIFIER, ["arguments", "num_classes"], 2**20, "its arguments make it larger than"),
    "many_layers": (CLASSIFIER, ["arguments", "encoder_layers"], 2**20, "its arguments make it larger than"),
    "other_width": (CLASSIFIER, ["arguments", "embedding"], 16, "weights do not fit"),
    "task_of_a_list": (CLASSIFIER, ["task"], [], r"task must be a name, got \[\]"),
    "later_task": (CLASSIFIER, ["task"], "singing", "weights are for the task 'singing'"),
    "task_of_others": (CLASSIFIER, ["task"], "detection", "labels lacks|labels has no field|preprocessing has no field"),
    "no_labels": (CLASSIFIER, ["labels"], MISSING, "labels must be ClassificationLabels for ShapeClassifier, got nothing"),
    "no_names": (CLASSIFIER, ["labels"], {}, "labels lacks class_names"),
    "labels_of_a_list": (CLASSIFIER, ["labels"], ["chair"], "labels must be ClassificationLabels|labels must be an object"),
    "names_of_a_text": (
        CLASSIFIER,
        ["labels", "class_names"],
        "chair",
        r"labels\.class_names must be 1 to 10000 names, got 'chair'",
    ),
    "names_of_numbers": (CLASSIFIER, ["labels", "class_names"], [1, 2], r"labels\.class_names must be .* names, got \(1, 2\)"),
    "too_few_names": (CLASSIFIER, ["labels", "class_names"], ["a"], r"labels\.class_names must be 18 names"),
    "minus_one_point": (CLASSIFIER, ["preprocessing", "num_points"], -1, r"preprocessing\.num_points must be a whole number"),
    "2^40_points": (
        CLASSIFIER,
        ["preprocessing", "num_points"],
        2**40,
        r"preprocessing\.num_points must be .*, got 1099511627776",
    ),
    "unknown_preprocessing": (
        CLASSIFIER,
        ["preprocessing", "wings"],
        2,
        "preprocessing has no field 'wings'; it takes num_points",
    ),
    "metrics_of_texts": (
        CLASSIFIER,
        ["metrics", "test/accuracy"],
        "good",
        "metrics.test/accuracy must be a number, got 'good'",
    ),
    "ranges": (
        PARTS,
        ["labels", "part_ranges"],
        [[0, 5]],
        r"labels\.part_ranges must be a range of labels from 0 to 70 for each of 22",
    ),
    "ranges_backwards": (PARTS, ["labels", "part_ranges"], [[5, 0]] * 22, r"labels\.part_ranges must be"),
    "decoder_of_a_text": (DETECTOR, ["labels", "decoder"], "fast", r"labels\.decoder must be an object"),
    "decoder_option": (DETECTOR, ["labels", "decoder", "wings"], 2, "CenterDecoder has no option 'wings'"),
    "threshold_of_a_text": (
        DETECTOR,
        ["labels", "decoder", "score_threshold"],
        "low",
        "score_threshold must be a number, got 'low'",
    ),
    "thresholds_of_others": (
        DETECTOR,
        ["labels", "decoder", "nms_thresholds"],
        [0.2],
        "nms_thresholds must be one for each of 3",
    ),
    "features": (DETECTOR, ["preprocessing", "features"], ["intensity", "time"], r"preprocessing\.features must be 1 names"),
    "camera": (
        DETECTOR,
        ["preprocessing", "camera_view_only"],
        "yes",
        r"preprocessing\.camera_view_only must be true or false",
    ),
    "voxels_of_nothing": (DETECTOR, ["arguments", "voxel_size"], [0, 0, 0], "does not build"),
}


def changed(name, path, value, folder):
    """A copy of packaged weights with one field of the description changed or taken out."""
    from safetensors import safe_open

    with safe_open(str(weights_path(name)), framework="pt") as file:
        content = json.loads(file.metadata()["geo3d"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    target = folder / "net.safetensors"
    save_file(tensors, str(target), metadata={"geo3d": json.dumps(content)})
    return target


@pytest.fixture
def cloud(tmp_path):
    path = tmp_path / "cloud.xyz"
    path.write_text("\n".join(f"{i % 7} {i % 5} {i % 11}" for i in range(64)))
    return path


@pytest.mark.parametrize("case", CHANGES)
def test_one_line_names_file_and_field(case, tmp_path, cloud, capsys):
    name, path, value, message = CHANGES[case]
    weights = changed(name, path, value, tmp_path)
    with pytest.raises(ValueError, match=rf"net\.safetensors: .*({message})") as raised:
        geo3d.load(weights)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
    assert cli.main(["predict", str(weights), str(cloud)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "net.safetensors" in error


@pytest.mark.parametrize("text", ["{", "[1, 2]", "7", "null", '"text"', "[" * 100_000])
def test_a_description_that_is_no_object(text, tmp_path, capsys):
    path = tmp_path / "net.safetensors"
    save_file({"x": torch.zeros(1)}, str(path), metadata={"geo3d": text})
    for door in (geo3d.load, read_info, lambda file: record_metrics(file, {})):
        with pytest.raises(ValueError, match=r"net\.safetensors: its description (is no JSON|must be an object)"):
            door(path)
    assert cli.main(["export", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [{"channels": [100_000] * 5}, {"num_classes": 2**20}, {"encoder_layers": 2**20}])
def test_nothing_is_allocated_before_the_size_is_known(arguments, tmp_path):
    """In a process that may take 300 MB beyond what it has once torch is there."""
    [(key, value)] = arguments.items()
    path = changed(CLASSIFIER, ["arguments", key], value, tmp_path)
    code = f"""
import resource, geo3d, geo3d.predict, geo3d.models.risurconv
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
try:
    geo3d.load({str(path)!r})
except ValueError as error:
    assert "its arguments make it larger" in str(error), error
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]


def test_the_largest_networks_are_built():
    arguments = read_info(weights_path(CLASSIFIER)).arguments
    info = WeightsInfo("geo3d.models.risurconv.RISurConvClassifier", {**arguments, "num_classes": 2000}, "classification")
    assert build(info).classify.out_features == 2000
    size = sum(tensor.numel() for tensor in build(info).state_dict().values())
    assert size < MAX_ELEMENTS and build(info, 2 * size)
    with pytest.raises(ValueError, match=f"larger than {size // 2} numbers"):
        build(info, size // 2)


def test_descriptions_of_other_tasks_are_kept(tmp_path):
    """Weights of a later version keep what this one does not know when their figures are recorded."""
    path = changed(CLASSIFIER, ["task"], "singing", tmp_path)
    info = read_info(path)
    assert info.labels is None and info.preprocessing is None
    record_metrics(path, {"test/accuracy": 0.25})
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        content = json.loads(file.metadata()["geo3d"])
    assert content["labels"]["class_names"][0] == "airplane" and content["metrics"] == {"test/accuracy": 0.25}


def test_mappings_become_descriptions():
    info = WeightsInfo("geo3d.models.x", {}, "classification", {"class_names": ["a"]}, {"num_points": 3})
    assert info.labels == ClassificationLabels(("a",)) and info.preprocessing == CloudInput(3)
    with pytest.raises(ValueError, match="labels must be ClassificationLabels for the task 'classification', got CloudInput"):
        WeightsInfo("geo3d.models.x", {}, "classification", CloudInput(3))
    with pytest.raises(ValueError, match=r"preprocessing\.draw must be a whole number of 1 to .*, got 0"):
        read_description(CloudInput, {"num_points": 3, "draw": 0}, "preprocessing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a manifest of the format"),
        ({"format": FORMAT}, "files and rest must be names of files beside it, got nothing"),
        ({"format": FORMAT, "files": {"../net.onnx": {}}}, "must be names of files beside it, got '../net.onnx'"),
        ({"format": FORMAT, "files": {}}, "its weights do not hold: expected an object, got nothing"),
        ({"format": FORMAT, "files": {}, "weights": [1]}, "expected an object, got"),
        (
            {"format": FORMAT, "files": {}, "weights": {"network": "x", "arguments": {"n": 2**40}, "task": "t"}},
            "arguments.n must be",
        ),
        (
            {"format": FORMAT, "files": {}, "weights": {"network": "x", "arguments": {}, "task": "detection"}},
            "expected a manifest as",
        ),
    ],
)
def test_exported_folders(content, message, tmp_path, cloud, capsys):
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"manifest.json: .*{re.escape(message)}"):
        geo3d.load(folder)
    assert cli.main(["predict", str(folder), str(cloud)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "manifest.json" in error
