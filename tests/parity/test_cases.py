"""Every parity case that is found (GEO3D_PARITY): the authors' numbers against ours, through the conversion of their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from parity.adapters import arteq, detection, dsvt, dsvt_detectors, lrgt, lrgt_evaluation, rejshand, rejshand_data, risurconv
from parity.case_files import Case, find_cases

ADAPTERS = {  # modules of each model; a case of a kind runs the function of that name
    "arteq": (arteq,),
    "dsvt": (dsvt, dsvt_detectors, detection),
    "lrgt": (lrgt, lrgt_evaluation),
    "rejshand": (rejshand, rejshand_data),
    "risurconv": (risurconv,),
}
CASES = find_cases()


def test_some_case_is_found():
    assert CASES, "no parity case in GEO3D_PARITY"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case):
    results = adapter(case.meta["model"], case.meta["kind"])(case)
    unread = case.config.unread()
    assert not unread, f"{case.id}: the adapter does not use {', '.join(unread)} of config"
    outputs = [name for name in case.arrays if name.startswith("out.")]
    missing = sorted(set(outputs) - set(results))
    assert not missing, f"the adapter does not compare {missing}"
    for name in [*outputs, *(name for name in case.arrays if name.startswith("mid.") and name in results)]:
        compare(case, name, results[name])


def test_an_unknown_kind_is_told():
    with pytest.raises(KeyError, match="lrgt: none of the adapters has a function half"):
        adapter("lrgt", "half")


def adapter(model: str, kind: str) -> Callable[[Case], dict[str, torch.Tensor]]:
    """The function that a model's adapters define for a kind of case."""
    for module in ADAPTERS[model]:
        function = vars(module).get(kind)
        if getattr(function, "__module__", None) == module.__name__:
            return function
    raise KeyError(f"{model}: none of the adapters has a function {kind}")


def compare(case: Case, name: str, ours: torch.Tensor) -> None:
    """The reference stores some intermediate values of the first centres only, so ours are cut to its shape."""
    theirs = case.arrays[name]
    values = ours.detach().numpy()
    if name.startswith(("mid.", "out.shift2_")):
        values = values[tuple(slice(0, size) for size in theirs.shape)]
    assert values.shape == theirs.shape, f"{name}: expected shape {theirs.shape}, got {values.shape}"
    if np.issubdtype(theirs.dtype, np.integer):
        np.testing.assert_array_equal(values, theirs, err_msg=name)
    else:
        np.testing.assert_allclose(values, theirs, **case.tolerance(name), err_msg=name)
    if ".grad." in name and "frobenius_tolerance" in case.meta:  # a gradient as a whole is closer than its worst element
        limit = case.meta["frobenius_tolerance"]["encoder" if ".encoder." in name else "others"]
        assert np.linalg.norm(values - theirs) <= limit * np.linalg.norm(theirs), name
