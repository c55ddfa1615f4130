"""Hostile and broken files go through every door that takes one: no signal, no code, no traceback, no hang, no flood of memory."""

from __future__ import annotations

import pytest
from doors import DOORS, LONG, files, problems


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    target = tmp_path_factory.mktemp("elsewhere") / "made-by-code"
    return list(files(folder, target).values()), target


@pytest.mark.parametrize("door", [door for door in DOORS if door not in LONG])
def test_every_door_holds(door, hostile):
    paths, target = hostile
    assert problems(door, paths, target) == []


@pytest.mark.long
@pytest.mark.parametrize("door", LONG)
def test_every_tool_holds(door, hostile):
    paths, target = hostile
    assert problems(door, paths, target, seconds=300) == []


def test_the_list_notices_what_it_is_for(hostile, monkeypatch, tmp_path):
    """Code that runs is noticed: a door that unpickles."""
    paths, target = hostile
    script = tmp_path / "open_door.py"
    import doors

    script.write_text(
        open(doors.__file__).read().replace('"pickle": _pickle', '"pickle": lambda path: pickle.loads(path.read_bytes())')
    )
    monkeypatch.setattr(doors, "__file__", str(script))
    code = [path for path in paths if path.name == "code.pkl"]
    assert any("ran code" in each for each in problems("pickle", code, target))
