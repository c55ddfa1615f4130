"""Configurations name classes of known packages alone, and YAML that would grow beyond bounds is refused before it is built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_trainings import SMALL

from geo3d.tools import export, test, train
from geo3d.zoo.configurations import config_path
from geo3d.zoo.yaml_files import check_yaml, read_yaml

CONFIG, *OPTIONS = SMALL["classification"]
PACKAGE = """
import pathlib
pathlib.Path(__file__).with_name("imported").write_text("")
from geo3d.models.risurconv import RISurConvClassifier
from lightning.pytorch.callbacks import Callback

class Net(RISurConvClassifier):
    pass

class Seen(Callback):
    def on_fit_start(self, trainer, task):
        print("seen", type(task.network).__name__)
"""


# Runs a tool without the flag, whereupon the package has not been imported, and with it.
TOOLS = """
import sys
from geo3d.tools.cli import main
refused = main(sys.argv[1:])
assert "own_package" not in sys.modules
print()
print(refused, main([*sys.argv[1:], "--allow-classes=own_package"]))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a user's, whose import leaves a file."""
    (tmp_path / "own_package.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path / "imported"
    sys.modules.pop("own_package", None)


def with_network(folder: Path, name: str) -> str:
    text = config_path(CONFIG).read_text()
    assert "geo3d.models.risurconv.RISurConvClassifier" in text
    path = folder / "own.yaml"
    path.write_text(text.replace("geo3d.models.risurconv.RISurConvClassifier", name))
    return str(path)


@pytest.mark.parametrize("tool", [train.main, test.main])
@pytest.mark.parametrize(
    "where",
    [
        "file",
        "--model.init_args.network=own_package.Net",
        "--model.init_args.network.class_path=own_package.Net",
        "--trainer.callbacks+=own_package.Seen",
        "--trainer.logger={class_path: own_package.Seen}",
        "--model=own_package.Net",
        "--data=own_package.Net",
        "--trainer.callbacks+=subprocess.Popen",
    ],
)
def test_classes_of_others_are_not_imported(tool, where, package, tmp_path, capsys):
    config, options = CONFIG, [*OPTIONS, f"--out={tmp_path}"]
    if where == "file":
        config = with_network(tmp_path, "own_package.Net")
    else:
        options.append(where)
    assert tool([config, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    name = "subprocess" if "subprocess" in where else "own_package"
    assert f"--allow-classes {name} permits" in error
    assert not package.exists() and "own_package" not in sys.modules


def test_the_flag_lets_them(package, tmp_path, tmp_path_factory):
    """In a process of its own, as what is allowed stays so in a process."""
    config = with_network(tmp_path, "own_package.Net")
    small = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.max_epochs=1"]
    options = [*OPTIONS, *small, "--trainer.callbacks+=own_package.Seen", f"--out={tmp_path}", "--allow-classes=own_package"]
    environment = {**os.environ, "GEO3D_DATA": str(tmp_path_factory.getbasetemp() / "geo3d-data")}
    command = [sys.executable, "-m", "geo3d.tools.cli", "train", config, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-1500:]
    assert "seen Net" in done.stdout and package.exists()
    weights, cloud = str(tmp_path / "own" / "weights.safetensors"), tmp_path / "cloud.xyz"
    np.savetxt(cloud, np.random.default_rng(0).normal(size=(300, 3)))
    package.unlink()
    for code, tool in ((0, ["predict", weights, str(cloud)]), (2, ["export", weights, f"--out={tmp_path}/exported"])):
        command = [sys.executable, "-c", TOOLS, *tool]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.stdout.splitlines()[-1] == f"2 {code}", done.stderr[-3000:]
        line = "which is not one of geo3d.models; importing it runs its code, which --allow-classes own_package "
        assert line in done.stderr
    assert "RISurConvClassifier cannot be exported" in done.stderr.splitlines()[-1]  # so it was built


def nested(levels: int, width: int = 10) -> str:
    """Every level holds the one before `width` times: width ** levels values."""
    lines = ["a0: &a0 [1, 2]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "aliases": (nested(9), "written out"),
    "many_aliases": ("a: &a 1\nb: [" + ", ".join(["*a"] * 1000) + "]", "at most 500 aliases"),
    "deep": ("a: " + "[" * 100 + "]" * 100, "at most 60 levels"),
    "very_deep": ("a: " + "[" * 5000 + "]" * 5000, "maximum nesting depth"),
    "deep_keys": ("{a: " * 100 + "1" + "}" * 100, "at most 60 levels"),
    "within_itself": ("a: &a [1, *a]", "stands within itself"),
    "no_text": (b"\xff\xfe\x00model", "no text"),
    "empty": ("", "an empty file"),
    "list": ("[1, 2]", "got list"),
    "broken": ("model: [1", "expected YAML"),
    "code": ("model: !!python/object/apply:os.system ['true']", "python"),
    "class_path_of_a_list": ("model: {class_path: [1, 2]}", "import path of a class, got list"),
    "large": ("a: " + "x" * 5_000_000, "at most 4,000,000 bytes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("tool", ["train", "test", "export"])
def test_hostile_yaml_is_refused_in_one_line(kind, tool, tmp_path, capsys):
    content, message = HOSTILE[kind]
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.process_time()
    if tool == "export":
        assert export.main([str(path), "--out", str(tmp_path / "out")]) == 2
    else:
        assert {"train": train, "test": test}[tool].main([str(path), f"--out={tmp_path}"]) == 2
    assert time.process_time() - started < 20
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and "hostile.yaml" in lines[-1]
    if tool != "export" or kind not in ("class_path_of_a_list", "code"):
        assert message in lines[-1]


def test_hostile_yaml_in_an_option_is_refused(capsys, tmp_path):
    option = "--model.init_args.network.init_args.centers=" + "[" * 3000 + "]" * 3000
    assert train.main([CONFIG, *OPTIONS, f"--out={tmp_path}", option]) == 2
    assert "error: " in capsys.readouterr().err


def test_what_people_write_is_read(tmp_path):
    path = tmp_path / "anchors.yaml"
    path.write_text("base: &base {lr: 1e-3}\nfirst: *base\nsecond:\n  <<: *base\n  more: [1, 2]\n")
    assert read_yaml(path)["second"] == {"lr": "1e-3", "more": [1, 2]}
    check_yaml(json.dumps({"a": list(range(1000))}), "json")
