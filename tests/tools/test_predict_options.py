"""Options of `geo3d predict`: those of the model that it is given, in any order; what is checked before the network runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo3d import predict as predictors
from geo3d.tools import cli
from geo3d.tools.predict import main

CLASSIFIER, PARTS, DETECTOR = "risurconv-shapes-classifier", "risurconv-shapes-parts", "dsvt-streets-detector"


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """A cloud in the current folder, called a.xyz."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("a.xyz", np.random.default_rng(0).normal(size=(60, 3)))
    return tmp_path / "a.xyz"


@pytest.fixture
def no_network(monkeypatch):
    """Fails the test when a network is loaded."""

    def load(*arguments, **options):
        raise AssertionError("the network was loaded before the check")

    monkeypatch.setattr(predictors, "load", load)


def error_of(arguments, capsys) -> str:
    """The one line that a command ends with."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (DETECTOR, ["--category", "chair"]),
        (DETECTOR, ["--top", "2"]),
        (CLASSIFIER, ["--min-score", "0.2"]),
        (CLASSIFIER, ["--category=chair"]),
        (PARTS, ["--min-score", "0.2"]),
        (PARTS, ["--wings"]),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_options_of_another_model_are_errors(model, options, place, cloud, no_network, capsys):
    arguments = [model, "a.xyz"]
    arguments[place:place] = options
    assert f"{options[0]} is no option of {model}" in error_of(arguments, capsys)


@pytest.mark.parametrize("model", [CLASSIFIER, PARTS, DETECTOR])
def test_help_shows_the_options_of_the_model(model, capsys):
    own = {CLASSIFIER: "--top", PARTS: "--category", DETECTOR: "--min-score"}
    for arguments in ([model, "--help"], ["-h", "--device", "cpu", model]):
        assert cli.main(["predict", *arguments]) == 0
        out = capsys.readouterr().out
        assert {option for option in own.values() if option in out} == {own[model]} and model in out
    if model == DETECTOR:
        assert "(default: 0.5, that of the weights" in " ".join(out.split())


def test_help_without_a_model(capsys):
    assert cli.main(["predict", "--help"]) == 0
    out = capsys.readouterr().out
    assert "classifiers take clouds" in out and "--top" not in out and "--json" in out


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0)])
def test_files_and_options_in_any_order(order, cloud):
    parts = [[CLASSIFIER], ["--top", "2", "--overwrite"], ["--json", "out.json"]]
    assert main([*(word for number in order for word in parts[number]), "a.xyz"]) == 0
    [result] = json.loads((cloud.parent / "out.json").read_text())
    assert len(result["classes"]) == 2 and result["file"] == "a.xyz"


def test_options_between_files(cloud):
    (cloud.parent / "b.xyz").write_bytes(cloud.read_bytes())
    assert main([CLASSIFIER, "a.xyz", "--json", "out.json", "b.xyz", "--top=1"]) == 0
    assert [each["file"] for each in json.loads((cloud.parent / "out.json").read_text())] == ["a.xyz", "b.xyz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected MODEL and at least one FILE"),
        ([CLASSIFIER], "expected at least one FILE after MODEL"),
        ([CLASSIFIER, "a.xyz", "b.xyz"], "b.xyz: no such file"),
        ([CLASSIFIER, "a.xyz", "--top", "0"], "--top must be 1 or more"),
        ([CLASSIFIER, "a.xyz", "--top", "many"], "argument --top: invalid int value: 'many'"),
        ([CLASSIFIER, "a.xyz", "--json"], "argument --json: expected one argument"),
        ([CLASSIFIER, "a.xyz", "--json", "none/out.json"], "none/out.json: no folder none"),
        ([CLASSIFIER, "a.xyz", "--save", "none/out.png"], "none/out.png: no folder none"),
        ([CLASSIFIER, "a.xyz", "--json", "a.xyz", "--overwrite"], "a.xyz is read and would be written too"),
        ([CLASSIFIER, "a.xyz", "--json", "folder", "--overwrite"], "folder exists"),
        ([DETECTOR, "a.xyz", "--json", "a_boxes.json"], "--json a_boxes.json is another result's file too"),
        ([DETECTOR, "a.xyz", "--json", "./a_boxes.json", "--overwrite"], "is another result's file too"),
        ([PARTS, "a.xyz", "--json", "a_parts.ply"], "is another result's file too"),
        ([PARTS, "a.xyz", "folder/a.ply"], "two results would write a_parts.ply"),
        ([DETECTOR, "a.xyz", "folder/a.ply"], "two results would write a_boxes.json"),
        ([DETECTOR, "there.xyz"], "there_boxes.txt exists"),
        ([DETECTOR, "a.xyz", "--min-score", "2"], "--min-score must be 0 to 1, got 2"),
        ([DETECTOR, "a.xyz", "--min-score", "nan"], "--min-score must be 0 to 1, got nan"),
        (["rejshand-hands", "a.xyz", "--min-score", "2"], "--min-score must be 0 to 1, got 2"),
        ([PARTS, "a.xyz", "--out", "there.xyz"], "--out there.xyz: expected a folder, it is a file"),
    ],
)
def test_what_is_told_before_the_network_runs(arguments, message, cloud, no_network, capsys):
    folder = cloud.parent
    (folder / "folder").mkdir()
    (folder / "folder" / "a.ply").write_bytes(b"ply")
    (folder / "there.xyz").write_bytes(cloud.read_bytes())
    (folder / "there_boxes.txt").write_bytes(b"mine")
    assert message in error_of(arguments, capsys)
    assert cloud.stat().st_size > 1000 and (folder / "there_boxes.txt").read_bytes() == b"mine"


def test_a_new_folder_may_hold_all_results(cloud):
    assert main([CLASSIFIER, "a.xyz", "--out", "new", "--json", "a.json"]) == 0
    assert main([DETECTOR, "a.xyz", "--out", "boxes", "--json", "boxes/all.json"]) == 0
    assert (cloud.parent / "boxes" / "all.json").exists() and (cloud.parent / "boxes" / "a_boxes.json").exists()


def test_view_takes_options_between_files(cloud, capsys):
    (cloud.parent / "b.xyz").write_bytes(cloud.read_bytes())
    assert cli.main(["view", "a.xyz", "--list", "b.xyz"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["a.xyz", "b.xyz"]
    assert cli.main(["view", "a.xyz", "--wings"]) == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --wings; see geo3d view --help\n"
