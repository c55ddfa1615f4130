"""Every parity case that is found (GEO3D_PARITY): the authors' numbers against ours, through the conversion of their weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity.adapters import arteq, detection, dsvt, dsvt_detectors, lrgt, lrgt_evaluation, rejshand, rejshand_data, risurconv
from parity.case_files import Case, find_cases

ADAPTERS = {
    ("arteq", "losses"): arteq.losses,
    ("arteq", "network"): arteq.network,
    ("arteq", "network_loss"): arteq.network_loss,
    ("arteq", "rotations"): arteq.rotations,
    ("arteq", "so3conv"): arteq.so3conv,
    ("dsvt", "backbone"): dsvt.backbone,
    ("dsvt", "center_head"): detection.center_head,
    ("dsvt", "detector_center_head"): dsvt_detectors.detector_center_head,
    ("dsvt", "detector_transfusion"): dsvt_detectors.detector_transfusion,
    ("dsvt", "transfusion_decode"): detection.transfusion_decode,
    ("lrgt", "decoder"): lrgt.decoder,
    ("lrgt", "encoder"): lrgt.encoder,
    ("lrgt", "full"): lrgt.full,
    ("lrgt", "full_train"): lrgt.full_train,
    ("lrgt", "lga_block"): lrgt.lga_block,
    ("lrgt", "merger"): lrgt.merger,
    ("lrgt", "metrics"): lrgt_evaluation.metrics,
    ("lrgt", "preprocess"): lrgt_evaluation.preprocess,
    ("rejshand", "crop"): rejshand_data.crop,
    ("rejshand", "eval_infer"): rejshand_data.eval_infer,
    ("rejshand", "full"): rejshand.full,
    ("rejshand", "heads_loss"): rejshand.heads_loss,
    ("rejshand", "mesh_head"): rejshand.mesh_head,
    ("rejshand", "metrics"): rejshand_data.metrics,
    ("rejshand", "train_sample"): rejshand_data.train_sample,
    ("rejshand", "warp_image"): rejshand_data.warp_image,
    ("risurconv", "classifier"): risurconv.classifier,
    ("risurconv", "classifier_train"): risurconv.classifier_train,
    ("risurconv", "features"): risurconv.features,
    ("risurconv", "part_segmentor"): risurconv.part_segmentor,
}
CASES = find_cases()


def test_some_case_is_found():
    assert CASES, "no parity case in GEO3D_PARITY"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case):
    kind = (case.meta["model"], case.meta["kind"])
    if kind not in ADAPTERS:
        pytest.fail(f"{case.id}: no adapter for kind {'/'.join(kind)}")
    results = ADAPTERS[kind](case)
    unread = case.config.unread()
    assert not unread, f"{case.id}: the adapter does not use {', '.join(unread)} of config"
    outputs = [name for name in case.arrays if name.startswith("out.")]
    missing = sorted(set(outputs) - set(results))
    assert not missing, f"the adapter does not compare {missing}"
    for name in [*outputs, *(name for name in case.arrays if name.startswith("mid.") and name in results)]:
        compare(case, name, results[name])


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
