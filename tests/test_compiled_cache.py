"""Compiled functions are kept somewhere, even where neither package nor HOME can be written."""

from __future__ import annotations

import os

import pytest

from geo3d import compiled_cache


@pytest.fixture
def nothing_writable(tmp_path, monkeypatch):
    """A package and a HOME below plain files, in which nobody can make a folder, root neither."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compiled_cache, "__file__", str(tmp_path / "file" / "geo3d" / "compiled_cache.py"))
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    return tmp_path


def test_a_temporary_folder_is_used(nothing_writable):
    import numba

    compiled_cache.use_writable_cache()
    folder = os.environ["NUMBA_CACHE_DIR"]
    assert folder.startswith(str(nothing_writable)) and numba.config.CACHE_DIR == folder
    assert os.stat(folder).st_mode & 0o077 == 0


def test_a_folder_that_others_can_write_is_not_used(nothing_writable):
    taken = compiled_cache.private_folder(nothing_writable)
    taken.chmod(0o777)
    assert compiled_cache.private_folder(nothing_writable) != taken


def test_a_writable_home_or_a_setting_of_the_user_stays(nothing_writable, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(nothing_writable / "cache"))
    compiled_cache.use_writable_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(nothing_writable / "file" / "cache"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    compiled_cache.use_writable_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "/somewhere"
