"""Every public op shows how it is called, and the example gives what it says."""

from __future__ import annotations

import doctest
import inspect

import pytest
import torch

import geo3d.ops as ops

FUNCTIONS = [name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_example(name: str):
    function = getattr(ops, name)
    names = {"torch": torch, **{other: getattr(ops, other) for other in ops.__all__}}
    [test] = doctest.DocTestFinder(recurse=False).find(inspect.unwrap(function), name, globs=names)
    assert len(test.examples) >= 2, f"{name} has no example in its docstring"
    said: list[str] = []
    failed = doctest.DocTestRunner().run(test, out=said.append).failed
    assert not failed, "".join(said)
