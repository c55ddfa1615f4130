"""The authors' checkpoints are told from each other and from ours by their tensor names."""

from __future__ import annotations

import pytest
from parity.case_files import Case, find_cases

from geo3d.zoo.convert import MODELS, convert_official, official_model

WHOLE = {
    "arteq": {"network"},
    "dsvt": {"detector_center_head", "detector_transfusion"},
    "lrgt": {"full"},
    "rejshand": {"full"},
    "risurconv": {"classifier", "part_segmentor"},
}
FOUND = [case for case in find_cases() if case.meta["kind"] in WHOLE[case.meta["model"]]]
CASES = list({(case.meta["model"], case.meta["kind"]): case for case in FOUND}.values())  # one of a kind


def test_every_model_has_a_case():
    assert {case.meta["model"] for case in CASES} == set(MODELS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_is_recognised(case: Case):
    model, tensors = case.meta["model"], case.state_dict
    plain = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}  # as `read_tensors` gives them
    assert official_model(plain) == model
    assert [other for other, module in MODELS.items() if module.is_official(plain)] == [model]
    assert official_model(convert_official(model, plain)) is None
