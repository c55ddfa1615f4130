"""From CenterHead's maps to boxes (CenterPoint, section 4; rectified scores as in CIA-SSD and DSVT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geo3d.models.detection.center_head import CenterOutputs, decode_boxes
from geo3d.models.detection.decoding import Range, class_nms, inside, rectify_scores
from geo3d.models.detection.detections import Detections, split_detections
from geo3d.models.detection.grid import BevGrid


@dataclass(frozen=True)
class CenterDecoder:
    """Maps of a batch to the boxes of each sample: `CenterDecoder(grid)(outputs)`.

    Detections come class by class, in each the best first. The defaults are those of DSVT on Waymo (Vehicle, Pedestrian, Cyclist).

    Attributes:
        grid: cells of the head's maps.
        nms_thresholds: IoU of footprints above which the worse of two boxes of a class goes; one for each class.
        iou_weights: weight of the predicted IoU in the score of each class (`rectify_scores`); without that branch not used.
        score_threshold: boxes with a score up to this go.
        center_range: limits of the centres; None: no limits.
        max_objects: cells of a sample that are looked at, the best ones.
        max_before_nms, max_after_nms: boxes of each class and sample; None: no limit.
        peaks_only: look only at cells that are the highest of their 3 x 3 neighbors. The released code looks at all cells.
        threshold_raw_scores: compare the threshold with the score before the predicted IoU rectifies it, as the released code does.
        rotate_footprints: turn footprints by 90 degrees in NMS, as the released code does; its thresholds were chosen with that.
    """

    grid: BevGrid
    nms_thresholds: Sequence[float] = (0.7, 0.6, 0.55)
    iou_weights: Sequence[float] = (0.68, 0.71, 0.65)
    score_threshold: float = 0.1
    center_range: Range | None = None
    max_objects: int = 500
    max_before_nms: Sequence[int] | None = None
    max_after_nms: Sequence[int] | None = None
    peaks_only: bool = True  # the released code looks at all cells, so that one object can use up many of max_objects
    threshold_raw_scores: bool = False  # the released code compares the threshold with the score before the IoU rectifies it
    rotate_footprints: bool = False

    @torch.no_grad()
    def __call__(self, outputs: CenterOutputs) -> list[Detections]:
        """Boxes of each sample, float32; a sample without any gets an empty `Detections`.

        Raises:
            ValueError: maps of another size than the grid, or settings for another number of classes.
        """
        self._check(outputs.heatmap)
        with torch.autocast(outputs.heatmap.device.type, enabled=False):
            return self._decode(outputs)

    def _decode(self, outputs: CenterOutputs) -> list[Detections]:
        batch_size = len(outputs.heatmap)
        raw, labels, cells = self._best_cells(outputs.heatmap.float().sigmoid())  # [B, K], [B, K], [B, K, 2]
        batch_index = torch.arange(batch_size, device=raw.device).repeat_interleave(raw.shape[1])
        raw, labels, cells = raw.flatten(), labels.flatten(), cells.flatten(0, 1)  # packed: [N], [N], [N, 2]
        weight = raw.new_tensor(self.iou_weights)[labels]
        best = raw if self.threshold_raw_scores else torch.maximum(raw, rectify_scores(raw, torch.ones_like(raw), weight))
        may_pass = best > self.score_threshold  # whatever the predicted IoU may be
        raw, labels, cells, batch_index = raw[may_pass], labels[may_pass], cells[may_pass], batch_index[may_pass]
        codes, iou = outputs.at_cells(batch_index, cells)
        boxes = decode_boxes(codes, cells, self.grid)
        scores = raw if iou is None else rectify_scores(raw, iou, weight[may_pass])
        keep = (raw if self.threshold_raw_scores else scores) > self.score_threshold
        if self.center_range is not None:
            keep &= inside(boxes[:, :3], self.center_range)
        boxes, scores, labels, batch_index = boxes[keep], scores[keep], labels[keep], batch_index[keep]
        keep = class_nms(
            boxes,
            scores,
            labels,
            batch_index,
            self.nms_thresholds,
            max_before=self.max_before_nms,
            max_after=self.max_after_nms,
            turned=self.rotate_footprints,
        )
        kept = keep.nonzero()[:, 0]
        kept = kept[scores[kept].argsort(stable=True, descending=True)]
        group = batch_index[kept] * len(self.nms_thresholds) + labels[kept]
        kept = kept[group.argsort(stable=True)]  # by sample, class, falling score
        return split_detections(boxes[kept], scores[kept], labels[kept], batch_index[kept], batch_size)

    def _best_cells(self, heatmap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """heatmap [B, classes, ny, nx] -> scores [B, K], classes [B, K] and cells [B, K, 2] (x, y) of its highest values."""
        if self.peaks_only:
            heatmap = heatmap.where(heatmap == F.max_pool2d(heatmap, 3, stride=1, padding=1), 0)
        rows, columns = heatmap.shape[-2:]
        flat = heatmap.flatten(1)  # [B, classes * ny * nx]
        scores, index = flat.topk(min(self.max_objects, flat.shape[1]))
        cell = index % (rows * columns)
        return scores, index // (rows * columns), torch.stack((cell % columns, cell // columns), -1)

    def _check(self, heatmap: Tensor) -> None:
        self.grid.check_map("CenterDecoder", heatmap)
        for name in ("nms_thresholds", "iou_weights", "max_before_nms", "max_after_nms"):
            values = getattr(self, name)
            if values is not None and len(values) != heatmap.shape[1]:
                raise ValueError(
                    f"CenterDecoder: {name} must be one for each of {heatmap.shape[1]} classes, got {list(values)}"
                )
