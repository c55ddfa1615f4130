"""From the proposals of TransFusion's head to boxes (TransFusion, section 3.3; rectified scores as in DSVT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from geo3d.models.detection.decoding import Range, class_nms, inside, rectify_scores
from geo3d.models.detection.detections import Detections, split_detections
from geo3d.models.detection.grid import BevGrid
from geo3d.models.detection.transfusion_head import TransFusionOutputs, decode_boxes, proposal_codes


@dataclass(frozen=True)
class TransFusionDecoder:
    """Proposals of a batch to the boxes of each sample: `TransFusionDecoder(grid)(outputs)`.

    Detections keep the order of the proposals. The defaults are those of DSVT on nuScenes.

    Attributes:
        grid: cells of the head's maps.
        nms_thresholds: IoU of footprints above which the worse of two boxes of a class goes, one for each class; None: all stay.
        iou_weight: weight of the predicted IoU in the score (`rectify_scores`).
        score_threshold: boxes with a score up to this go.
        center_range: limits of the centres; None: no limits.
        threshold_raw_scores: compare the threshold with the score before the predicted IoU rectifies it, as the released code does.
    """

    grid: BevGrid
    nms_thresholds: Sequence[float | None] = (None,) * 8 + (0.175, 0.175)
    iou_weight: float = 0.5
    score_threshold: float = 0.0
    center_range: Range | None = None
    threshold_raw_scores: bool = False  # the released code compares the threshold with the score before the IoU rectifies it

    @torch.no_grad()
    def __call__(self, outputs: TransFusionOutputs) -> list[Detections]:
        """Boxes of each sample, float32; a sample without any gets an empty `Detections`.

        Raises:
            ValueError: maps of another size than the grid, or thresholds for another number of classes.
        """
        self.grid.check_map("TransFusionDecoder", outputs.dense_heatmap)
        classes = outputs.heatmap.shape[-1]
        if len(self.nms_thresholds) != classes:
            raise ValueError(
                f"TransFusionDecoder: nms_thresholds must be one for each of {classes} classes, got {list(self.nms_thresholds)}"
            )
        with torch.autocast(outputs.heatmap.device.type, enabled=False):
            return self._decode(outputs)

    def _decode(self, outputs: TransFusionOutputs) -> list[Detections]:
        batch_size, num_proposals = outputs.query_labels.shape
        boxes = decode_boxes(proposal_codes(outputs), self.grid).flatten(0, 1)  # packed: [B * P, 7 or 9]
        labels = outputs.query_labels.flatten()
        batch_index = torch.arange(batch_size, device=labels.device).repeat_interleave(num_proposals)
        # a proposal stays with the class of its peak
        own_class = outputs.heatmap.float().flatten(0, 1).gather(1, labels[:, None])[:, 0]
        raw = own_class.sigmoid() * outputs.query_scores.flatten()
        scores = rectify_scores(raw, outputs.iou.float().flatten(), self.iou_weight)
        keep = (raw if self.threshold_raw_scores else scores) > self.score_threshold
        if self.center_range is not None:
            keep &= inside(boxes[:, :3], self.center_range)
        boxes, scores, labels, batch_index = boxes[keep], scores[keep], labels[keep], batch_index[keep]
        keep = class_nms(boxes, scores, labels, batch_index, self.nms_thresholds)
        return split_detections(boxes[keep], scores[keep], labels[keep], batch_index[keep], batch_size)
