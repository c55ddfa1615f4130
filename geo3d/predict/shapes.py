"""Predictors of clouds and meshes: the class of a shape, the parts of its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from geo3d.data.shapes.prepare import MAX_POINTS, Shape, network_points, oriented_cloud
from geo3d.descriptions import ClassificationLabels, CloudInput, PartSegmentationLabels
from geo3d.predict.base import Predictor, Result
from geo3d.zoo.weights import WeightsInfo


@dataclass(frozen=True)
class ClassScores:
    """Result of a classification.

    Attributes:
        points: [S, 6] float32, the cloud that the network saw.
        cloud: [N, 6] float32, the points that were read, or 200,000 of them, or drawn on the mesh, in the user's units and axes.
        class_names: names of the classes.
        probabilities: [num_classes] float32, adding up to 1.
    """

    points: np.ndarray
    cloud: np.ndarray
    class_names: tuple[str, ...]
    probabilities: np.ndarray

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The most likely classes with their probabilities, the most likely first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[i], float(self.probabilities[i])) for i in best]


@dataclass(frozen=True)
class PartLabels:
    """Result of a part segmentation.

    Attributes:
        points: [N, 6] float32, all points of the cloud, or those drawn on the mesh, in the user's units and axes.
        labels: [N] int64, part label of each point, counted over all categories.
        category: name of the object category.
        part_names: name of each part label of the category.
    """

    points: np.ndarray
    labels: np.ndarray
    category: str
    part_names: dict[int, str]


class ShapePredictor(Predictor[Shape, Result]):
    """What predictors of shapes share: the cloud as the network was trained to see it."""

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        self.input = self.described("preprocessing", CloudInput)

    def _input(self, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cloud [N, 6] as the network was trained to see it, [S, 6], and the rows [S] that it took."""
        return network_points(cloud, self.input.num_points, self.input.orient_normals, self.input.draw)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array)[None].to(self.device)


class ShapeClassifier(ShapePredictor[ClassScores]):
    """Names the class of a shape."""

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        self.labels = self.described("labels", ClassificationLabels)
        _check_outputs("class_names", len(self.labels.class_names), network)

    def __call__(self, source: Shape) -> ClassScores:
        """Scores of every class.

        Args:
            source: a file, a `Geometry`, or an array [N, 3] or [N, 6] of positions and normals.

        Raises:
            ValueError, FileNotFoundError: as `geo3d.data.shapes.prepare.oriented_cloud`.
        """
        cloud, _ = oriented_cloud(source, most=MAX_POINTS)
        points, _ = self._input(cloud)
        with torch.inference_mode():
            probabilities = self.network(self._tensor(points))[0].exp()
        return ClassScores(points, cloud, self.labels.class_names, probabilities.float().cpu().numpy())


class PartLabeler(ShapePredictor[PartLabels]):
    """Labels the points of a shape with the parts of its category."""

    def __init__(self, network: nn.Module, info: WeightsInfo):
        super().__init__(network, info)
        self.labels = self.described("labels", PartSegmentationLabels)
        _check_outputs("part_names", len(self.labels.part_names), network)

    @property
    def category_names(self) -> list[str]:
        """The categories whose parts the network knows."""
        return list(self.labels.category_names)

    def __call__(self, source: Shape, category: str = "") -> PartLabels:
        """Label every point; those that the network did not see take the label of the nearest one it saw.

        Args:
            source: a file, a `Geometry`, or an array [N, 3] or [N, 6] of positions and normals.
            category: its category, one of `category_names`.

        Raises:
            ValueError: an unknown category, or as `geo3d.data.shapes.prepare.oriented_cloud`.
        """
        index = self.category_index(category)
        cloud, _ = oriented_cloud(source)
        points, rows = self._input(cloud)
        start, stop = self.labels.part_ranges[index]
        with torch.inference_mode():
            categories = torch.tensor([index], device=self.device)
            scores = self.network(self._tensor(points), categories)[0, :, start:stop]
        seen = scores.argmax(1).cpu().numpy() + start
        labels = seen[cKDTree(cloud[rows, :3]).query(cloud[:, :3], workers=-1)[1]]
        names = self.labels.part_names
        return PartLabels(cloud, labels, self.category_names[index], {label: names[label] for label in range(start, stop)})

    def category_index(self, category: str) -> int:
        """Index of a category by its name, whatever its case.

        Raises:
            ValueError: no such category.
        """
        lower = [name.lower() for name in self.category_names]
        if category.lower() not in lower:
            raise ValueError(f"category must be one of {', '.join(lower)}, got {category!r}")
        return lower.index(category.lower())


def _check_outputs(name: str, count: int, network: nn.Module) -> None:
    """Raise ValueError unless there is a name for each output of the network."""
    classify: Any = network.classify
    if classify.out_features != count:
        raise ValueError(
            f"labels.{name} must be {classify.out_features} names, one for each output of the network, got {count}"
        )
