"""The packaged network of reconstruction on objects that it has not seen: generated ones, and real renderings of 3D-R2N2."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import geo3d
from geo3d.data import ShapeNetR2N2
from geo3d.data.images.reconstruction import ReconstructionBatch, ViewSettings
from geo3d.data.synthetic.renders.generate import SPLITS, write_renders
from geo3d.predict import ViewReconstructor

NAME = "lrgt-objects"
OTHER_SEED = 4321
VIEWS = (1, 3, 8)


@pytest.fixture(scope="module")
def predictor() -> ViewReconstructor:
    return geo3d.load(NAME)


def overlaps(predictor: ViewReconstructor, root) -> dict[int, np.ndarray]:
    """IoU of each object of R2N2's folders, by number of views, as `geo3d test` measures it."""
    settings = ViewSettings(predictor.image_size, predictor.preprocessing.crop, predictor.preprocessing.blend)
    data = ShapeNetR2N2(root, settings=settings, test_views=VIEWS, test_batch_size=8)
    data.prepare_data()
    found: dict[int, list[float]] = {views: [] for views in VIEWS}
    for batch in data.test_dataloader():
        assert isinstance(batch, ReconstructionBatch)
        for views in VIEWS:
            with torch.inference_mode():
                occupied = predictor.network(batch.with_views(views).images) >= predictor.threshold
            both, either = (
                (op(occupied, batch.voxels > 0.5)).flatten(1).sum(1) for op in (torch.logical_and, torch.logical_or)
            )
            found[views] += (both / either).tolist()
    return {views: np.array(values) for views, values in found.items()}


def test_generated_objects_of_another_seed(predictor, tmp_path):
    write_renders(tmp_path / "renders", 36, OTHER_SEED, views=8)
    (tmp_path / "renders" / SPLITS).unlink()  # without it all are for testing
    iou = {views: values.mean() for views, values in overlaps(predictor, tmp_path / "renders").items()}
    assert iou[1] > 0.48 and iou[3] > 0.5 and iou[8] > iou[1]  # the means over hundreds are in docs/lrgt.md


def test_real_renderings(predictor, samples):
    """ShapeNet's models as 3D-R2N2 rendered them; nothing was chosen by them."""
    if not (samples / "shapenet_r2n2").is_dir():
        pytest.skip(f"no {samples / 'shapenet_r2n2'}")
    found = overlaps(predictor, samples / "shapenet_r2n2")
    assert found[8].mean() > 0.35 and found[8].min() > 0.2
