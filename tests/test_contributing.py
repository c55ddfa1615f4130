"""Files and folders that CONTRIBUTING.md names are there; of names with a placeholder, the model or op that it gives as example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {"Add an op": {"NAME": "scatter"}, "Add a model": {"NAME": "lrgt", "TASK": "reconstruction"}}
EXAMPLES["Add a data set"] = {"NAME": "scanobjectnn", "ROOM": "shapes"}


def named_paths() -> list[str]:
    paths = []
    for section in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        for word in re.findall(r"`([\w.]+/[\w./]*|\w+\.(?:md|py))`", section):
            for placeholder, name in EXAMPLES.get(section.splitlines()[0], {}).items():
                word = word.replace(placeholder, name)
            paths.append(word)
    return sorted(set(paths))


def test_paths_are_found_in_the_text():
    assert len(named_paths()) > 30


@pytest.mark.parametrize("path", named_paths())
def test_path_is_there(path):
    assert (ROOT / path).exists() or (ROOT / "geo3d/data/lidar" / path).exists()


def named_tables() -> list[tuple[str, str]]:
    """Tables that a checklist says to enter something in, with their files."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.findall(r"`([A-Z_]+)` (?:of|in) `([\w./]+\.py)`", " ".join(text.split()))
    return sorted(set(found))


def test_a_new_model_enters_these_tables():
    assert {"MODELS", "EXPORTS", "ADAPTERS", "PREDICTORS", "KINDS", "DESCRIPTIONS", "SAMPLES"} <= {
        name for name, _ in named_tables()
    }


@pytest.mark.parametrize(("name", "path"), named_tables())
def test_table_is_there(name, path):
    assert re.search(rf"^{name}\b.*= ", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
