"""3D object detection on LiDAR points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from geo3d.data.lidar.detection import LidarBatch
from geo3d.descriptions import DetectionLabels
from geo3d.models.detection import Detections, GroundTruth, decoder_for, loss_for
from geo3d.models.dsvt import DSVTDetector, untrained_in_paper
from geo3d.tasks.base import Stage, Task
from geo3d.tasks.detection_metrics import METRICS, DetectionMetric, MetricName, NuScenesFrames, make_metrics
from geo3d.tasks.schedules import OneCycle


class Detection(Task):
    """Trains and evaluates a detector such as `geo3d.models.dsvt.DSVTCenter` on batches of LiDAR frames.

    Loss: that of the network's head, by its terms. Optimiser: Adam with decoupled weight decay of all parameters, biases and norms
    among them, and one cycle of rate and momentum by step (DSVT, CVPR 2023). Frames without points or without objects take part.

    Args:
        network: with `CenterHead` or `TransFusionHead`, for the classes, measurements and range of the data.
        lr: the highest learning rate.
        weight_decay: of all parameters.
        schedule: of rate and momentum; that of Waymo's networks when None.
        metrics: of validation and test: "kitti", average precision in KITTI's format; "waymo", with and without headings; "nuscenes",
            the detection score; "recall", of boxes whatever their class. The first tells the best checkpoint.
        loss: options of the head's loss, see `CenterLoss` and `TransFusionLoss`.
        decoder: options of the head's decoder, see `CenterDecoder` and `TransFusionDecoder`.
        train_all: train every parameter. The authors' optimizer missed the projections of all attentions, which kept their initial values.
        results_file: where `geo3d test` writes the detections as nuScenes' benchmark takes them (JSON), with the metric "nuscenes".
        compile_dense: compile the 2D backbone and the head's convolutions (`DSVTDetector.compile_dense`).
    """

    name = "detection"
    network: DSVTDetector

    def __init__(
        self,
        network: DSVTDetector,
        lr: float = 3e-3,
        weight_decay: float = 0.05,
        schedule: OneCycle | None = None,
        metrics: Sequence[MetricName] = ("recall",),
        loss: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        train_all: bool = True,  # the authors' optimiser missed the projections of all attentions, which kept their initial values
        results_file: str | None = None,
        compile_dense: bool = False,
    ) -> None:
        super().__init__(network, lr, weight_decay, "adamw")
        if not isinstance(network, DSVTDetector):
            raise ValueError(f"Detection: network must be a DSVTDetector, got {type(network).__name__}")
        self.cycle = OneCycle() if schedule is None else schedule
        self.metric_names = tuple(metrics)
        self.results_file = results_file
        if compile_dense:
            network.compile_dense()
        self.loss = loss_for(network.head, network.bev_grid, loss)
        self.decode = decoder_for(network.head, network.bev_grid, decoder)
        self.train_all = train_all
        self.metrics: nn.ModuleList = nn.ModuleList()
        if not metrics:
            raise ValueError(f"Detection: metrics must name at least one of {', '.join(METRICS)}")
        if results_file is not None and "nuscenes" not in metrics:
            raise ValueError(f"Detection: results_file is for the metric nuscenes, got {', '.join(metrics)}")
        self.monitor = f"val/{METRICS[metrics[0]].monitor}"

    def setup(self, stage: str) -> None:
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        frames = data.frames("val")
        self.class_names = list(data.class_names)
        self.features = list(frames.features)
        self._check_data(data)
        self.metrics = nn.ModuleList(make_metrics(self.metric_names, frames)).to(self.device)

    def _check_data(self, data: Any) -> None:
        network = self.network
        key = "model.init_args.network.init_args"
        if network.num_classes != len(self.class_names):
            raise ValueError(
                f"Detection: the network has num_classes {network.num_classes}, but the data has "
                f"{len(self.class_names)} classes; set {key}.num_classes"
            )
        for option in ("nms_thresholds", "iou_weights"):
            values = getattr(self.decode, option, None)
            if values is not None and len(values) != len(self.class_names):
                raise ValueError(
                    f"Detection: the data has {len(self.class_names)} classes, but the decoder {len(values)} {option}; "
                    f"set model.init_args.decoder.{option}"
                )
        if network.in_features != 3 + len(self.features):
            raise ValueError(
                f"Detection: the network has in_features {network.in_features}, but points of the data are x, y, z, "
                f"{', '.join(self.features)}; set {key}.in_features to {3 + len(self.features)}"
            )
        if tuple(network.point_range) != tuple(data.point_range):
            raise ValueError(
                f"Detection: the network's point_range is {list(network.point_range)}, that of the data "
                f"{list(data.point_range)}; set {key}.point_range and data.init_args.point_range to the same"
            )

    def configure_optimizers(self) -> Any:
        left_out = set() if self.train_all else set(untrained_in_paper(self.network))
        parameters = [parameter for name, parameter in self.network.named_parameters() if name not in left_out]
        betas = (self.cycle.momentum[0], 0.99)
        optimizer = torch.optim.AdamW(parameters, self.lr, betas=betas, eps=1e-8, weight_decay=self.weight_decay)
        self.steps = self.total_steps()
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.cycle.rate(step, self.steps, self.lr) / self.lr
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_batch_start(self, batch: LidarBatch, index: int) -> None:
        momentum = self.cycle.momentum_at(self.trainer.global_step, self.steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["betas"] = (momentum, group["betas"][1])

    def outputs(self, batch: LidarBatch) -> Any:
        return self.network(batch.points, batch.batch_index, batch.batch_size)

    def losses(self, outputs: Any, batch: LidarBatch) -> dict[str, Tensor]:
        losses = self.loss(outputs, self._gt(batch))
        return {"loss": losses.total, **{each.name: getattr(losses, each.name) for each in fields(losses)}}

    def batch_size(self, batch: LidarBatch) -> int:
        return batch.batch_size

    def predict_step(self, batch: LidarBatch, index: int) -> list[Detections]:
        """Detections of each frame."""
        return self.decode(self.outputs(batch))

    def update_metrics(self, outputs: Any, batch: LidarBatch) -> None:
        found = self.decode(outputs)
        for metric in self._metrics():
            metric.update(batch, found)

    def compute_metrics(self, stage: Stage) -> dict[str, Any]:
        """Those of all metrics; in a test, nuScenes' detections are written as well, see `results_file`."""
        values: dict[str, Any] = {}
        for metric in self._metrics():
            if stage == "test" and self.results_file is not None and isinstance(metric, NuScenesFrames):
                metric.write(self.results_file, self.trainer.is_global_zero)
            values |= metric.compute()
            metric.reset()
        return values

    def _gt(self, batch: LidarBatch) -> GroundTruth:
        """The objects that the network can be asked for: their centres are within its range (in training the data sees to that)."""
        low, high = batch.boxes.new_tensor(self.network.point_range).split(3)
        inside = ((batch.boxes[:, :3] >= low) & (batch.boxes[:, :3] <= high)).all(1)
        return GroundTruth(batch.boxes[inside], batch.labels[inside], batch.box_batch_index[inside], batch.batch_size)

    def _metrics(self) -> list[DetectionMetric]:
        return list(self.metrics)  # type: ignore[arg-type]

    def labels(self) -> DetectionLabels:
        decoder = {each.name: getattr(self.decode, each.name) for each in fields(self.decode) if each.name != "grid"}
        return DetectionLabels(tuple(self.class_names), decoder)
