"""Settings of a parity case: what an adapter leaves unread or cannot have is named."""

from __future__ import annotations

import pytest
from parity.case_files import Settings, check_fixed

CONFIG = {"width": 8, "head": {"heads": 2, "bias": True}, "layers": [{"k": 3, "stride": 1}, {"k": 5, "stride": 2}]}


def test_keys_that_nothing_reads_are_named():
    settings = Settings(CONFIG)
    assert settings.unread() == ["width", "head", "layers"]
    assert settings["head"]["heads"] == 2 and [layer["k"] for layer in settings["layers"]] == [3, 5]
    assert settings.unread() == ["width", "head.bias", "layers.0.stride", "layers.1.stride"]
    assert settings.get("width") == 8 and settings.get("depth", 4) == 4 and settings["head"].get("bias")
    assert [dict(layer.items()) for layer in settings["layers"]] == CONFIG["layers"]
    assert settings.unread() == []


def test_looking_whether_a_key_is_there_does_not_read_it():
    settings = Settings(CONFIG)
    assert "width" in settings and settings.keys() == CONFIG.keys() and settings == CONFIG
    assert settings.unread() == ["width", "head", "layers"]


def test_settings_of_one_form():
    settings = Settings(CONFIG)
    check_fixed(settings, {"width": 8, "head": {"bias": True}})
    assert settings.unread() == ["head.heads", "layers"]
    with pytest.raises(AssertionError, match="heads: 4 alone is supported, got 2"):
        check_fixed(settings, {"head": {"heads": 4}})
